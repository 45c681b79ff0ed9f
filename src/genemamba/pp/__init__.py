"""Preprocessing: what cells hold, and counts to ranked genes."""

from genemamba.pp._check import check
from genemamba.pp._gene_medians import gene_medians
from genemamba.pp._rank_tokenize import rank_tokenize

__all__ = ["check", "gene_medians", "rank_tokenize"]
