"""The command line: the same names and defaults as the functions."""

from genemamba.cli.run import main

__all__ = ["main"]
