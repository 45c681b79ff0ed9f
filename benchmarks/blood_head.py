"""Fit the label head that comes with genemamba-mini: nine types of blood cells.

    python benchmarks/blood_head.py --data ../shared/data --out CHECKPOINT

Labels are those of the three sets of Kang et al. 2018 (PBMC of eight lupus patients, resting and
stimulated with interferon), brought to common names. They are one study on three gene panels: each
set is held out in turn to choose the penalty and the temperature, because what the head will meet
was measured otherwise. What counts as familiar is set on unlabelled PBMC of four other studies of
the training corpus: cells of these belong to the pool that a cell is compared with,
and the limit is the 95 % quantile of the distance from a study to the pool without it, the median
over the studies.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np

import genemamba as gm
from genemamba.heads import LabelHead, Reference, fit_head, write_head
from genemamba.heads.head import FAMILIAR
from genemamba.network import GeneMamba

NAMES = {
    "B cell": ("B", "B Activated", "B cells"),
    "CD14+ monocyte": ("CD14 Mono", "CD14+ Mono", "CD14+ Monocytes"),
    "CD16+ monocyte": ("CD16 Mono", "FCGR3A+ Mono", "FCGR3A+ Monocytes"),
    "CD4 T cell": ("CD4 Naive T", "CD4 Memory T", "CD4 T", "CD4 T cells"),
    "CD8 T cell": ("CD8 T", "CD8 T cells"),
    "NK cell": ("NK", "NK cells"),
    "dendritic cell": ("DC", "Dendritic cells"),
    "megakaryocyte": ("Mk", "Megakaryocytes"),
    "plasmacytoid dendritic cell": ("pDC",),
}
OLD = {old: new for new, olds in NAMES.items() for old in olds}  # others are left out
FAMILIAR_FILES = (
    "covid_pbmc_gse149689",
    "pbmc_10studies_unlabelled",
    "pbmc_donorA_unlabelled",
    "pbmc_hao1000_unlabelled",
)
LABELLED_KEPT, FAMILIAR_KEPT = 1000, 500  # cells in the pool: of Kang, and of each study


def vectors(adata: ad.AnnData, model: GeneMamba) -> np.ndarray:
    return gm.tl.embed(adata, model=model, copy=True).obsm["X_genemamba"]


def labelled(folder: Path, model: GeneMamba) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return embedding, common name and set of the cells of Kang et al."""
    parts = []
    for name in ("kang_ifnb2800", "kang_merged_9015g", "kang_ctrl_8donors"):
        adata = ad.read_h5ad(folder / f"{name}.h5ad")
        keep = adata.obs["cell_type"].isin(OLD)
        if "from" in adata.obs:
            keep &= adata.obs["from"] != "ifnb2800"  # these are in the first set
        adata = adata[keep.to_numpy()].copy()
        types = adata.obs["cell_type"].astype(str).map(OLD).to_numpy(dtype=str)
        parts.append((vectors(adata, model), types, np.full(adata.n_obs, name)))
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def familiar(folder: Path, model: GeneMamba, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the embedding of some cells of every other study."""
    studies = []
    for name in FAMILIAR_FILES:
        adata = ad.read_h5ad(folder / f"{name}.h5ad")
        if "sample" in adata.obs:  # these two are not counts
            adata = adata[~adata.obs["sample"].astype(str).str.startswith(("SCP345", "SCP591"))]
        chosen = np.sort(rng.choice(adata.n_obs, FAMILIAR_KEPT, replace=False))
        adata = adata[chosen].copy()
        adata.var_names_make_unique()
        studies.append(vectors(adata, model))
    return studies


def limit(kang: np.ndarray, studies: list[np.ndarray]) -> float:
    """Return the distance beyond which a cell is unknown."""
    limits = []
    for i, study in enumerate(studies):
        pool = np.concatenate([kang, *studies[:i], *studies[i + 1 :]])
        away = Reference(pool, np.full(len(pool), -1), 0).mean_distance(study)
        limits.append(float(np.quantile(away, FAMILIAR)))
        print(f"{FAMILIAR_FILES[i]}: {FAMILIAR:.0%} of its cells lie within {limits[-1]:.2f}")
    return float(np.median(limits))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with bench/ and corpus/")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    model = gm.models.load(args.out)
    X, types, sets = labelled(args.data / "bench", model)
    classes, codes = np.unique(types, return_inverse=True)
    head = fit_head(X, codes, tuple(classes.tolist()), "probe", groups=sets, rng=rng)
    kept = np.sort(rng.choice(len(X), LABELLED_KEPT, replace=False))
    studies = familiar(args.data / "corpus", model, rng)
    pool = np.concatenate([X[kept], *studies])
    codes = np.concatenate([codes[kept], np.full(len(pool) - len(kept), -1)])
    info = head.info | {
        "model_sha256": model.provenance["sha256"],
        "source": "Kang et al. 2018 (GSE96583), three sets, labels of their authors",
    }
    head = replace(
        head,
        reference=Reference(pool, codes, len(classes)),
        farthest=limit(X[kept], studies),
        info=info,
    )
    write_head(head, args.out / "labels", half=True)
    report(head)


def report(head: LabelHead) -> None:
    """Print what was fitted."""
    for name, value in {"classes": ", ".join(head.classes), **head.info}.items():
        print(f"{name}: {value}")
    print(f"temperature: {head.temperature:.2f}\nunknown beyond: {head.farthest:.2f}")


if __name__ == "__main__":
    main()
