"""The mean ranking of many cells: a baseline that does not look at the cell."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from os import PathLike

import numpy as np
from numba import njit

from ..errors import CheckpointError
from .rank import Ranked
from .vocab import FIRST_GENE

_COLUMNS = ("cells", "mean", "sd")
_LEAST_SD = 0.02  # for genes that are too rare to estimate it


@dataclass(frozen=True, eq=False)
class MeanRanking:
    """How often each gene is expressed, and its mean relative rank in the cells that express it.

    Relative ranks are from 0, the top of a cell's ranking, to 1, its end.
    """

    n_cells: int
    """Cells that were ranked."""
    cells: np.ndarray
    """``(n_genes,)`` float64, cells that express the gene."""
    mean: np.ndarray
    """``(n_genes,)`` float64, mean relative rank; NaN for genes that no cell expresses."""
    sd: np.ndarray
    """``(n_genes,)`` float64, its standard deviation."""

    @classmethod
    def of(cls, ranked: Ranked, n_genes: int) -> MeanRanking:
        """Compute the mean ranking of some cells."""
        return cls.of_sums(rank_sums(ranked.tokens, ranked.indptr, n_genes), ranked.n_cells)

    @classmethod
    def of_sums(cls, sums: np.ndarray, n_cells: int) -> MeanRanking:
        """Compute the mean ranking from the added :func:`rank_sums` of all cells."""
        cells, first, second = sums
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = first / cells
            sd = np.sqrt(np.maximum(second / cells - mean**2, 0))
        return cls(n_cells, cells, mean, sd)

    @property
    def order(self) -> np.ndarray:
        """Tokens of the expressed genes, by mean relative rank, 1 in cells without the gene."""
        share = self.cells / self.n_cells
        place = np.where(self.cells > 0, share * np.nan_to_num(self.mean) + 1 - share, np.inf)
        order = np.argsort(place, kind="stable")
        return order[: np.count_nonzero(self.cells)] + FIRST_GENE

    def scores(self, places: np.ndarray) -> np.ndarray:
        """Return the log density of each gene at some relative ranks, up to a constant.

        ``(len(places), n_genes)`` float32; ``-inf`` for genes that are never expressed.
        """
        sd = np.maximum(np.nan_to_num(self.sd), _LEAST_SD)
        with np.errstate(divide="ignore"):
            often = (np.log(self.cells) - np.log(sd)).astype(np.float32)
        mean, sharp = np.nan_to_num(self.mean), np.sqrt(0.5) / sd
        away = np.subtract.outer(np.asarray(places, np.float32), mean.astype(np.float32))
        away *= sharp.astype(np.float32)
        return often - np.square(away, out=away)

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write one line per gene, in the order of the vocabulary."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*_COLUMNS, self.n_cells])
            for cells, mean, sd in zip(self.cells, self.mean, self.sd, strict=True):
                writer.writerow([int(cells), f"{mean:.4f}", f"{sd:.4f}"])

    @classmethod
    def from_csv(cls, path: str | PathLike[str], n_genes: int) -> MeanRanking:
        """Read a file written by :meth:`to_csv`."""
        try:
            with open(path, newline="", encoding="utf-8") as file:
                header, *rows = csv.reader(file, strict=True)
            table = np.array(rows, dtype=np.float64).reshape(-1, len(_COLUMNS))
            n_cells = int(header[-1])
        except (OSError, UnicodeDecodeError, csv.Error, ValueError, IndexError) as error:
            raise _damaged(f"{path} cannot be read: {error}") from None
        if tuple(header[:-1]) != _COLUMNS or len(table) != n_genes or n_cells < 1:
            raise _damaged(f"{path} has {len(table)} genes, the vocabulary {n_genes}")
        cells, mean, sd = table.T
        seen = cells > 0
        sound = (
            (cells >= 0) & (cells <= n_cells) & (~seen | ((mean >= 0) & (mean <= 1) & (sd >= 0)))
        )
        if not sound.all():
            raise _damaged(f"{path}, line {int(np.argmin(sound)) + 2}: no mean ranking")
        return cls(n_cells, cells, mean, sd)


@njit(nogil=True, cache=True)
def rank_sums(tokens, starts, n_genes):  # type: ignore[no-untyped-def]
    """Return, per gene, the number of cells and the sums of relative ranks and their squares."""
    out = np.zeros((3, n_genes))
    for cell in range(len(starts) - 1):
        for i in range(starts[cell], starts[cell + 1]):
            place = (i - starts[cell] + 0.5) / (starts[cell + 1] - starts[cell])
            gene = tokens[i] - FIRST_GENE
            out[0, gene] += 1
            out[1, gene] += place
            out[2, gene] += place**2
    return out


def _damaged(what: str) -> CheckpointError:
    return CheckpointError(f"the mean ranking is damaged: {what}", "fetch the checkpoint again")
