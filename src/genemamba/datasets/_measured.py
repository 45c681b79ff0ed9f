"""The files of a corpus, and the genes that each library measures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from genemamba.datasets._blocks import tokens_of
from genemamba.datasets._labels import LabelTable
from genemamba.datasets._profile_source import ProfileFile
from genemamba.datasets._profiles import Profiles
from genemamba.datasets._sources import CellFile
from genemamba.datasets._store import MEASURED, PROFILES
from genemamba.tokens import FIRST_GENE, Vocabulary, match


def open_all(files: list[Path], profiles: list[Path], labels: LabelTable) -> list[CellFile]:
    """Open all files; profiles are numbered consecutively over files."""
    sources = [CellFile.open(path, labels) for path in files]
    first = 0
    for path in profiles:
        source = ProfileFile.read(path, labels, first)
        first += len(source.profiles.table)
        sources.append(source)
    return sources


def save_measured(
    sources: list[CellFile],
    libraries: list[str],
    reference: Vocabulary,
    vocab: Vocabulary,
    folder: Path,
) -> None:
    """Save the genes that each library measures, and profiles on the genes of the corpus."""
    measured = np.zeros((len(libraries), vocab.n_genes), dtype=bool)
    moved = []
    to_vocab = match(reference.ensembl_id.tolist(), vocab, where="the reference").token
    for source in sources:
        token = tokens_of(source, reference)
        gene = np.where(token < 0, -1, to_vocab[np.maximum(token, FIRST_GENE) - FIRST_GENE])
        gene = np.where(gene < 0, -1, gene - FIRST_GENE)
        for sample in np.unique(source.samples):
            library = f"{source.path.stem}/{sample}"
            if library in libraries:
                own = gene[source.measured(library)]
                measured[libraries.index(library), own[own >= 0]] = True
        if isinstance(source, ProfileFile):
            moved.append(source.profiles.on_genes(gene, vocab.n_genes))
    with (folder / MEASURED).open("wb") as out:
        np.save(out, np.packbits(measured, axis=1))
    if moved:
        Profiles.joined(moved).save(folder / PROFILES)
