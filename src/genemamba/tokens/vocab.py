"""The table of Ensembl ids, symbols, non-zero medians and tokens."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from .._files import sha256
from ..errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from os import PathLike

UNK, PAD = 0, 1
FIRST_GENE = 2

_COLUMNS = ("ensembl_id", "symbol", "median", "alias")
_MOST_CHARACTERS = 2**26
_FIX = "Get a fresh copy of the checkpoint, or write the table again with Vocabulary.to_csv."


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The genes of a model, with their tokens and median expression.

    Gene ``g`` has token ``g + 2``; 0 is ``[UNK]``, 1 is ``[PAD]``, special tokens follow the genes.

    >>> vocab = Vocabulary(
    ...     ensembl_id=["ENSG00000010610", "ENSG00000177455"],
    ...     symbol=["CD4", "CD19"],
    ...     median=[1.5, 2.0],
    ...     alias=["", "B4"],
    ...     extra=("[MASK]",),
    ... )
    >>> len(vocab), vocab.special("[MASK]"), vocab.name_to_gene["B4"]
    (5, 4, 1)
    """

    ensembl_id: np.ndarray
    """``(n_genes,)`` str, unique, ascending, without version suffix."""
    symbol: np.ndarray
    """``(n_genes,)`` str, "" if unknown."""
    median: np.ndarray
    """``(n_genes,)`` float64, the gene's non-zero median in counts per 10,000."""
    alias: np.ndarray
    """``(n_genes,)`` str, other names joined by "|"."""
    extra: tuple[str, ...] = ()
    """Special tokens after the genes, such as ``("[CLS]", "[MASK]")``."""

    def __post_init__(self) -> None:
        for name in ("ensembl_id", "symbol", "alias"):
            object.__setattr__(self, name, _text(getattr(self, name), name))
        object.__setattr__(self, "median", np.array(self.median, dtype=np.float64))
        object.__setattr__(self, "extra", tuple(self.extra))
        for name in _COLUMNS:
            getattr(self, name).setflags(write=False)  # the hash is cached
            if getattr(self, name).shape != (self.n_genes,):
                shape = getattr(self, name).shape
                raise _damaged(f"{name} has shape {shape}, ensembl_id {self.ensembl_id.shape}")
        if self.n_genes == 0:
            raise _damaged("it has no genes")
        ids = self.ensembl_id
        _reject_rows(ids == "", "has no ensembl_id", ids)
        _reject_rows(
            np.r_[False, ids[1:] <= ids[:-1]], "is repeated or not in ascending order", ids
        )
        good = np.isfinite(self.median) & (self.median > 0)
        _reject_rows(~good, "has a median that is not a positive number", ids)
        if len(set(self.extra) | {"[UNK]", "[PAD]"}) != len(self.extra) + 2:
            raise _damaged(f"special tokens are repeated: {self.extra}")

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return len(self.ensembl_id)

    def __len__(self) -> int:
        """Count the tokens, special ones included."""
        return FIRST_GENE + self.n_genes + len(self.extra)

    def __repr__(self) -> str:
        first = ", ".join(map(str, self.symbol[:3]))
        extra = f"; also {', '.join(self.extra)}" if self.extra else ""
        return f"Vocabulary: {self.n_genes:,} genes ({first}, …){extra}"

    @cached_property
    def _special(self) -> dict[str, int]:
        first = FIRST_GENE + self.n_genes
        return {"[UNK]": UNK, "[PAD]": PAD} | {s: first + i for i, s in enumerate(self.extra)}

    def has_special(self, name: str) -> bool:
        """Whether the vocabulary has a special token such as ``"[CLS]"``."""
        return name in self._special

    def special(self, name: str) -> int:
        """Return the token of a special token such as ``"[PAD]"`` or ``"[MASK]"``."""
        if name not in self._special:
            raise CheckpointError(
                f"the vocabulary has no special token {name!r}, only {list(self._special)}",
                "Use a checkpoint that was trained with this token.",
            )
        return self._special[name]

    @cached_property
    def sha256(self) -> str:
        """Hash of Ensembl ids, medians and special tokens, which decide a cell's tokens."""
        ids, extra = "\n".join(self.ensembl_id.tolist()), "\n".join(self.extra)
        return sha256(ids, "\0", self.median.astype("<f8"), "\0", extra)

    @cached_property
    def name_to_gene(self) -> dict[str, int]:
        """Gene index of each name; -1 if a symbol or alias is ambiguous.

        Ensembl ids take precedence over symbols, symbols over aliases.
        """
        names = _index([a for a in joined.split("|") if a] for joined in self.alias.tolist())
        names |= _index([s] if s else [] for s in self.symbol.tolist())
        names |= _index([i] for i in self.ensembl_id.tolist())
        return names

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write the genes as CSV, without ``extra``; medians are read back exactly."""
        columns = (self.ensembl_id, self.symbol, map(repr, self.median.tolist()), self.alias)
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(_COLUMNS)
            writer.writerows(zip(*columns, strict=True))

    @classmethod
    def from_csv(cls, path: str | PathLike[str], extra: Sequence[str] = ()) -> Vocabulary:
        """Read a table written by :meth:`to_csv`."""
        try:
            with open(path, newline="", encoding="utf-8") as file:
                return _parsed(file.read(), str(path), tuple(extra))
        except (OSError, UnicodeDecodeError) as error:
            raise _damaged(f"{path} cannot be read: {error}") from error


@lru_cache(8)  # keyed by the text, so a changed file is read again; tables are read-only
def _parsed(text: str, path: str, extra: tuple[str, ...]) -> Vocabulary:
    try:  # not pandas: it would read the symbol "NA" as missing
        rows = _read_rows(csv.reader(io.StringIO(text, newline=""), strict=True), path)
    except csv.Error as error:
        raise _damaged(f"{path} cannot be read: {error}") from error
    try:
        ensembl_id, symbol, median, alias = map(list, zip(*rows, strict=True))
        return Vocabulary(ensembl_id, symbol, median, alias, extra)  # type: ignore[arg-type]
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.what}", error.fix) from None


def _text(values: Sequence[str] | np.ndarray, name: str) -> np.ndarray:
    """Make an array of text, in which numpy gives each row the width of the widest."""
    if not isinstance(values, np.ndarray):
        values = [str(value) for value in values]
        widest = max(map(len, values), default=0)
        if widest * len(values) > _MOST_CHARACTERS:
            raise _damaged(f"{name} has a row of {widest} characters")
    return np.array(values, dtype=str)


def _index(names_of_genes: Iterable[Iterable[str]]) -> dict[str, int]:
    index: dict[str, int] = {}
    for gene, names in enumerate(names_of_genes):
        for name in names:
            index[name] = gene if index.get(name, gene) == gene else -1
    return index


def _read_rows(reader: Iterable[list[str]], path: str) -> list[tuple[str, str, float, str]]:
    rows: list[tuple[str, str, float, str]] = []
    lines = enumerate(reader, start=1)
    header = next(lines, (1, []))[1]
    if tuple(header) != _COLUMNS:
        raise _damaged(f"{path}, line 1: columns are {header}, not {list(_COLUMNS)}")
    for line, row in lines:
        if len(row) != len(_COLUMNS):
            raise _damaged(f"{path}, line {line}: {len(row)} columns, not {len(_COLUMNS)}")
        ensembl_id, symbol, median, alias = row
        try:
            rows.append((ensembl_id, symbol, float(median), alias))
        except ValueError:
            what = f"{path}, line {line}, column median: {median!r} is not a number"
            raise _damaged(what) from None
    if not rows:
        raise _damaged(f"{path} has no genes")
    return rows


def _reject_rows(bad: np.ndarray, what: str, ids: np.ndarray) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise _damaged(f"row {row} ({str(ids[row])!r}) {what}")


def _damaged(what: str) -> CheckpointError:
    return CheckpointError(f"the gene table is damaged: {what}", _FIX)
