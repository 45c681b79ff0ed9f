"""List the checkpoints that have a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genemamba.models._registry import entries

if TYPE_CHECKING:
    import pandas as pd


def available() -> pd.DataFrame:
    """List the checkpoints that can be fetched and loaded by name.

    Returns
    -------
    Table with the name as index and the columns ``parameters`` (integer), ``vocabulary``,
    ``source``, ``licence`` and ``on_disk`` (whether all files exist; they are hashed when used).

    Examples
    --------
    >>> import genemamba as gm
    >>> bool(gm.models.available().loc["genemamba-mini", "on_disk"])
    True
    """
    import pandas as pd

    table = pd.DataFrame(
        {
            "name": entry.name,
            "parameters": entry.parameters,
            "vocabulary": entry.vocabulary,
            "source": entry.source,
            "licence": entry.licence,
            "on_disk": entry.complete,
        }
        for entry in entries()
    )
    return table.set_index("name").astype({"parameters": "Int64"})
