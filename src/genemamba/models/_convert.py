"""Convert between the published layout and this package's."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from genemamba.errors import CheckpointError, InputError
from genemamba.models._load import read

if TYPE_CHECKING:
    from genemamba.network.checkpoint import Parts
    from genemamba.network.config import Merge


def convert(
    path: str | PathLike[str], out: str | PathLike[str], *, merge: Merge | None = None
) -> Path:
    """Convert a checkpoint from the published layout to this package's, or back.

    Weights are copied bit for bit in their dtype. The published layout has no [CLS]: it is added as
    the mean of all rows, and left out on the way back if it is still that mean. A round trip gives
    the same ``model.safetensors``, byte for byte.

    Parameters
    ----------
    path
        Checkpoint to read: as for :func:`~genemamba.models.load`, except a loaded model.
    out
        Folder to write, new or empty, with ``model.safetensors``, ``config.json`` (of the
        published layout: with the names of the published code) and ``genes.csv``.
    merge
        As for :func:`~genemamba.models.load`.

    Returns
    -------
    The folder `out`.

    Raises
    ------
    CheckpointError
        If the checkpoint is unknown, missing or damaged, or the published layout cannot express it
        (tied embeddings, a norm before each layer, one direction only, a merge other than mean or
        sum, special tokens other than [CLS]).
    InputError
        If `out` exists and is not an empty folder.

    Examples
    --------
    >>> import genemamba as gm
    >>> gm.models.convert("downloads/GeneMamba", "genemamba-24x512")  # doctest: +SKIP
    >>> model = gm.models.load("genemamba-24x512")  # doctest: +SKIP
    """
    from genemamba.network.checkpoint import LAYOUT, write_parts

    target = Path(out)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise InputError(f"out={str(target)!r} exists", "give a new folder")
    parts = read(path, merge)
    if parts.provenance["layout"] == LAYOUT:
        _refuse_inexpressible(parts)
        _write_published(target, parts)
    else:
        write_parts(target, parts)
    return target


def _refuse_inexpressible(parts: Parts) -> None:
    config, extra = parts.config, parts.vocab.extra
    for wrong, what in (
        (config.tie_embeddings, "its embeddings are tied to the output"),
        (config.pre_norm, "it has a norm before each layer"),
        (not config.bidirectional, "it reads forwards only"),
        (config.norm_eps != 1e-5, f"norm_eps is {config.norm_eps}"),
        (config.merge not in ("mean", "sum"), f"it merges by {config.merge!r}, layer by layer"),
        (extra not in ((), ("[CLS]",)), f"it has the special tokens {', '.join(extra)}"),
    ):
        if wrong:
            raise CheckpointError(
                f"the published layout cannot express this checkpoint: {what}",
                "keep it in its own layout",
            )


def _write_published(folder: Path, parts: Parts) -> None:
    import json

    import torch

    from genemamba.models._published import GROWN, read_vocabulary
    from genemamba.network.checkpoint import CONFIG, GENES, WEIGHTS
    from genemamba.network.weights import mean_row, write_weights

    tensors, config = dict(parts.tensors), parts.config
    without = {name: tensors[name][:-1] for name in GROWN}
    if parts.vocab.extra and all(
        torch.equal(tensors[name][-1], mean_row(rows)) for name, rows in without.items()
    ):
        tensors |= without
    folder.mkdir(parents=True, exist_ok=True)
    parts.vocab.to_csv(folder / GENES)
    described = {
        "d_model": config.d_model,
        "mamba_layer": config.n_layers,
        "vocab_size": len(tensors["lm_head.bias"]),
        "mode": config.merge,
        "vocabulary_sha256": read_vocabulary(folder).sha256,
    }
    (folder / CONFIG).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    write_weights(tensors, folder / WEIGHTS, parts.metadata)
