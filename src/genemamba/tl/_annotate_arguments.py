"""Which arguments of ``gm.tl.annotate`` go together."""

from __future__ import annotations

from typing import Any

import pandas as pd
from anndata import AnnData

from genemamba._keys import AnnotationKeys
from genemamba._settings import check_share
from genemamba.cells.labels import full_column
from genemamba.cells.open import is_path
from genemamba.errors import InputError, shown


def check_arguments(
    reference: Any,
    reference_layer: str | None,
    label_key: str | None,
    method: str,
    coverage: float | None,
    recipe: Any,
    folder: Any,
    batch_key: str | None,
    level: Any,
    tissue: Any,
) -> None:
    """Raise if arguments of :func:`genemamba.tl.annotate` contradict each other."""
    if method not in ("auto", "knn", "probe", "finetune"):
        raise InputError(
            f"method={method!r} is unknown", "use 'auto', 'knn', 'probe' or 'finetune'"
        )
    if coverage is not None:
        check_share("coverage", coverage)
    if recipe is not None and method != "finetune":
        raise InputError(f"recipe={recipe!r} needs method='finetune'", "also set method='finetune'")
    if reference is not None or label_key is not None:
        for name, value in (("level", level), ("tissue", tissue)):
            if not (isinstance(value, str) and value == "auto") and value is not None:
                raise InputError(
                    f"{name}={shown(value)} is for the classifier of the checkpoint, but labels "
                    f"come from {'reference' if reference is not None else 'adata'}",
                    f"leave out {name}, or leave out reference and label_key",
                )
    if reference is not None and not is_path(reference):
        if label_key is None:
            have = ", ".join(map(repr, getattr(reference, "obs", pd.DataFrame()))) or "none"
            raise InputError(
                "reference is given without label_key",
                f"say which column of reference.obs holds the labels; its columns are: {have}",
            )
        return
    if reference_layer is not None:
        raise InputError(
            f"reference_layer={reference_layer!r}, but reference is not an AnnData",
            "leave out reference_layer; layer is that of adata",
        )
    if reference is not None and label_key is not None:
        raise InputError(
            f"reference={str(reference)!r} contains labels, but label_key={label_key!r} is given",
            "leave out label_key, or give the labelled AnnData as reference",
        )
    if label_key is None:
        needless = ("method", method), ("folder", folder), ("batch_key", batch_key)
        for name, value in (*needless, *([("coverage", coverage)] if reference is None else [])):
            if value not in ("auto", None):
                raise InputError(
                    f"{name}={value!r}, but there are no labels to fit to",
                    "give label_key, and reference if the labels are those of another AnnData",
                )


def read_groupby(adata: AnnData, groupby: str, keys: AnnotationKeys) -> pd.Series:
    """Return the group of every cell, as text."""
    if isinstance(groupby, str) and groupby in keys.obs:
        raise InputError(
            f"groupby={groupby!r} is a column that annotate itself writes",
            "give a column with clusters, such as 'leiden'",
        )
    return full_column(adata, groupby, "groupby").rename(groupby)
