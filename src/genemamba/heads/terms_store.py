"""The classifier of a checkpoint in a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from genemamba.errors import CheckpointError, InputError
from genemamba.heads.files import DAMAGED, has_files, parts, read_files, write_files
from genemamba.heads.knn import Reference
from genemamba.heads.probe import Probe
from genemamba.heads.terms import TermHead, holds
from genemamba.tokens import Measured

NAME = "terms"
AGAIN = "fetch the checkpoint again, or give a labelled reference"
_HALF = ("probe.weight", "measured.share")


def has_terms(folder: Path) -> bool:
    """Whether a folder holds a classifier of Cell Ontology terms."""
    return has_files(folder, NAME)


def write_terms(head: TermHead, folder: Path) -> None:
    """Write a classifier; weights in float16. The cells that it knows are those of a map."""
    arrays = {
        "offset": head.offset.astype(np.float32),
        "slope": head.slope.astype(np.float32),
        "measured.tokens": head.measured.tokens.astype(np.int32),
        "measured.share": head.measured.share,
        "occurs": head.occurs.astype(np.uint8),
        **{f"probe.{name}": value for name, value in vars(head.probe).items()},
    }
    arrays |= {name: arrays[name].astype(np.float16) for name in _HALF}
    described = {
        "labels": head.labels,
        "terms": head.terms,
        "tissues": head.tissues,
        "farthest": head.farthest,
        "map": head.map_name,
        "info": head.info,
    }
    write_files(folder, NAME, arrays, described)


def read_terms(folder: Path, vectors_of: Callable[[str], np.ndarray]) -> TermHead:
    """Read a classifier; a missing, damaged or foreign file raises CheckpointError.

    `vectors_of` returns the vectors of all cells of a map by its name.
    """
    try:
        arrays, described = read_files(folder, NAME)
        labels = tuple(described["labels"])
        probe = {n: value.astype(np.float32) for n, value in parts(arrays, "probe").items()}
        cells = vectors_of(described["map"])
        head = TermHead(
            labels=labels,
            terms=tuple(described["terms"]),
            probe=Probe(**probe),
            slope=arrays["slope"],
            offset=arrays["offset"],
            tissues=tuple(described["tissues"]),
            occurs=arrays["occurs"].astype(bool),
            reference=Reference.unlabelled(cells),
            farthest=float(described["farthest"]),
            measured=Measured(
                arrays["measured.tokens"], arrays["measured.share"].astype(np.float32)
            ),
            info=described["info"],
            map_name=described["map"],
        )
        fits = _fits(head)
    except (*DAMAGED, InputError) as error:
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
        and head.reference.X.shape[1] == width
        and bool(np.isfinite(head.probe.weight).all())
        and set(head.labels) <= set(head.terms)
        and len(set(head.terms)) == len(head.terms)
        and holds(head.terms, head.labels).any(axis=1).all()
        and bool(np.isfinite(head.slope).all())
        and 0 <= head.farthest < np.inf
    )
