"""List the reference maps that have a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genemamba.models._registry import entries

if TYPE_CHECKING:
    import pandas as pd


def available() -> pd.DataFrame:
    """List the reference maps that can be fetched and used by name.

    Returns
    -------
    Table with the name as index and the columns ``source``, ``licence`` and ``on_disk`` (whether
    all files exist; they are hashed when used).

    Examples
    --------
    >>> import genemamba as gm
    >>> bool(gm.maps.available().loc["genemamba-body", "on_disk"])
    True
    """
    import pandas as pd

    rows = [
        {
            "name": entry.name,
            "source": entry.source,
            "licence": entry.licence,
            "on_disk": entry.complete,
        }
        for entry in entries("map")
    ]
    return pd.DataFrame(rows).set_index("name")
