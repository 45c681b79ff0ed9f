"""What tests of annotations share."""

from __future__ import annotations

from anndata import AnnData

SLOTS = ("genemamba_label", "genemamba_confidence", "genemamba_distance")


def few(halves: tuple[AnnData, AnnData]) -> list[AnnData]:
    """Return less of both, of three types: a probe is fitted to every fold."""
    common = halves[0].obs["bulk_labels"].value_counts().index[:3]
    return [half[half.obs["bulk_labels"].isin(common)][:60].copy() for half in halves]


def without_embedding(adata: AnnData) -> AnnData:
    return AnnData(adata.X, obs=adata.obs, var=adata.var)


def accuracy(adata: AnnData) -> float:
    found, truth = adata.obs["genemamba_label"].astype(str), adata.obs["bulk_labels"].astype(str)
    return float((found == truth).mean())
