"""Scores of several representations of the same cells on one split: arrays only."""

from __future__ import annotations

import warnings
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from genemamba._machine import same_threads
from genemamba._rng import Rng
from genemamba.errors import InputError
from genemamba.metrics import avg_batch, avg_bio, balanced_accuracy, bras, ilisi, macro_f1

Folds: TypeAlias = list[tuple[NDArray[np.intp], NDArray[np.intp]]]
Space: TypeAlias = NDArray[np.float32] | sparse.csr_matrix | sparse.csr_array

N_FOLDS, N_NEIGHBORS = 5, 15
OVER_FOLDS = ("macro_f1", "balanced_accuracy", "knn_accuracy")
SCORES = (*OVER_FOLDS, "avg_bio", "avg_batch", "bras", "ilisi", "scgraph")
Baseline = Literal["random", "scvi", "harmony", "pca", "hvg", "expression"]
TITLES: dict[Baseline, str] = {
    "random": "random weights",
    "scvi": "scVI",
    "harmony": "Harmony",
    "pca": "PCA-50",
    "hvg": "HVG",
    "expression": "expression (LR)",
}
CONTROL, IN_SAMPLE = "control", "label-tuned, in-sample"  # kinds of rows that cannot win


class Split(NamedTuple):
    """Folds, a description of them, and the classes without a training cell in a fold."""

    folds: Folds
    text: str
    unseen: dict[str, list[str]]


def make_split(
    labels: NDArray[Any], groups: NDArray[Any] | None, key: str | None, seed: int
) -> Split:
    """Leave one group out if groups are given, otherwise five folds stratified by label."""
    from sklearn.model_selection import LeaveOneGroupOut, StratifiedKFold

    if groups is not None:
        folds = list(LeaveOneGroupOut().split(labels, groups=groups))
        names, text = [str(groups[test[0]]) for _, test in folds], f"leave one {key} out"
    else:
        if pd.Series(labels).value_counts().max() < N_FOLDS:
            raise InputError(
                f"no class has {N_FOLDS} cells, which {N_FOLDS} folds need",
                "compare on more cells, or on coarser classes",
            )
        splitter = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
        with warnings.catch_warnings():  # about small classes, which `unseen` names
            warnings.simplefilter("ignore", UserWarning)
            folds = list(splitter.split(labels, labels))
        names = [f"fold {i + 1}" for i in range(N_FOLDS)]
        text = f"{N_FOLDS}-fold stratified"
    unseen = {
        name: sorted(map(str, set(labels[test]) - set(labels[train])))
        for name, (train, test) in zip(names, folds, strict=True)
    }
    return Split(folds, text, {name: classes for name, classes in unseen.items() if classes})


@same_threads()
def score(
    X: NDArray[np.float32], labels: NDArray[Any], batch: NDArray[Any] | None, rng: Rng
) -> dict[str, float]:
    """Return the scores of an embedding, with their parts."""
    scores = avg_bio(X, labels, rng=rng, components=True)
    if batch is not None:
        scores |= avg_batch(X, batch, labels, rng=rng, components=True)
        scores |= {"bras": bras(X, batch, labels), "ilisi": ilisi(X, batch, rng=rng)}
    return scores


def over_folds(folds: pd.DataFrame) -> dict[str, float]:
    """Return mean and standard deviation of the scores of each fold."""
    mean, sd = folds.mean(), folds.std()
    return {**mean, **sd.add_suffix("_sd")}


def score_folds(X: Space, labels: NDArray[Any], folds: Folds) -> pd.DataFrame:
    """Classify the held-out cells of each fold by logistic regression and nearest neighbours.

    A sparse matrix is expression: logistic regression only.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    is_space = not sparse.issparse(X)
    scores = []
    for train, test in folds:
        # Genes are not scaled: unit variance would inflate those that hardly any cell expresses.
        scaler = StandardScaler() if is_space else "passthrough"
        linear = make_pipeline(scaler, LogisticRegression(C=1.0, max_iter=1000))
        with threadpool_limits(1):  # its products are too small for threads
            guess = linear.fit(X[train], labels[train]).predict(X[test])
        fold = {
            "macro_f1": macro_f1(labels[test], guess),
            "balanced_accuracy": balanced_accuracy(labels[test], guess),
        }
        if is_space:
            neighbors = KNeighborsClassifier(min(N_NEIGHBORS, len(train)))
            neighbors.fit(X[train], labels[train])
            fold["knn_accuracy"] = float(neighbors.score(X[test], labels[test]))
        scores.append(fold)
    return pd.DataFrame(scores)


def paired(table: pd.DataFrame, by_fold: dict[str, pd.DataFrame]) -> dict[str, pd.Series]:
    """Return the standard deviation, over folds, of the difference to the best row, as columns.

    All rows share the folds, and a hard fold is hard for all: so the standard deviation of the
    differences counts, not that of a row.
    """
    columns = {}
    for name in OVER_FOLDS:
        values = _ranked(table)[name].dropna() if name in table else pd.Series(dtype=float)
        if len(values):
            best = by_fold[values.idxmax()][name]
            gaps = {row: best - own[name] for row, own in by_fold.items() if name in own}
            columns[f"{name}_gap_sd"] = pd.Series({row: gap.std() for row, gap in gaps.items()})
    return columns


def _ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that can win: neither the control nor in-sample scores."""
    return table[~table["kind"].isin([CONTROL, IN_SAMPLE])]


def winners(table: pd.DataFrame) -> pd.DataFrame:
    """Return the winner of each score and the rows tied: within 1 SD of the paired difference."""
    running = _ranked(table)
    rows = {}
    for name in [s for s in SCORES if s in table and running[s].notna().any()]:
        values = running[name].dropna()
        best = str(values.idxmax())
        spread = running.get(f"{name}_gap_sd", pd.Series(0.0, values.index))[values.index]
        tied = values.index[(values[best] - values <= spread) & (values.index != best)]
        higher = table.index[(table[name] > values[best]) & ~table.index.isin(running.index)]
        rows[name] = {"won": best, "score": values[best], "tied": list(tied),
                      "higher, not ranked": list(higher)}  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index")


def as_text(table: pd.DataFrame) -> str:
    """Lay out the scores, mean ± sd over folds, and the winner of each column."""
    shown = table[["kind"]].copy()
    for name in [s for s in SCORES if s in table]:
        shown[name] = table[name].map("{:.3f}".format)
        if f"{name}_sd" in table:
            shown[name] += " ± " + table[f"{name}_sd"].map("{:.3f}".format)
        shown.loc[table[name].isna(), name] = "–"
    lines = [shown.to_string(), "", "won by"]
    tied = "tied (within 1 SD of the paired difference)"
    for name, row in winners(table).iterrows():
        text = f"  {name:<18} {row['won']} {row['score']:.3f}"
        for key, note in {"tied": tied, "higher, not ranked": "higher, not ranked"}.items():
            text += f"; {note}: {', '.join(row[key])}" if row[key] else ""
        lines.append(text)
    return "\n".join(lines)
