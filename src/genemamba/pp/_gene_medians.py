"""What each gene's expression is measured against: its median where it is expressed."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from anndata import AnnData

from genemamba._keys import VAR_MEDIAN
from genemamba.cells.read import read_counts
from genemamba.cells.record import check_slots, record
from genemamba.errors import InputError
from genemamba.tokens import GeneDigests
from genemamba.tokens.tdigests import TDigests

Method = Literal["exact", "tdigest"]


def gene_medians(
    adata: AnnData,
    *,
    method: Method = "exact",
    layer: str | None = None,
    key_added: str = VAR_MEDIAN,
    copy: bool = False,
) -> AnnData | None:
    """Find the typical expression of each gene over those of your cells that express it.

    The median of count / cell total × 10,000 over the cells with a count above zero, by which
    ranking divides [1]_: genes are ranked by how far they lie above it. The models of this package
    bring medians of their own; these are for a vocabulary of your own cells, or to compare.

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
    layer
        Layer to read instead of ``X``; ``"raw"`` reads ``adata.raw``.
    key_added
        Column to write to.
    copy
        Return a changed copy and leave `adata` alone.

    Returns
    -------
    ``None``, or the changed copy. Writes

    ``adata.var["genemamba_median"]`` (or `key_added`)
        float64, in counts per 10,000; NaN for genes that no cell expresses or that ``adata.raw``
        has not.
    ``adata.uns["genemamba"]["genemamba_median"]`` (or `key_added`)
        Package version, parameters, kind of values found, number of cells.

    Raises
    ------
    InputError
        If the values are no counts and cannot be brought to them (negative, NaN, scaled, empty),
        the slot is taken, or `tdigest` is asked for and not installed. Nothing has been written
        then.

    References
    ----------
    .. [1] Theodoris et al., *Transfer learning enables predictions in network biology*,
       Nature 2023.

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> gm.pp.gene_medians(adata, layer="raw")
    >>> print(adata.var["genemamba_median"][["CD3D", "CST3"]].round(1).to_dict())
    {'CD3D': 56.1, 'CST3': 253.1}
    """
    check_slots(adata, key_added, copy=copy, var=[key_added])
    if method not in get_args(Method):
        raise InputError(f"method={method!r} is unknown", "use 'exact' or 'tdigest'")
    counts = read_counts(adata, layer)
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
    if where == "adata.raw.X":  # it has genes that adata has not
        place = var.index.get_indexer(adata.var_names)
        medians = np.where(place >= 0, medians[place], np.nan)
    if copy:
        adata = adata.copy()
    adata.var[key_added] = medians
    entry = {
        "input": where,
        "values": counts.values.kind,
        "values_reason": counts.values.reason,
        "n_cells": counts.n_cells,
        "params": {"method": method, "layer": layer or ""},
    }
    record(adata, key_added, entry)
    return adata if copy else None
