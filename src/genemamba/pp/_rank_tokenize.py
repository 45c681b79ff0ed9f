"""Counts to ranked genes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from anndata import AnnData
from scipy import sparse

from genemamba import models
from genemamba._anndata import check_slots, record, tokenise
from genemamba._keys import OBSM_TOKENS

if TYPE_CHECKING:
    from genemamba.models._load import ModelLike


def rank_tokenize(
    adata: AnnData,
    *,
    model: ModelLike = "genemamba-mini",
    layer: str | None = None,
    gene_ids: str | Sequence[str] | None = None,
    max_tokens: int = 2048,
    key_added: str = OBSM_TOKENS,
    copy: bool = False,
) -> AnnData | None:
    """Turn each cell into a sentence of genes, those that set it apart first.

    Counts are divided by the cell's total and by the gene's non-zero median over the model's
    training cells; expressed genes are sorted by the result, highest first [1]_ [2]_. Values that
    agree to ten digits are ties and go by Ensembl id. :func:`genemamba.tl.embed` does this itself;
    call it to look at the tokens or to use them elsewhere.

    Parameters
    ----------
    adata
        Cells × genes of human cells: raw counts, counts normalised per cell, or log1p of them
        (the log is then undone). Sparse or dense, integer or float.
    model
        Checkpoint that gives vocabulary and medians: a name, a folder or a loaded model.
    layer
        Layer to read instead of ``X``; ``"raw"`` reads ``adata.raw``.
    gene_ids
        Column of ``adata.var``, or one name per gene, to use instead of ``adata.var_names``:
        gene symbols or Ensembl ids, with or without version.
    max_tokens
        Longest sentence; lower-ranked genes are left out.
    key_added
        Slot to write to.
    copy
        Return a changed copy and leave `adata` alone.

    Returns
    -------
    ``None``, or the changed copy. Writes

    ``adata.obsm["genemamba_tokens"]`` (or `key_added`)
        CSR matrix of int32, ``n_obs × max_tokens``: entry (cell, r) is the token of the gene at
        rank r, from 0. Ranks beyond a cell's last gene are not stored.
    ``adata.uns["genemamba"]["genemamba_tokens"]`` (or `key_added`)
        Package version, vocabulary sha256, parameters, kind of values found, genes matched (by
        id, symbol, alias; ambiguous, duplicate, unknown) and the mean share of counts lost.

    Raises
    ------
    InputError
        If the values cannot be ranked (negative, NaN, scaled, empty), names are repeated or not
        in the vocabulary, or the slot is taken; nothing has been written then.
    CheckpointError
        If the model is unknown or damaged.

    References
    ----------
    .. [1] Theodoris et al., *Transfer learning enables predictions in network biology*,
       Nature 2023.
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
    check_slots(adata, key_added, obsm=[key_added])
    vocab = models.vocabulary(model)
    tokens = tokenise(adata, vocab, layer=layer, gene_ids=gene_ids, max_tokens=max_tokens)
    if copy:
        adata = adata.copy()
    ranked = tokens.ranked
    adata.obsm[key_added] = sparse.csr_matrix(
        (ranked.tokens, ranked.rank.astype(np.int32, copy=False), ranked.indptr),
        shape=(ranked.n_cells, max_tokens),
    )
    record(
        adata,
        key_added,
        {
            "vocabulary_sha256": vocab.sha256,
            "params": {
                "layer": layer or "",
                "gene_ids": gene_ids if isinstance(gene_ids, str) else "",
                "max_tokens": max_tokens,
            },
            **tokens.report(),
        },
    )
    return adata if copy else None
