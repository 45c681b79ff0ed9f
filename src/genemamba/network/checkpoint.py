"""A checkpoint is a folder: weights (safetensors), ``config.json`` and ``genes.csv``. Never pickle.

Optional: ``ranking.csv``, the mean ranking of the training cells, and ``sketch.json``, which tells
whether cells were among them.

Everything is checked before a weight is used, and the message names the tensor that is wrong.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from genemamba.errors import CheckpointError
from genemamba.network.config import GeneMambaConfig
from genemamba.network.files import AGAIN, read_json, require_small
from genemamba.network.weights import WeightFile, tensor_shapes, write_weights
from genemamba.tokens import MeanRanking, Sketch, Vocabulary

WEIGHTS, CONFIG, GENES = "model.safetensors", "config.json", "genes.csv"
RANKING, SKETCH = "ranking.csv", "sketch.json"  # optional
FORMAT, LAYOUT = 1, "genemamba"
METADATA = {"format": "pt"}
_TYPES: dict[str, type] = {
    "format": int, "config": dict, "extra_tokens": list, "vocabulary_sha256": str,
    "weights_sha256": str, "provenance": dict,
}  # fmt: skip
_FOUND_ON_READING = ("sha256", "path", "layout")


@dataclass(frozen=True)
class Parts:
    """The contents of a checkpoint."""

    config: GeneMambaConfig
    vocab: Vocabulary
    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    provenance: dict[str, Any]
    ranking: MeanRanking | None = None
    sketch: Sketch | None = None


def write_parts(folder: Path, parts: Parts) -> None:
    """Write a checkpoint, replacing an earlier one; the tensors keep their dtypes."""
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(parts.tensors, folder / WEIGHTS, parts.metadata)
    parts.vocab.to_csv(folder / GENES)
    for name in (RANKING, SKETCH):
        (folder / name).unlink(missing_ok=True)
    if parts.ranking is not None:
        parts.ranking.to_csv(folder / RANKING)
    if parts.sketch is not None:
        text = json.dumps(parts.sketch.to_dict(parts.vocab))
        (folder / SKETCH).write_text(text + "\n", encoding="utf-8")
    described = {
        "format": FORMAT,
        "config": parts.config.to_dict(),
        "extra_tokens": list(parts.vocab.extra),
        "vocabulary_sha256": parts.vocab.sha256,
        "weights_sha256": WeightFile(folder / WEIGHTS).sha256(),
        "provenance": {k: v for k, v in parts.provenance.items() if k not in _FOUND_ON_READING},
    }
    (folder / CONFIG).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder is in this layout, by its ``config.json``; other layouts have one, too."""
    return (folder / CONFIG).exists() and not {"format", "weights_sha256"}.isdisjoint(
        read_json(folder / CONFIG)
    )


def read_parts(folder: Path) -> Parts:
    """Read and check a checkpoint; the tensors keep their dtypes and are mapped, not copied.

    Raises
    ------
    CheckpointError
        If a file is missing or damaged, or files do not belong together.
    """
    described = _read_config(folder)
    config = GeneMambaConfig.from_dict(described["config"])
    vocab = read_vocabulary(folder, described)
    if len(vocab) != config.vocab_size:
        raise CheckpointError(
            f"{folder / GENES} gives {len(vocab)} tokens, {CONFIG} says {config.vocab_size}: "
            "genes are missing or too many",
            AGAIN,
        )
    if vocab.sha256 != described["vocabulary_sha256"]:
        raise CheckpointError(
            f"{folder / GENES} is not the gene table these weights were trained with", AGAIN
        )
    file = WeightFile(folder / WEIGHTS)
    file.require(tensor_shapes(config))
    tensors = file.tensors()
    digest = file.sha256()
    if digest != described["weights_sha256"]:
        raise CheckpointError(f"{file.path} does not have the sha256 that {CONFIG} states", AGAIN)
    found = {"sha256": digest, "path": str(folder), "layout": LAYOUT}
    ranking = sketch = None
    if (folder / RANKING).exists():
        require_small(folder / RANKING)
        ranking = MeanRanking.from_csv(folder / RANKING, vocab.n_genes)
    if (folder / SKETCH).exists():
        sketch = Sketch.from_dict(read_json(folder / SKETCH), vocab)
    provenance = described["provenance"] | found
    return Parts(config, vocab, tensors, file.metadata, provenance, ranking, sketch)


def _read_config(folder: Path) -> dict[str, Any]:
    described = read_json(folder / CONFIG)
    for name, kind in _TYPES.items():
        if not isinstance(described.get(name), kind):
            raise CheckpointError(
                f"{folder / CONFIG}: {name} is missing or has a wrong type", AGAIN
            )
    if described["format"] != FORMAT:
        raise CheckpointError(
            f"{folder} has checkpoint format {described['format']}, this version reads {FORMAT}",
            "update genemamba",
        )
    return described


def read_vocabulary(folder: Path, described: dict[str, Any] | None = None) -> Vocabulary:
    """Read only the genes of a checkpoint: all that ranking needs."""
    extra = (described or _read_config(folder))["extra_tokens"]
    if not all(isinstance(token, str) for token in extra):
        raise CheckpointError(f"{folder / CONFIG}: extra_tokens are not all text", AGAIN)
    require_small(folder / GENES)
    return Vocabulary.from_csv(folder / GENES, extra=extra)
