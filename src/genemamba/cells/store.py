"""A zarr store that is filled block by block, and gone on with after whatever stopped it.

What is not finished stands in ``OUT.partial``: the store to be, a journal with the hash of every
block written, and a lock. When all is written the store is renamed, so ``OUT`` is always whole.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from anndata import AnnData
from filelock import FileLock, Timeout

from genemamba._files import DISK_FULL, sha256, write_text
from genemamba._keys import UNS
from genemamba.errors import GeneMambaError, InputError

_OF_NO_MATTER = {"version", "model", "batch_size", "block"}  # settings that change no vector


class Store:
    """Cells × something, of which rows are written one block after the other.

    Use :func:`filling` to make one.
    """

    def __init__(
        self,
        out: Path,
        names: pd.Index,
        key: str,
        width: int,
        dtype: type,
        settings: dict[str, Any],
    ) -> None:
        self.out, self.key, self.names, self.width, self.dtype = out, key, names, width, dtype
        self.settings = json.loads(json.dumps(settings))
        self.block: int = settings["block"]
        self.partial = out.with_name(out.name + ".partial")
        self.journal = self.partial / "journal.jsonl"
        self.done: dict[int, dict[str, Any]] = {}
        self._check_finished()

    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.out.exists()

    def _check_finished(self) -> bool:
        if self.finished():
            self._same(_settings_of(self.out), self.out)
        return self.finished()

    def open(self) -> None:
        """Begin, or find out what is there already."""
        if self._check_finished():  # by another process, while this one waited for the lock
            return
        begun = self.partial / "settings.json"
        if begun.exists():
            self._verify(begun)
            self.done = dict(self._sound())
            lines = (json.dumps(said) + "\n" for said in self.done.values())
            write_text(self.journal, "".join(lines))
            return
        shutil.rmtree(self._store, ignore_errors=True)
        import zarr

        root: Any = zarr.open_group(str(self._store), mode="w", zarr_format=3)
        obs = pd.DataFrame(index=self.names)
        with _quiet():
            ad.io.write_elem(root, "/", AnnData(obs=obs, var=pd.DataFrame(index=[])))
        root["obsm"].create_array(
            self.key,
            shape=(len(self.names), self.width),
            chunks=(self.block, self.width),
            dtype=self.dtype,
            fill_value=0,
            attributes={"encoding-type": "array", "encoding-version": "0.2.0"},
        )
        root.attrs["genemamba"] = self.settings
        write_text(begun, json.dumps({"settings": self.settings, "sha256": self._frame()}))

    def write(self, start: int, rows: np.ndarray, said: dict[str, Any]) -> None:
        """Write the block that begins at `start`, and note that it is whole."""
        self._array[start : start + len(rows)] = rows
        said = {**said, "start": start}
        said["sha256"] = _hash(rows, said)
        with self.journal.open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(said) + "\n")
            journal.flush()
            os.fsync(journal.fileno())
        self.done[start] = said

    def finish(self, uns: dict[str, Any]) -> None:
        """Write the record, and give the store its name."""
        import zarr

        # what a call that was stopped here has left is not hashed, and may be damaged
        shutil.rmtree(self._store / "uns", ignore_errors=True)
        described = self._store / "zarr.json"
        if described.exists():
            write_text(described, _without_consolidated(described.read_bytes()).decode())
        root = zarr.open_group(str(self._store), mode="r+", use_consolidated=False)
        with _quiet():
            ad.io.write_elem(root, "uns", uns)
            zarr.consolidate_metadata(str(self._store))
        os.replace(self._store, self.out)

    @property
    def record(self) -> dict[str, Any]:
        """What :meth:`finish` has written of this slot."""
        import zarr

        uns: Any = ad.io.read_elem(zarr.open_group(str(self.out), mode="r")["uns"])
        return uns[UNS][self.key]

    @cached_property
    def _array(self) -> Any:
        import zarr

        return zarr.open_array(str(self._store / "obsm" / self.key), mode="r+")

    @property
    def _store(self) -> Path:
        return self.partial / "store"

    def _verify(self, begun: Path) -> None:
        """Refuse what is of another call, or damaged in more than blocks."""
        for left in self._store.rglob("*.partial"):
            left.unlink()  # of a write that was killed
        try:
            before = json.loads(begun.read_bytes())
            settings, frame = dict(before["settings"]), before["sha256"]
        except (ValueError, KeyError, TypeError, RecursionError):
            settings, frame = self.settings, ""
        self._same(settings, self.partial)
        if settings["block"] != self.block:
            raise InputError(
                f"{self.partial} was begun by another version, in blocks of {settings['block']}",
                f"finish it with that version, give another out, or delete {self.partial}",
            )
        if frame != self._frame():
            raise InputError(
                f"{self.partial} is damaged", "delete it, and make the same call again"
            )

    def _frame(self) -> str:
        """Hash all but the blocks, and what :meth:`finish` adds."""
        parts: list[str | bytes] = []
        array = self._store / "obsm" / self.key
        blocks = array / "c" if (array / "zarr.json").exists() else array  # zarr v3, or v2
        for file in sorted(path for path in self._store.rglob("*") if path.is_file()):
            is_block = blocks in file.parents and not file.name.startswith(".")
            added = self._store / "uns" in file.parents or file.name == ".zmetadata"
            if not is_block and not added:
                content = file.read_bytes()
                if file == self._store / "zarr.json":
                    content = _without_consolidated(content)
                name = f"{file.relative_to(self._store).as_posix()}\0"
                parts += [name, bytes.fromhex(sha256(content))]
        return sha256(*parts)

    def _sound(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Read the journal; leave out what is not in the store as it was written."""
        journal = self.journal.read_bytes() if self.journal.exists() else b""
        array = self._array
        starts = range(0, len(self.names), self.block)
        for line in journal.splitlines():
            try:
                said = json.loads(line)
                start, digest = starts[starts.index(said["start"])], said.pop("sha256")
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue  # cut short, as by a kill while writing it
            try:
                rows = array[start : start + self.block]
            except Exception:  # whatever a decompressor makes of a damaged chunk
                continue
            if _hash(rows, said) == digest:
                yield start, {**said, "sha256": digest}

    def _same(self, before: dict[str, Any], at: Path) -> None:
        """Refuse to go on with what was begun otherwise."""
        for name in sorted({*before, *self.settings} - _OF_NO_MATTER):
            old, new = before.get(name), self.settings.get(name)
            if old != new:
                raise InputError(
                    f"{at} is of another call: {name} is {old!r} there and {new!r} here",
                    f"make the same call again, give another out, or delete {at}",
                )


@contextmanager
def filling(
    out: Path, names: pd.Index, key: str, width: int, dtype: type, settings: dict[str, Any]
) -> Iterator[Store]:
    """Open a store to fill; it is nobody else's meanwhile. There may be nothing left to do.

    Raises
    ------
    InputError
        If `out` is of another call, not of this package, or being filled.
    GeneMambaError
        If the disk is full. What was written is kept.
    """
    store = Store(out, names, key, width, dtype, settings)
    if store.finished():
        shutil.rmtree(store.partial, ignore_errors=True)
        yield store
        return
    with _room(store):
        store.partial.mkdir(parents=True, exist_ok=True)
        lock = FileLock(store.partial / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"out={str(out)!r} is being written by another process",
                "wait for it, or give another out",
            ) from None
        try:
            store.open()
            yield store
            if store.finished():  # nobody else is in it yet
                shutil.rmtree(store.partial, ignore_errors=True)
        finally:
            lock.release()
        if store.finished():  # Windows keeps a lock that is held
            shutil.rmtree(store.partial, ignore_errors=True)


@contextmanager
def _room(store: Store) -> Iterator[None]:
    """Say what a full disk means: nothing written is lost."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise GeneMambaError(
            f"the disk of {store.partial} is full; {len(store.done)} of "
            f"{-(-len(store.names) // store.block)} blocks are safe",
            "make room, and make the same call again: it goes on from there",
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Write text as all zarr libraries do, though its specification is not finished."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="zarr")
        warnings.filterwarnings("ignore", message=".*(Zarr V3|Zarr format 3|Consolidated|zarr v2)")
        yield


def _without_consolidated(content: bytes) -> bytes:
    """Leave out of a group's own description what is added when all is written."""
    try:
        described = json.loads(content)
        described.pop("consolidated_metadata", None)
        return json.dumps(described, sort_keys=True).encode()
    except (ValueError, TypeError, AttributeError, RecursionError):
        return content


def _settings_of(out: Path) -> dict[str, Any]:
    import zarr

    try:
        settings = zarr.open_group(str(out), mode="r").attrs["genemamba"]
    except (OSError, KeyError, ValueError):
        raise InputError(
            f"out={str(out)!r} exists and was not written by genemamba",
            "give another out, or delete it first",
        ) from None
    return dict(settings)  # type: ignore[arg-type]


def _hash(rows: np.ndarray, said: dict[str, Any]) -> str:
    return sha256(rows, json.dumps(said, sort_keys=True))
