"""Nearest neighbours among vectors kept on disk.

A small map keeps its vectors in 8 bits and looks at all of them. A larger one keeps a code of
each (:mod:`genemamba.maps._codes`) in lists around centres, and looks at the lists nearest to a
query. Every vector and query is treated by itself, so that a result depends on neither its company
nor the number of threads. All files are plain arrays, read as memory maps, and one of JSON.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genemamba._files import ResumableFolder, load_array, load_arrays, replacing, write_json
from genemamba.errors import InputError, shown
from genemamba.maps import _codes, _kernels

EXACT_UP_TO = 1 << 15
BLOCK = 1 << 16
ABOUT, BUILDING = "index.json", "building"
_FORMAT = 1
_SEGMENT = 1 << 20  # rows put into order at a time
_LEAST_SCANNED = 10_000
_SPARE = 32  # candidates beyond k, of which exact distances are computed
_AGAIN = "fetch the index again, or delete its folder and build it again"
_SMALL = ("bytes", "lowest", "step")
_LARGE = ("axes", "bounds", "centres", "codes", "positions", "scales", "starts", "words")
Read = Callable[[int, int], np.ndarray]
_A = np.ndarray
_Lists = tuple[_A, _A, _A, _A, _A, _A]


class VectorIndex:
    """Approximate nearest neighbours among vectors kept on disk.

    Distances are Euclidean, to the vectors as kept. Up to 32,768 vectors are kept in 8 bits and
    searched exactly. Of more, a code of about a tenth of the size is kept, and the lists nearest
    to a query are searched. Made by :meth:`build` or :meth:`open`.

    Attributes
    ----------
    n, width
        The number of vectors and their length.
    folder
        Where the index lies.
    files
        The names of its files.
    """

    def __init__(self, folder: Path, n: int, width: int, arrays: dict[str, np.ndarray]) -> None:
        self.folder, self.n, self.width, self._arrays = folder, n, width, arrays
        self.files = [ABOUT, *(f"{name}.npy" for name in arrays)]

    def __repr__(self) -> str:
        return f"VectorIndex: {self.n:,} vectors × {self.width}"

    @classmethod
    def build(cls, read: Read, n: int, folder: Path, *, seed: int = 0) -> VectorIndex:
        """Build an index in a folder, or resume a build that was stopped.

        Parameters
        ----------
        read
            Returns vectors from a start to a stop, float32, the same in every call.
        n
            The number of vectors.
        folder
            A new folder, or that of a build to resume. The same vectors and seed give the same
            bytes, resumed or not.
        seed
            Which vectors are trained on, and where that begins.

        Raises
        ------
        InputError
            If the folder holds something else, or a vector is not finite.
        """
        if n < 1:
            raise InputError("there are no vectors to build an index of", "give one or more")
        work = ResumableFolder(Path(folder), "index", ABOUT, BUILDING)
        width = np.asarray(read(0, 1)).shape[1]
        settings = {"format": _FORMAT, "n": n, "width": width, "seed": seed}
        done = work.path / ABOUT
        if done.exists():
            work.require_same(settings, _read_about(done))
        else:
            with work.writing():
                _build(read, work, settings)
                write_json(done, settings)
        shutil.rmtree(work.path / BUILDING, ignore_errors=True)
        return cls.open(work.path)

    @classmethod
    def open(cls, folder: Path) -> VectorIndex:
        """Open an index; its arrays are mapped, not read.

        Raises
        ------
        InputError
            If a file is missing or is not what the index needs.
        """
        folder = Path(folder)
        about = _read_about(folder / ABOUT)
        n, width = about["n"], about["width"]
        names = _SMALL if n <= EXACT_UP_TO else _LARGE
        arrays = {name: _open_array(folder / f"{name}.npy") for name in names}
        _check(arrays, n, width, folder)
        return cls(folder, n, width, arrays)

    def search(self, X: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest vectors of each row of X.

        Parameters
        ----------
        X
            Queries, one a row.
        k
            How many to find; all, if there are fewer.

        Returns
        -------
        The positions of the vectors, nearest first and equally near ones in order, and distances.
        """
        X = self._queries(X)
        k = min(k, self.n)
        shape = (len(X), min(k + _SPARE, self.n))
        found, distances = np.empty(shape, np.int64), np.empty(shape, np.float32)
        if "bytes" in self._arrays:
            vectors = self._all
            _codes.in_threads(
                lambda r: _kernels.search_all(X[r], vectors, found[r], distances[r]), len(X), 16
            )
        else:
            X = _codes.rotated(X, self._arrays["axes"])
            n_scan = max(_LEAST_SCANNED, 20 * k)
            lists = self._lists
            _codes.in_threads(
                lambda r: _kernels.search_lists(X[r], *lists, n_scan, found[r], distances[r]),
                len(X),
                16,
            )
            found = self._arrays["positions"][found].astype(np.int64)
        order = np.lexsort(np.stack([found, distances.astype(np.float64)]), axis=-1)[:, :k]
        return np.take_along_axis(found, order, 1), np.take_along_axis(distances, order, 1)

    def vectors(self, positions: np.ndarray) -> np.ndarray:
        """Return vectors as they are kept, which is what distances are measured to."""
        positions = np.asarray(positions, np.int64)
        if positions.size and (positions.min() < 0 or positions.max() >= self.n):
            raise InputError(f"a position is not from 0 to {self.n - 1}", "give others")
        if "bytes" in self._arrays:
            return self._all[positions]
        kept = np.empty((len(positions), self.width), np.float32)
        rows = self._rows[positions].astype(np.int64)
        centres, starts, codes, scales, words, bounds = self._lists
        _codes.in_threads(
            lambda r: _kernels.decode(
                rows[r], starts, centres, words, bounds, codes, scales, kept[r]
            ),
            len(rows),
        )
        return _codes.rotated(kept, np.ascontiguousarray(self._arrays["axes"].T))

    def _queries(self, X: np.ndarray) -> np.ndarray:
        X = np.ascontiguousarray(X, np.float32)
        if X.ndim != 2 or X.shape[1] != self.width:
            raise InputError(f"queries have shape {X.shape}", f"give rows of {self.width} numbers")
        if not np.isfinite(X).all():
            raise InputError("a query holds NaN or infinity", "leave such rows out")
        return X

    @cached_property
    def _lists(self) -> _Lists:
        names = ("starts", "codes", "scales", "words", "bounds")
        starts, codes, scales, words, bounds = (self._arrays[name] for name in names)
        return self._arrays["centres"].astype(np.float32), starts, codes, scales, words, bounds

    @cached_property
    def _all(self) -> np.ndarray:
        """The vectors of a small map."""
        steps = self._arrays["bytes"].astype(np.float32) * self._arrays["step"]
        return steps + self._arrays["lowest"]

    @cached_property
    def _rows(self) -> np.ndarray:
        rows = np.empty(self.n, np.uint32)
        rows[self._arrays["positions"]] = np.arange(self.n, dtype=np.uint32)
        return rows


def _build(read: Read, work: ResumableFolder, settings: dict[str, Any]) -> None:
    n, width, building = settings["n"], settings["width"], work.path / BUILDING
    building.mkdir(parents=True, exist_ok=True)
    begun = building / "settings.json"
    if begun.exists():
        work.require_same(settings, _read_about(begun))
    else:
        write_json(begun, settings)
    if n <= EXACT_UP_TO:
        vectors = np.concatenate([X for _, X in _blocks(read, n, width)])
        lowest, step = vectors.min(axis=0), np.ptp(vectors, axis=0) / np.float32(255)
        whole = np.rint((vectors - lowest) / np.where(step > 0, step, 1)).astype(np.uint8)
        for name, array in zip(_SMALL, (whole, lowest, step), strict=True):
            _codes.save_array(work.path / f"{name}.npy", array)
        return
    coder = _trained(read, settings, building / "coder.npz")
    for start in range(0, n, BLOCK):
        file = building / f"{start:012}.npz"
        if not file.exists():
            labels, codes, scales = coder.encode(_block(read, start, n, width))
            _save_arrays(file, labels=labels.astype(np.int32), codes=codes, scales=scales)
    _codes.save_array(work.path / "axes.npy", coder.axes)
    _codes.save_array(work.path / "centres.npy", coder.centres.astype(np.float16))
    _codes.save_array(work.path / "words.npy", coder.words)
    _codes.save_array(work.path / "bounds.npy", coder.bounds)
    _sort(work.path, n, len(coder.centres), len(coder.bounds) - 1)


def _block(read: Read, start: int, n: int, width: int) -> np.ndarray:
    """Read one block and check it."""
    stop = min(start + BLOCK, n)
    X = np.ascontiguousarray(read(start, stop), np.float32)
    if X.shape != (stop - start, width):
        raise InputError(
            f"vectors {start} to {stop} have shape {X.shape}", f"read {width} numbers of each"
        )
    if not np.isfinite(X).all():
        raise InputError(f"vectors {start} to {stop} hold NaN or infinity", "leave such rows out")
    return X


def _blocks(read: Read, n: int, width: int) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, n, BLOCK):
        yield start, _block(read, start, n, width)


def _trained(read: Read, settings: dict[str, Any], file: Path) -> _codes.Coder:
    """Train the coder, or load the one that this build has trained."""
    names = tuple(_codes.Coder.__annotations__)  # in order
    if not file.exists():
        n, rng = settings["n"], np.random.default_rng(settings["seed"])
        chosen = np.sort(rng.choice(n, _codes.n_sample(n), replace=False, shuffle=False))
        sample, at = np.empty((len(chosen), settings["width"]), np.float32), 0
        for start, X in _blocks(read, n, settings["width"]):
            own = chosen[np.searchsorted(chosen, start) : np.searchsorted(chosen, start + len(X))]
            sample[at : at + len(own)] = X[own - start]
            at += len(own)
        _save_arrays(file, **vars(_codes.train(sample, n, rng)))
    return _codes.Coder(*load_arrays(file, *names))


def _save_arrays(file: Path, **arrays: np.ndarray) -> None:
    with replacing(file) as new, new.open("wb") as out:
        np.savez(out, allow_pickle=False, **arrays)


def _sort(folder: Path, n: int, lists: int, groups: int) -> None:
    """Write what the blocks hold list by list, within one by position."""
    files = [folder / BUILDING / f"{start:012}.npz" for start in range(0, n, BLOCK)]
    labels = np.concatenate([load_arrays(file, "labels")[0] for file in files])
    starts = np.concatenate([[0], np.cumsum(np.bincount(labels, minlength=lists))])
    _codes.save_array(folder / "starts.npy", starts.astype(np.int64))
    order = np.argsort(labels, kind="stable").astype(np.uint32)
    _codes.save_array(folder / "positions.npy", order)
    rows = np.empty(n, np.uint32)
    rows[order] = np.arange(n, dtype=np.uint32)
    scales = np.empty(n, np.uint8)
    header = {"descr": "|u1", "fortran_order": False, "shape": (n, groups)}
    with replacing(folder / "codes.npy") as new, new.open("wb") as out:
        np.lib.format.write_array_header_1_0(out, header)
        for first in range(0, n, _SEGMENT):
            segment = np.empty((min(_SEGMENT, n - first), groups), np.uint8)
            for file, start in zip(files, range(0, n, BLOCK), strict=True):
                codes, own = load_arrays(file, "codes", "scales")
                at = rows[start : start + BLOCK].astype(np.int64) - first
                here = (at >= 0) & (at < len(segment))
                segment[at[here]] = codes[here]
                scales[at[here] + first] = own[here]
            out.write(segment.data)
    _codes.save_array(folder / "scales.npy", scales)


def _read_about(file: Path) -> dict[str, Any]:
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        whole = all(type(about[name]) is int for name in ("format", "n", "width", "seed"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is missing or damaged ({error})", _AGAIN) from None
    if not whole or about["n"] < 1 or about["width"] < 1:
        raise InputError(f"{file} is damaged: {shown(about)}", _AGAIN)
    if about["format"] != _FORMAT:
        raise InputError(f"{file} has format {about['format']}", "update genemamba")
    return dict(about)


def _open_array(file: Path) -> np.ndarray:
    try:
        array = load_array(file, mmap_mode="r")
        rest = file.stat().st_size - array.offset - array.nbytes  # type: ignore[attr-defined]
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{file} is missing or damaged ({error})", _AGAIN) from None
    if rest:
        raise InputError(f"{file} is damaged: {rest} bytes too many", _AGAIN)
    return np.asarray(array)


def _check(arrays: dict[str, np.ndarray], n: int, width: int, folder: Path) -> None:
    """Reject arrays that do not fit together; the compiled search trusts them."""
    if "bytes" in arrays:
        wanted: dict[str, tuple[Any, tuple[int, ...]]] = {
            "bytes": (np.uint8, (n, width)),
            "lowest": (np.float32, (width,)),
            "step": (np.float32, (width,)),
        }
    else:
        lists, groups = len(arrays["centres"]), max(arrays["bounds"].size - 1, 1)
        wanted = {
            "axes": (np.float32, (width, width)),
            "bounds": (np.int64, (groups + 1,)),
            "centres": (np.float16, (lists, width)),
            "codes": (np.uint8, (n, groups)),
            "positions": (np.uint32, (n,)),
            "scales": (np.uint8, (n,)),
            "starts": (np.int64, (lists + 1,)),
            "words": (np.float32, (width, _kernels.N_WORDS)),
        }
    for name, (dtype, shape) in wanted.items():
        array = arrays[name]
        if array.dtype != dtype or array.shape != shape or not array.flags.c_contiguous:
            what = f"{array.dtype} {array.shape}, not {np.dtype(dtype)} {shape}"
            raise InputError(f"{folder / name}.npy is damaged: {what}", _AGAIN)
    for name, last in (("bounds", width), ("starts", n)):
        if name in arrays:
            cuts = arrays[name]
            if cuts[0] != 0 or cuts[-1] != last or (np.diff(cuts) < 0).any():
                raise InputError(f"{folder / name}.npy is damaged: not a cut of {last}", _AGAIN)
