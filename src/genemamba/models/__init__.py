"""Checkpoints: the one that comes with the package, and your own."""

from genemamba.models._load import load, vocabulary

__all__ = ["load", "vocabulary"]
