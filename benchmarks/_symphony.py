"""Label transfer by symphonypy, run by an interpreter that has it: `map --peers PYTHON`.

    python _symphony.py FOLDER

Reads counts, labels, batches and splits from FOLDER; writes labels, neighbours and seconds of each
split. The steps are those of its documentation: 2,000 variable genes, scaled, 30 principal
components, Harmony over the batches of the map, map_embedding with the batches of the query, and
transfer_labels_kNN, all with their defaults; and the labels and neighbours of the query before it
was corrected, on the same components. A map of one batch has no Harmony: map_embedding then makes
soft clusters of it.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import scanpy as sc
import symphonypy as sp
from scipy import sparse
from sklearn.neighbors import NearestNeighbors


def normalised(X: sparse.csr_matrix, genes: list[str], known: dict[str, np.ndarray]) -> ad.AnnData:
    """Return log-normalised cells."""
    adata = ad.AnnData(X)
    adata.var_names = genes
    for name, values in known.items():
        adata.obs[name] = values
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return adata


def build(cells: ad.AnnData) -> tuple[ad.AnnData, str]:
    """Return the map, and the slot of its vectors."""
    several = cells.obs["batch"].nunique() > 1
    if cells.n_vars > 2000:
        sc.pp.highly_variable_genes(cells, n_top_genes=2000, batch_key="batch" if several else None)
    else:
        cells.var["highly_variable"] = True
    cells.raw = cells
    own = cells[:, cells.var["highly_variable"]].copy()
    sc.pp.scale(own, max_value=10)
    sc.pp.pca(own, n_comps=min(30, own.n_obs - 1, own.n_vars - 1), zero_center=False)
    if several:
        sp.pp.harmony_integrate(own, key="batch")
    return own, "X_pca_harmony" if several else "X_pca"


def main() -> None:
    """Lay the query of each split on its map."""
    folder = Path(sys.argv[1])
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    X = sparse.load_npz(folder / "counts.npz").tocsr()
    about = json.loads((folder / "about.json").read_text())
    known = {name: np.array(about[name]) for name in ("cell_type", "batch")}
    genes = [f"gene {i}" for i in range(X.shape[1])]
    for i, split in enumerate(about["splits"]):
        train, test = (np.array(cells) for cells in split)
        begun = time.perf_counter()
        reference, basis = build(
            normalised(X[train], genes, {name: values[train] for name, values in known.items()})
        )
        query = normalised(X[test], genes, {"batch": known["batch"][test]})
        several = len(set(known["batch"][test])) > 1
        sp.tl.map_embedding(query, reference, key="batch" if several else None)
        found = {"seconds": time.perf_counter() - begun}
        near = NearestNeighbors(n_neighbors=30).fit(reference.obsm[basis])
        for row, of_query in (("symphony", "X_pca_harmony"), ("plain", "X_pca_reference")):
            sp.tl.transfer_labels_kNN(
                query, reference, "cell_type", ref_basis=basis, query_basis=of_query
            )
            found[f"{row}.label"] = query.obs["cell_type"].to_numpy(str)
            found[f"{row}.neighbours"] = near.kneighbors(query.obsm[of_query])[1]
        np.savez(folder / f"{i}.npz", **found)


if __name__ == "__main__":
    main()
