"""Readers of corpora."""

from genemamba.datasets._corpus import Corpus, read_corpus

__all__ = ["Corpus", "read_corpus"]
