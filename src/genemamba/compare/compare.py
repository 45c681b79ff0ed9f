"""The public function ``gm.metrics.compare``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from genemamba._keys import ADAPTED, COMPARE, OBSM_EMBEDDING, OBSM_INTEGRATED, recorded
from genemamba._labels import CellTable, full_column
from genemamba._progress import say
from genemamba._rng import Rng, seed_of
from genemamba.cells.record import check_slots, record
from genemamba.compare.baselines import make_baselines
from genemamba.compare.scgraph import scgraph, type_distances
from genemamba.compare.scoreboard import (
    CONTROL,
    IN_SAMPLE,
    SCORES,
    TITLES,
    Baseline,
    Space,
    as_text,
    make_split,
    over_folds,
    paired,
    score,
    score_folds,
    winners,
)
from genemamba.compare.trained import has_scvi, scvi_epochs
from genemamba.errors import InputError
from genemamba.metrics._check import as_embedding, cells_seen, check_groups, slot
from genemamba.models._load import ModelLike


def compare(
    adata: CellTable,
    label_key: str,
    *,
    batch_key: str | None = None,
    split: str | None = None,
    use_rep: str | Sequence[str] | None = None,
    baselines: Sequence[Baseline] | None = None,
    model: ModelLike | None = None,
    layer: str | None = None,
    components: bool = False,
    verbose: bool = True,
    rng: Rng = 0,
) -> pd.DataFrame:
    """Compare an embedding with baselines on the same cells and split, and report who won.

    Rows: the embeddings; ``random weights``, the same architecture untrained; ``PCA-50`` of
    ``HVG``, the 2,000 most variable genes (log1p of counts per 10,000, flavour "seurat", or all
    genes if there are fewer); ``Harmony`` on that PCA, if there are batches; ``scVI`` [1]_ on the
    counts of ``HVG``, if scvi-tools is installed (its defaults; 400 epochs, from 20,000 cells on
    fewer); and ``expression (LR)``, logistic regression on all genes. Baselines are fitted on all
    cells, without labels.

    Scores over folds: logistic regression (C = 1) on the standardised representation, genes
    unscaled (:func:`macro_f1`, :func:`balanced_accuracy`), and accuracy of the 15 nearest
    neighbours; fitted on the training cells alone. On all cells: :func:`avg_bio`, and with
    batches :func:`avg_batch`, :func:`bras`, :func:`ilisi` and ``scgraph`` [2]_, whether cell types
    lie as far from each other as they do within each batch of 100 cells or more.

    ``table.attrs["won"]["avg_bio"]`` names the row with the best clusters. If it is a slot of
    ``obsm``, give it to ``sc.pp.neighbors(adata, use_rep=…)``; baselines are not written.

    Parameters
    ----------
    adata
        Cells with an embedding, and the counts it was computed from.
    label_key
        Column of ``obs`` with the cell type.
    batch_key
        Column of ``obs`` with the batch or donor.
    split
        Column of ``obs`` whose groups are held out one by one; by default `batch_key`; without
        either 5 folds stratified by cell type.
    use_rep
        Slot of ``obsm``, or several, of this package or another; by default those of
        :func:`genemamba.tl.embed` and :func:`genemamba.tl.integrate`.
    baselines
        Some of ``"random"``, ``"scvi"``, ``"harmony"``, ``"pca"``, ``"hvg"``, ``"expression"``; by
        default all that apply: scVI where it is installed and the values are counts.
    model
        Model whose architecture ``random weights`` have; by default the one that ``uns`` names.
    layer
        Layer with counts for the baselines; by default the one that was embedded.
    components
        Also return the parts of AvgBIO and AvgBATCH.
    verbose
        Print the table and the winner of each column.
    rng
        Seed, or generator, of folds, PCA, Harmony, scVI, random weights, neighbour search and
        Leiden.

    Returns
    -------
    Table of rows × scores: means as ``macro_f1``, … and standard deviations over folds as
    ``macro_f1_sd``, …; NaN where a score does not apply. ``macro_f1_gap_sd``, … is the standard
    deviation, over folds, of the difference to the best row: rows within it are tied. ``kind``
    distinguishes ``zero-shot``, ``adapted`` (by a model that :func:`genemamba.tl.adapt` adapted to
    these cells, or to others), ``unsupervised`` (fitted to these cells), ``label-tuned`` (scored
    on cells that the tuning did not see), ``label-tuned, in-sample``, ``given`` (of unknown
    origin), ``baseline``, ``trained on these cells`` and ``control``; in-sample rows and the
    control cannot win. ``attrs`` holds the row that ``won`` each score, the split, and the classes
    without a training cell in a fold (each scores 0 there). Also writes

    ``adata.uns["genemamba"]["compare"]``
        The table and how it was computed, for :func:`genemamba.pl.compare`.

    Raises
    ------
    InputError
        A slot or column that does not exist; labels that are missing, one class, or measurements;
        a batch of one cell; values that are not counts; a model that is not recorded. Nothing has
        been written then.

    References
    ----------
    .. [1] Lopez et al., *Deep generative modeling for single-cell transcriptomics*, Nature Methods
       2018.
    .. [2] Wang, Leskovec and Regev, *Limitations of cell embedding metrics assessed using drifting
       islands*, Nature Biotechnology 2025.

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
    check_slots(adata, OBSM_EMBEDDING, OBSM_EMBEDDING, obsm=[OBSM_EMBEDDING])
    seed = seed_of(rng)
    reps = _embeddings(adata, use_rep)
    wanted = _choose(baselines, batch_key)
    spaces: dict[str, Space] = {key: as_embedding(slot(adata, key)) for key in reps}
    keys = {"label_key": label_key, "batch_key": batch_key, "split": split or batch_key}
    cells = pd.DataFrame({k: full_column(adata, v, k).astype(str) for k, v in keys.items() if v})
    _check(cells[_finite(spaces)])
    plain, logged = make_baselines(
        adata, wanted, batch=cells.get("batch_key"), use_rep=reps, model=model, layer=layer,
        seed=seed, spare=baselines is None,
    )  # fmt: skip
    trained = f"trained on these cells, {scvi_epochs(len(cells))} epochs"
    kinds = dict.fromkeys(plain, "baseline")
    kinds |= {TITLES["random"]: CONTROL, TITLES["scvi"]: trained}
    spaces |= plain
    keep = _finite(spaces)  # cells without a known gene have no embedding: left out of every row
    kinds |= {key: _kind(adata, key, label_key, keep) for key in reps}
    cells = cells[keep]
    _check(cells)
    arrays = {name: cells[name].to_numpy(dtype=object) for name in cells}
    labels, batch, groups = arrays["label_key"], arrays.get("batch_key"), arrays.get("split")
    folds, text, unseen = make_split(labels, groups, keys["split"], seed)
    reference = None  # distances of types, for scGraph
    if batch is not None and logged is not None:
        reference = type_distances(logged[keep], labels, batch, seed)
    rows, by_fold = {}, {}
    for title, X in spaces.items():
        X = X[keep]
        by_fold[title] = score_folds(X, labels, folds)
        scores = over_folds(by_fold[title])
        if not sparse.issparse(X):  # a sparse matrix is expression, not an embedding
            scores |= score(X, labels, batch, seed)
            if reference is not None:
                scores["scgraph"] = scgraph(X, labels, reference)
        if not components:
            scores = {k: v for k, v in scores.items() if k.removesuffix("_sd") in SCORES}
        rows[title] = {"kind": kinds[title], **scores}
    table = pd.DataFrame.from_dict(rows, orient="index")
    table = table.assign(**paired(table, by_fold))
    about = {
        "label_key": label_key,
        "batch_key": batch_key or "",
        "split": text,
        "folds": len(folds),
        "types": cells["label_key"].nunique(),
        "cells": len(cells),
        "cells_without_embedding": int((~keep).sum()),
    }
    record(adata, COMPARE, {"table": table, **about})
    table.attrs = about | {"unseen": unseen, "won": dict(winners(table).get("won", {}))}
    if verbose:
        say(as_text(table))
    return table


def _embeddings(adata: CellTable, use_rep: str | Sequence[str] | None) -> list[str]:
    """Return the slots to score: those named, or the embedding and the integrated one."""
    if use_rep is None:
        return [key for key in (OBSM_EMBEDDING, OBSM_INTEGRATED) if key in adata.obsm] or [
            OBSM_EMBEDDING
        ]
    named = [use_rep] if isinstance(use_rep, str) else list(use_rep)
    if not named:
        raise InputError("use_rep names no embedding", "give a slot of obsm, or several")
    for name in named:
        if name in TITLES.values():
            raise InputError(
                f"use_rep={name!r} is also the name of a baseline's row",
                f"copy it: adata.obsm['X_own'] = adata.obsm[{name!r}], and give use_rep='X_own'",
            )
    return named


def _choose(names: Sequence[Baseline] | None, batch_key: str | None) -> list[Baseline]:
    """Return the baselines in the order of the table."""
    names = cast("list[Baseline]", [names]) if isinstance(names, str) else names
    if names is None:
        applies = {"harmony": bool(batch_key), "scvi": has_scvi()}
        return [name for name in TITLES if applies.get(name, True)]
    if unknown := [name for name in names if name not in TITLES]:
        raise InputError(
            f"baselines={unknown[0]!r} is unknown",
            f"choose from {', '.join(map(repr, TITLES))}; pass an embedding in obsm as use_rep",
        )
    if "harmony" in names and not batch_key:
        raise InputError(
            "baselines includes 'harmony', which corrects for batches, without batch_key",
            "pass batch_key, or leave out 'harmony'",
        )
    if "scvi" in names and not has_scvi():
        raise InputError(
            "baselines includes 'scvi', and scvi-tools is not installed",
            "pip install scvi-tools, or leave out 'scvi'",
        )
    return [name for name in TITLES if name in names]


def _check(cells: pd.DataFrame) -> None:
    for name in cells:
        check_groups(cells[name], len(cells), name, least=1 if name == "label_key" else 2)


def _finite(spaces: dict[str, Space]) -> NDArray[np.bool_]:
    dense = [X for X in spaces.values() if not sparse.issparse(X)]
    return np.all([np.isfinite(X).all(axis=1) for X in dense], axis=0)


def _kind(adata: CellTable, key: str, label_key: str, scored: NDArray[np.bool_]) -> str:
    """Say what an embedding had seen of these cells and labels."""
    entry = recorded(adata, key)
    if entry.get("label_tuned"):
        return IN_SAMPLE if cells_seen(adata, key, label_key)[scored].any() else "label-tuned"
    if ADAPTED in entry:
        return "adapted"
    if "batch_key" in {*entry, *entry.get("params", {})}:
        return "unsupervised"
    return "zero-shot" if "model" in entry else "given"
