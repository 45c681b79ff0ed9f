"""A fitted head in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from genemamba.errors import CheckpointError
from genemamba.heads.components import MOST_COMPONENTS, Components
from genemamba.heads.discriminant import Discriminants
from genemamba.heads.files import DAMAGED, has_files, parts, read_files, write_files
from genemamba.heads.head import JOINED, LabelHead
from genemamba.heads.knn import Reference
from genemamba.heads.novelty import Novelty
from genemamba.heads.probe import Probe
from genemamba.tokens import Measured

NAME = "labels"
AGAIN = "fit it again: gm.tl.annotate(adata, label_key=…, folder=…)"


def is_head(folder: Path) -> bool:
    """Whether a folder holds a fitted head."""
    return has_files(folder, NAME)


def write_head(head: LabelHead, folder: Path) -> None:
    """Write a head."""
    arrays = {
        "reference.X": head.reference.X.astype(np.float32),
        "reference.y": head.reference.y.astype(np.int32),
        "true_probability": np.concatenate(head.scores),
        "score_fold": np.repeat(np.arange(len(head.scores)), [len(s) for s in head.scores]),
    }
    if head.fold is not None:
        arrays["reference.fold"] = head.fold.astype(np.int32)
    if head.probe is not None:
        arrays |= {f"probe.{name}": value for name, value in vars(head.probe).items()}
    if head.components is not None:
        arrays |= {f"components.{name}": value for name, value in vars(head.components).items()}
    if head.measured is not None:
        arrays |= {f"measured.{name}": value for name, value in vars(head.measured).items()}
    if head.novelty is not None:
        arrays |= {f"novelty.{name}": value for name, value in vars(head.novelty).items()}
    if head.fold_probes:
        probes = [vars(probe) for probe in head.fold_probes]
        arrays |= {f"folds.{n}": np.stack([p[n] for p in probes]) for n in probes[0]}
    described = {
        "kind": head.kind,
        "reads": head.reads,
        "discriminants": isinstance(head.probe, Discriminants),
        "classes": head.classes,
        "temperature": head.temperature,
        "farthest": head.farthest,
        "info": head.info,
    }
    write_files(folder, NAME, arrays, described)


def read_head(folder: Path) -> LabelHead:
    """Read a head; a missing, damaged or foreign file raises CheckpointError."""
    try:
        arrays, described = read_files(folder, NAME)
        classes = tuple(described["classes"])
        probe, folds, components, measured, novelty = (
            parts(arrays, part) for part in ("probe", "folds", "components", "measured", "novelty")
        )
        linear = Discriminants if described.get("discriminants") else Probe
        fold_probes = tuple(
            linear(**dict(zip(folds, own, strict=True)))
            for own in zip(*folds.values(), strict=True)
        )
        fold, scores = arrays.get("reference.fold"), arrays["true_probability"]
        # heads of earlier versions have one classifier for all cells
        own = arrays.get("score_fold", np.zeros(len(scores), dtype=int))
        n_folds = len(fold_probes) or (1 if fold is None else int(fold.max()) + 1)
        head = LabelHead(
            kind=described["kind"],
            classes=classes,
            reference=Reference(
                arrays["reference.X"].astype(np.float32), arrays["reference.y"], len(classes)
            ),
            probe=linear(**probe) if probe else None,
            temperature=float(described["temperature"]),
            scores=tuple(scores[own == k] for k in range(n_folds)),
            farthest=float(described["farthest"]),
            info=described["info"],
            fold=fold,
            fold_probes=fold_probes,
            reads=described.get("reads", "embedding"),
            components=Components(**components) if components else None,
            measured=Measured(**measured) if measured else None,
            novelty=Novelty(**novelty) if novelty else None,
        )
    except DAMAGED as error:
        raise CheckpointError(f"{folder} holds no whole label head ({error})", AGAIN) from None
    _check(head, folder)
    return head


def _check(head: LabelHead, folder: Path) -> None:
    n, c, m = len(head.classes), head.components, head.measured
    width = head.reference.X.shape[1] * (head.reads != "expression")
    if c is not None:
        width += min(c.loading.shape[1], JOINED if head.reads == "joined" else MOST_COMPONENTS)
    fits = (
        head.kind in ("knn", "probe", "finetune")
        and len(head.reference.X) == len(head.reference.y) > 0
        and -1 <= head.reference.y.min() <= head.reference.y.max() < n
        and np.isfinite(head.reference.X).all()
        and (head.probe is not None) == (head.kind == "probe")
        and head.reads in ("embedding", "expression", "joined")
        and (c is None) == (head.reads == "embedding")
        and (c is None or _fit_together(c))
        and (m is None or (len(m.tokens) == len(m.share) and bool((m.share >= 0).all())))
        and all(
            probe.weight.shape == (n, width)
            for probe in (head.probe, *head.fold_probes)
            if probe is not None
        )
        and (head.fold is None or len(head.fold) == len(head.reference.y))
        and (head.fold is None or head.fold.min() >= 0)
        and (head.novelty is None or _novelty_fits(head.novelty))
        and 0 < head.temperature < np.inf
        and 0 <= head.farthest < np.inf
        and all(isinstance(name, str) for name in head.classes)
        and len(set(head.classes)) == n
    )
    if not fits:
        raise CheckpointError(f"the parts of the label head in {folder} do not fit", AGAIN)


def _novelty_fits(novelty: Novelty) -> bool:
    measures = novelty.measures
    return measures.ndim == 2 and measures.shape[0] in (2, 3) and measures.shape[1] > 0 and (
        novelty.named.shape == measures.shape[1:]
    )  # fmt: skip


def _fit_together(c: Components) -> bool:
    n = len(c.place)
    return (
        len(c.mean) == len(c.scale) == len(c.loading) == n > 0
        and c.loading.ndim == 2
        and 0 <= c.place.min() <= c.place.max() < len(c.basis)
        and bool((np.diff(c.basis) > 0).all())
    )
