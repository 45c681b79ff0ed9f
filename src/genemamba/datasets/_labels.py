"""The Cell Ontology terms of the labels in each file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from genemamba._files import sha256
from genemamba.errors import InputError
from genemamba.ontology import Ontology

_COLUMNS = ("file", "label", "cl_id")


@dataclass(eq=False)
class LabelTable:
    """The Cell Ontology term of each label, and the labels without one."""

    term: dict[tuple[str, str], str] = field(default_factory=dict)
    """Cell Ontology id by file, or table of profiles, and label."""
    sha256: str = ""
    unmapped: set[str] = field(default_factory=set)
    """Labels of the files without a term, as ``file: label``."""

    @classmethod
    def read(cls, file: Path | None) -> LabelTable:
        """Read a CSV with columns ``file``, ``label`` and ``cl_id``, and possibly others."""
        if file is None:
            return cls()
        try:
            digest = sha256(file)
            table = pd.read_csv(file, dtype=str, keep_default_na=False)[list(_COLUMNS)]
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"labels={str(file)!r} cannot be read ({error})",
                f"give a CSV with columns {', '.join(_COLUMNS)}",
            ) from None
        ontology = Ontology.load()
        term: dict[tuple[str, str], str] = {}
        for name, label, given in table.itertuples(index=False):
            cl_id = (ontology.find(given) or "") if given else ""
            if term.setdefault((name, label), cl_id) != cl_id:
                raise InputError(
                    f"labels={str(file)!r} gives {label!r} of {name} two terms, "
                    f"{term[name, label]} and {cl_id or given}",
                    "keep one of the lines",
                )
        return cls(term, digest)

    @property
    def ids(self) -> list[str]:
        """Sorted terms; a cell's label is an index into them."""
        return sorted(set(self.term.values()) - {""})

    def of(self, name: str, labels: pd.Series | None, n_cells: int) -> np.ndarray:
        """Return the term of each cell of a file, ``(n_cells,)`` int16; -1 for none."""
        if labels is None or not self.term:
            return np.full(n_cells, -1, dtype=np.int16)
        number = {cl_id: i for i, cl_id in enumerate(self.ids)}
        text = labels.astype(str).to_numpy()
        terms = {label: self.term.get((name, label), "") for label in np.unique(text)}
        self.unmapped |= {f"{name}: {label}" for label, cl_id in terms.items() if not cl_id}
        return np.array([number.get(terms[label], -1) for label in text], dtype=np.int16)
