"""The classifier of a checkpoint as two files: arrays in safetensors, the rest in JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from genemamba._files import sha256
from genemamba.errors import CheckpointError, InputError
from genemamba.heads.knn import Reference
from genemamba.heads.probe import Probe
from genemamba.heads.terms import TermHead, holds
from genemamba.tokens import Measured

ARRAYS, DESCRIPTION = "terms.safetensors", "terms.json"
FORMAT = 1
AGAIN = "fetch the checkpoint again, or give a labelled reference"
_HALF = ("reference.X", "probe.weight", "measured.share")


def has_terms(folder: Path) -> bool:
    """Whether a folder holds a classifier of Cell Ontology terms."""
    return (folder / DESCRIPTION).is_file()


def write_terms(head: TermHead, folder: Path) -> None:
    """Write a classifier; weights and reference cells in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        "reference.X": head.reference.X,
        "reference.y": head.reference.y.astype(np.int32),
        "offset": head.offset.astype(np.float32),
        "slope": head.slope.astype(np.float32),
        "measured.tokens": head.measured.tokens.astype(np.int32),
        "measured.share": head.measured.share,
        "occurs": head.occurs.astype(np.uint8),
        **{f"probe.{name}": value for name, value in vars(head.probe).items()},
    }
    arrays |= {name: arrays[name].astype(np.float16) for name in _HALF}
    data = save({name: np.ascontiguousarray(value) for name, value in arrays.items()})
    (folder / ARRAYS).write_bytes(data)
    described = {
        "format": FORMAT,
        "arrays_sha256": sha256(data),
        "labels": head.labels,
        "terms": head.terms,
        "tissues": head.tissues,
        "farthest": head.farthest,
        "info": head.info,
    }
    text = json.dumps(described, indent=1, ensure_ascii=False)
    (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def read_terms(folder: Path) -> TermHead:
    """Read a classifier; a missing, damaged or foreign file raises CheckpointError."""
    try:
        described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        data = (folder / ARRAYS).read_bytes()
        if described["arrays_sha256"] != sha256(data):
            raise ValueError(f"{ARRAYS} is not what was written")
        arrays = load(data)
        labels = tuple(described["labels"])
        probe = {n: arrays[f"probe.{n}"].astype(np.float32) for n in Probe.__annotations__}
        cells = arrays["reference.X"].astype(np.float32)
        head = TermHead(
            labels=labels,
            terms=tuple(described["terms"]),
            probe=Probe(**probe),
            slope=arrays["slope"],
            offset=arrays["offset"],
            tissues=tuple(described["tissues"]),
            occurs=arrays["occurs"].astype(bool),
            reference=Reference(cells, arrays["reference.y"], len(labels)),
            farthest=float(described["farthest"]),
            measured=Measured(
                arrays["measured.tokens"], arrays["measured.share"].astype(np.float32)
            ),
            info=described["info"],
        )
        fits = _fits(head)
    except (
        OSError, SafetensorError, KeyError, TypeError, ValueError, OverflowError, RecursionError,
        InputError,
    ) as error:  # fmt: skip
        raise CheckpointError(f"{folder} holds no whole classifier ({error})", AGAIN) from None
    if not fits:
        raise CheckpointError(f"the parts of the classifier in {folder} do not fit", AGAIN)
    return head


def _fits(head: TermHead) -> bool:
    n, width = len(head.labels), head.probe.mean.shape[0]
    return bool(
        head.probe.weight.shape == (n, width)
        and head.probe.bias.shape == (n,)
        and head.probe.scale.shape == (width,)
        and head.slope.shape == (2,)
        and head.offset.shape == (2, len(head.terms))
        and head.measured.tokens.shape == head.measured.share.shape
        and head.occurs.shape == (len(head.tissues), n)
        and head.reference.X.shape == (len(head.reference.y), width)
        and len(head.reference.y) > 0
        and -1 <= head.reference.y.min() <= head.reference.y.max() < n
        and all(np.isfinite(part).all() for part in (head.reference.X, head.probe.weight))
        and set(head.labels) <= set(head.terms)
        and len(set(head.terms)) == len(head.terms)
        and holds(head.terms, head.labels).any(axis=1).all()
        and bool(np.isfinite(head.slope).all())
        and 0 <= head.farthest < np.inf
    )
