"""Cells in one modality of several."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import mudata
import numpy as np
import pytest
from anndata import AnnData
from mudata import MuData

import genemamba as gm
from genemamba.errors import InputError
from genemamba.network import GeneMamba

if hasattr(mudata, "set_options"):  # what it sets is the default from 0.4 on
    mudata.set_options(pull_on_update=False)


@pytest.fixture
def two(pbmc: AnnData) -> MuData:
    protein = AnnData(np.ones((700, 3)), obs=pbmc.obs[[]])
    protein.var_names = ["CD3", "CD4", "CD19"]
    return MuData({"rna": pbmc, "prot": protein})


def test_results_are_those_of_the_modality(
    two: MuData, pbmc: AnnData, small_model: GeneMamba, tmp_path: Path
) -> None:
    alone = gm.tl.embed(pbmc, model=small_model, copy=True)
    copy = gm.tl.embed(two, model=small_model, copy=True)
    assert isinstance(copy, MuData)
    assert "X_genemamba" not in two["rna"].obsm
    assert gm.tl.embed(two, model=small_model, mod="rna") is None
    for mdata in (copy, two):
        np.testing.assert_array_equal(mdata["rna"].obsm["X_genemamba"], alone.obsm["X_genemamba"])
        assert "genemamba" in mdata["rna"].uns
        assert not mdata["prot"].obsm
    gm.pp.rank_tokenize(two, model=small_model)
    assert "genemamba_tokens" in two["rna"].obsm
    assert gm.pp.check(two, model=small_model).ok
    gm.tl.embed(two, model=small_model, out=tmp_path / "out.zarr")
    assert ad.read_zarr(tmp_path / "out.zarr").n_obs == 700


def test_a_modality_that_is_not_there(two: MuData, pbmc: AnnData, small_model: GeneMamba) -> None:
    with pytest.raises(InputError, match="one of 'rna', 'prot'"):
        gm.tl.embed(two, model=small_model, mod="atac")
    with pytest.raises(InputError, match="leave out mod"):
        gm.tl.embed(pbmc, model=small_model, mod="rna")
    del two.mod["rna"]
    two.mod["adt"] = two["prot"].copy()
    with pytest.raises(InputError, match="one of 'prot', 'adt'"):
        gm.tl.embed(two, model=small_model)
