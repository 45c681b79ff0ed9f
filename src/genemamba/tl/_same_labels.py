"""Labels that mean the same, but would become several classes."""

from __future__ import annotations

import warnings

import pandas as pd

from genemamba.cells.labels import Labelled
from genemamba.errors import GeneMambaWarning
from genemamba.ontology import Ontology, spelling

_SHOWN = 5  # groups of labels that are named


def warn_of_same(labelled: Labelled, label_key: str) -> None:
    """Warn of labels that differ in spelling only, or are names of one term; say how to join them.

    Called by a method of the source of labels that ``gm.tl.annotate`` calls in turn.
    """
    if not (same := _same(labelled)):
        return
    ontology = Ontology.load()
    told: list[str] = []
    joined: dict[str, str] = {}
    for meaning, (kept, *others) in same.items():
        names = ", ".join(map(repr, (kept, *others)))
        term = f" ({ontology.name(meaning)!r}, {meaning})" if meaning in ontology.ids else ""
        told.append(f"{names}{term}")
        joined |= dict.fromkeys(others, kept)
    more = f"; and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    column = f"{labelled.of}.obs[{label_key!r}]"
    warnings.warn(
        f"labels in {column} mean the same, but become different classes: "
        f"{'; '.join(told[:_SHOWN])}{more}; to join them: "
        f"{column} = {column}.astype(object).replace({joined!r})",
        GeneMambaWarning,
        stacklevel=5,
    )


def _same(labelled: Labelled) -> dict[str, list[str]]:
    """Return the labels of each meaning with several; first the name, not id, of most cells."""
    ontology, found = Ontology.load(), dict[str, list[str]]()
    counts = pd.Series(labelled.names).value_counts()
    for name in sorted(counts.index, key=lambda n: (n.upper().startswith("CL:"), -counts[n], n)):
        found.setdefault(ontology.find(name) or spelling(name), []).append(name)
    return {meaning: names for meaning, names in found.items() if len(names) > 1}
