"""Names, paths and loaded models, all made into a model."""

from __future__ import annotations

import difflib
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from genemamba.errors import CheckpointError

if TYPE_CHECKING:
    from genemamba.model import GeneMamba
    from genemamba.tokens import Vocabulary

ModelLike: TypeAlias = "str | PathLike[str] | GeneMamba"

BUNDLED = ("genemamba-mini",)
"""Checkpoints inside the package: no download, no network."""


def load(model: ModelLike) -> GeneMamba:
    """Load a GeneMamba checkpoint, with its genes and their medians, ready to embed cells.

    Parameters
    ----------
    model
        Name of a checkpoint that comes with the package (``"genemamba-mini"``), a checkpoint
        folder, or a loaded model, which is returned as it is.

    Returns
    -------
    torch module in float32 on the CPU, with ``.config``, ``.vocab`` (genes, symbols, medians) and
    ``.provenance`` (``sha256`` of the weights and how they were trained).

    Raises
    ------
    CheckpointError
        If the name is unknown, or a file is missing or damaged.

    Examples
    --------
    >>> import genemamba as gm
    >>> model = gm.models.load("genemamba-mini")
    >>> model.vocab.n_genes > 10_000
    True
    """
    from genemamba.model import GeneMamba
    from genemamba.model.checkpoint import read_checkpoint

    return model if isinstance(model, GeneMamba) else read_checkpoint(_folder(model))


def vocabulary(model: ModelLike) -> Vocabulary:
    """Load only the genes of a checkpoint, which is all that ranking needs.

    Parameters
    ----------
    model
        As for :func:`load`.

    Returns
    -------
    :class:`genemamba.tokens.Vocabulary` with Ensembl ids, symbols and non-zero medians in counts
    per 10,000.

    Raises
    ------
    CheckpointError
        As :func:`load`; also if a loaded model carries no vocabulary.

    Examples
    --------
    >>> import genemamba as gm
    >>> "CD3E" in gm.models.vocabulary("genemamba-mini").name_to_gene
    True
    """
    from genemamba.model import GeneMamba
    from genemamba.model.checkpoint import read_vocabulary

    if not isinstance(model, GeneMamba):
        return read_vocabulary(_folder(model))
    if model.vocab is None:
        raise CheckpointError(
            "the model has no vocabulary, so its tokens mean nothing", "set model.vocab first"
        )
    return model.vocab


def _folder(model: str | PathLike[str]) -> Path:
    if str(model) in BUNDLED:
        return Path(str(files("genemamba.models") / "bundled" / str(model)))
    path = Path(model)
    if path.is_dir():
        return path
    near = difflib.get_close_matches(str(model), BUNDLED, n=1, cutoff=0.3)
    raise CheckpointError(
        f"model={str(model)!r} is neither a known checkpoint nor a folder",
        f"use {near[0] if near else BUNDLED[0]!r}, or give a checkpoint folder",
    )
