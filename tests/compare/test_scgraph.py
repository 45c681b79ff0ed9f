from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from genemamba._expression import log_normalised
from genemamba.compare.scgraph import scgraph, type_distances


@pytest.fixture
def cells(pbmc: AnnData) -> AnnData:
    """Three batches, one of them too small and one without two of the types; log-normalised."""
    rng = np.random.default_rng(0)
    batch = rng.choice(["a", "b", "c"], pbmc.n_obs, p=[0.5, 0.4, 0.1])
    labels = pbmc.obs["bulk_labels"].astype(str).to_numpy()
    batch[np.isin(labels, ["Dendritic", "CD56+ NK"]) & (batch == "b")] = "a"
    logged = log_normalised(sparse.csr_matrix(pbmc.X, dtype=float))
    obs = pd.DataFrame({"batch": batch, "type": labels}, index=pbmc.obs_names)
    return AnnData(logged, obs, pbmc.var[[]])


def theirs(cells: AnnData, spaces: dict[str, np.ndarray], folder: Path) -> pd.Series:
    """The score by the authors' package."""
    package = pytest.importorskip("scgraph", reason="scgraph-eval comes with benchmarks")
    cells.obsm.update(spaces)
    cells.write_h5ad(folder / "cells.h5ad")
    judge = package.scGraph(folder / "cells.h5ad", "batch", "type", only_umap=False)
    quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with quiet[0], quiet[1], warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return judge.main(list(spaces))["Corr-Weighted"].astype(float)


def test_it_is_that_of_the_authors(cells: AnnData, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    x = cells.X.toarray()
    spaces = {
        "expression": x[:, :200],
        "half": x[:, :60] + rng.normal(size=(700, 60)),
        "noise": rng.normal(size=(700, 8)),
    }
    labels, batch = cells.obs["type"].to_numpy(object), cells.obs["batch"].to_numpy(object)
    reference = type_distances(cells.X, labels, batch, 0)
    assert reference is not None
    found = {name: scgraph(x, labels, reference) for name, x in spaces.items()}
    expected = theirs(cells, spaces, tmp_path)
    assert found == pytest.approx(expected.to_dict(), abs=2e-3)
    assert found["expression"] > 0.6 > found["noise"]


def test_small_batches_say_nothing(cells: AnnData) -> None:
    labels = cells.obs["type"].to_numpy(object)
    assert type_distances(cells.X, labels, np.arange(700) // 70, 0) is None


def test_one_type_has_no_distance(cells: AnnData) -> None:
    one = np.full(700, "T", dtype=object)
    reference = type_distances(cells.X, one, np.zeros(700), 0)
    assert np.isnan(scgraph(cells.X.toarray(), one, reference))


def test_a_batch_that_expresses_nothing_is_left_out(pbmc):
    logged, labels = (
        log_normalised(sparse.csr_matrix(pbmc.X)),
        pbmc.obs["bulk_labels"].astype(str).to_numpy(),
    )
    batch = np.repeat(["a", "b"], 350)
    alone = type_distances(logged[:350], labels[:350], batch[:350], 0)
    logged[350:] = 0
    logged.eliminate_zeros()
    both = type_distances(logged, labels, batch, 0)
    pd.testing.assert_frame_equal(both.loc[alone.index, alone.columns], alone)
