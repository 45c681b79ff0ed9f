"""GeneMamba: a bidirectional Mamba-2 foundation model of single cells, for scanpy."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from genemamba._version import __version__

if TYPE_CHECKING:
    from genemamba import datasets, maps, metrics, models, pl, pp, tl
    from genemamba._doctor import doctor

__all__ = ["__version__", "datasets", "doctor", "maps", "metrics", "models", "pl", "pp", "tl"]


def __getattr__(name: str) -> Any:
    """Import a part when it is first used: torch and scanpy take seconds to import."""
    if name == "doctor":
        return importlib.import_module("genemamba._doctor").doctor
    if name in __all__:
        return importlib.import_module(f"genemamba.{name}")
    raise AttributeError(f"module 'genemamba' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
