from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import genemamba as gm
from genemamba import cli
from genemamba.network import GeneMamba

pytestmark = [pytest.mark.usefixtures("no_umap"),
              pytest.mark.filterwarnings("ignore::genemamba.errors.GeneMambaWarning")]  # fmt: skip


def test_build_map_and_search(
    pbmc: AnnData, small_model: GeneMamba, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    small_model.save_pretrained("model")
    pbmc[:100].write_h5ad("map.h5ad")
    pbmc[100:120].write_h5ad("in.h5ad")
    build = ["build-map", "map.h5ad", "--model", "model"]
    assert cli.main([*build, "--out", "m", "--label-key", "bulk_labels", "--keep", "batch"]) == 0
    assert capsys.readouterr().out.startswith("ReferenceMap 'm': 100 cells")
    own = ["--map", "m", "--model", "model"]

    assert cli.main(["map", "in.h5ad", "out.h5ad", *own, "--k", "9", "--correct"]) == 0
    assert "out.h5ad: 20 cells, obsm['X_umap_reference'], obs['genemamba_map_label']" in (
        capsys.readouterr().out
    )
    expected = ad.read_h5ad("in.h5ad")
    gm.tl.map(expected, "m", model="model", k=9, correct=True)
    pd.testing.assert_frame_equal(ad.read_h5ad("out.h5ad").obs, expected.obs)

    search = ["search", "in.h5ad", *own, "--k", "4", "--groupby", "batch"]
    assert cli.main([*search, "--exclude", "batch=a", "--out", "found.csv"]) == 0
    assert "found.csv: 8 cells found, one a row" in capsys.readouterr().out
    table = pd.read_csv("found.csv")
    found = gm.tl.search(ad.read_h5ad("in.h5ad"), "m", model="model", k=4, groupby="batch",
                         exclude={"batch": "a"})  # fmt: skip
    np.testing.assert_allclose(table["distance"], found.cells["distance"], rtol=1e-5)
    assert set(table["batch"]) == {"b"}
    for wrong, said in (
        (["--exclude", "batch"], "has no '='"),
        (["--out", "nowhere/found.csv"], "there is no folder nowhere"),
        (["--map", "nowhere"], "there is no map and no folder 'nowhere'"),
    ):
        assert cli.main([*search, *wrong]) == 1
        assert said in capsys.readouterr().err

    assert cli.main([*build, "--out", "bare"]) == 0  # without labels
    assert cli.main(["map", "in.h5ad", "bare.h5ad", "--map", "bare", "--model", "model"]) == 0
    assert capsys.readouterr().out.endswith("bare.h5ad: 20 cells, obsm['X_umap_reference']\n")
    assert cli.main(["search", "nowhere.h5ad", *own]) == 1
    assert "there is no file nowhere.h5ad" in capsys.readouterr().err
