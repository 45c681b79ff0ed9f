"""The guard on real cells in every state that users bring them in.

Each case is either read as what it is, or refused with a remedy; a refusal changes nothing.
"""

from __future__ import annotations

import hashlib
import pickle
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData
from scipy import sparse

import genemamba as gm
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.network import GeneMamba
from genemamba.tokens import Sketch

from .users_matrices import BAD, GOOD, logged, per_cell, values, with_layer


def fingerprint(adata: AnnData) -> str:
    parts = [adata.X, adata.obs, adata.var, dict(adata.obsm), dict(adata.layers), dict(adata.uns)]
    parts.append(None if adata.raw is None else adata.raw.X)
    return hashlib.sha256(
        pickle.dumps([p.copy() if hasattr(p, "copy") else p for p in parts])
    ).hexdigest()


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
@pytest.mark.parametrize("case", GOOD)
def test_what_can_be_read_is_read_as_what_it_is(
    pbmc: AnnData, small_model: GeneMamba, case: str
) -> None:
    change, kind = GOOD[case]
    adata = change(pbmc)
    report = gm.pp.check(adata, model=small_model)
    assert report.ok, report
    assert report.values is not None
    assert (report.values.kind, report.values.doubt) == (kind, "")
    assert len(report.cells) == adata.n_obs
    assert len(report.genes) == adata.n_vars
    assert report.genes["share_of_counts"].sum() == pytest.approx(1)


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_refused_with_a_remedy(
    pbmc: AnnData, small_model: GeneMamba, case: str
) -> None:
    change, problem, fix = BAD[case]
    adata = change(pbmc)
    before = fingerprint(adata)
    report = gm.pp.check(adata, model=small_model)
    assert not report.ok
    assert problem in report.problem
    assert fix in report.fix
    with pytest.raises(InputError) as refused:
        gm.tl.embed(adata, model=small_model)
    assert (refused.value.what, refused.value.fix) == (report.problem, report.fix)
    assert fingerprint(adata) == before


def test_enough_cases() -> None:
    assert len(GOOD) + len(BAD) >= 60


def test_the_remedy_works(pbmc: AnnData, small_model: GeneMamba) -> None:
    report = gm.pp.check(with_layer(pbmc), model=small_model)
    assert report.sources == {"counts": "counts"}
    assert gm.pp.check(pbmc, model=small_model, layer="counts").ok
    turned = AnnData(pbmc.layers["counts"], obs=pbmc.obs, var=pbmc.var).T
    assert gm.pp.check(turned.T, model=small_model).ok


def test_counts_elsewhere_and_little_known_are_noted(pbmc: AnnData, small_model: GeneMamba) -> None:
    pbmc.layers["counts"] = pbmc.X.copy()
    pbmc = values(logged(np.e))(pbmc)
    report = gm.pp.check(pbmc, model=small_model)
    assert "counts are available: use layer='counts'" in report.notes
    assert any("only 7" in note and "are known" in note for note in report.notes)
    for text in (str(report), report._repr_html_()):
        assert "log1p" in text
        assert "layer=" in text


def test_rounded_logs_are_doubted(pbmc: AnnData, small_model: GeneMamba) -> None:
    rng = np.random.default_rng(0)  # deep cells: the fixture's have few genes
    share = rng.gamma(0.5, size=(60, 765)) + 1e-3
    deep = rng.poisson(per_cell(share, 8_000)).astype(np.float32)
    for x, doubted in ((deep, False), (np.rint(np.log1p(per_cell(deep, 1e4))), True)):
        report = gm.pp.check(AnnData(x, var=pbmc.var), model=small_model)
        assert report.ok
        assert any("rounded logs" in note for note in report.notes) == doubted
    with pytest.warns(GeneMambaWarning, match="rounded logs"):
        gm.tl.embed(AnnData(x, var=pbmc.var), model=small_model)


def test_shares_are_those_of_a_plain_count(pbmc: AnnData, small_model: GeneMamba) -> None:
    pbmc.var_names = [f"odd{i}" if i % 3 == 0 else n for i, n in enumerate(pbmc.var_names)]
    report = gm.pp.check(pbmc, model=small_model)
    odd = np.array([name.startswith("odd") for name in pbmc.var_names])
    x = pbmc.X
    lost = (x[:, odd] > 0).sum(1) / (x > 0).sum(1)
    np.testing.assert_allclose(report.cells["genes_lost"], lost)
    np.testing.assert_allclose(report.cells["counts_lost"], x[:, odd].sum(1) / x.sum(1))
    assert (report.genes["status"] == "unknown").sum() == odd.sum() == report.gene_status["unknown"]
    np.testing.assert_allclose(report.genes["share_of_counts"], x.sum(0) / x.sum())


@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
def test_stored_zeros_are_not_expressed(pbmc: AnnData, small_model: GeneMamba, layout: Any) -> None:
    pbmc.var_names = [f"odd{i}" if i % 3 == 0 else n for i, n in enumerate(pbmc.var_names)]
    expected = gm.pp.check(pbmc, model=small_model).cells
    stored = layout(pbmc.X + 1)
    stored.data -= 1
    assert stored.nnz == pbmc.X.size
    found = gm.pp.check(AnnData(stored, obs=pbmc.obs, var=pbmc.var), model=small_model).cells
    assert found["genes_lost"].to_numpy() == pytest.approx(expected["genes_lost"].to_numpy())


@pytest.mark.parametrize("n_unknown", [20, 250, 600])
def test_lost_counts_are_said_from_a_tenth_on(
    pbmc: AnnData, small_model: GeneMamba, n_unknown: int
) -> None:
    pbmc.var_names = [f"odd{i}" if i < n_unknown else n for i, n in enumerate(pbmc.var_names)]
    report = gm.pp.check(pbmc, model=small_model)
    much = report.cells["counts_lost"].mean() > 0.1
    assert much == (n_unknown > 20)
    said = "results use only part of each cell"
    assert any(said in note for note in report.notes) == much
    bare = pbmc.copy()
    for call in (
        lambda: gm.tl.embed(pbmc, model=small_model),
        lambda: gm.tl.annotate(
            bare, reference=bare.copy(), label_key="bulk_labels", model=small_model, method="knn"
        ),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call()
        texts = [str(w.message) for w in caught if w.category is GeneMambaWarning]
        assert any(said in text for text in texts) == much


MOUSE: dict[str, tuple[Callable[[str, int], str], Callable[[str, int], str]]] = {
    "ids that are no genes, upper case": (lambda n, i: f"ENSMUSG9{i:010d}", lambda n, i: n),
    "numbers, ids that are no genes": (lambda n, i: str(i), lambda n, i: f"ENSMUSG9{i:010d}"),
}  # fmt: skip


@pytest.mark.parametrize("case", MOUSE)
def test_a_mouse_is_a_mouse_whatever_its_other_columns(
    pbmc: AnnData, small_model: GeneMamba, case: str
) -> None:
    names, column = MOUSE[case]
    pbmc.var["other"] = [column(n, i) for i, n in enumerate(pbmc.var_names)]
    pbmc.var_names = [names(n, i) for i, n in enumerate(pbmc.var_names)]
    report = gm.pp.check(pbmc, model=small_model)
    assert "mouse" in report.problem
    assert "gene_ids=" not in report.fix
    assert small_model.vocab is not None
    pbmc.var["orthologue"] = small_model.vocab.ensembl_id  # these are human for certain
    assert "gene_ids='orthologue'" in gm.pp.check(pbmc, model=small_model).fix


def test_a_column_of_mouse_symbols_is_named(pbmc: AnnData, small_model: GeneMamba) -> None:
    pbmc.var["name"] = [n.title() for n in pbmc.var_names]
    pbmc.var_names = [str(i) for i in range(pbmc.n_vars)]
    assert "use gene_ids='name'" in gm.pp.check(pbmc, model=small_model).fix
    report = gm.pp.check(pbmc, model=small_model, gene_ids="name")
    assert report.organism["name"] == "mouse"
    assert "genes have no human gene as their one-to-one orthologue" in report.rows()["organism"]
    upper = pbmc.copy()
    upper.var_names = [
        f"GM{10_000 + i}" if i % 9 == 0 else n.upper() for i, n in enumerate(pbmc.var["name"])
    ]
    fix = gm.pp.check(upper, model=small_model).fix
    assert "use gene_ids='name'" in fix
    assert "organism='mouse'" in fix


def test_numbered_rows_are_no_mouse(pbmc: AnnData, small_model: GeneMamba) -> None:
    pbmc.var["name"] = pbmc.var_names.to_numpy()
    pbmc.var["chosen"] = [False] * 765
    pbmc.var_names = [f"Gene{i}" for i in range(765)]
    report = gm.pp.check(pbmc, model=small_model)
    assert "the names were lost" in report.problem
    assert "gene_ids='name'" in report.fix


@pytest.mark.parametrize("how", ["backed", "path", "lazy"])
@pytest.mark.filterwarnings("ignore:Writing zarr v2")
def test_cells_that_are_not_in_memory(
    pbmc: AnnData, small_model: GeneMamba, how: str, tmp_path: Path
) -> None:
    pbmc.X = sparse.csr_matrix(pbmc.X)
    pbmc = ad.concat([pbmc] * 3, index_unique="-")
    file = tmp_path / ("cells.zarr" if how == "lazy" else "cells.h5ad")
    pbmc.write_zarr(file) if how == "lazy" else pbmc.write_h5ad(file)
    opened = {
        "backed": lambda: ad.read_h5ad(file, backed="r"),
        "path": lambda: file,
        "lazy": lambda: ad.experimental.read_lazy(file),
    }[how]()
    report = gm.pp.check(opened, model=small_model)
    assert report.ok
    assert len(report.cells) == 1024
    assert "in a sample of 1,024 cells" in str(report)
    assert report.n_cells == 2100


def test_of_scanpys_own_cells() -> None:
    report = gm.pp.check(sc.datasets.pbmc68k_reduced())
    assert not report.ok
    assert report.fix == "adata.raw.X holds log1p values: use layer='raw'"


def test_whether_the_model_was_trained_on_these_cells(
    pbmc: AnnData, small_model: GeneMamba
) -> None:
    said = "training cells"
    assert "no sketch" in gm.pp.check(pbmc, model=small_model).rows()[said]
    counts = sparse.csr_matrix(pbmc.X[:300])
    small_model.sketch = Sketch.of([counts], np.argsort(-counts.getnnz(0))[:100])
    report = gm.pp.check(pbmc, model=small_model)
    assert report.seen is not None
    assert report.seen.found == pytest.approx(300, abs=5)  # of cells with few genes nothing is said
    assert report.seen.looked_up > 650
    assert any("optimistic" in note for note in report.notes)
    unseen = gm.pp.check(pbmc[300:].copy(), model=small_model)
    assert unseen.seen is not None and unseen.seen.found == 0
    assert "none of " in unseen.rows()[said]
    logged = AnnData(np.log1p(per_cell(pbmc.X, 1e4)), var=pbmc.var)
    assert "needs raw counts" in gm.pp.check(logged, model=small_model).rows()[said]
    fewer = pbmc[:, pbmc.var_names != pbmc.var_names[small_model.sketch.genes[0]]].copy()
    assert "1 of the 100 genes" in gm.pp.check(fewer, model=small_model).rows()[said]


def test_how_long_embedding_takes(pbmc: AnnData, small_model: GeneMamba) -> None:
    report = gm.pp.check(pbmc, model=small_model)
    assert 0 < report.seconds < 60
    assert report.rows()["embedding takes"] == "less than half a minute"
    assert (
        replace(report, seconds=90).rows()["embedding takes"] == "about 1 min 30 s on this machine"
    )
