"""Vectors of cells by scVI, run by an interpreter that has it: `adapt --scvi PYTHON`.

    python _scvi.py FOLDER

Reads counts and batches from FOLDER and writes `latent.npy`: the mean latent vector of each cell.
The rest are the defaults of scvi-tools: 400 epochs up to 20,000 cells.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
from scipy import sparse
from scvi import settings
from scvi.model import SCVI


def main() -> None:
    """Train scVI and write what it makes of the cells."""
    folder = Path(sys.argv[1])
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    cells = ad.AnnData(sparse.load_npz(folder / "counts.npz").tocsr())
    batches = json.loads((folder / "batches.json").read_text())
    if batches:
        cells.obs["batch"] = batches
    settings.seed = 0
    SCVI.setup_anndata(cells, batch_key="batch" if batches else None)
    model = SCVI(cells)
    model.train(enable_progress_bar=False)
    np.save(folder / "latent.npy", model.get_latent_representation())


if __name__ == "__main__":
    main()
