"""True and predicted cell types, by the same names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from itertools import islice

import numpy as np
import pandas as pd
from anndata import AnnData

from genemamba._keys import OBS_LABEL
from genemamba.cells.labels import UNKNOWN, column, full_column
from genemamba.errors import InputError, shown
from genemamba.pl._style import class_order

MOST_COMPARED = 100  # of the labels, to find similar names of predictions


def predictions(
    adata: AnnData, label_key: str, pred_key: str, mapping: Mapping[str, str] | None
) -> pd.DataFrame:
    """Return truth, guess and confidence (NaN if there is none) of the cells that were predicted.

    The truth is renamed by `mapping`. Labels that were given, not predicted, have no confidence.
    """
    if pred_key not in adata.obs and pred_key == OBS_LABEL:
        raise InputError(f"adata.obs has no {pred_key!r}", "make it first: gm.tl.annotate(adata)")
    guess = full_column(adata, pred_key, "pred_key")
    key = pred_key.removesuffix("_label") + "_confidence"
    confidence = adata.obs.get(key, pd.Series(np.nan, adata.obs_names))
    predicted = confidence.notna().to_numpy() if key in adata.obs else np.full(adata.n_obs, True)
    truth = full_column(adata[predicted], label_key, "label_key")
    if not predicted.any():
        raise InputError(
            f"adata.obs[{key!r}] is missing (NaN) for every cell: none was predicted",
            "annotate cells without a label",
        )
    if mapping is not None:
        _check_mapping(mapping, column(adata, label_key, "label_key").dropna(), label_key)
        truth = _renamed(truth, mapping)
    _require_shared_name(truth, guess[predicted], label_key, pred_key)
    parts = {"truth": truth, "guess": guess[predicted], "confidence": confidence[predicted]}
    return pd.DataFrame({name: values.array for name, values in parts.items()}, truth.index)


def _check_mapping(mapping: Mapping[str, str], labels: pd.Series, label_key: str) -> None:
    if not isinstance(mapping, Mapping):
        raise InputError(
            f"mapping is {shown(mapping)}", "give a dict: mapping={'label': 'prediction'}"
        )
    known = sorted({*labels.astype(str)})
    for label, name in mapping.items():
        if label not in known:
            near = " or ".join(map(repr, _nearest(str(label), known, 3)))
            raise InputError(
                f"mapping renames {shown(label)}, which is not a label in adata.obs[{label_key!r}]",
                f"did you mean {near}?" if near else f"rename some of {', '.join(known)}",
            )
        if not isinstance(name, str):
            raise InputError(
                f"mapping renames {label!r} to {shown(name)}", "give the name of a cell type"
            )


def _renamed(truth: pd.Series, mapping: Mapping[str, str]) -> pd.Series:
    """Rename labels; they keep their order, and several can become one."""
    new = {name: mapping.get(name, name) for name in class_order(truth)}
    order = list(dict.fromkeys(new.values()))
    return pd.Series(pd.Categorical(truth.astype(str).map(new), order), truth.index)


def _require_shared_name(truth: pd.Series, guess: pd.Series, label_key: str, pred_key: str) -> None:
    """Refuse labels and predictions in different words: all would count as wrong."""
    labels, names = (sorted({*values.astype(str)} - {UNKNOWN}) for values in (truth, guess))
    if not labels or not names or {*labels} & {*names}:
        return
    near = ((label, _nearest(label, names, 1)) for label in labels[:MOST_COMPARED])
    pairs = [(label, found[0]) for label, found in islice((n for n in near if n[1]), 3)]
    fix = (
        f"give the prediction that each label means, mapping={{{labels[0]!r}: …}}, or the column "
        "of predictions as pred_key"
    )
    if pairs:
        fix = f"did you mean to map {pairs[0][0]!r} to {pairs[0][1]!r}? Give mapping={{"
        fix += ", ".join(f"{label!r}: {name!r}" for label, name in pairs) + ", …}"
    raise InputError(
        f"adata.obs[{label_key!r}] and adata.obs[{pred_key!r}] have no name in common: true cell "
        f"types are {_few(labels)}, predicted ones {_few(names)}",
        fix,
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (", …" if len(names) > 3 else "")


def _nearest(name: str, names: Sequence[str], n: int) -> list[str]:
    """Return up to `n` names that share most words with this one, otherwise most letters.

    Of letters alone, "CD19+ B" would be closer to "CD8 T cell" than to "B cell".
    """
    own = _words(name)
    like = {o: len(own & words) / len(own | words) for o in names if own & (words := _words(o))}
    return sorted(like, key=lambda o: -like[o])[:n] or difflib.get_close_matches(
        name, names, n, cutoff=0.75
    )


def _words(name: str) -> set[str]:
    return {*re.findall(r"[^\W_]+", name.lower())} - {"cell", "cells"}
