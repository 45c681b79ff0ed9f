"""Representations of the same cells, scored on one split: the array core of ``compare``."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from genemamba._machine import same_threads
from genemamba.errors import InputError
from genemamba.metrics._avg_batch import avg_batch
from genemamba.metrics._avg_bio import avg_bio
from genemamba.metrics._balanced_accuracy import balanced_accuracy
from genemamba.metrics._bras import bras
from genemamba.metrics._ilisi import ilisi
from genemamba.metrics._macro_f1 import macro_f1

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    Folds: TypeAlias = list[tuple[NDArray[np.intp], NDArray[np.intp]]]
    Space: TypeAlias = NDArray[np.float32] | sparse.csr_matrix | sparse.csr_array

N_FOLDS, N_NEIGHBORS = 5, 15
OVER_FOLDS = ("macro_f1", "balanced_accuracy", "knn_accuracy")
SCORES = (*OVER_FOLDS, "avg_bio", "avg_batch", "bras", "ilisi")
Baseline = Literal["random", "harmony", "pca", "hvg", "expression"]
TITLES: dict[Baseline, str] = {
    "random": "random weights",
    "harmony": "Harmony",
    "pca": "PCA-50",
    "hvg": "HVG",
    "expression": "expression (LR)",
}
CONTROL, IN_SAMPLE = "control", "label-tuned, in-sample"  # kinds of rows that cannot win


class Split(NamedTuple):
    """Folds, what they are in words, and the classes that the training cells of a fold lack."""

    folds: Folds
    text: str
    unseen: dict[str, list[str]]


def make_split(
    labels: NDArray[Any], groups: NDArray[Any] | None, key: str | None, seed: int
) -> Split:
    """Leave one group out where groups are known, else five folds stratified by label."""
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
        with warnings.catch_warnings():  # of small classes: `unseen` says what follows of them
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
    X: Space,
    labels: NDArray[Any],
    batch: NDArray[Any] | None,
    over_folds: pd.DataFrame,
    *,
    components: bool,
    seed: int,
) -> dict[str, float]:
    """Return every column of one row. A sparse matrix is expression: only classified, no space."""
    row = {name: float(over_folds[name].mean()) for name in over_folds}
    row |= {f"{name}_sd": float(over_folds[name].std()) for name in over_folds}
    if hasattr(X, "toarray"):
        return row
    row |= avg_bio(X, labels, rng=seed, components=True)
    if batch is not None:
        row |= avg_batch(X, batch, labels, rng=seed, components=True)
        row |= {"bras": bras(X, batch, labels), "ilisi": ilisi(X, batch, rng=seed)}
    return row if components else {k: row[k] for k in row if k.removesuffix("_sd") in SCORES}


def score_folds(X: Space, labels: NDArray[Any], folds: Folds) -> pd.DataFrame:
    """Classify the held-out cells of each fold by logistic regression and by neighbours."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    is_space = not hasattr(X, "toarray")
    scores = []
    for train, test in folds:
        # Genes are not scaled: unit variance would blow up those that hardly any cell expresses.
        scaler = StandardScaler() if is_space else "passthrough"
        linear = make_pipeline(scaler, LogisticRegression(C=1.0, max_iter=1000))
        with threadpool_limits(1):  # its products are small: threads only wait for each other
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


def paired(table: pd.DataFrame, over_folds: dict[str, pd.DataFrame]) -> dict[str, pd.Series]:
    """Return of each score over folds how far the gap to the best row varies, as a column.

    All rows share the folds, and what makes a fold hard makes it so for all: the standard deviation
    of the differences counts, not that of a row.
    """
    columns = {}
    for name in OVER_FOLDS:
        values = _ranked(table)[name].dropna() if name in table else pd.Series(dtype=float)
        if len(values):
            best = over_folds[values.idxmax()][name]
            gaps = {title: best - own[name] for title, own in over_folds.items() if name in own}
            columns[f"{name}_gap_sd"] = pd.Series({title: gap.std() for title, gap in gaps.items()})
    return columns


def _ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that can win: neither the control nor those that know the answer."""
    return table[~table["kind"].isin([CONTROL, IN_SAMPLE])]


def winners(table: pd.DataFrame) -> pd.DataFrame:
    """Say of each score which row won, and which are tied: within 1 SD of the paired difference."""
    running = _ranked(table)
    rows = {}
    for name in [s for s in SCORES if s in table]:
        values = running[name].dropna()
        if values.empty:
            continue
        best = str(values.idxmax())
        spread = running.get(f"{name}_gap_sd", pd.Series(0.0, values.index))[values.index]
        tied = values.index[(values[best] - values <= spread) & (values.index != best)]
        higher = table.index[(table[name] > values[best]) & ~table.index.isin(running.index)]
        rows[name] = {"won": best, "score": values[best], "tied": list(tied),
                      "higher, not ranked": list(higher)}  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index")


def as_text(table: pd.DataFrame) -> str:
    """Lay out the scores, mean ± sd where there are folds, and who won each column."""
    shown = table[["kind"]].copy()
    for name in [s for s in SCORES if s in table]:
        shown[name] = table[name].map("{:.3f}".format)
        if f"{name}_sd" in table:
            shown[name] += " ± " + table[f"{name}_sd"].map("{:.3f}".format)
        shown.loc[table[name].isna(), name] = "–"
    lines = [shown.to_string(), "", "won by"]
    for name, row in winners(table).iterrows():
        text = f"  {name:<18} {row['won']} {row['score']:.3f}"
        if row["tied"]:
            text += f"; tied (within 1 SD of the paired difference): {', '.join(row['tied'])}"
        if row["higher, not ranked"]:
            text += f"; higher, not ranked: {', '.join(row['higher, not ranked'])}"
        lines.append(text)
    return "\n".join(lines)
