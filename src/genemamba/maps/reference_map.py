"""A reference map: a folder with the vectors of cells, what is known of them, and a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genemamba._files import sha256, write_json
from genemamba.errors import InputError, MapError
from genemamba.maps.arrays import AGAIN, map_arrays
from genemamba.maps.columns import Columns, key_of
from genemamba.maps.held_out import Expected
from genemamba.maps.index import VectorIndex
from genemamba.maps.space import Space
from genemamba.tokens import Measured

FORMAT = 1
MANIFEST, CELLS, SPACE = "map.json", "cells.safetensors", "space.safetensors"
_HASHED_UP_TO = 64 * 2**20
"""Bytes of a file that is hashed whenever a map is opened; of larger ones the size is compared."""
EXPECTED = "expected.distance", "expected.named"
_NEEDED = {"n_cells": int, "columns": dict, "model": dict, "files": dict, "params": dict,
           "held_out": dict, "label_key": str, "batch_key": str}  # fmt: skip


@dataclass(frozen=True, eq=False)
class ReferenceMap:
    """Cells to lay others on; their vectors stay on disk."""

    folder: Path
    about: Mapping[str, Any]
    """What ``map.json`` says."""
    index: VectorIndex
    name: str
    """The name it is known by, or that of its folder."""

    @classmethod
    def open(cls, folder: Path, *, whole: bool = False, name: str = "") -> ReferenceMap:
        """Open a folder that :func:`genemamba.tl.build_map` wrote.

        Raises
        ------
        MapError
            If a file is missing, damaged, or of a newer format; `whole` hashes large files, too.
        """
        about = _read_manifest(folder)
        for file, kept in about["files"].items():
            _check_file(folder / file, kept, whole)
        try:
            index = VectorIndex.open(folder)
        except InputError as error:
            raise MapError(error.what, AGAIN) from None
        found = cls(folder, about, index, name or folder.resolve().name)
        found._check()
        return found

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self.about["n_cells"])

    @cached_property
    def columns(self) -> Columns:
        """What is known of each cell."""
        return Columns(self.about["columns"], self._cells)

    @cached_property
    def umap(self) -> np.ndarray:
        """``(n_cells, 2)`` float32, the picture."""
        return self._cells["umap"]

    @cached_property
    def space(self) -> Space:
        """Makes vectors of this map."""
        return Space.read(map_arrays(self.folder / SPACE))

    @cached_property
    def measured(self) -> Measured:
        """The genes that its cells measure."""
        arrays = map_arrays(self.folder / SPACE)
        share = arrays["measured.share"].astype(np.float32)
        return Measured(np.array(arrays["measured.tokens"]), share)

    @cached_property
    def expected(self) -> Expected:
        """What cells that belong on the map look like."""
        distance, named = (np.array(self._cells[name]) for name in EXPECTED)
        pool = map_arrays(self.folder / SPACE).get("expected.pool")
        return Expected(
            distance,
            named,
            float(self.about["held_out"]["temperature"]),
            None if pool is None else pool.astype(np.float32),
        )

    @cached_property
    def sha256(self) -> str:
        """Hash of ``map.json``, which has the hashes of the other files."""
        return sha256(self.folder / MANIFEST)

    def _check(self) -> None:
        """Raise unless there is something of each cell."""
        wanted = ["umap", *map(key_of, self.about["columns"])]
        lengths = [self.index.n, *(len(self._cells.get(name, ())) for name in wanted)]
        label = self.about["label_key"]
        whole = {*EXPECTED} <= self._cells.keys() and (
            not label or self.about["columns"].get(label)
        )
        if {*lengths} != {self.n_cells} or not whole:
            raise MapError(f"the files of {self.folder} do not belong together", AGAIN)

    @cached_property
    def _cells(self) -> dict[str, np.ndarray]:
        return map_arrays(self.folder / CELLS)

    def search(self, X: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return positions and distances of the `k` nearest cells of each vector, nearest first.

        Raises
        ------
        InputError
            If the map has fewer cells.
        """
        self.require(k)
        return self.index.search(X, k)

    def require(self, k: int) -> None:
        """Raise if the map has fewer cells."""
        if k > self.n_cells:
            raise InputError(
                f"k={k} is more than the {self.n_cells:,} cells of the map {self.name!r}",
                f"give k={self.n_cells} or less",
            )

    def __repr__(self) -> str:
        model = self.about["model"]
        return (
            f"ReferenceMap {self.name!r}: {self.n_cells:,} cells × {self.index.width}, "
            f"columns {', '.join(self.columns.names) or 'none'}; model {model['model']}"
        )


def write_manifest(folder: Path, about: Mapping[str, Any], files: list[str]) -> None:
    """Write ``map.json`` with size and hash of every other file; with it the map is whole."""
    kept = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)}
        for name in sorted(files)
    }
    write_json(folder / MANIFEST, {"format": FORMAT, **about, "files": kept}, indent=1)


def _read_manifest(folder: Path) -> dict[str, Any]:
    file = folder / MANIFEST
    if not folder.is_dir() or not file.is_file():
        raise MapError(
            f"{folder} is not a reference map: it holds no {MANIFEST}",
            "build one with gm.tl.build_map, or give a name from gm.maps.available()",
        )
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        version = int(about["format"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise MapError(f"{file} is damaged ({error})", AGAIN) from None
    if version > FORMAT:
        raise MapError(
            f"{file} has format {version}, and this version of genemamba reads {FORMAT}",
            "update genemamba",
        )
    if wrong := [name for name, kind in _NEEDED.items() if not isinstance(about.get(name), kind)]:
        raise MapError(f"{file} is damaged: {', '.join(wrong)} cannot be read", AGAIN)
    within = {"files": {CELLS, SPACE}, "model": {"model", "model_sha256"},
              "held_out": {"temperature"}}  # fmt: skip
    for name, keys in within.items():
        if lacks := sorted(keys - about[name].keys()):
            raise MapError(f"{file} is damaged: {name} lacks {', '.join(lacks)}", AGAIN)
    return dict(about)


def _check_file(path: Path, expected: Mapping[str, Any], whole: bool) -> None:
    try:
        size = path.stat().st_size
        same = size == expected["bytes"]
        if same and (whole or size <= _HASHED_UP_TO):
            same = sha256(path) == expected["sha256"]
    except (KeyError, TypeError):
        raise MapError(f"{path.parent / MANIFEST} is damaged at {path.name!r}", AGAIN) from None
    except OSError as error:
        raise MapError(f"{path} is missing or cannot be read ({error.strerror})", AGAIN) from None
    if not same:
        raise MapError(f"{path} is damaged: its bytes are not those that {MANIFEST} lists", AGAIN)
