"""Corpora for training."""

from genemamba.datasets._build import build_corpus
from genemamba.datasets._store import Corpus

__all__ = ["Corpus", "build_corpus"]
