"""The main job on real cells that come with scanpy: embed, neighbours, UMAP, Leiden."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # a picture in a file, no window

import matplotlib.pyplot as plt
import scanpy as sc
from anndata import AnnData
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from genemamba import tl
from genemamba._keys import OBSM_EMBEDDING, UNS
from genemamba.errors import GeneMambaWarning

LABELS = "bulk_labels"


def demo(out: Path) -> None:
    """Embed and cluster 700 blood cells; print a table and write a UMAP picture to `out`."""
    adata = sc.datasets.pbmc68k_reduced()
    start = time.perf_counter()
    with warnings.catch_warnings():  # the table reports that raw is logged
        warnings.simplefilter("ignore", GeneMambaWarning)
        tl.embed(adata, layer="raw")
    seconds = time.perf_counter() - start
    entry = adata.uns[UNS][OBSM_EMBEDDING]
    print(f"\n{adata.n_obs} blood cells of scanpy's pbmc68k_reduced, model {entry['model']}")
    print(f"  input       {entry['input']}: {entry['values']} values, log undone")
    print(f"  genes       {entry['genes_known']} of {entry['genes']} known to the model, "
          f"{entry['counts_lost']:.1%} of counts lost")  # fmt: skip
    print(f"  embedding   obsm[{OBSM_EMBEDDING!r}], {adata.n_obs} × "
          f"{adata.obsm[OBSM_EMBEDDING].shape[1]}, {seconds:.1f} s on {entry['device']} "
          f"in {entry['precision']}\n")  # fmt: skip
    print(
        f"  Leiden clusters against {adata.obs[LABELS].nunique()} labels   clusters    ARI    NMI"
    )
    _agreement(adata, OBSM_EMBEDDING, "leiden_genemamba", "genemamba, zero-shot")
    _agreement(adata, "X_pca", "leiden_pca", "PCA of these cells")
    print(f"\n  picture     {_picture(adata, out)}\n")


def _agreement(adata: AnnData, rep: str, key: str, title: str) -> None:
    sc.pp.neighbors(adata, use_rep=rep, key_added=rep)
    sc.tl.leiden(
        adata, neighbors_key=rep, key_added=key, flavor="igraph", n_iterations=2, directed=False
    )
    labels, clusters = adata.obs[LABELS], adata.obs[key]
    print(f"  {title:<36}{clusters.nunique():>8}"
          f"{adjusted_rand_score(labels, clusters):>10.3f}"
          f"{normalized_mutual_info_score(labels, clusters):>7.3f}")  # fmt: skip


def _picture(adata: AnnData, out: Path) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    sc.tl.umap(adata, neighbors_key=OBSM_EMBEDDING)
    figure, axes = plt.subplots(1, 2, figsize=(13, 4.5), layout="constrained")
    for ax, key, title in zip(
        axes,
        (LABELS, "leiden_genemamba"),
        ("labels of the data set", "Leiden clusters"),
        strict=True,
    ):
        sc.pl.umap(adata, color=key, ax=ax, show=False, title=title, frameon=False)
    figure.suptitle("GeneMamba embedding of pbmc68k_reduced")
    path = out / "demo_umap.png"
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
