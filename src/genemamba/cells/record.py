"""Check the slots that a tool writes, and record how each was computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData

from genemamba._keys import ADAPTED, OWN_RECORDS, UNS
from genemamba._keys import recorded as recorded
from genemamba._version import __version__
from genemamba.cells.open import check_backed, require_anndata
from genemamba.errors import InputError, shown

if TYPE_CHECKING:
    from genemamba.cells.read import Reading
    from genemamba.models._load import ModelLike
    from genemamba.network import GeneMamba
    from genemamba.network.runtime import Runtime


def check_slots(adata: AnnData, key: str, default: str, **slots: Sequence[str]) -> None:
    """Raise if an AnnData cannot be written to, or genemamba did not write these slots.

    Slots with default names belong to genemamba even if their record is missing, and each to one
    tool, whose `default` it is.
    """
    require_anndata(adata)
    check_key(key, default)
    if key in OWN_RECORDS and key != default:
        raise InputError(
            f"key_added={key!r} is where another tool writes, and is read as its result",
            "choose another key_added",
        )
    if any(slots.values()):
        check_backed(adata, copy=False)
    ours = key in _records(adata) or key in OWN_RECORDS
    for slot, names in slots.items():
        for name in names:
            if name in getattr(adata, slot) and not ours:
                raise InputError(
                    f"adata.{slot}[{name!r}] exists and was not written by genemamba",
                    f"choose another key_added, or delete it first: del adata.{slot}[{name!r}]",
                )


def check_key(key: str, default: str) -> None:
    """Raise unless `key_added` is a name that a file can keep."""
    if not isinstance(key, str) or not key:
        raise InputError(f"key_added={shown(key)} is not a name", f"give key_added={default!r}")
    if "/" in key:
        raise InputError(
            f"key_added with a '/' ({key!r}) cannot be written to a file", "leave out the '/'"
        )


def identity(loaded: GeneMamba, given: ModelLike | None = None) -> dict[str, str]:
    """Return what a record keeps of a model; a name or path replaces its own name."""
    assert loaded.vocab is not None
    name = given if isinstance(given, str) else loaded.provenance.get("name", "unnamed")
    return {
        "model": name,
        "model_sha256": loaded.provenance.get("sha256", "unsaved"),
        "vocabulary_sha256": loaded.vocab.sha256,
    }


def entry_of(
    loaded: GeneMamba,
    reading: Reading,
    runtime: Runtime | None = None,
    *,
    given: ModelLike | None = None,
    **params: Any,
) -> dict[str, Any]:
    """Return what a record keeps of the model, the parameters, and where the model ran.

    Of an adapted model (``gm.tl.adapt``) also: from which model, and to which cells.
    """
    ran = {} if runtime is None else {
        "device": runtime.device, "precision": runtime.precision, "backend": runtime.backend
    }  # fmt: skip
    entry = {**identity(loaded, given), "params": {**reading.params, **params}, **ran}
    return entry | ({ADAPTED: _adapted(loaded)} if ADAPTED in loaded.provenance else {})


def _adapted(loaded: GeneMamba) -> dict[str, Any]:
    """Return what a record keeps of an adaptation."""
    of = loaded.provenance[ADAPTED]
    libraries = np.array(list(of["libraries"]), dtype=str)
    kept = {key: of[key] for key in ("from", "from_sha256", "cells", "steps", "kept")}
    return {**kept, "libraries": libraries}


def record(adata: AnnData, key: str, entry: dict[str, Any]) -> None:
    """Write the record of one slot to ``uns``, keeping the records of others."""
    adata.uns[UNS] = {**adata.uns.get(UNS, {}), key: {"version": __version__, **entry}}


def _records(adata: AnnData) -> Mapping[str, Any]:
    require_anndata(adata)
    records = adata.uns.get(UNS, {})
    if not isinstance(records, Mapping):
        raise InputError(
            f"adata.uns[{UNS!r}] exists and was not written by genemamba",
            f"rename or delete it first: del adata.uns[{UNS!r}]",
        )
    return records
