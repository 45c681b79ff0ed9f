"""Preprocessing: counts to ranked genes."""

from genemamba.pp._gene_medians import gene_medians
from genemamba.pp._rank_tokenize import rank_tokenize

__all__ = ["gene_medians", "rank_tokenize"]
