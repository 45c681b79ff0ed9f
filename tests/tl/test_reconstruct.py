from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from anndata import AnnData
from scipy.stats import spearmanr

import genemamba as gm
from genemamba._keys import reconstruction_keys
from genemamba.errors import InputError
from genemamba.network import GeneMamba

SCORES = ("exact_match", "levenshtein", "nld", "bleu", "spearman", "recall", "recall_50")


@pytest.mark.parametrize("protocol", ["masked", "paper", "next"])
def test_every_protocol_writes_scores_and_ranks(
    pbmc: AnnData, small_model: GeneMamba, protocol: str, tmp_path: Path
) -> None:
    before = pbmc.copy()
    gm.tl.reconstruct(pbmc, protocol=protocol, model=small_model, n_cells=12)
    scored = pbmc.obs["genemamba_levenshtein"].notna().to_numpy()
    assert scored.sum() == 12
    for name in SCORES:
        assert pbmc.obs[f"genemamba_{name}"].dtype == np.float32
    record = pbmc.uns["genemamba"]["reconstruct"]
    table = record["table"]
    assert list(table.index) == ["model", "mean ranking", "copy"]
    assert table.loc["model", "bleu"] == pytest.approx(pbmc.obs["genemamba_bleu"].mean(), rel=1e-4)
    tokens = pbmc.obsm["genemamba_reconstruction"]
    assert tokens.dtype == np.int32
    np.testing.assert_array_equal(tokens.getnnz(1) > 0, scored)
    assert record["mean_ranking_of"] == "these cells"
    assert record["cells"] == 12
    np.testing.assert_array_equal(pbmc.X, before.X)
    pbmc.write_h5ad(tmp_path / "x.h5ad")
    read = ad.read_h5ad(tmp_path / "x.h5ad").uns["genemamba"]["reconstruct"]
    assert read["table"].equals(table)


def test_stored_ranks_give_the_score(pbmc: AnnData, small_model: GeneMamba) -> None:
    gm.tl.reconstruct(pbmc, model=small_model, n_cells=5)
    ranks = pbmc.obsm["genemamba_reconstructed_rank"]
    for i in np.flatnonzero(ranks.getnnz(1)):
        row = ranks[i].tocoo()
        expected = spearmanr(row.col, row.data).statistic
        assert pbmc.obs["genemamba_spearman"].iloc[i] == pytest.approx(expected, abs=1e-5)


def test_the_bundled_model_knows_more_than_the_mean_ranking(pbmc: AnnData) -> None:
    gm.tl.reconstruct(pbmc, n_cells=40)
    record = pbmc.uns["genemamba"]["reconstruct"]
    assert record["mean_ranking_of"] == "the training cells"
    table = record["table"]
    for score in ("spearman", "recall_50", "recall"):
        assert table.loc["model", score] > table.loc["mean ranking", score] + 0.03


def test_the_same_seed_hides_the_same_genes(pbmc: AnnData, small_model: GeneMamba) -> None:
    runs = [
        gm.tl.reconstruct(pbmc, model=small_model, n_cells=8, rng=seed, copy=True)
        for seed in (0, 0, 1)
    ]
    first, same, other = (r.obs["genemamba_levenshtein"] for r in runs)
    assert first.equals(same)
    assert not first.equals(other)
    assert "genemamba_bleu" not in pbmc.obs


def test_several_models_stand_side_by_side(pbmc: AnnData, small_model: GeneMamba) -> None:
    gm.tl.reconstruct(pbmc, model=small_model, n_cells=5)
    gm.tl.reconstruct(pbmc, model=small_model, n_cells=5, key_added="mine", protocol="next")
    assert {"genemamba_bleu", "mine_bleu"} <= set(pbmc.obs)
    assert {"reconstruct", "reconstruct_mine"} <= set(pbmc.uns["genemamba"])
    assert reconstruction_keys("mine").rank in pbmc.obsm


def test_cells_without_two_genes_are_left_out(pbmc: AnnData, small_model: GeneMamba) -> None:
    pbmc = pbmc[:6].copy()
    pbmc.X[0] = 0
    gm.tl.reconstruct(pbmc, model=small_model)
    np.testing.assert_array_equal(pbmc.obs["genemamba_bleu"].isna(), [True] + 5 * [False])


BAD = {
    "protocol": ({"protocol": "all"}, "'all' is unknown"),
    "mask": ({"mask_fraction": 0}, "not between 0 and 1"),
    "prefix": ({"prefix_fraction": 1.0}, "not between 0 and 1"),
    "cells": ({"n_cells": 0}, "n_cells=0"),
    "batch": ({"batch_size": 0}, "batch_size=0"),
    "model": ({"model": "genemamba-huge"}, "neither a known checkpoint"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_refused_and_nothing_written(
    pbmc: AnnData, small_model: GeneMamba, what: str
) -> None:
    arguments, message = BAD[what]
    columns = list(pbmc.obs)
    with pytest.raises(ValueError, match=message) as caught:
        gm.tl.reconstruct(pbmc, **({"model": small_model, "n_cells": 3} | arguments))
    assert caught.value.fix
    assert list(pbmc.obs) == columns
    assert not pbmc.obsm
    assert not pbmc.uns


def test_a_taken_slot_is_refused(pbmc: AnnData, small_model: GeneMamba) -> None:
    pbmc.obs["mine_bleu"] = 1
    with pytest.raises(InputError, match="mine_bleu"):
        gm.tl.reconstruct(pbmc, model=small_model, key_added="mine")
