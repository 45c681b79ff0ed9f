"""What each gene's expression is measured against: its median where it is expressed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from anndata import AnnData

from genemamba._docs import documented
from genemamba._keys import VAR_MEDIAN
from genemamba.cells.open import cells_of
from genemamba.cells.read import read_counts
from genemamba.cells.record import check_slots, record
from genemamba.errors import InputError
from genemamba.tokens import GeneDigests
from genemamba.tokens.tdigests import TDigests

if TYPE_CHECKING:
    from mudata import MuData

Method = Literal["exact", "tdigest"]


@documented
def gene_medians(
    adata: AnnData | MuData,
    *,
    method: Method = "exact",
    mod: str | None = None,
    layer: str | None = None,
    key_added: str = VAR_MEDIAN,
    copy: bool = False,
) -> AnnData | MuData | None:
    """Find the typical expression of each gene over those of your cells that express it.

    The median of count / cell total × 10,000 over the cells with a count above zero, by which
    ranking divides [1]_: genes are ranked by how far they lie above it. Models come
    with the medians of their training cells; these are for your own vocabulary, or to compare.

    Parameters
    ----------
    adata
        Cells × genes: raw counts, counts normalised per cell, or log1p of them (the log is then
        undone). Sparse or dense, integer or float. Any genes of any species.
    method
        ``"exact"`` is exact up to eight million entries above zero and within 0.4 % beyond, and
        the same whatever the order of the cells. ``"tdigest"`` is the paper's method (needs
        ``genemamba[tdigest]``): usually within 0.5 %, not the same to the last digit from run to
        run, and about a thousand times slower.
    mod
        Modality of a MuData to use; by default "rna", or the only one.
    layer
        Layer to read instead of ``X``; ``"raw"`` reads ``adata.raw``.
    key_added
        Column to write to.
    {copy}

    Returns
    -------
    ``None``, or the modified copy. Writes

    ``adata.var["genemamba_median"]`` (or `key_added`)
        float64, in counts per 10,000; NaN for genes that no cell expresses or that ``adata.raw``
        has not.
    ``adata.uns["genemamba"]["genemamba_median"]`` (or `key_added`)
        Package version, parameters, kind of values found, number of cells.

    Raises
    ------
    InputError
        If the values are no counts and cannot be brought to them (negative, NaN, scaled, empty),
        the slot is taken, or `tdigest` is not installed. Nothing has been written
        then.

    References
    ----------
    {geneformer}

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> gm.pp.gene_medians(adata, layer="raw")
    >>> print(adata.var["genemamba_median"][["CD3D", "CST3"]].round(1).to_dict())
    {'CD3D': 56.1, 'CST3': 253.1}
    """
    if method not in get_args(Method):
        raise InputError(f"method={method!r} is unknown", "use 'exact' or 'tdigest'")
    to = f"var[{key_added!r}]"
    with cells_of(adata, mod, copy, doing="gene_medians", to=to) as (cells, result):
        check_slots(cells, key_added, VAR_MEDIAN, var=[key_added])
        counts = read_counts(cells, layer)
        var, where = counts.var, counts.where
        if not var.index.is_unique and where == "adata.raw.X":
            raise InputError(
                "adata.raw.var_names has names more than once",
                "use the AnnData of raw: raw = adata.raw.to_adata(); raw.var_names_make_unique()",
            )
        digests = (TDigests if method == "tdigest" else GeneDigests)(len(var))
        for _, block in counts.blocks():
            digests.add(block, np.asarray(block.sum(axis=1, dtype=np.float64)).ravel())
        medians = digests.medians()
        if where == "adata.raw.X":  # its genes are not those of adata
            place = var.index.get_indexer(cells.var_names)
            medians = np.where(place >= 0, medians[place], np.nan)
        cells.var[key_added] = medians
        entry = {
            "input": where,
            "values": counts.values.kind,
            "values_reason": counts.values.reason,
            "n_cells": counts.n_cells,
            "params": {"method": method, "layer": layer or ""},
        }
        record(cells, key_added, entry)
    return result
