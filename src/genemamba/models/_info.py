"""Describe a checkpoint without loading it."""

from __future__ import annotations

import math
from os import PathLike
from pathlib import Path
from typing import Any

from genemamba.errors import CheckpointError
from genemamba.models._registry import lookup, require


def info(name_or_path: str | PathLike[str]) -> dict[str, Any]:
    """Describe a checkpoint and its source, without downloading or loading it.

    Parameters
    ----------
    name_or_path
        A name that :func:`available` lists, a checkpoint folder, or a safetensors file.

    Returns
    -------
    Dictionary with

    - ``name``: None if the checkpoint does not state it;
    - ``path``: of a name, the folder where its files are or would be;
    - ``on_disk``, ``layout`` (``"genemamba"`` or ``"published"``), ``parameters``, ``vocabulary``,
      ``source`` and ``licence``;
    - ``files``: the size of each in bytes; of a name also its address and sha256;
    - ``config``, ``provenance``: from ``config.json``; empty if there is none.

    Raises
    ------
    CheckpointError
        If it is neither a known name nor a checkpoint, or its header or ``config.json`` is damaged.

    Examples
    --------
    >>> import genemamba as gm
    >>> gm.models.info("genemamba-24l-512d")["parameters"]
    65744338
    """
    entry = lookup(str(name_or_path))
    if entry is None:
        path = Path(name_or_path).expanduser()
        if not path.exists():
            require(str(name_or_path))
        return _of_path(path)
    folder, complete = entry.folder, entry.complete
    found = _of_path(folder) if complete else {"files": {}, "config": {}, "provenance": {}}
    listed = {f.name: {"url": f.url, "sha256": f.sha256, "size": f.size} for f in entry.files}
    return found | {
        "name": entry.name,
        "path": folder,
        "on_disk": complete,
        "layout": entry.layout,
        "parameters": entry.parameters or found.get("parameters"),
        "vocabulary": entry.vocabulary,
        "source": entry.source,
        "licence": entry.licence,
        "files": listed or found["files"],
    }


def _of_path(path: Path) -> dict[str, Any]:
    from genemamba.network.checkpoint import CONFIG, WEIGHTS, is_checkpoint
    from genemamba.network.files import AGAIN, read_json
    from genemamba.network.weights import WeightFile

    weights = path / WEIGHTS if path.is_dir() else path
    config = weights.with_name(CONFIG)
    slots = WeightFile(weights).slots
    if "embeddings.weight" not in slots or not slots["embeddings.weight"].shape:
        raise CheckpointError(
            f"{weights} has no tensor embeddings.weight: it is no GeneMamba checkpoint",
            "give one in this package's or the published layout",
        )
    described = read_json(config) if config.exists() else {}
    ours, provenance = is_checkpoint(config.parent), {}
    if ours:
        for name in ("config", "provenance"):
            if not isinstance(described.setdefault(name, {}), dict):
                raise CheckpointError(f"{config}: {name} has a wrong type", AGAIN)
        described, provenance = described["config"], described["provenance"]
    files = sorted(f for f in path.iterdir() if f.is_file()) if path.is_dir() else [path]
    return {
        "name": provenance.get("name"),
        "path": path,
        "on_disk": True,
        "layout": "genemamba" if ours else "published",
        "parameters": sum(math.prod(slot.shape) for slot in slots.values()),
        "vocabulary": f"{slots['embeddings.weight'].shape[0]:,} tokens",
        "source": provenance.get("source", str(path)),
        "licence": provenance.get("licence", "not stated"),
        "files": {f.name: {"size": f.stat().st_size} for f in files},
        "config": described,
        "provenance": provenance,
    }
