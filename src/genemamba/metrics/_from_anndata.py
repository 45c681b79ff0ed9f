"""An AnnData in place of arrays: its slots are looked up, and nothing of it is imported."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import numpy as np

from genemamba._keys import OBSM_EMBEDDING, UNS
from genemamba._labels import missing
from genemamba.errors import GeneMambaWarning, InputError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray


class CellTable(Protocol):
    """What is asked of an AnnData."""

    obs: pd.DataFrame
    obsm: Any
    uns: Any

    @property
    def obs_names(self) -> pd.Index: ...


def from_anndata(
    X: ArrayLike | CellTable, use_rep: str, **columns: ArrayLike | None
) -> tuple[Any, ...]:
    """Return embedding and columns as arrays; what came as arrays passes unchanged.

    Warns where `labels` also tuned the embedding of a cell that is about to be scored.
    """
    if not _is_table(X):
        return X, *columns.values()
    arrays = [None if c is None else column(X, c, name) for name, c in columns.items()]
    embedding = slot(X, use_rep)
    seen = int(cells_seen(X, use_rep, columns.get("labels")).sum())
    if seen:
        warnings.warn(
            f"obsm[{use_rep!r}] was tuned with obs[{columns['labels']!r}] on {seen} of these "
            f"{len(X.obs)} cells: the score is in-sample. Score held-out cells: adata[~adata."
            f'obs_names.isin(adata.uns["{UNS}"]["{use_rep}"]["label_tuned"]["cells"])]',
            GeneMambaWarning,
            stacklevel=3,
        )
    return embedding, *arrays


def _is_table(X: ArrayLike | CellTable) -> TypeGuard[CellTable]:
    return hasattr(X, "obs") and hasattr(X, "obsm")


def slot(adata: CellTable, use_rep: str) -> ArrayLike:
    """Return ``obsm[use_rep]``, or say which call makes it."""
    if use_rep not in adata.obsm:
        makers = {
            OBSM_EMBEDDING: "gm.tl.embed(adata)",
            f"{OBSM_EMBEDDING}_integrated": "gm.tl.integrate(adata, batch_key)",
        }
        maker = makers.get(use_rep)
        raise InputError(
            f"adata.obsm has no {use_rep!r}; {_listed(adata.obsm)}",
            f"make it first: {maker}" if maker else "give one of these as use_rep",
        )
    return adata.obsm[use_rep]


def column(adata: CellTable, key: Any, name: str) -> NDArray[Any]:
    """Return a column of ``obs`` that names groups of cells."""
    if not isinstance(key, str):
        raise InputError(
            f"{name} is a {type(key).__name__}, but cells came as an AnnData",
            f"give the name of a column of adata.obs; {_listed(adata.obs.columns)}",
        )
    if key not in adata.obs:
        raise InputError(
            f"{name}={key!r} is not a column of adata.obs; {_listed(adata.obs.columns)}",
            "give the name of the column that holds cell types or batches",
        )
    values = adata.obs[key]
    if name.startswith("label") and values.dtype.kind in "iufc":
        raise InputError(
            f"adata.obs[{key!r}] holds numbers ({values.dtype}), not names of groups",
            f'if they are codes of groups: adata.obs["{key}"] = adata.obs["{key}"].astype(str)',
        )
    without = missing(values)
    if without.any():
        known = f'adata.obs["{key}"].notna()'
        if not values.isna()[without].all():  # "", or NaN as text
            known = f'~adata.obs["{key}"].isin({sorted(set(map(str, values[without])))})'
        raise InputError(
            f"adata.obs[{key!r}] is missing (NaN) for {without.sum()} of {len(values)} cells",
            f"leave these cells out: adata = adata[{known}].copy()",
        )
    return values.to_numpy(dtype=object)


def cells_seen(adata: CellTable, use_rep: str, label_key: Any) -> NDArray[np.bool_]:
    """Say of each cell whether tuning with these labels saw it."""
    tuned = provenance(adata, use_rep).get("label_tuned")
    if not tuned or tuned["label_key"] != label_key:
        return np.zeros(len(adata.obs), dtype=bool)
    return adata.obs_names.isin(tuned["cells"])


def provenance(adata: CellTable, use_rep: str) -> dict[str, Any]:
    """Return the record of a slot; empty where there is none."""
    records = adata.uns.get(UNS, {})
    entry = records.get(use_rep, {}) if hasattr(records, "get") else {}
    return entry if hasattr(entry, "get") else {}


def _listed(names: Any) -> str:
    return f"it has {', '.join(map(repr, names))}" if len(names) else "it is empty"
