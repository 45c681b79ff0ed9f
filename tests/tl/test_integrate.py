from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import genemamba as gm
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.network import GeneMamba

KEY = "X_genemamba_integrated"


@pytest.fixture
def cells(pbmc: AnnData) -> AnnData:
    """Real cells; in the second half a third of the genes were caught six times as well."""
    rng = np.random.default_rng(0)
    better = rng.random(pbmc.n_vars) < 1 / 3
    second = np.flatnonzero(pbmc.obs["batch"] == "b")
    pbmc.X[np.ix_(second, np.flatnonzero(better))] *= 6
    return pbmc


def neighbours(X: np.ndarray) -> np.ndarray:
    distance = ((X[:, None] - X[None]) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    return distance.argsort(1)[:, :10]


def mixing_and_types(adata: AnnData, X: np.ndarray) -> tuple[float, float]:
    """Share of neighbours from the other batch, and of the cell's own type."""
    near = neighbours(X.astype(np.float64))
    batch, types = (adata.obs[k].to_numpy(str) for k in ("batch", "bulk_labels"))
    other = float((batch[near] != batch[:, None]).mean())
    return other, float((types[near] == types[:, None]).mean())


def test_batches_mix_and_types_stay(cells: AnnData) -> None:
    cells = cells[:300].copy()
    gm.tl.embed(cells, max_tokens=128)
    gm.tl.integrate(cells, "batch", max_tokens=128)
    mixed_before, types_before = mixing_and_types(cells, cells.obsm["X_genemamba"])
    mixed, types = mixing_and_types(cells, cells.obsm[KEY])
    assert mixed_before < 0.45
    assert mixed > 0.5
    assert types > types_before - 0.02


def test_what_is_written(cells: AnnData, small_model: GeneMamba) -> None:
    before = cells.copy()
    assert gm.tl.integrate(cells, "batch", model=small_model) is None
    assert list(cells.obsm) == [KEY]
    assert list(cells.uns) == ["genemamba"]
    assert np.array_equal(cells.X, before.X)
    pd.testing.assert_frame_equal(cells.obs, before.obs)
    X = cells.obsm[KEY]
    assert X.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(X, axis=1), 1, rtol=1e-5)
    entry = cells.uns["genemamba"][KEY]
    assert entry["params"]["batch_key"] == "batch"
    assert entry["vocabulary_sha256"] == small_model.vocab.sha256
    assert list(entry["batches"]) == ["a", "b"]
    assert sum(entry["dimensions"].values()) == X.shape[1]
    assert entry["cells_split"] == 700
    assert not entry["embedding_reused"]
    assert "label_tuned" not in entry


def test_the_seed_decides(cells: AnnData, small_model: GeneMamba) -> None:
    cells = cells[:200].copy()
    runs = [gm.tl.integrate(cells, "batch", model=small_model, rng=seed, copy=True).obsm[KEY]
            for seed in (0, 0, 1)]  # fmt: skip
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])
    assert not cells.obsm and not cells.uns


def test_an_embedding_of_the_same_model_is_used(
    cells: AnnData, small_model: GeneMamba, tmp_path: Path
) -> None:
    small_model.save_pretrained(tmp_path / "model")
    model = str(tmp_path / "model")
    cells = cells[:200].copy()
    anew = gm.tl.integrate(cells, "batch", model=model, copy=True)
    gm.tl.embed(cells, model=model)
    gm.tl.integrate(cells, "batch", model=model)
    assert cells.uns["genemamba"][KEY]["embedding_reused"]
    np.testing.assert_array_equal(cells.obsm[KEY], anew.obsm[KEY])
    gm.tl.integrate(cells, "batch", model=model, max_tokens=100)
    assert not cells.uns["genemamba"][KEY]["embedding_reused"]
    gm.tl.integrate(cells, "batch", model=small_model)  # no file, no hash: not known to be the same
    assert not cells.uns["genemamba"][KEY]["embedding_reused"]


def test_tuning_on_labels_says_what_it_saw(cells: AnnData, small_model: GeneMamba) -> None:
    types = cells.obs["bulk_labels"].astype(str)
    hidden = np.random.default_rng(0).random(cells.n_obs) < 0.4
    cells.obs["some"] = types.mask(hidden)
    plain = gm.tl.integrate(cells, "batch", model=small_model, copy=True).obsm[KEY]
    gm.tl.integrate(cells, "batch", label_key="some", model=small_model)
    tuned, entry = cells.obsm[KEY], cells.uns["genemamba"][KEY]
    assert tuned.shape == (700, types.nunique() - 1)
    assert entry["label_tuned"]["label_key"] == "some"
    assert list(entry["label_tuned"]["cells"]) == cells.obs_names[~hidden].tolist()
    right = [(types.to_numpy()[neighbours(X)] == types.to_numpy()[:, None])[hidden].mean()
             for X in (plain, tuned)]  # fmt: skip
    assert right[1] > right[0]


def test_whole_numbers_are_labels(cells: AnnData, small_model: GeneMamba) -> None:
    cells.obs["cluster"] = (cells.obs["bulk_labels"] == "Dendritic").astype(float)
    gm.tl.integrate(cells, "batch", label_key="cluster", model=small_model)
    assert cells.obsm[KEY].shape == (700, 1)


def test_cells_without_genes_are_nan(cells: AnnData, small_model: GeneMamba) -> None:
    cells.X[[3, 9]] = 0
    with pytest.warns(GeneMambaWarning, match=cells.obs_names[9]):
        gm.tl.integrate(cells, "batch", label_key="bulk_labels", model=small_model)
    nan = np.isnan(cells.obsm[KEY]).any(axis=1)
    assert np.flatnonzero(nan).tolist() == [3, 9]
    seen = cells.uns["genemamba"][KEY]["label_tuned"]["cells"]
    assert len(seen) == 698


def test_logged_values_give_nearly_the_same(cells: AnnData, small_model: GeneMamba) -> None:
    expected = gm.tl.integrate(cells, "batch", model=small_model, copy=True).obsm[KEY]
    size = cells.X.sum(1, keepdims=True)
    cells.X = np.log1p(cells.X / size * 1e4)
    with pytest.warns(GeneMambaWarning, match="log was undone"):
        gm.tl.integrate(cells, "batch", model=small_model)
    same = [len({*a} & {*b}) for a, b in zip(neighbours(expected), neighbours(cells.obsm[KEY]),
                                             strict=True)]  # fmt: skip
    assert np.mean(same) > 4  # of 10 neighbours; halves of other counts were drawn


def test_it_survives_writing(cells: AnnData, small_model: GeneMamba, tmp_path: Path) -> None:
    gm.tl.integrate(cells, "batch", label_key="bulk_labels", model=small_model)
    cells.write_h5ad(tmp_path / "a.h5ad")
    read = ad.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(read.obsm[KEY], cells.obsm[KEY])
    entry = read.uns["genemamba"][KEY]
    assert list(entry["label_tuned"]["cells"]) == cells.obs_names.tolist()
    assert entry["dimensions"] == cells.uns["genemamba"][KEY]["dimensions"]


def bad(adata: AnnData) -> None:
    """Add columns that cannot be used."""
    n, types = adata.n_obs, adata.obs["bulk_labels"].astype(str)
    adata.obs["one"] = "x"
    adata.obs["gap"] = np.where(np.arange(n) == 5, None, adata.obs["batch"])
    adata.obs["single"] = np.where(np.arange(n) == 5, "c", adata.obs["batch"])
    adata.obs["confounded"] = np.where(types.str.startswith("CD4"), "x", "y")
    adata.obs["measured"] = np.linspace(0, 1, n)
    adata.obsm["X_pca"] = np.zeros((n, 2))


@pytest.mark.parametrize(
    ("batch_key", "options", "said"),
    [
        ("donor", {}, "batch_key='donor' is not a column"),
        ("one", {}, "names one batch"),
        ("gap", {}, r"missing \(NaN\) for 1 of 700"),
        ("single", {}, "batch 'c' has one cell"),
        ("batch", {"label_key": "type"}, "label_key='type' is not a column"),
        ("batch", {"label_key": "one"}, "1 different labels"),
        ("batch", {"label_key": "single"}, "label 'c' has one cell"),
        ("batch", {"label_key": "measured"}, "measurements, not labels"),
        ("confounded", {"label_key": "bulk_labels"}, "confounded"),
        ("batch", {"label_key": "batch"}, "confounded"),
        ("batch", {"key_added": "X_pca"}, "X_pca"),
        ("batch", {"layer": "scaled"}, "layer='scaled'"),
    ],
)
def test_refused_before_anything_is_written(
    pbmc: AnnData, small_model: GeneMamba, batch_key: str, options: dict, said: str
) -> None:
    bad(pbmc)
    with pytest.raises(InputError, match=said):
        gm.tl.integrate(pbmc, batch_key, model=small_model, **options)
    assert list(pbmc.obsm) == ["X_pca"]
    assert not pbmc.uns


def test_a_batch_without_genes_is_refused(pbmc: AnnData, small_model: GeneMamba) -> None:
    pbmc.X[pbmc.obs["batch"] == "b"] = 0
    with pytest.raises(InputError, match="fewer than 2 cells of a batch of 'batch'"):
        gm.tl.integrate(pbmc, "batch", model=small_model)
    assert not pbmc.obsm and not pbmc.uns


CALLS = """
import numpy as np, pandas as pd, torch, genemamba as gm
from anndata import AnnData
from scipy import sparse
genes = gm.models.vocabulary("genemamba-mini").ensembl_id[:2100].astype(str)
rate = np.random.default_rng(0).gamma(0.3, 0.3, 2100)
counts = np.random.default_rng(1).poisson(rate, (60, 2100)).astype(np.float32)
adata = AnnData(sparse.csr_matrix(counts), var=pd.DataFrame(index=genes))
adata.obs["batch"] = ["x", "y"] * 30
before = torch.get_num_threads()
{call}
print(before, torch.get_num_threads())
"""


@pytest.mark.parametrize(
    "call",
    [
        "gm.tl.integrate(adata, 'batch', max_tokens=20)",
        "adata.obsm['X'] = counts[:, :5]; "
        "gm.metrics.compare(adata, 'batch', use_rep='X', baselines=['hvg'], verbose=False)",
    ],
)
def test_torch_keeps_its_threads(call: str) -> None:
    """In a process of its own: numba takes all cores when it first runs in parallel."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    environment.pop("NUMBA_NUM_THREADS", None)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CALLS.format(call=call)],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["1", "1"]


@pytest.mark.parametrize("none", ["", "nan", " "])
def test_empty_labels_and_batches_are_missing(
    cells: AnnData, small_model: GeneMamba, none: str
) -> None:
    cells = cells[:200].copy()
    types = cells.obs["bulk_labels"].astype(object)
    types[types.map(types.value_counts()) < 2] = None
    cells.obs["type"] = types.where(np.arange(200) % 4 > 0, none)
    gm.tl.integrate(cells, "batch", label_key="type", model=small_model)
    seen = cells.uns["genemamba"][KEY]["label_tuned"]["cells"]
    assert not set(seen) & set(cells.obs_names[::4])
    cells.obs["lab"] = cells.obs["batch"].astype(object).where(np.arange(200) > 2, none)
    with pytest.raises(InputError, match=r"missing \(NaN\) for 3 of 200"):
        gm.tl.integrate(cells, "lab", model=small_model)
