"""Which labels are none."""

from __future__ import annotations

import numpy as np
import pandas as pd

_NONE = ["", "nan", "NaN", "None", "<NA>"]


def missing(values: pd.Series) -> np.ndarray:
    """Say of each label whether it is missing.

    NaN, None, NA; or text that is empty or what these become when a column is turned into text:
    files of R and of AnnData keep "" for missing labels.
    """
    none = values.isna().to_numpy()
    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return none
    names = pd.Series(pd.unique(values.astype(object)), dtype=object)
    empty = names[names.astype(str).str.strip().isin(_NONE)]
    return none | values.astype(object).isin(empty).to_numpy()
