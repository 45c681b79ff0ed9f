"""Read labels, donors and batches from obs."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from anndata import AnnData

from genemamba._labels import column as column
from genemamba._labels import full_column as full_column
from genemamba.errors import GeneMambaWarning, InputError

UNKNOWN = "unknown"


@dataclass(frozen=True, eq=False)
class Labelled:
    """The labelled cells of an AnnData."""

    cells: np.ndarray
    """Their indices."""
    names: np.ndarray
    """The class of each, str."""
    groups: np.ndarray | None
    """The donor or batch of each, str."""
    given: np.ndarray
    """Of all cells: the label, "" where there is none."""
    of: str
    """The name of the AnnData in messages."""

    def embedded(self, vectors: np.ndarray) -> Labelled:
        """Leave out cells without an embedding; a class that loses all its cells is named."""
        there = np.isfinite(vectors[self.cells]).all(axis=1)
        left = replace(
            self,
            cells=self.cells[there],
            names=self.names[there],
            groups=None if self.groups is None else self.groups[there],
        )
        _say_lost(sorted({*self.classes} - {*left.classes}), len(left.classes), self.of)
        return left

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, sorted."""
        return tuple(np.unique(self.names).tolist())

    @property
    def codes(self) -> np.ndarray:
        """The class of each, an index into `classes`."""
        return np.unique(self.names, return_inverse=True)[1]


def read_labelled(
    adata: AnnData, label_key: str, batch_key: str | None, *, unknown: bool, of: str = "adata"
) -> Labelled:
    """Read labels and groups.

    Raises
    ------
    InputError
        If a column is missing, labels are measurements, of one class only or none, a batch is NaN.
    """
    values = column(adata, label_key, "label_key", of)
    there = values.notna().to_numpy()
    if not there.any():
        raise InputError(f"{of}.obs[{label_key!r}] is empty (all NaN)", "give a column of labels")
    names = values[there].astype(str).to_numpy(dtype=str)
    if len(np.unique(names)) < 2:
        raise InputError(
            f"all labelled cells are {str(names[0])!r}, but a classifier needs two classes or more",
            "label cells of two or more types",
        )
    if unknown:
        require_no_unknown(names)
    groups = read_groups(adata, batch_key, of, there)
    given = np.full(adata.n_obs, "", dtype=object)
    given[there] = names
    cells = np.flatnonzero(there)
    return Labelled(cells, names, None if groups is None else groups[cells], given, of)


def _say_lost(lost: list[str], n_left: int, of: str) -> None:
    """Warn of classes whose cells have no embedding; raise if fewer than two classes are left."""
    if not lost:
        return
    named = ", ".join(map(repr, lost[:5])) + (", …" if len(lost) > 5 else "")
    if n_left < 2:
        raise InputError(
            f"no labelled cell of {named} in {of} expresses a gene of the model, which leaves "
            f"{n_left or 'no'} class, but a classifier needs two or more",
            "label other cells of these types, or check gene_ids",
        )
    warnings.warn(
        f"no cell will be named {named}: none of the cells with this label in {of} expresses a "
        "gene of the model",
        GeneMambaWarning,
        stacklevel=5,
    )


def require_no_unknown(names: Iterable[str]) -> None:
    """Raise if "unknown" is the name of a class."""
    if UNKNOWN in names:
        raise InputError(
            f"{UNKNOWN!r} is one of the labels, but this name is reserved for unfamiliar cells",
            "set these labels to NaN, or use unknown=False",
        )


def read_groups(
    adata: AnnData, key: str | None, of: str = "adata", labelled: np.ndarray | None = None
) -> np.ndarray | None:
    """Return the donor or batch of every cell as str; ``None`` if no key is given.

    It may be missing for cells that are not `labelled`.
    """
    if key is None:
        return None
    groups = full_column(adata, key, "batch_key", of, labelled)
    return groups.astype(str).to_numpy(dtype=str)
