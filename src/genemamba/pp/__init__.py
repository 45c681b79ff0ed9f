"""Preprocessing: counts to ranked genes."""

from genemamba.pp._rank_tokenize import rank_tokenize

__all__ = ["rank_tokenize"]
