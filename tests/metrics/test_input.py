from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import genemamba.metrics as metrics
from genemamba.errors import InputError

BATCH_METRICS = {"asw_batch", "avg_batch", "bras", "isolated_labels"}
# Those of an embedding; the others have files of their own.
ALL = sorted(n for n in metrics.__all__ if "X" in inspect.signature(getattr(metrics, n)).parameters)


def call(name, X, groups, other=None):
    function = getattr(metrics, name)
    if name == "asw_batch":
        return function(X, groups, labels=other)
    return function(X, groups, other) if name in BATCH_METRICS else function(X, groups)


@pytest.mark.parametrize("name", ALL)
def test_nan_cells_are_counted(name, separated):
    X = separated.X.copy()
    X[[3, 7], 2] = np.nan, np.inf
    with pytest.raises(InputError, match=r"2 of 240 cells.*\n.*isfinite"):
        call(name, X, separated.batch, separated.labels)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda g: np.full(len(g), "one"), r"1 distinct value\(s\): \['one'\]"),
        (lambda g: g[:-1], "239 values for 240 cells"),
        (lambda g: pd.Series(g).where(g != g[0]), r"missing \(NaN\) for \d+ of 240 cells"),
        (lambda g: np.arange(len(g)), "a different value for every cell"),
    ],
    ids=["one group", "too short", "missing", "barcodes"],
)
def test_unusable_groups(name, spoil, message, separated):
    with pytest.raises(InputError, match=message):
        call(name, separated.X, spoil(separated.batch), separated.labels)
    if name in BATCH_METRICS:
        with pytest.raises(InputError, match=message):
            call(name, separated.X, separated.batch, spoil(separated.labels))


@pytest.mark.parametrize("name", sorted({*BATCH_METRICS, "ilisi"}))
def test_a_batch_of_one_cell(name, separated):
    batch = separated.batch.astype(object)
    batch[7] = "alone"
    with pytest.raises(InputError, match=r"1 value\(s\) of batch have one cell only, e.g. alone"):
        call(name, separated.X, batch, separated.labels)


@pytest.mark.parametrize("name", ALL)
def test_measurements_and_column_names_are_no_groups(name, separated):
    X, labels, _ = separated
    with pytest.raises(InputError, match=r"holds fractions, e\.g\. 0\.5"):
        call(name, X, np.arange(240) % 7 + 0.5, labels)
    with pytest.raises(InputError, match="AnnData in place of X"):
        call(name, X, "batch", labels)


@pytest.mark.parametrize("name", ALL)
def test_unusable_embeddings(name, separated):
    with pytest.raises(InputError, match=r"shape \(240,\)"):
        call(name, separated.X[:, 0], separated.batch, separated.labels)
    with pytest.raises(InputError, match="toarray"):
        call(name, sp.csr_matrix(separated.X), separated.batch, separated.labels)


@pytest.mark.parametrize("name", ALL)
def test_pandas_and_lists_are_arrays(name, separated):
    X, labels, batch = separated
    plain = call(name, X, batch, labels)
    assert plain == call(
        name, pd.DataFrame(X), pd.Series(batch, dtype="category"), pd.Series(labels).tolist()
    )


@pytest.mark.parametrize("name", ALL)
def test_inputs_are_left_alone(name, separated):
    X, labels, batch = (a.copy() for a in separated)
    for array in (X, labels, batch):
        array.flags.writeable = False
    call(name, X, batch, labels)
    np.testing.assert_array_equal(X, separated.X)


def test_import_is_light():
    heavy = ["torch", "anndata", "scanpy", "jax", "umap", "sklearn", "igraph"]
    code = (
        "import sys, genemamba; base = set(sys.modules); import genemamba.metrics;"
        f"print([h for h in {heavy} if h in sys.modules and h not in base])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
