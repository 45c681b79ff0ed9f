from __future__ import annotations

from collections.abc import Callable, Iterator

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.axes import Axes

matplotlib.use("Agg")


@pytest.fixture
def words() -> Callable[[Axes], str]:
    """Read the title of axes without its line breaks."""
    return lambda ax: ax.get_title().replace("\n", " ")


@pytest.fixture(autouse=True)
def _rc_stays_and_figures_go() -> Iterator[None]:
    before = dict(matplotlib.rcParams)
    yield
    plt.close("all")
    assert dict(matplotlib.rcParams) == before


@pytest.fixture
def annotated() -> AnnData:
    """300 cells of three types and an annotation that is right four times in five."""
    rng = np.random.default_rng(0)
    truth = rng.choice(["B", "T", "mono"], 300)
    confidence = rng.uniform(0.4, 1, 300).astype(np.float32)
    guess = np.where(rng.random(300) < 0.8, truth, rng.permutation(truth)).astype(object)
    guess[confidence < 0.45] = "unknown"
    adata = AnnData(obsm={"X_genemamba": rng.normal(size=(300, 8)).astype(np.float32)})
    adata.obsm["X_genemamba"] += (
        3 * np.eye(8, dtype=np.float32)[np.unique(truth, return_inverse=True)[1]]
    )
    adata.obs["cell_type"] = pd.Categorical(truth, categories=["T", "B", "mono", "none has it"])
    adata.obs["batch"] = rng.choice(["x", "y"], 300)
    adata.obs["genemamba_label"] = pd.Categorical(guess)
    adata.obs["genemamba_confidence"] = confidence
    return adata
