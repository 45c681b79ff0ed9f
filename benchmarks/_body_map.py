"""The map of the body that comes with the package, from the cells that `body_head` embedded."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

import genemamba as gm
from genemamba import __version__
from genemamba.cells.record import identity
from genemamba.datasets import Corpus
from genemamba.heads import TermHead
from genemamba.maps.build import write_map
from genemamba.maps.columns import read_column
from genemamba.maps.held_out import hold_out
from genemamba.maps.reference_map import ReferenceMap
from genemamba.maps.space import Space
from genemamba.ontology import Ontology
from genemamba.tokens import Measured

TISSUES = {  # of files of which no cell has a label
    "bone_marrow_vangalen_unlabelled": "Bone marrow",
    "breast_tnbc": "Breast",
    "covid_pbmc_gse149689": "Blood",
    "covid_t_cells": "Blood",
    "embryo_blakeley": "Embryo",
    "esc_retinal_ganglion": "Cell culture",
    "fetal_brain_camp": "Brain",
    "fetal_thymus": "Thymus",
    "gastrula_tyser": "Embryo",
    "immune_mixed": "Blood",
    "ipsc_cardio": "Cell culture",
    "ipsc_lung_progenitors": "Cell culture",
    "islets_enge": "Pancreas",
    "liposarcoma_line": "Cell culture",
    "malt_tumour_unlabelled": "Lymphoid tissue",
    "skin_healthy_ctcl": "Skin",
}
DISEASES = {
    "breast_tnbc": "tumour",
    "liposarcoma_line": "tumour",
    "malt_tumour_unlabelled": "tumour",
}


def table_of(
    corpus: Corpus, cells: np.ndarray, X: np.ndarray, head: TermHead, labels: Path
) -> pd.DataFrame:
    """Return the columns of the map: names by the authors, or by the classifier if it is sure."""
    with labels.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    tissue_of = {row["file"]: row["tissue"] for row in rows if row["tissue"]} | TISSUES
    ontology = Ontology.load()
    given = np.array([corpus.labels[i] if i >= 0 else "" for i in corpus.label[cells]])
    best = head.named(head.confidence(head.shares(X)), np.ones(len(head.terms), dtype=bool))
    found = np.array([head.terms[i] if i >= 0 else "" for i in best])
    cl = np.where(given == "", found, given)
    group = np.array([corpus.groups[i] for i in corpus.group[cells]])
    # a profile's table is the group, a file of cells is the folder of its groups
    source = np.array([g.split("/")[1] if g.startswith("cell_types/") else g.split("/")[0]
                       for g in group])  # fmt: skip
    profile = corpus.profile[cells] >= 0
    table = pd.DataFrame({
        "cell_type": [ontology.name(term) if term else np.nan for term in cl],
        "cl_id": np.where(cl == "", None, cl),
        "tissue": [tissue_of.get(name, "Blood") for name in source],
        "disease": [_disease(name) for name in source],
        "source": source,
        "kind": np.where(profile, "drawn from an average profile", "cell"),
        "named_by": np.where(cl == "", None, np.where(given == "", "classifier", "authors")),
    }, index=pd.Index(np.arange(len(cells)).astype(str)))  # fmt: skip
    for name in table:
        table[name] = read_column(table[name], name, "the map")
    return table


def _disease(source: str) -> str:
    if "covid" in source.lower():
        return "COVID-19"
    return DISEASES.get(source, "healthy or not stated")


def write_body(
    folder: Path, X: np.ndarray, table: pd.DataFrame, measured: Measured, model: str
) -> ReferenceMap:
    """Write the map in place of an earlier one; its vectors are embeddings."""
    codes = table["cell_type"].cat.codes.to_numpy().astype(np.int64)
    source = table["source"].cat.codes.to_numpy()
    rng = np.random.default_rng(0)
    expected, judged = hold_out(X, None, codes, source, rng, plain=True)
    loaded = gm.models.load(model)
    about = {
        "version": __version__,
        "label_key": "cell_type",
        "batch_key": "source",
        "model": identity(loaded, "genemamba-mini"),
        "params": {"max_tokens": 2048, "rng": 0},
        "sources": table["source"].cat.categories.tolist(),
        "held_out": judged,
    }
    shutil.rmtree(folder, ignore_errors=True)
    space = Space.plain(X, codes)
    return write_map(
        folder, lambda a, b: X[a:b], table, source, space, expected, measured, about, named=False
    )
