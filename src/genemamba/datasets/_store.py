"""A corpus on disk: ranked tokens of cells with their counts, in memory-mapped shards.

A folder holds ``corpus.json`` (sources, settings and a hash of every shard), ``genes.csv``,
``ranking.csv`` and the arrays of each shard: tokens and counts of all cells, concatenated, where
each cell begins, and its library, label and profile.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from genemamba._files import load_array, replacing, sha256
from genemamba.datasets._profiles import Profiles
from genemamba.errors import InputError
from genemamba.tokens import FIRST_GENE, MeanRanking, Sketch, Vocabulary
from genemamba.tokens.sketch import PANEL

MANIFEST, GENES, RANKING = "corpus.json", "genes.csv", "ranking.csv"
FORMAT = 2
MEASURED, PROFILES = "measured.npy", "profiles.npz"
ARRAYS = {"tokens": np.uint16, "counts": np.uint16, "starts": np.int64, "library": np.uint16,
          "label": np.int16, "profile": np.int32}  # fmt: skip
_OFTEN_LEFT_OUT = re.compile("MT-|RP[SL]|HLA-|MALAT1")  # genes that are often filtered out
_BLOCK = 2_048  # cells read at once
MOST = np.iinfo(np.uint16).max  # higher counts are stored as this


@dataclass(frozen=True, eq=False)
class Shard:
    """A block of cells."""

    tokens: np.ndarray
    """Tokens of all cells, concatenated, highest rank first."""
    counts: np.ndarray
    """The count of each token."""
    starts: np.ndarray
    """``(n_cells + 1,)`` where each cell begins."""
    library: np.ndarray
    """``(n_cells,)`` the library of each cell."""
    label: np.ndarray
    """``(n_cells,)`` the label of each cell, -1 for none."""
    profile: np.ndarray
    """``(n_cells,)`` the profile of each cell, -1 for a real cell."""

    def save(self, folder: Path, name: str) -> str:
        """Write each array, whole or not at all; return :meth:`hash`."""
        for array in ARRAYS:
            with replacing(_file(folder, name, array)) as new, new.open("wb") as out:
                np.save(out, self._stored(array))
        return self.hash()

    @classmethod
    def load(cls, folder: Path, name: str) -> Shard:
        """Map the arrays into memory."""
        return cls(**{a: load_array(_file(folder, name, a), mmap_mode="r") for a in ARRAYS})

    def hash(self) -> str:
        """Hash all arrays."""
        return sha256(*map(self._stored, ARRAYS))

    def _stored(self, array: str) -> np.ndarray:
        return np.ascontiguousarray(getattr(self, array), dtype=ARRAYS[array])


class Corpus:
    """Cells for training, from a folder that ``build_corpus`` wrote.

    Parameters
    ----------
    folder
        The folder. Cells are read when they are needed.

    Attributes
    ----------
    vocab
        Genes and their non-zero medians over these cells.
    ranking
        Mean ranking of these cells.
    groups
        Names of the libraries, ``file/sample``.
    labels
        Cell Ontology ids of the labels that cells carry.
    manifest
        Sources, settings and shards of the corpus.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        self.folder = Path(folder)
        try:
            text = (self.folder / MANIFEST).read_text(encoding="utf-8")
            self.manifest: dict[str, Any] = json.loads(text)
            self.shards: list[dict[str, Any]] = self.manifest["shards"]
            if self.manifest["format"] != FORMAT:
                raise _former(self.folder, self.manifest["format"])
            self.groups: list[str] = self.manifest["libraries"]
            self.labels: list[str] = self.manifest["labels"]
            extra = self.manifest["special_tokens"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.folder} holds no complete corpus ({error})",
                "build it, or resume building it: genemamba build-corpus",
            ) from None
        self.vocab = Vocabulary.from_csv(self.folder / GENES, extra=extra)
        self.ranking = MeanRanking.from_csv(self.folder / RANKING, self.vocab.n_genes)
        if self.vocab.sha256 != self.manifest["vocabulary_sha256"]:
            raise InputError(
                f"{self.folder / GENES} is not the gene table of this corpus", "build it again"
            )

    def __len__(self) -> int:
        """Count the cells."""
        return int(self._ends[-1])

    @cached_property
    def group(self) -> np.ndarray:
        """``(n_cells,)`` the library of each cell, an index into `groups`."""
        return self._column("library")

    @cached_property
    def label(self) -> np.ndarray:
        """``(n_cells,)`` the label of each cell, an index into `labels`; -1 for none."""
        return self._column("label")

    @cached_property
    def profile(self) -> np.ndarray:
        """``(n_cells,)`` the profile of each cell; -1 for a real cell."""
        return self._column("profile")

    @cached_property
    def measured(self) -> np.ndarray:
        """``(n_libraries, n_genes)`` bool, the genes that each library measures."""
        packed = load_array(self.folder / MEASURED)
        return np.unpackbits(packed, axis=1, count=self.vocab.n_genes).astype(bool)

    def drawn(self, cells: np.ndarray, rng: np.random.Generator) -> sparse.csr_matrix:
        """Return the counts of some cells; cells of profiles are drawn anew."""
        of = self.profile[cells]
        if (of < 0).all():
            return self.rows(cells)
        new = self._profiles.draw(of[of >= 0], rng)
        if (of >= 0).all():
            return new
        both = sparse.vstack([self.rows(cells[of < 0]), new], format="csr")
        return both[np.argsort(np.argsort(of >= 0, kind="stable"), kind="stable")]

    def rows(self, cells: np.ndarray) -> sparse.csr_matrix:
        """Return the counts of some cells, cells × genes, entries in rank order."""
        shard_of = np.searchsorted(self._ends, cells, side="right")
        first = np.append(0, self._ends)
        tokens, counts = [], []
        for cell, k in zip(np.asarray(cells).tolist(), shard_of.tolist(), strict=True):
            shard, i = self._mapped[k], cell - int(first[k])
            part = slice(int(shard.starts[i]), int(shard.starts[i + 1]))
            tokens.append(shard.tokens[part])
            counts.append(shard.counts[part])
        indptr = np.append(0, np.cumsum([len(t) for t in tokens]))
        gene = np.concatenate([*tokens, np.empty(0, np.uint16)]).astype(np.int32) - FIRST_GENE
        data = np.concatenate([*counts, np.empty(0, np.uint16)]).astype(np.int32)
        shape = (len(cells), self.vocab.n_genes)
        return sparse.csr_matrix((data, gene, indptr), shape=shape)

    def sketch(self, cells: np.ndarray, before: Sketch | None = None) -> Sketch:
        """Return a sketch from which it can be told whether a model was trained on these cells.

        It hashes the genes that most cells of the corpus express. With a sketch `before`, it hashes
        the genes of that one and includes its cells.
        """
        kept = [not _OFTEN_LEFT_OUT.match(symbol) for symbol in self.vocab.symbol.tolist()]
        most = np.argsort(-self.ranking.cells * kept, kind="stable")[:PANEL]
        genes = np.sort(most) if before is None else before.genes
        cells = cells[self.profile[cells] < 0]
        parts = np.array_split(cells, max(1, -(-len(cells) // _BLOCK)))
        sketch = Sketch.of(map(self.rows, parts), genes)
        return sketch if before is None else before.joined(sketch)

    def verify(self) -> None:
        """Check the hash of every shard.

        Raises
        ------
        InputError
            If one differs.
        """
        for shard, described in zip(self._mapped, self.shards, strict=True):
            if shard.hash() != described["sha256"]:
                raise InputError(
                    f"{self.folder}: shard {described['name']} is damaged",
                    f"delete {self.folder / described['name']}.* and {MANIFEST}, and build again",
                )

    def _column(self, name: str) -> np.ndarray:
        return np.concatenate([np.asarray(getattr(s, name)) for s in self._mapped]).astype(np.int64)

    @cached_property
    def _mapped(self) -> list[Shard]:
        return [Shard.load(self.folder, described["name"]) for described in self.shards]

    @cached_property
    def _profiles(self) -> Profiles:
        return Profiles.load(self.folder / PROFILES)

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum([described["cells"] for described in self.shards])


def _former(folder: Path, found: Any) -> InputError:
    return InputError(
        f"{folder} is a corpus of format {found}; this version reads format {FORMAT}, "
        "which also keeps labels, profiles and the genes each file measures",
        "build it again: genemamba build-corpus",
    )


def _file(folder: Path, name: str, array: str) -> Path:
    return folder / f"{name}.{array}.npy"
