"""Genes to vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData

from genemamba import models
from genemamba._docs import documented
from genemamba._keys import VARM_GENE, gene_cells_key
from genemamba._settings import check_whole
from genemamba.cells.labels import full_column
from genemamba.cells.names import own_tokens
from genemamba.cells.open import cells_of
from genemamba.cells.read import Reading, no_genes, tokenise
from genemamba.cells.record import check_slots, entry_of, identity, record
from genemamba.errors import InputError
from genemamba.network.gene_states import GeneStates, gene_states
from genemamba.network.runtime import choose_runtime
from genemamba.tl._embedding import warn
from genemamba.tl._gene_tables import static_rows
from genemamba.tokens import FIRST_GENE
from genemamba.tokens.lookup import gene_names

if TYPE_CHECKING:
    from mudata import MuData

    from genemamba.models._load import ModelLike
    from genemamba.network.genemamba import GeneMamba
    from genemamba.network.runtime import Backend, BatchSize, Device, Precision
    from genemamba.tokens.organisms import Organism


Kind = Literal["static", "context"]


@documented
def gene_embedding(
    adata: AnnData | MuData | None = None,
    *,
    model: ModelLike = "genemamba-mini",
    kind: Kind = "static",
    groupby: str | None = None,
    mod: str | None = None,
    layer: str | None = None,
    gene_ids: str | Sequence[str] | None = None,
    organism: Organism = "auto",
    max_tokens: int = 2048,
    min_cells: int = 1,
    batch_size: BatchSize = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    backend: Backend = "auto",
    key_added: str = VARM_GENE,
    copy: bool = False,
) -> AnnData | MuData | pd.DataFrame | dict[str, pd.DataFrame] | None:
    """Embed genes: as the model knows them, or as your cells use them.

    ``"static"`` vectors are the rows of the model's embedding table, the same for all data.
    ``"context"`` vectors are the mean of a gene's final states over the cells in which it is read,
    so they are specific to these cells; `groupby` takes the mean in each cell type or condition.
    Only sums are kept in memory. Next, see :func:`genemamba.tl.nearest_genes`,
    :func:`genemamba.tl.gene_modules` or :func:`genemamba.tl.gene_network`, which read the slot.

    Parameters
    ----------
    adata
        Cells × genes of human cells, as for :func:`genemamba.tl.embed`; static vectors need only
        the names of its genes. Without it, static vectors of all genes of the model.
    {model}
    kind
        ``"static"`` or ``"context"``.
    groupby
        Column of ``obs``: context vectors in each group, returned instead of written.
    {reading}
        Without `adata`, `gene_ids` is ``"symbol"`` (default) or ``"ensembl_id"``, the index of the
        table.
    min_cells
        Minimum number of cells (of a group) that read a gene for it to get a context vector.
    {running}
    key_added
        Slot to write to.
    {copy}

    Returns
    -------
    ``None``, or the modified copy. Writes

    ``adata.varm["X_genemamba_gene"]`` (or `key_added`)
        float32, ``n_vars × d_model``; NaN where the model does not know the gene or, for context
        vectors, fewer than `min_cells` cells read it.
    ``adata.var["X_genemamba_gene_n_cells"]`` (or `key_added` + ``"_n_cells"``)
        Context vectors only: int, the cells in which the gene was read.
    ``adata.uns["genemamba"]["X_genemamba_gene"]`` (or `key_added`)
        Package version, sha256 of model and vocabulary, parameters, genes matched; for context
        vectors also device and precision used, kind of values found, share of counts lost.

    Without `adata`, a table of float32, genes × ``d_model``, is returned. A gene whose symbol is
    unknown or shared with another gene is indexed by its Ensembl id there.

    With `groupby`, nothing is written and one such table per group is returned, by name, of the
    genes that at least `min_cells` of its cells read, named as in `adata`.

    Raises
    ------
    InputError
        If `kind`, `groupby` and `adata` do not go together, values cannot be ranked, names are not
        in the vocabulary, or the slot is taken; nothing has been written then.
    CheckpointError
        If the model is unknown or damaged.

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> gm.tl.gene_embedding().loc[["CD3D", "CD3E"]].shape
    (2, 256)
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> gm.tl.gene_embedding(adata, kind="context", layer="raw")
    >>> adata.varm["X_genemamba_gene"].shape
    (765, 256)
    """
    _check(adata, kind, groupby, min_cells)
    if adata is None:
        return _of_model(models.load(model), gene_ids)
    runtime = choose_runtime(device, precision, backend, batch_size)
    reading = Reading(layer, gene_ids, organism, max_tokens)
    with cells_of(adata, mod, copy) as (cells, result):
        check_slots(cells, key_added, VARM_GENE, varm=[key_added], var=[gene_cells_key(key_added)])
        loaded = models.load(model)
        if kind == "static":
            made = _static(cells, loaded, reading)
            params = {"kind": kind, "gene_ids": reading.params["gene_ids"]}
            made.entry.update(identity(loaded, model), params=params)
        else:
            codes, groups = _groups(cells, groupby)
            vocab = models.vocabulary(loaded)
            tokens = tokenise(cells, vocab, reading)
            if not len(tokens.ranked.tokens):
                raise no_genes()
            states = gene_states(loaded, tokens.ranked, codes, runtime=runtime)
            warn(tokens.report(), key_added)
            token = own_tokens(cells, tokens.genes, tokens.where, vocab)
            if groupby is not None:
                return _of_groups(cells.var_names, token, states, groups, min_cells)
            made = _context(token, states, 0, min_cells)
            made.entry.update(
                entry_of(loaded, reading, runtime, given=model, kind=kind, min_cells=min_cells)
            )
            made.entry.update(tokens.report())
        made.write(cells, key_added)
    return result


@dataclass(frozen=True, eq=False)
class _Made:
    """Vectors of the genes of an AnnData, the cells behind each, and what ``uns`` keeps."""

    vectors: np.ndarray
    n_cells: np.ndarray | None
    entry: dict[str, Any]

    def write(self, adata: AnnData, key: str) -> None:
        adata.varm[key] = self.vectors
        if self.n_cells is not None:
            adata.var[gene_cells_key(key)] = self.n_cells
        elif gene_cells_key(key) in adata.var:  # of context vectors that were there before
            del adata.var[gene_cells_key(key)]
        record(adata, key, self.entry)


def _check(adata: AnnData | None, kind: str, groupby: str | None, min_cells: int) -> None:
    if kind not in ("static", "context"):
        raise InputError(f"kind={kind!r} is unknown", "use 'static' or 'context'")
    if kind == "static" and groupby is not None:
        raise InputError(
            "static vectors are the same in every group", "use kind='context', or leave out groupby"
        )
    if kind == "context" and adata is None:
        raise InputError("context vectors need cells", "give adata, or use kind='static'")
    check_whole("min_cells", min_cells)


def _of_model(loaded: GeneMamba, gene_ids: str | Sequence[str] | None) -> pd.DataFrame:
    """Return the vectors of all genes of the model."""
    vocab = models.vocabulary(loaded)
    if gene_ids not in (None, "symbol", "ensembl_id"):
        raise InputError(
            f"gene_ids={gene_ids!r}, but there is no adata", "use 'symbol' or 'ensembl_id'"
        )
    names = vocab.ensembl_id if gene_ids == "ensembl_id" else gene_names(vocab)
    return _table(static_rows(loaded, np.arange(vocab.n_genes) + FIRST_GENE), pd.Index(names))


def _static(adata: AnnData, loaded: GeneMamba, reading: Reading) -> _Made:
    genes = reading.matched(adata.var, models.vocabulary(loaded))
    known = int((genes.token >= 0).sum())
    organism = {"name": genes.organism, "table": genes.table}
    entry = {"genes": adata.n_vars, "genes_known": known, "gene_status": genes.counts,
             "organism": organism}  # fmt: skip
    return _Made(static_rows(loaded, genes.token), None, entry)


def _groups(adata: AnnData, groupby: str | None) -> tuple[np.ndarray, list[str]]:
    """Return the group of each cell, and the names of the groups."""
    if groupby is None:
        return np.zeros(adata.n_obs, dtype=np.int64), [""]
    values = full_column(adata, groupby, "groupby")
    names, codes = np.unique(values.astype(str).to_numpy(dtype=str), return_inverse=True)
    return codes.astype(np.int64), names.tolist()


def _context(token: np.ndarray, states: GeneStates, group: int, min_cells: int) -> _Made:
    """Arrange the means of one group by the `token` of each gene."""
    row = np.searchsorted(states.tokens, token).clip(max=len(states.tokens) - 1)
    read = states.tokens[row] == token
    n_cells = np.where(read, states.n_cells[group, row], 0)
    vectors = np.where((n_cells >= min_cells)[:, None], states.means[group, row], np.nan)
    return _Made(vectors.astype(np.float32), n_cells, {})


def _of_groups(
    names: pd.Index, token: np.ndarray, states: GeneStates, groups: list[str], min_cells: int
) -> dict[str, pd.DataFrame]:
    """Return one table per group, of the genes read often enough."""
    tables = {}
    for group, name in enumerate(groups):
        made = _context(token, states, group, min_cells)
        enough = np.isfinite(made.vectors).all(axis=1)
        tables[name] = _table(made.vectors[enough], names[enough])
    return tables


def _table(vectors: np.ndarray, names: pd.Index) -> pd.DataFrame:
    return pd.DataFrame(vectors, index=names.rename("gene"))
