"""Detect from the entries of a matrix whether it holds counts, normalised or logged values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import sparse

from ..errors import InputError
from .rank import as_csr

_BASES = (math.e, 2.0, 10.0)
_SAMPLE = 200  # cells examined when values are not whole numbers
_MANY = 20  # entries a cell should have for its smallest count to be informative
_FEW = 10  # minimum number of comparisons
_RICH, _LOW = 500, 10  # a cell with 500 genes has a count above 10
_CONSTANT = 5_000  # equal entries that cannot be coincidence
_LOGGED_MAX = 30.0  # natural log of 1e13: no logged count is higher
_FIX = "Give the matrix, or the layer, that holds counts."


@dataclass(frozen=True)
class Values:
    """What a matrix holds."""

    kind: Literal["counts", "normalised", "log1p"]
    """Whole numbers; linear but not whole (CPM, TPM, corrected counts); or logged."""
    base: float | None
    """Base of the logarithm for ``"log1p"``, otherwise None."""
    reason: str
    """How it was detected."""
    doubt: str = ""
    """Why it may be something else, if there is a reason."""


def judge(
    csr: sparse.csr_matrix | sparse.csr_array,
    *,
    log1p_hint: float | None = None,
    where: str = "the matrix",
) -> Values:
    """Detect counts, normalised or logged values; reject what cannot be ranked.

    `log1p_hint` is a recorded base of the logarithm (``uns["log1p"]`` in scanpy), used only if the
    entries are ambiguous; `where` names the matrix in errors.

    >>> judge(as_csr(np.array([[1, 0, 3], [0, 2, 0]]))).kind
    'counts'
    """
    csr = as_csr(csr, where=where)
    if 0 in csr.shape:
        raise InputError(f"{where} is empty: {csr.shape[0]} cells by {csr.shape[1]} genes", _FIX)
    if _reject_unsound(csr, where, 0) == 0:
        raise InputError(f"{where} holds no value above zero", _FIX)
    if _is_whole(csr.data):
        return Values("counts", None, "every entry is a whole number", _doubt(csr, where))
    counted, others = _sample(csr)
    highest = float(csr.data.max())
    found = _by_steps(others)
    if isinstance(found, str):
        raise InputError(
            f"{where} holds transformed counts, and not by a log: {found} of the entries makes "
            "them multiples of the cell's smallest",
            f"{_FIX} Or undo it: {found}(…) of the entries.",
        )
    if found:
        many_counted = len(counted) > 0.02 * (len(counted) + len(others))
        if found.base and (many_counted or not _possible(found.base, highest)):
            raise InputError(
                f"{where} mixes cells with logged values and cells with counts "
                f"(entries up to {highest:.6g})",
                "Split it and bring every part to counts: np.expm1 undoes a natural log1p.",
            )
        return found
    if highest > 50:
        return Values("normalised", None, f"entries go up to {highest:.6g}: they are not logged")
    if np.mean(csr.data == np.rint(csr.data)) > 0.8:
        return Values("normalised", None, "most entries are whole numbers: corrected counts")
    if found := _by_sums(counted + others, highest):
        return found
    if log1p_hint is not None and _possible(log1p_hint, highest):
        return Values("log1p", log1p_hint, f"noted as log1p in base {log1p_hint:.6g}")
    raise InputError(
        f"{where} holds fractions up to {highest:.6g} that may be logged or linear: "
        "the entries do not tell",
        "Give the layer with counts; or undo the log with np.expm1.",
    )


def _possible(base: float | None, highest: float) -> bool:
    return base is None or highest * math.log(base) <= _LOGGED_MAX


def linear(
    csr: sparse.csr_matrix | sparse.csr_array, values: Values
) -> sparse.csr_matrix | sparse.csr_array:
    """Undo the logarithm, if any; else return `csr` itself, which is never changed."""
    if values.base is None:
        return csr
    data = _unlog(csr.data, values.base)
    return sparse.csr_matrix((data, csr.indices, csr.indptr), shape=csr.shape)


def _unlog(data: np.ndarray, base: float) -> np.ndarray:
    return np.expm1(data * data.dtype.type(math.log(base)))


def _doubt(csr: sparse.csr_matrix | sparse.csr_array, where: str) -> str:
    """Return why whole numbers may not be counts; reject binary data.

    A cell with hundreds of genes has a gene with more than ten counts; the rounded logarithm of
    normalised counts stays below that.
    """
    n_entries = np.diff(csr.indptr)
    if csr.data.max() == csr.data[csr.data > 0].min() and csr.nnz >= _CONSTANT:
        raise InputError(
            f"{where} holds only one value, {csr.data.max():g}: it shows which genes are detected, "
            "and genes cannot be ranked by it",
            _FIX,
        )
    cells = np.flatnonzero(n_entries >= _RICH)
    if len(cells) < _FEW:
        return ""
    highest = np.maximum.reduceat(csr.data, csr.indptr[:-1][n_entries > 0])
    highest = highest[n_entries[n_entries > 0] >= _RICH]
    if np.mean(highest <= _LOW) < 0.95:
        return ""
    return (
        f"cells with {_RICH} or more genes have no value above {_LOW}: these look like rounded "
        "logs, not counts"
    )


def recheck(
    csr: sparse.csr_matrix | sparse.csr_array, values: Values, *, where: str, first: int
) -> None:
    """Reject cells, starting with number `first`, that contradict what others were found to be."""
    highest = _reject_unsound(csr, where, first)
    if values.kind == "counts" and not _is_whole(csr.data):
        raise InputError(
            f"{where} holds whole numbers in some cells and fractions in others, "
            f"such as in cells {first} to {first + csr.shape[0] - 1}",
            "Split it and bring every part to counts.",
        )
    if not _possible(values.base, highest):
        raise InputError(
            f"{where} mixes cells with logged values and cells with counts "
            f"(entries up to {highest:.6g} in cells {first} to {first + csr.shape[0] - 1})",
            "Split it and bring every part to counts: np.expm1 undoes a natural log1p.",
        )


def _reject_unsound(
    csr: sparse.csr_matrix | sparse.csr_array, where: str, first_cell: int
) -> float:
    """Reject entries that no count can be; return the highest entry."""
    lowest, highest = csr.data.min(initial=0), csr.data.max(initial=0)  # NaN passes through
    if not np.isfinite([lowest, highest]).all():
        bad = ~np.isfinite(csr.data)
        first = int(np.argmax(bad))
        cell = first_cell + int(np.searchsorted(csr.indptr, first, side="right")) - 1
        raise InputError(
            f"{where} holds {bad.sum()} NaN or infinite values, "
            f"the first in cell {cell}, gene {csr.indices[first]} (counted from 0)",
            f"{_FIX} If NaN means no reads, set it to 0.",
        )
    if lowest < 0:
        raise InputError(
            f"{where} holds negative values (minimum {lowest:.6g}): it looks scaled, and scaled "
            "data cannot be ranked",
            _FIX,
        )
    return float(highest)


def _is_whole(data: np.ndarray, block: int = 1 << 20) -> bool:
    if data.dtype.kind != "f":
        return True
    parts = (data[start : start + block] for start in range(0, len(data), block))
    return all(np.array_equal(part, np.rint(part)) for part in parts)


def _sample(
    csr: sparse.csr_matrix | sparse.csr_array,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the positive entries of up to 200 cells: cells of counts, and other cells."""
    n_entries = np.diff(csr.indptr)
    cells = np.flatnonzero(n_entries >= _MANY)
    if len(cells) == 0:
        cells = np.argsort(-n_entries, kind="stable")[:_SAMPLE]
    cells = cells[np.linspace(0, len(cells) - 1, min(len(cells), _SAMPLE)).astype(int)]
    counted: list[np.ndarray] = []
    others: list[np.ndarray] = []
    for cell in cells:
        entries = csr.data[csr.indptr[cell] : csr.indptr[cell + 1]].astype(np.float64)
        entries = entries[entries > 0]
        if len(entries):
            # log2 of counts can be whole by chance, but rarely up to 3 in a cell of many genes
            is_counted = _is_whole(entries) and entries.max() >= 3
            (counted if is_counted else others).append(entries)
    return counted, others


def _by_steps(cells: list[np.ndarray]) -> Values | str | None:
    """Find the scale on which a cell's entries are multiples of its smallest, as counts are.

    For a transformation other than a log, return the function that undoes it.
    """
    highest = max((entries.max() for entries in cells), default=0.0)
    found: dict[float | None, float] = {}
    for base in (None, *_BASES):
        if _possible(base, highest):
            scaled = cells if base is None else [_unlog(entries, base) for entries in cells]
            _note(found, base, scaled)
    others: dict[str, float] = {}
    for undo in (np.sinh, np.square):
        if undo is np.square or _possible(math.e, highest):
            _note(others, f"np.{undo.__name__}", [undo(entries) for entries in cells])
    nearest = min(others, key=lambda name: others[name], default="")
    # for large values arcsinh equals log, and either inverse fits
    if nearest and others[nearest] < 0.5 * min(found.values(), default=math.inf):
        return nearest
    if not found:
        return None
    best = min(found, key=lambda base: found[base])
    if best is None:
        reason = "entries are multiples of the smallest in their cell: counts by a size factor"
        return Values("normalised", None, reason)
    reason = f"undoing a log1p in base {best:.6g} makes entries multiples of the cell's smallest"
    return Values("log1p", best, reason)


def _note(found: dict[Any, float], scale: object, cells: list[np.ndarray]) -> None:
    """Record how far entries are from multiples of their cell's smallest, if they are close.

    Doubles must be common: arcsinh undone as a log in base 10 leaves only 4 and 10, and counts
    squared leave 4 and 9.
    """
    steps = np.concatenate([entries / entries.min() for entries in cells] or [np.empty(0)])
    steps = steps[(steps > 1.01) & (steps < 12)]  # above, 2 % is close to any integer
    error = np.abs(steps - np.rint(steps)) / steps
    twice, fourfold = ((np.rint(steps) == n).sum() for n in (2, 4))
    if len(steps) >= _FEW and np.mean(error < 0.02) > 0.95 and twice >= max(1, fourfold / 2):
        found[scale] = float(error.mean())


def _by_sums(cells: list[np.ndarray], highest: float) -> Values | None:
    """Find the scale on which all cells have the same total, as after normalisation."""
    if len(cells) < _FEW:
        return None
    spread: dict[float | None, float] = {}
    for base in (None, *_BASES):
        if not _possible(base, highest):
            continue
        sums = np.array([(e if base is None else _unlog(e, base)).sum() for e in cells])
        spread[base] = float(sums.std() / sums.mean())
    best = min(spread, key=lambda base: spread[base])
    if spread[best] > 1e-3:
        return None
    if best is None:
        return Values("normalised", None, "all cells have the same total")
    return Values("log1p", best, f"undoing a log1p in base {best:.6g} gives cells the same total")
