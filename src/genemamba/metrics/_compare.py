from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from genemamba._keys import COMPARE, OBSM_EMBEDDING
from genemamba._progress import say
from genemamba.errors import InputError
from genemamba.metrics._check import as_embedding, check_batches, check_groups
from genemamba.metrics._from_anndata import cells_seen, column, provenance, slot
from genemamba.metrics._scoreboard import (
    CONTROL,
    IN_SAMPLE,
    TITLES,
    as_text,
    make_split,
    paired,
    score,
    score_folds,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genemamba._baselines import ModelLike
    from genemamba.metrics._from_anndata import CellTable
    from genemamba.metrics._scoreboard import Baseline, Space


def compare(
    adata: CellTable,
    label_key: str,
    batch_key: str | None = None,
    *,
    split: str | None = None,
    use_rep: str | Sequence[str] = OBSM_EMBEDDING,
    baselines: Sequence[Baseline] | None = None,
    model: ModelLike | None = None,
    layer: str | None = None,
    components: bool = False,
    verbose: bool = True,
    rng: int = 0,
) -> pd.DataFrame:
    """Set an embedding beside plain baselines on the same cells and split, and say who won.

    Rows: the embeddings; ``random weights``, the same architecture untrained; ``PCA-50`` of
    ``HVG``, the 2,000 highly variable genes (log1p of counts per 10,000, flavour "seurat", all
    genes where there are fewer); ``Harmony`` on that PCA, where there are batches; and
    ``expression (LR)``, logistic regression on all genes. Baselines are fitted on all cells,
    without labels.

    Scores over folds: logistic regression (C = 1) on the standardised representation, genes
    unscaled (:func:`macro_f1`, :func:`balanced_accuracy`), and accuracy of the 15 nearest
    neighbours; fitted on the training cells alone. On all cells: :func:`avg_bio`, and with
    batches :func:`avg_batch`, :func:`bras` and :func:`ilisi`.

    Parameters
    ----------
    adata
        Cells with an embedding, and the counts it was made of.
    label_key
        Column of ``obs`` with the cell type.
    batch_key
        Column of ``obs`` with the batch or donor.
    split
        Column of ``obs`` whose groups are held out one by one; else `batch_key`; without either
        5 folds stratified by cell type.
    use_rep
        Slot of ``obsm``, or several.
    baselines
        Some of ``"random"``, ``"harmony"``, ``"pca"``, ``"hvg"``, ``"expression"``; else all that
        apply.
    model
        Model to take the architecture of ``random weights`` from; else the one that ``uns`` names.
    layer
        Layer with counts for the baselines; else the one the embedding was made of.
    components
        Return the parts of AvgBIO and AvgBATCH too.
    verbose
        Print the table and who won each column.
    rng
        Seed of folds, PCA, Harmony, random weights, neighbour search and Leiden.

    Returns
    -------
    Table of rows × scores: means as ``macro_f1``, … and standard deviations over folds as
    ``macro_f1_sd``, …; NaN where a score does not apply. ``macro_f1_gap_sd``, … is the standard
    deviation, over folds, of the difference to the best row: rows within it are tied. ``kind``
    tells ``zero-shot`` from ``unsupervised`` (fitted to these cells), ``label-tuned`` (scored on
    cells that the tuning did not see), ``label-tuned, in-sample``, ``given`` (of unknown origin),
    ``baseline`` and ``control``; in-sample rows and the control cannot win. ``attrs`` holds the
    split, and the classes that no training cell of a fold shows (each scores 0 there). Also writes

    ``adata.uns["genemamba"]["compare"]``
        The table and how it came about, for :func:`genemamba.pl.compare`.

    Raises
    ------
    InputError
        A slot or column that is not there; labels that are missing, one class, or numbers; a
        batch of one cell; values that are no counts; a model that is not recorded. Nothing has
        been written then.

    Examples
    --------
    >>> import genemamba as gm, scanpy as sc
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> plain = ["pca", "hvg"]
    >>> table = gm.metrics.compare(
    ...     adata, "bulk_labels", use_rep="X_pca", layer="raw", baselines=plain, verbose=False
    ... )
    >>> list(table.index)
    ['X_pca', 'PCA-50', 'HVG']
    """
    from genemamba._baselines import make_baselines
    from genemamba.cells.record import check_slots, record

    check_slots(adata, OBSM_EMBEDDING, obsm=[OBSM_EMBEDDING])
    reps = [use_rep] if isinstance(use_rep, str) else list(use_rep)
    wanted = _choose(baselines, batch_key)
    spaces: dict[str, Space] = {key: as_embedding(slot(adata, key)) for key in reps}
    cells = _read(adata, label_key, batch_key, split)
    _check(cells[_finite(spaces)])
    plain = make_baselines(
        adata, wanted, batch=cells.get("batch"), use_rep=reps, model=model, layer=layer, seed=rng
    )
    kinds = dict.fromkeys(plain, "baseline") | {TITLES["random"]: CONTROL}
    spaces |= plain
    keep = _finite(spaces)  # a cell without a known gene has no embedding: no row is scored on it
    kinds |= {key: _kind(adata, key, label_key, keep) for key in reps}
    cells = cells[keep]
    _check(cells)
    arrays = {name: cells[name].to_numpy(dtype=object) for name in cells}
    labels, batch = arrays["labels"], arrays.get("batch")
    folds, text, unseen = make_split(labels, arrays.get("groups"), split or batch_key, rng)
    kept = {title: X[keep] for title, X in spaces.items()}
    over_folds = {title: score_folds(X, labels, folds) for title, X in kept.items()}
    table = pd.DataFrame.from_dict(
        {
            title: {"kind": kinds[title]}
            | score(X, labels, batch, over_folds[title], components=components, seed=rng)
            for title, X in kept.items()
        },
        orient="index",
    )
    table = table.assign(**paired(table, over_folds))
    about = {
        "label_key": label_key,
        "batch_key": batch_key or "",
        "split": text,
        "folds": len(folds),
        "types": cells["labels"].nunique(),
        "cells": len(cells),
        "cells_without_embedding": int((~keep).sum()),
    }
    record(adata, COMPARE, {"table": table, **about})
    table.attrs = about | {"unseen": unseen}
    if verbose:
        say(as_text(table))
    return table


def _choose(names: Sequence[Baseline] | None, batch_key: str | None) -> list[Baseline]:
    """Return the baselines in the order of the table."""
    if names is None:
        return [name for name in TITLES if batch_key or name != "harmony"]
    if unknown := [name for name in names if name not in TITLES]:
        raise InputError(
            f"baselines names {unknown[0]!r}, which is unknown",
            f"choose from {', '.join(map(repr, TITLES))}; an embedding in obsm goes into use_rep",
        )
    if "harmony" in names and not batch_key:
        raise InputError(
            "baselines names 'harmony', which corrects for batches, without batch_key",
            "give batch_key, or leave it out",
        )
    return [name for name in TITLES if name in names]


def _read(
    adata: CellTable, label_key: str, batch_key: str | None, split: str | None
) -> pd.DataFrame:
    """Return labels, batch and the groups to hold out, as far as they are named."""
    cells = pd.DataFrame({"labels": column(adata, label_key, "label_key")})
    if batch_key:
        cells["batch"] = cells["groups"] = column(adata, batch_key, "batch_key")
    if split:
        cells["groups"] = column(adata, split, "split")
    return cells


def _check(cells: pd.DataFrame) -> None:
    check_groups(cells["labels"], len(cells), "label_key")
    for name in ("batch", "groups"):
        if name in cells:
            check_batches(cells[name], len(cells), {"batch": "batch_key", "groups": "split"}[name])


def _finite(spaces: dict[str, Space]) -> NDArray[np.bool_]:
    dense = [X for X in spaces.values() if not hasattr(X, "toarray")]
    return np.all([np.isfinite(X).all(axis=1) for X in dense], axis=0)


def _kind(adata: CellTable, key: str, label_key: str, scored: NDArray[np.bool_]) -> str:
    """Say what an embedding had seen of these cells and labels."""
    record = provenance(adata, key)
    if record.get("label_tuned"):
        return IN_SAMPLE if cells_seen(adata, key, label_key)[scored].any() else "label-tuned"
    if "batch_key" in {*record, *record.get("params", {})}:
        return "unsupervised"
    return "zero-shot" if "model" in record else "given"
