"""Representations that another package trains on the cells themselves."""

from __future__ import annotations

import importlib.util
import logging
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

_EPOCHS, _CELLS = 400, 20_000  # fewer epochs for more cells, as scvi-tools does by default


def has_scvi() -> bool:
    """Whether scvi-tools is installed; it is not imported."""
    return importlib.util.find_spec("scvi") is not None


def scvi_epochs(n_cells: int) -> int:
    """Return the number of epochs that scVI is trained for."""
    return max(1, round(_EPOCHS * min(1, _CELLS / n_cells)))


def train_scvi(
    counts: sparse.csr_matrix, batch: NDArray[Any] | None, seed: int
) -> NDArray[np.float32]:
    """Train scVI with its defaults on counts, and return the mean latent vector of each cell."""
    with _quiet_and_apart():
        from scvi import settings
        from scvi.model import SCVI

        cells = AnnData(counts, pd.DataFrame(index=np.arange(counts.shape[0]).astype(str)))
        if batch is not None:
            cells.obs["batch"] = pd.Categorical(batch)
        before, settings.seed = settings.seed, seed
        try:
            SCVI.setup_anndata(cells, batch_key=None if batch is None else "batch")
            model = SCVI(cells)
            model.train(max_epochs=scvi_epochs(cells.n_obs), enable_progress_bar=False)
            return np.asarray(model.get_latent_representation(), dtype=np.float32)
        finally:
            settings.seed = before


@contextmanager
def _quiet_and_apart() -> Iterator[None]:
    """Silence notes on hardware, and keep the random numbers of the process: scVI seeds them."""
    drawn, numpys = random.getstate(), np.random.get_state()  # noqa: NPY002
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        random.setstate(drawn)
        np.random.set_state(numpys)  # noqa: NPY002
