"""Every AnnData slot this package writes."""

from __future__ import annotations

OBSM_EMBEDDING = "X_genemamba"
"""``obsm``: one vector per cell."""
OBSM_INTEGRATED = "X_genemamba_integrated"
"""``obsm``: one vector per cell, batches mixed."""
OBSM_TOKENS = "genemamba_tokens"
"""``obsm``: the ranked genes of each cell."""
UNS = "genemamba"
"""``uns``: a record for every slot written, under the slot's name."""
