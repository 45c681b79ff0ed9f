from __future__ import annotations

import inspect
import re
import warnings

import numpy as np
import pytest

import genemamba.metrics as metrics
from genemamba.errors import GeneMambaWarning, InputError

COLUMNS = {"labels": "cell_type", "batch": "batch"}


def groups(name):
    """The group arguments of a metric, in their order."""
    return [p for p in inspect.signature(getattr(metrics, name)).parameters if p in COLUMNS]


OF_EMBEDDINGS = sorted(
    n for n in metrics.__all__ if "X" in inspect.signature(getattr(metrics, n)).parameters
)
WITH_LABELS = [n for n in OF_EMBEDDINGS if "labels" in groups(n)]


def score(name, X, columns, **options):
    """Call a metric as its signature says: what it can do without goes by keyword."""
    parameters = inspect.signature(getattr(metrics, name)).parameters
    given = {g: columns[g] for g in groups(name)}
    needed = [given.pop(g) for g in groups(name) if parameters[g].default is parameters[g].empty]
    return getattr(metrics, name)(X, *needed, **given, **options)


def call(name, table, **options):
    return score(name, table, COLUMNS, **options)


def arrays_of(table):
    return {name: table.obs[key].to_numpy() for name, key in COLUMNS.items()}


@pytest.mark.parametrize("name", OF_EMBEDDINGS)
def test_gives_what_the_arrays_give(name, table):
    before = repr(table)
    for rep in ("X_genemamba", "X_other"):
        expected = score(name, table.obsm[rep], arrays_of(table))
        assert call(name, table, use_rep=rep) == expected
    assert call(name, table) == score(name, table.obsm["X_genemamba"], arrays_of(table))
    assert repr(table) == before


@pytest.mark.parametrize("name", OF_EMBEDDINGS)
def test_what_is_not_there_is_said_with_what_is(name, table):
    with pytest.raises(InputError, match=r"no 'X_scVI'; it has 'X_genemamba', 'X_other'"):
        call(name, table, use_rep="X_scVI")
    del table.obsm["X_genemamba"]
    with pytest.raises(InputError, match=r"gm\.tl\.embed\(adata\)"):
        call(name, table)
    with pytest.raises(InputError, match=r"gm\.tl\.integrate"):
        call(name, table, use_rep="X_genemamba_integrated")
    table.obs = table.obs.rename(columns={"cell_type": "ct", "batch": "b"})
    with pytest.raises(InputError, match=r"is not a column of adata\.obs; it has 'ct', 'b'"):
        call(name, table, use_rep="X_other")


@pytest.mark.parametrize("name", WITH_LABELS)
def test_labels_that_are_none(name, table):
    names = table.obs["cell_type"].astype(object)
    table.obs["cell_type"] = names.astype("category").cat.codes + 0.5
    with pytest.raises(InputError, match=r"holds fractions.*measurements.*\n.*pandas\.cut"):
        call(name, table)
    table.obs["cell_type"] = names.where(names != "B")
    with pytest.raises(InputError, match=r"missing \(NaN\) for \d+ of 240 cells.*\n.*notna"):
        call(name, table)
    table.obs["cell_type"] = "one"
    with pytest.raises(InputError, match="1 distinct value"):
        call(name, table)


@pytest.mark.parametrize("name", OF_EMBEDDINGS)
@pytest.mark.parametrize("kind", ["int8", "float32", "Int64", "category"])
def test_whole_numbers_are_names(name, kind, table):
    expected = call(name, table)
    for key in COLUMNS.values():
        codes = np.unique(table.obs[key], return_inverse=True)[1]
        table.obs[key] = codes.astype("int64" if kind == "category" else kind.lower())
        table.obs[key] = table.obs[key].astype(kind)
    assert call(name, table) == pytest.approx(expected)
    arrays = {name: table.obs[key] for name, key in COLUMNS.items()}
    assert score(name, table.obsm["X_genemamba"], arrays) == pytest.approx(expected)


def test_an_array_in_place_of_a_column(table):
    with pytest.raises(InputError, match="labels is a Series"):
        metrics.asw_label(table, table.obs["cell_type"])


def tuned(table, label_key, cells):
    """Say that the embedding was tuned with these labels of these cells."""
    entry = {"label_tuned": {"label_key": label_key, "cells": np.array(cells, dtype=str)}}
    table.uns["genemamba"] = {"X_genemamba": entry}
    return table


@pytest.mark.parametrize("name", WITH_LABELS)
def test_an_embedding_tuned_with_the_labels_warns_once(name, table):
    tuned(table, "cell_type", table.obs_names[:100])
    with pytest.warns(GeneMambaWarning, match=r"tuned .* on 100 of these 240 cells") as said:
        seen = call(name, table)
    assert len(said) == 1
    assert seen == score(name, table.obsm["X_genemamba"], arrays_of(table))


def test_the_warning_points_to_the_caller(table):
    with pytest.warns(GeneMambaWarning) as said:
        metrics.asw_label(tuned(table, "cell_type", table.obs_names), "cell_type")
    assert said[0].filename == __file__


def test_only_then(table):
    with warnings.catch_warnings():
        warnings.simplefilter("error", GeneMambaWarning)
        metrics.asw_label(tuned(table, "other_labels", table.obs_names), "cell_type")
        tuned(table, "cell_type", table.obs_names[:100])
        metrics.asw_label(table, "cell_type", use_rep="X_other")
        metrics.asw_label(table, "batch")
        metrics.ilisi(table, "batch")  # knows no labels
        metrics.avg_bio(table[100:].copy(), "cell_type")


@pytest.mark.parametrize("none", ["", "nan", "  ", "<NA>"])
def test_empty_text_is_no_label(table, none):
    table.obs["cell_type"] = np.where(np.arange(len(table.obs)) % 2, "a", none).astype(object)
    with pytest.raises(InputError, match=r"is missing \(NaN\)") as caught:
        call("asw_label", table)
    mask = re.search(r"adata\[(.*)\]\.copy", caught.value.fix)[1]
    assert set(table.obs["cell_type"][eval(mask, {"adata": table})]) == {"a"}
