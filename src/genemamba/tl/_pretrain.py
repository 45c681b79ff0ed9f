"""Train your own checkpoint from counts."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from genemamba.datasets import Corpus
    from genemamba.network import GeneMamba


def pretrain(
    corpus: Corpus | str | PathLike[str],
    out: str | PathLike[str],
    *,
    recipe: str | PathLike[str] | Mapping[str, Any] = "unlabelled",
    devices: int = 1,
    strategy: Literal["auto", "ddp", "fsdp"] = "auto",
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    stop_after: float | None = None,
) -> GeneMamba:
    """Train a model on a corpus of cells.

    An interrupted run resumes when called again, with the losses that it would have
    had without; one that is done returns its model. It needs the extra ``genemamba[train]``.

    Parameters
    ----------
    corpus
        Cells to train on, or their folder, from :func:`genemamba.datasets.build_corpus`.
    out
        Folder to write; new, empty, or of the same run.
    recipe
        Model, objectives, data, optimiser: a TOML file, a mapping of its sections, or a ready one:
        ``"unlabelled"``; ``"genemamba-mini"`` and ``"genemamba-small"``, which need a corpus with
        labels; or ``"paper"``.
    devices
        Number of processes, each with its own GPU, or on the CPU. A script that asks for several is
        started once for each, so put the call where every process reaches it.
    strategy
        ``"ddp"`` gives every process a copy of the model, ``"fsdp"`` a part of each layer.
    accelerator
        ``"auto"`` takes GPUs if there are any.
    stop_after
        Seconds after which to save and return the model at its current step; call again to resume.

    Returns
    -------
    The trained model, for :func:`genemamba.tl.embed` and the others. `out` contains the checkpoint,
    for :func:`genemamba.models.load`, ``run.json`` (cells, tokens, hours, versions),
    ``metrics.csv`` and ``tensorboard/``; while it runs, ``state.pt`` as well. Nothing is written
    into `corpus`.

    Raises
    ------
    InputError
        If the recipe has an unknown setting or a value out of range, `out` belongs to another run,
        the checkpoint to start from knows other genes, or the disk is full.
    FloatingPointError
        If training diverges; the message says what to change.

    Examples
    --------
    >>> import genemamba as gm
    >>> model = gm.tl.pretrain("corpus", "my-model", recipe="my-recipe.toml")  # doctest: +SKIP
    >>> gm.tl.embed(adata, model=model)  # doctest: +SKIP
    """
    from genemamba.datasets import Corpus
    from genemamba.train import engine
    from genemamba.train.recipe import Recipe

    if not isinstance(corpus, Corpus):
        corpus = Corpus(corpus)
    return engine.pretrain(
        corpus,
        Recipe.read(recipe),
        Path(out),
        devices=devices,
        strategy=strategy,
        accelerator=accelerator,
        stop_after=stop_after,
    )
