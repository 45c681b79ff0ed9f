"""What is known of a cell's genes without looking at the cell: the mean ranking of many cells."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from os import PathLike

import numpy as np

from ..errors import CheckpointError
from .rank import Ranked
from .vocab import FIRST_GENE

_COLUMNS = ("cells", "mean", "sd")
_LEAST_SD = 0.02  # of genes seen too rarely to have one


@dataclass(frozen=True, eq=False)
class MeanRanking:
    """How often each gene is expressed, and where it then stands.

    Places are relative: 0 is the top of a cell's ranking, 1 its end.

    Attributes
    ----------
    n_cells
        Cells this was found in.
    cells
        ``(n_genes,)`` float64, cells that express the gene.
    mean, sd
        ``(n_genes,)`` float64, mean place and its standard deviation in these cells; NaN where
        there are none.
    """

    n_cells: int
    cells: np.ndarray
    mean: np.ndarray
    sd: np.ndarray

    @classmethod
    def of(cls, ranked: Ranked, n_genes: int) -> MeanRanking:
        """Find the mean ranking of some cells."""
        gene = ranked.tokens - FIRST_GENE
        lengths = np.repeat(ranked.lengths, ranked.lengths)
        place = (ranked.rank + 0.5) / lengths
        cells = np.bincount(gene, minlength=n_genes).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.bincount(gene, place, minlength=n_genes) / cells
            spread = np.bincount(gene, (place - mean[gene]) ** 2, minlength=n_genes) / cells
        return cls(ranked.n_cells, cells, mean, np.sqrt(spread))

    @property
    def order(self) -> np.ndarray:
        """Tokens of the genes that are expressed at all, by mean place in all cells.

        Cells that do not express a gene count as having it at their end.
        """
        share = self.cells / self.n_cells
        place = np.where(self.cells > 0, share * np.nan_to_num(self.mean) + 1 - share, np.inf)
        order = np.argsort(place, kind="stable")
        return order[: np.count_nonzero(self.cells)] + FIRST_GENE

    def scores(self, places: np.ndarray) -> np.ndarray:
        """Score every gene at some places: log of how often × how near its mean place.

        Returns
        -------
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
        """Write one line a gene, in the order of the vocabulary."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*_COLUMNS, self.n_cells])
            for cells, mean, sd in zip(self.cells, self.mean, self.sd, strict=True):
                writer.writerow([int(cells), f"{mean:.4f}", f"{sd:.4f}"])

    @classmethod
    def from_csv(cls, path: str | PathLike[str], n_genes: int) -> MeanRanking:
        """Read a file written by :meth:`to_csv`.

        Raises
        ------
        CheckpointError
            If the file is damaged or of another vocabulary.
        """
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


def _damaged(what: str) -> CheckpointError:
    return CheckpointError(f"the mean ranking is damaged: {what}", "fetch the checkpoint again")
