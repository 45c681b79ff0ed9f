"""The Bi-Mamba model: torch, and nothing of AnnData."""

from genemamba.model.config import GeneMambaConfig
from genemamba.model.genemamba import GeneMamba

__all__ = ["GeneMamba", "GeneMambaConfig"]
