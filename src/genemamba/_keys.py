"""Every AnnData slot this package writes, and its record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

OBSM_EMBEDDING = "X_genemamba"
"""``obsm``: one vector per cell."""
OBSM_INTEGRATED = "X_genemamba_integrated"
"""``obsm``: one vector per cell, batches mixed."""
OBSM_TOKENS = "genemamba_tokens"
"""``obsm``: the ranked genes of each cell."""
VARM_GENE = "X_genemamba_gene"
"""``varm``: one vector per gene."""
VAR_MEDIAN = "genemamba_median"
"""``var``: the median of each gene over the cells that express it."""
VAR_VARIABLE = "highly_variable"
"""``var``: the genes that ``sc.pp.highly_variable_genes`` chose; only read."""
UNS = "genemamba"
"""``uns``: a record for every slot written, under the slot's name."""
ADAPTED = "adapted"
"""In the record of what an adapted model computed, and in the provenance of that model."""
COMPARE = "compare"
"""In the record in ``uns``: the table of ``gm.metrics.compare``."""
PERTURB = "genemamba_perturb"
"""In the record in ``uns``: the tables of ``gm.tl.perturb``; its slots begin with it."""
OBSM_PERTURB_COSINE, OBSM_PERTURB_EUCLIDEAN = f"{PERTURB}_cosine", f"{PERTURB}_euclidean"
OBSM_PERTURB = OBSM_PERTURB_COSINE, OBSM_PERTURB_EUCLIDEAN
"""``obsm``: cells × perturbations, how far each cell moved."""
ATTRIBUTION = "genemamba_attribution"
"""``layers`` and ``varm``: what each gene added, in each cell and in the mean of a group."""
ANNOTATION = "genemamba"
"""What the names of an annotation's slots begin with."""


def gene_cells_key(slot: str) -> str:
    """Name the column of ``var`` that counts the cells behind the vectors of a slot of genes."""
    return f"{slot}_n_cells"


VAR_GENE_CELLS = gene_cells_key(VARM_GENE)


class AnnotationKeys(NamedTuple):
    """The slots of one annotation."""

    label: str
    cl: str
    confidence: str
    distance: str
    novelty: str
    group_label: str
    proba: str
    sets: str
    record: str

    @property
    def obs(self) -> tuple[str, ...]:
        """Columns of ``obs``."""
        return self[:6]

    @property
    def obsm(self) -> tuple[str, ...]:
        """Tables of ``obsm``."""
        return self.proba, self.sets


def annotation_keys(prefix: str) -> AnnotationKeys:
    """Name the slots of the annotation that begins with `prefix`."""
    return AnnotationKeys(
        label=f"{prefix}_label",
        cl=f"{prefix}_cl",
        confidence=f"{prefix}_confidence",
        distance=f"{prefix}_distance",
        novelty=f"{prefix}_novelty",
        group_label=f"{prefix}_group_label",
        proba=f"{prefix}_proba",
        sets=f"{prefix}_sets",
        record="annotate" if prefix == ANNOTATION else f"annotate_{prefix}",
    )


RECONSTRUCTION = "genemamba"
"""What the names of a reconstruction's slots begin with."""


class ReconstructionKeys(NamedTuple):
    """The slots of one reconstruction."""

    exact_match: str
    levenshtein: str
    nld: str
    bleu: str
    spearman: str
    recall: str
    recall_50: str
    tokens: str
    rank: str
    record: str

    @property
    def obs(self) -> tuple[str, ...]:
        """Columns of ``obs``."""
        return self[:7]

    @property
    def obsm(self) -> tuple[str, ...]:
        """Matrices of ``obsm``."""
        return self.tokens, self.rank


def reconstruction_keys(prefix: str) -> ReconstructionKeys:
    """Name the slots of the reconstruction that begins with `prefix`."""
    return ReconstructionKeys(
        exact_match=f"{prefix}_exact_match",
        levenshtein=f"{prefix}_levenshtein",
        nld=f"{prefix}_nld",
        bleu=f"{prefix}_bleu",
        spearman=f"{prefix}_spearman",
        recall=f"{prefix}_recall",
        recall_50=f"{prefix}_recall_50",
        tokens=f"{prefix}_reconstruction",
        rank=f"{prefix}_reconstructed_rank",
        record="reconstruct" if prefix == RECONSTRUCTION else f"reconstruct_{prefix}",
    )


MAP = "genemamba_map"
"""What the names of the slots of cells on a map begin with."""
OBSM_MAP_UMAP = "X_umap_reference"
"""``obsm``: the places of cells on the UMAP of a map."""


class MapKeys(NamedTuple):
    """The slots of cells on one map."""

    prefix: str
    label: str
    confidence: str
    quality: str
    umap: str
    neighbors: str
    distances: str
    record: str

    @property
    def obsm(self) -> tuple[str, ...]:
        """Tables of ``obsm``."""
        return self.umap, self.neighbors, self.distances

    def column(self, name: str) -> str:
        """Name the column of ``obs`` for a column of the map."""
        return f"{self.prefix}_{name}"


def map_keys(prefix: str) -> MapKeys:
    """Name the slots of the cells on a map that begin with `prefix`."""
    return MapKeys(
        prefix=prefix,
        label=f"{prefix}_label",
        confidence=f"{prefix}_confidence",
        quality=f"{prefix}_quality",
        umap=OBSM_MAP_UMAP if prefix == MAP else f"{prefix}_umap",
        neighbors=f"{prefix}_neighbors",
        distances=f"{prefix}_distances",
        record="map" if prefix == MAP else f"map_{prefix}",
    )


(
    _,
    OBS_MAP_LABEL,
    OBS_MAP_CONFIDENCE,
    OBS_MAP_QUALITY,
    _,
    OBSM_MAP_NEIGHBORS,
    OBSM_MAP_DISTANCES,
    UNS_MAP,
) = map_keys(MAP)
(
    OBS_LABEL,
    OBS_CL,
    OBS_CONFIDENCE,
    OBS_DISTANCE,
    OBS_NOVELTY,
    OBS_GROUP_LABEL,
    OBSM_PROBA,
    OBSM_SETS,
    UNS_ANNOTATE,
) = annotation_keys(ANNOTATION)


def colors_key(column: str) -> str:
    """Name the slot of ``uns`` in which scanpy keeps the colours of a column of ``obs``."""
    return f"{column}_colors"


UNS_LABEL_COLORS = colors_key(OBS_LABEL)
UNS_MAP_LABEL_COLORS = colors_key(OBS_MAP_LABEL)
(
    OBS_EXACT_MATCH,
    OBS_LEVENSHTEIN,
    OBS_NLD,
    OBS_BLEU,
    OBS_SPEARMAN,
    OBS_RECALL,
    OBS_RECALL_50,
    OBSM_RECONSTRUCTION,
    OBSM_RECONSTRUCTED_RANK,
    UNS_RECONSTRUCT,
) = reconstruction_keys(RECONSTRUCTION)
OWN_RECORDS = frozenset(
    {
        OBSM_EMBEDDING,
        OBSM_INTEGRATED,
        OBSM_TOKENS,
        VARM_GENE,
        VAR_MEDIAN,
        PERTURB,
        ATTRIBUTION,
        UNS_ANNOTATE,
        UNS_RECONSTRUCT,
        UNS_MAP,
    }
)
"""The records that tools write under their default `key_added`."""


def recorded(adata: Any, key: str) -> Mapping[str, Any]:
    """Return the record of one slot; empty if there is none."""
    records = adata.uns.get(UNS, {})
    entry = records.get(key, {}) if isinstance(records, Mapping) else {}
    return entry if isinstance(entry, Mapping) else {}
