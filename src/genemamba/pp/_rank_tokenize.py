"""Counts to ranked genes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from scipy import sparse

from genemamba import models
from genemamba._docs import documented
from genemamba._keys import OBSM_TOKENS
from genemamba._progress import Progress
from genemamba.cells.blocks import Csr, into_store, stats_of
from genemamba.cells.open import cells_of
from genemamba.cells.read import Reading, rank, read_counts, tokenise
from genemamba.cells.record import check_slots, record
from genemamba.tokens import GeneMatch

if TYPE_CHECKING:
    from mudata import MuData

    from genemamba.models._load import ModelLike
    from genemamba.tokens.organisms import Organism


@documented
def rank_tokenize(
    adata: AnnData | MuData | str | PathLike[str],
    *,
    model: ModelLike = "genemamba-mini",
    mod: str | None = None,
    layer: str | None = None,
    gene_ids: str | Sequence[str] | None = None,
    organism: Organism = "auto",
    max_tokens: int = 2048,
    key_added: str = OBSM_TOKENS,
    out: str | PathLike[str] | None = None,
    copy: bool = False,
) -> AnnData | MuData | None:
    """Rank the genes of each cell by expression relative to their corpus median.

    Counts are divided by the cell's total and by the gene's non-zero median over the model's
    training cells; expressed genes are sorted by the result, highest first [1]_ [2]_. Values that
    agree to ten digits are ties, ordered by Ensembl id. :func:`genemamba.tl.embed` does this
    itself; call it to inspect the tokens or to use them elsewhere.

    Parameters
    ----------
    adata
        Cells × genes, as for :func:`genemamba.tl.embed`.
    {model}
    {reading}
    key_added
        Slot to write to.
    out
        Zarr store to write to instead of `adata`, block by block, so that memory does not grow
        with the number of cells. The same call resumes after an interruption. Read it with
        ``anndata.read_zarr(out)``, or lazily.
    {copy}

    Returns
    -------
    ``None``, or the modified copy. Writes, to `adata` or to the store `out`,

    ``adata.obsm["genemamba_tokens"]`` (or `key_added`)
        CSR matrix of int32, ``n_obs × max_tokens``: entry (cell, r) is the token of the gene at
        rank r, from 0. Ranks beyond a cell's last gene are not stored. In a store `out` the same
        matrix is dense uint16, in compressed chunks of 1,024 cells, with 0 for what is not stored.
    ``adata.uns["genemamba"]["genemamba_tokens"]`` (or `key_added`)
        Package version, vocabulary sha256, parameters, kind of values found, columns matched (by
        id, symbol, alias; duplicate: added to another of the gene; not used are ambiguous,
        unknown, and other, which are no genes) and the mean share of counts lost. ``"organism"``:
        as in :func:`genemamba.tl.embed`.

    Raises
    ------
    InputError
        If the values cannot be ranked (negative, NaN, scaled, empty), names are not in the
        vocabulary, or the slot is taken; nothing has been written then. If `out` belongs to
        another call, or is being written.
    GeneMambaError
        If the disk of `out` is full; what was written is kept.
    CheckpointError
        If the model is unknown or damaged.

    References
    ----------
    {geneformer}
    .. [2] Qi et al., *GeneMamba: Efficient and Effective Foundation Model on Single Cell Data*,
       section 3.1.

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> gm.pp.rank_tokenize(adata, layer="raw")
    >>> tokens = adata.obsm["genemamba_tokens"]
    >>> vocab = gm.models.vocabulary("genemamba-mini")
    >>> first = tokens[0].data[:3] - 2  # tokens 0 and 1 are special
    >>> vocab.symbol[first].shape
    (3,)
    """
    to = f"obsm[{key_added!r}]"
    with cells_of(adata, mod, copy, out, doing="rank_tokenize", to=to) as (cells, result):
        check_slots(cells, key_added, OBSM_TOKENS, obsm=[] if out else [key_added])
        vocab, reading = models.vocabulary(model), Reading(layer, gene_ids, organism, max_tokens)
        entry = {"vocabulary_sha256": vocab.sha256, "params": reading.params}
        if out is not None:
            counts = read_counts(cells, layer)
            genes = reading.matched(counts.var, vocab, cells.obs_names)
            step = RankBlock(genes, max_tokens)
            into_store(
                out, cells, counts, genes, step,
                key=key_added, width=max_tokens, dtype=np.uint16, entry=entry,
                doing="rank_tokenize",
            )  # fmt: skip
            return None
        tokens = tokenise(cells, vocab, reading)
        ranked = tokens.ranked
        cells.obsm[key_added] = sparse.csr_matrix(
            (ranked.tokens, ranked.rank.astype(np.int32, copy=False), ranked.indptr),
            shape=(ranked.n_cells, max_tokens),
        )
        record(cells, key_added, entry | tokens.report())
    return result


@dataclass(frozen=True, eq=False)
class RankBlock:
    """Counts of some cells to rows of tokens; it can be sent to another machine."""

    genes: GeneMatch
    max_tokens: int

    def __call__(
        self, block: Csr, progress: bool | Progress = False
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Return ``n × max_tokens`` uint16 tokens, 0 at the end, and what the record sums up."""
        ranked = rank(block, self.genes, self.max_tokens)
        rows = np.zeros((ranked.n_cells, self.max_tokens), dtype=np.uint16)
        rows[np.arange(self.max_tokens) < ranked.lengths[:, None]] = ranked.tokens
        return rows, stats_of(ranked, block, self.genes)
