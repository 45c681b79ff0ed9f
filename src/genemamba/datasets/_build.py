"""From count matrices to a corpus: filtered, without duplicates, on common genes, ranked.

There are three passes: read and filter; find duplicates, medians and the vocabulary; rank. Each
writes blocks whole or not at all, so an interrupted build resumes and ends in the same bytes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numba import njit

from genemamba._files import ResumableFolder, write_json
from genemamba._progress import tqdm
from genemamba.datasets._blocks import (
    THREADS,
    Block,
    file_of,
    hashes,
    known,
    read_blocks,
    tokens_of,
)
from genemamba.datasets._labels import LabelTable
from genemamba.datasets._names import GeneNames
from genemamba.datasets._profile_source import ProfileFile
from genemamba.datasets._profiles import Profiles
from genemamba.datasets._sources import CellFile
from genemamba.datasets._store import (
    FORMAT,
    GENES,
    MANIFEST,
    MEASURED,
    PROFILES,
    RANKING,
    Corpus,
    Shard,
)
from genemamba.errors import InputError
from genemamba.tokens import (
    FIRST_GENE,
    GeneDigests,
    MeanRanking,
    Vocabulary,
    match,
    rank_csr,
)
from genemamba.tokens.ranking import rank_sums

SPECIAL = ("[MASK]",)
_BUILDING = "building.json"


@dataclass(frozen=True)
class _Settings:
    """What decides the result; a build resumes only with the same settings."""

    files: tuple[tuple[str, int, int], ...]
    gene_names: str
    labels: str
    biotypes: tuple[str, ...]
    min_genes: int
    min_cells: int


def build_corpus(
    files: Sequence[str | PathLike[str]],
    out: str | PathLike[str],
    *,
    gene_names: str | PathLike[str],
    profiles: Sequence[str | PathLike[str]] = (),
    labels: str | PathLike[str] | None = None,
    biotypes: Sequence[str] = (),
    min_genes: int = 200,
    min_cells: int = 50,
) -> Corpus:
    """Build a corpus for pretraining from count matrices and average profiles.

    Removed are cells with too few known genes, cells in which more than a fifth of the entries are
    not whole numbers, and duplicates, which have the same counts in the same genes. Medians are of
    counts per 10,000 (Theodoris et al. 2023), within 0.4 % of the exact ones. Memory hardly grows
    with the number of cells. The same call resumes an interrupted build.

    A corpus can also hold average profiles of cell types, from which training draws an unlimited
    number of cells: log-uniform depth, gamma noise on each gene, part of the table's mean as
    ambient RNA. Genes that a table or file does not measure are treated as missing, not as zero.
    Forty cells per profile are kept for medians, gene vectors and validation.

    Parameters
    ----------
    files
        ``.h5ad`` or ``.zarr`` files of human cells with counts in ``X``, sparse or dense. Genes are
        named by symbol or Ensembl id; a column ``var["ensembl_id"]`` makes the names in
        a file aliases of these. ``obs["sample"]`` gives the library of each cell.
    out
        Folder to write.
    gene_names
        CSV without header: Ensembl id, symbol and, optionally, biotype, then former symbols
        joined by "|".
    profiles
        ``.h5ad`` files of profiles × genes with mean expression in ``X``. ``obs["table"]`` gives
        the library of each, ``uns["genes_measured"]`` the columns that each table measures.
    labels
        CSV with columns ``file``, ``label`` and ``cl_id``: the Cell Ontology term of each label in
        ``obs["cell_type"]``. `file` is a file name without suffix, or a table of profiles.
        Labels without a term are listed in ``corpus.manifest["unmapped"]``; their cells are
        unlabelled.
    biotypes
        Biotypes of genes to keep, such as ``("protein_coding", "miRNA")``.
    min_genes
        Minimum known genes per cell.
    min_cells
        Minimum cells per gene.

    Returns
    -------
    The corpus in folder `out`: ``corpus.json``, ``genes.csv``, ``ranking.csv`` and shards of
    uint16 tokens and counts.

    Raises
    ------
    InputError
        If a file cannot be read, holds no counts or no human genes; if no cell or gene is left; if
        `out` holds something else; if the disk is full (the same call then resumes).

    Examples
    --------
    >>> import genemamba as gm
    >>> corpus = gm.datasets.build_corpus(  # doctest: +SKIP
    ...     ["pbmc.h5ad", "marrow.h5ad"], "corpus", gene_names="gencode_v44.csv"
    ... )
    >>> len(corpus), corpus.vocab.n_genes  # doctest: +SKIP
    (11482, 15321)
    """
    paths = [Path(file) for file in files]
    if not paths:
        raise InputError("there is no file to build from", "give .h5ad or .zarr files")
    known_labels = LabelTable.read(None if labels is None else Path(labels))
    sources = _open_all(paths, [Path(file) for file in profiles], known_labels)
    names = GeneNames.read(Path(gene_names), tuple(biotypes))
    reference = names.reference([source.var for source in sources])
    settings = _Settings(
        tuple((source.path.name, *_size(source.path)) for source in sources),
        names.sha256,
        known_labels.sha256,
        tuple(biotypes),
        min_genes,
        min_cells,
    )
    folder = ResumableFolder(Path(out), "corpus", MANIFEST, _BUILDING)
    if _prepare(folder, settings):
        return Corpus(folder.path)
    with folder.writing():
        return _build(sources, folder.path, reference, names, settings, known_labels)


def _build(
    sources: list[CellFile],
    folder: Path,
    reference: Vocabulary,
    names: GeneNames,
    settings: _Settings,
    labels: LabelTable,
) -> Corpus:
    raw = folder / "raw"
    raw.mkdir(exist_ok=True)
    blocks = list(read_blocks(sources, raw, reference, settings.min_genes))
    libraries = sorted({name for block in blocks for name in block["libraries"]})
    keep = _first(blocks, raw)
    digests = _digest(blocks, keep, raw, reference.n_genes)
    genes = np.flatnonzero(digests.cells >= settings.min_cells)
    if not len(genes):
        raise InputError(
            f"no gene is seen in {settings.min_cells} cells", "give more cells, or lower min_cells"
        )
    vocab = names.vocabulary(reference, genes, digests.medians()[genes], SPECIAL)
    shards = _rank(blocks, keep, raw, folder, vocab, reference, libraries)
    vocab.to_csv(folder / GENES)
    mean_ranking(folder, shards, vocab.n_genes).to_csv(folder / RANKING)
    _save_measured(sources, libraries, reference, vocab, folder)
    manifest = {
        "format": FORMAT,
        "settings": asdict(settings),
        "sources": _report(sources, blocks, keep),
        "special_tokens": list(SPECIAL),
        "vocabulary_sha256": vocab.sha256,
        "libraries": libraries,
        "labels": labels.ids,
        "unmapped": sorted(labels.unmapped),
        "shards": shards,
    }
    write_json(folder / MANIFEST, manifest)
    shutil.rmtree(raw)
    (folder / _BUILDING).unlink()
    return Corpus(folder)


def _prepare(folder: ResumableFolder, settings: _Settings) -> bool:
    """Make the folder, or check an existing build; return whether it is complete."""
    wanted = json.loads(json.dumps(asdict(settings)))
    for name, done in ((MANIFEST, True), (_BUILDING, False)):
        if (folder.path / name).exists():
            text = (folder.path / name).read_text(encoding="utf-8")
            folder.require_same(wanted, json.loads(text)["settings"])
            return done
    folder.path.mkdir(parents=True, exist_ok=True)
    write_json(folder.path / _BUILDING, {"settings": wanted})
    return False


def _first(blocks: list[dict[str, Any]], raw: Path) -> list[np.ndarray]:
    """Mark the cells of each block that are not duplicates of earlier ones."""
    found = np.concatenate([hashes(file_of(raw, block["name"])) for block in blocks])
    first = np.zeros(len(found), dtype=bool)
    first[np.unique(found, return_index=True)[1]] = True
    return np.split(first, np.cumsum([block["cells"] for block in blocks])[:-1])


def _digest(
    blocks: list[dict[str, Any]], keep: list[np.ndarray], raw: Path, n_genes: int
) -> GeneDigests:
    """Compute the distribution of each gene over the cells that are kept."""
    bar = tqdm(total=len(blocks), unit="block", desc="medians", delay=3, leave=False)

    def part(first: int) -> GeneDigests:
        own = GeneDigests(n_genes)
        for block, kept in zip(blocks[first::THREADS], keep[first::THREADS], strict=True):
            cells = Block.load(file_of(raw, block["name"])).take(kept)
            own.add(cells.matrix(n_genes), cells.total)
            bar.update()
        return own

    with bar, ThreadPoolExecutor(THREADS) as pool:
        digests, *others = pool.map(part, range(THREADS))
    for other in others:
        digests.merge(other)
    return digests


def _rank(
    blocks: list[dict[str, Any]],
    keep: list[np.ndarray],
    raw: Path,
    folder: Path,
    vocab: Vocabulary,
    reference: Vocabulary,
    libraries: list[str],
) -> list[dict[str, Any]]:
    """Rank the cells that are kept, and write one shard per block."""
    genes = match(reference.ensembl_id.tolist(), vocab, where="the reference")
    number = {name: i for i, name in enumerate(libraries)}

    def write(k: int) -> dict[str, Any] | None:
        name = f"shard-{k:05}"
        before = known(folder, name)
        if before is not None:
            return before
        block = Block.load(file_of(raw, blocks[k]["name"])).take(keep[k])
        library = np.array([number[n] for n in block.library], dtype=np.uint16)
        if not len(library):
            return None
        arrays = (block.starts, block.genes, block.counts)
        ranked = rank_csr(*arrays, genes.token, genes.median, len(genes.token))
        tokens, starts = ranked.tokens, ranked.indptr
        counts = counts_of(tokens, starts, *arrays, genes.token)
        shard = Shard(tokens, counts, starts, library, block.label, block.profile)
        described = {"name": name, "cells": len(library), "tokens": len(shard.tokens)}
        described["sha256"] = shard.save(folder, name)
        write_json(folder / f"{name}.json", described)
        return described

    with ThreadPoolExecutor(THREADS) as pool:
        bar = tqdm(range(len(blocks)), unit="block", desc="rank", delay=3, leave=False)
        return [shard for shard in pool.map(write, bar) if shard is not None]


@njit(nogil=True, cache=True)
def counts_of(tokens, starts, indptr, indices, data, token):  # type: ignore[no-untyped-def]
    """Return the count of each token of the ranked cells."""
    out = np.empty(len(tokens), dtype=np.uint16)
    of_token = np.zeros(2**16, dtype=np.uint16)
    for cell in range(len(indptr) - 1):
        for entry in range(indptr[cell], indptr[cell + 1]):
            if token[indices[entry]] >= 0:
                of_token[token[indices[entry]]] = data[entry]
        for i in range(starts[cell], starts[cell + 1]):
            out[i] = of_token[tokens[i]]
    return out


def mean_ranking(folder: Path, shards: list[dict[str, Any]], n_genes: int) -> MeanRanking:
    def sums(described: dict[str, Any]) -> np.ndarray:
        shard = Shard.load(folder, described["name"])
        return rank_sums(np.asarray(shard.tokens), np.asarray(shard.starts), n_genes)

    with ThreadPoolExecutor(THREADS) as pool:
        total = sum(pool.map(sums, shards), start=np.zeros((3, n_genes)))
    return MeanRanking.of_sums(total, sum(described["cells"] for described in shards))


def _open_all(files: list[Path], profiles: list[Path], labels: LabelTable) -> list[CellFile]:
    """Open all files; profiles are numbered consecutively over files."""
    sources = [CellFile.open(path, labels) for path in files]
    first = 0
    for path in profiles:
        source = ProfileFile.read(path, labels, first)
        first += len(source.profiles.table)
        sources.append(source)
    return sources


def _save_measured(
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


def _size(path: Path) -> tuple[int, int]:
    """Return the size and modification time of a file, or of all files of a folder."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    stats = [file.stat() for file in files]
    return sum(s.st_size for s in stats), max(s.st_mtime_ns for s in stats)


def _report(
    sources: list[CellFile], blocks: list[dict[str, Any]], keep: list[np.ndarray]
) -> list[dict[str, Any]]:
    """Count the cells of each file that were read, kept, and removed for each reason."""
    table = pd.DataFrame(blocks).drop(columns="libraries")
    table["duplicates"] = [int((~first).sum()) for first in keep]
    table["source"] = table["name"].str.split("-").str[0].astype(int)
    summed = table.drop(columns=["name", "cells"]).groupby("source").sum()
    kept = pd.Series([int(first.sum()) for first in keep]).groupby(table["source"]).sum()
    return [
        {"file": source.path.name, "kept": int(kept[s])} | summed.loc[s].astype(int).to_dict()
        for s, source in enumerate(sources)
    ]
