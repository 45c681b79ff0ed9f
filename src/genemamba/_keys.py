"""Every AnnData slot this package writes."""

from __future__ import annotations

OBSM_EMBEDDING = "X_genemamba"
"""``obsm``: one vector per cell."""
OBSM_TOKENS = "genemamba_tokens"
"""``obsm``: the ranked genes of each cell."""
UNS = "genemamba"
"""``uns``: a record for every slot written, under the slot's name."""
COMPARE = "compare"
"""In the record in ``uns``: the table of ``gm.metrics.compare``."""
OBS_LABEL = "genemamba_label"
"""``obs``: the cell type given to each cell."""
