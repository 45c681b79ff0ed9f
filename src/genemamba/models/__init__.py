"""Checkpoints: the one that comes with the package, and your own."""

from genemamba.models._available import available
from genemamba.models._convert import convert
from genemamba.models._fetch import fetch
from genemamba.models._info import info
from genemamba.models._load import load, vocabulary
from genemamba.models._register import register

__all__ = ["available", "convert", "fetch", "info", "load", "register", "vocabulary"]
