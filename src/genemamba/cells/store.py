"""A zarr store that is filled block by block, and resumed after an interruption.

An unfinished store is in ``OUT.partial``, with a journal of the hash of every block and a lock. It
is renamed when complete, so ``OUT`` is always whole.
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

_IRRELEVANT = {"version", "model", "batch_size", "block"}  # settings that change no vector


class Store:
    """Rows of cells, written block by block.

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
        """Whether the store is complete."""
        return self.out.exists()

    def _check_finished(self) -> bool:
        if self.finished():
            self._same(_settings_of(self.out), self.out)
        return self.finished()

    def open(self) -> None:
        """Create the store, or find out what it already contains."""
        if self._check_finished():  # by another process, while this one waited for the lock
            return
        begun = self.partial / "settings.json"
        if begun.exists():
            self._verify(begun)
            self.done = dict(self._sound())
            lines = (json.dumps(stats) + "\n" for stats in self.done.values())
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

    def write(self, start: int, rows: np.ndarray, stats: dict[str, Any]) -> None:
        """Write the block that begins at `start`, and record its hash."""
        self._array[start : start + len(rows)] = rows
        stats = {**stats, "start": start}
        stats["sha256"] = _hash(rows, stats)
        with self.journal.open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(stats) + "\n")
            journal.flush()
            os.fsync(journal.fileno())
        self.done[start] = stats

    def finish(self, uns: dict[str, Any]) -> None:
        """Write the record, and rename the finished store."""
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
        """The record of this slot."""
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
        """Raise if the store belongs to another call or is damaged outside its blocks."""
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
                f"{self.partial} was started by another version, in blocks of {settings['block']}",
                f"finish it with that version, give another out, or delete {self.partial}",
            )
        if frame != self._frame():
            raise InputError(f"{self.partial} is damaged", "delete it, and repeat the call")

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
        """Read the journal; leave out blocks that do not match their hash."""
        journal = self.journal.read_bytes() if self.journal.exists() else b""
        array = self._array
        starts = range(0, len(self.names), self.block)
        for line in journal.splitlines():
            try:
                stats = json.loads(line)
                start, digest = starts[starts.index(stats["start"])], stats.pop("sha256")
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue  # cut short, as by a kill while writing it
            try:
                rows = array[start : start + self.block]
            except Exception:  # whatever a decompressor makes of a damaged chunk
                continue
            if _hash(rows, stats) == digest:
                yield start, {**stats, "sha256": digest}

    def _same(self, before: dict[str, Any], at: Path) -> None:
        """Raise if the store belongs to another call."""
        for name in sorted({*before, *self.settings} - _IRRELEVANT):
            old, new = before.get(name), self.settings.get(name)
            if old != new:
                raise InputError(
                    f"{at} belongs to another call: {name} is {old!r} there and {new!r} here",
                    f"repeat the call, give another out, or delete {at}",
                )


@contextmanager
def filling(
    out: Path, names: pd.Index, key: str, width: int, dtype: type, settings: dict[str, Any]
) -> Iterator[Store]:
    """Open a store to fill, under an exclusive lock. It may be finished already.

    Raises
    ------
    InputError
        If `out` belongs to another call or package, or is being filled.
    GeneMambaError
        If the disk is full. What was written is kept.
    """
    store = Store(out, names, key, width, dtype, settings)
    if store.finished():
        shutil.rmtree(store.partial, ignore_errors=True)
        yield store
        return
    with _room(store):
        try:
            store.partial.mkdir(parents=True, exist_ok=True)
        except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
            raise InputError(
                f"out={str(out)!r} cannot be made ({error.strerror})",
                "choose a folder that you can write to",
            ) from None
        lock = FileLock(store.partial / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"out={str(out)!r} is being written by another process",
                "wait for it, or use another out",
            ) from None
        try:
            store.open()
            yield store
            if store.finished():  # no other process uses it yet
                shutil.rmtree(store.partial, ignore_errors=True)
        finally:
            lock.release()
        if store.finished():  # Windows keeps a lock that is held
            shutil.rmtree(store.partial, ignore_errors=True)


@contextmanager
def _room(store: Store) -> Iterator[None]:
    """Explain that a full disk loses nothing that was written."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise GeneMambaError(
            f"the disk of {store.partial} is full; {len(store.done)} of "
            f"{-(-len(store.names) // store.block)} blocks are saved",
            "free some space and repeat the call: it resumes from there",
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence zarr's warnings about text, whose specification is not final."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="zarr")
        warnings.filterwarnings("ignore", message=".*(Zarr V3|Zarr format 3|Consolidated|zarr v2)")
        yield


def _without_consolidated(content: bytes) -> bytes:
    """Drop from a group's metadata what is added at the end."""
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


def _hash(rows: np.ndarray, stats: dict[str, Any]) -> str:
    return sha256(rows, json.dumps(stats, sort_keys=True))
