"""The Bi-Mamba model: torch, and nothing of AnnData."""

from genemamba.network.config import GeneMambaConfig
from genemamba.network.genemamba import GeneMamba

__all__ = ["GeneMamba", "GeneMambaConfig"]
