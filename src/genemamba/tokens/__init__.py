"""Counts to tokens on plain arrays: vocabulary, gene matching, input checks, ranking, batches."""

from __future__ import annotations

from .batches import length_batches, longest_first, pack, pad
from .digests import GeneDigests
from .genes import STATUSES, GeneMatch, match
from .measured import MUCH_LOST, Measured, measure
from .rank import Ranked, add_columns, as_csr, rank_csr
from .ranking import MeanRanking
from .sketch import Seen, Sketch
from .values import Values, judge, linear, recheck
from .vocab import FIRST_GENE, PAD, UNK, Vocabulary

__all__ = [
    "FIRST_GENE",
    "MUCH_LOST",
    "PAD",
    "STATUSES",
    "UNK",
    "GeneDigests",
    "GeneMatch",
    "MeanRanking",
    "Measured",
    "Ranked",
    "Seen",
    "Sketch",
    "Values",
    "Vocabulary",
    "add_columns",
    "as_csr",
    "judge",
    "length_batches",
    "linear",
    "longest_first",
    "match",
    "measure",
    "pack",
    "pad",
    "rank_csr",
    "recheck",
]
