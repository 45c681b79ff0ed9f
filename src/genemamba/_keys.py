"""Every AnnData slot this package writes."""

from __future__ import annotations

from typing import NamedTuple

OBSM_EMBEDDING = "X_genemamba"
"""``obsm``: one vector per cell."""
OBSM_INTEGRATED = "X_genemamba_integrated"
"""``obsm``: one vector per cell, batches mixed."""
OBSM_TOKENS = "genemamba_tokens"
"""``obsm``: the ranked genes of each cell."""
UNS = "genemamba"
"""``uns``: a record for every slot written, under the slot's name."""
COMPARE = "compare"
"""In the record in ``uns``: the table of ``gm.metrics.compare``."""
PERTURB = "perturb"
"""In the record in ``uns``: the tables of ``gm.tl.perturb``; its slots begin with it."""
OBSM_PERTURB_COSINE, OBSM_PERTURB_EUCLIDEAN = f"{PERTURB}_cosine", f"{PERTURB}_euclidean"
"""``obsm``: cells × perturbations, how far each cell moved."""
ATTRIBUTION = "attribution"
"""``layers`` and ``varm``: what each gene added, in each cell and in the mean of a group."""
ANNOTATION = "genemamba"
"""What the names of an annotation's slots begin with."""


class AnnotationKeys(NamedTuple):
    """The slots of one annotation."""

    label: str
    confidence: str
    distance: str
    proba: str
    sets: str
    record: str

    @property
    def obs(self) -> tuple[str, ...]:
        """Columns of ``obs``."""
        return self.label, self.confidence, self.distance

    @property
    def obsm(self) -> tuple[str, ...]:
        """Tables of ``obsm``."""
        return self.proba, self.sets


def annotation_keys(prefix: str) -> AnnotationKeys:
    """Name the slots of the annotation that begins with `prefix`."""
    return AnnotationKeys(
        label=f"{prefix}_label",
        confidence=f"{prefix}_confidence",
        distance=f"{prefix}_distance",
        proba=f"{prefix}_proba",
        sets=f"{prefix}_sets",
        record="annotate" if prefix == ANNOTATION else f"annotate_{prefix}",
    )


OBS_LABEL, OBS_CONFIDENCE, OBS_DISTANCE, OBSM_PROBA, OBSM_SETS, UNS_ANNOTATE = annotation_keys(
    ANNOTATION
)
