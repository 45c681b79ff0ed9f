"""A checkpoint is a folder: weights (safetensors), ``config.json`` and ``genes.csv``. Never pickle.

Everything is checked before a weight is used, and the message names the tensor that is wrong.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from genemamba.errors import CheckpointError
from genemamba.model.config import GeneMambaConfig
from genemamba.model.genemamba import GeneMamba
from genemamba.tokens import Vocabulary

WEIGHTS, CONFIG, GENES = "model.safetensors", "config.json", "genes.csv"
FORMAT = 1
_AGAIN = "fetch or copy the checkpoint again"
_FLOATS = {"F64", "F32", "F16", "BF16"}


def write_checkpoint(model: GeneMamba, folder: Path, *, half: bool = False) -> None:
    """Write a model with its vocabulary and provenance.

    Parameters
    ----------
    model
        Model whose ``vocab`` is set.
    folder
        Made if it does not exist; files of an earlier checkpoint are replaced.
    half
        Store matrices in float16. Vectors, which are small and steer the dynamics, stay float32.
    """
    if model.vocab is None:
        raise CheckpointError(
            "the model has no vocabulary, so its tokens mean nothing", "set model.vocab first"
        )
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: (t.half() if half and t.ndim > 1 else t.float()).contiguous().cpu()
        for name, t in _state(model).items()
    }
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    model.vocab.to_csv(folder / GENES)
    provenance = {k: v for k, v in model.provenance.items() if k not in ("sha256", "path")}
    described = {
        "format": FORMAT,
        "config": model.config.to_dict(),
        "extra_tokens": list(model.vocab.extra),
        "vocabulary_sha256": model.vocab.sha256,
        "weights_sha256": file_sha256(folder / WEIGHTS),
        "provenance": provenance,
    }
    (folder / CONFIG).write_text(json.dumps(described, indent=2) + "\n")


def read_checkpoint(folder: Path) -> GeneMamba:
    """Read a model, in float32 on the CPU, after checking every part of it.

    Raises
    ------
    CheckpointError
        If a file is missing or damaged, or files do not belong together.
    """
    described = _read_config(folder)
    config = GeneMambaConfig.from_dict(described["config"])
    vocab = _vocabulary(folder, described)
    if len(vocab) != config.vocab_size:
        raise CheckpointError(
            f"{folder / GENES} gives {len(vocab)} tokens, {CONFIG} says {config.vocab_size}: "
            "genes are missing or too many",
            _AGAIN,
        )
    if vocab.sha256 != described["vocabulary_sha256"]:
        raise CheckpointError(
            f"{folder / GENES} is not the gene table these weights were trained with", _AGAIN
        )
    with torch.device("meta"):  # no memory for weights that are read next
        model = GeneMamba(config)
    tensors = _read_weights(folder / WEIGHTS, _state(model))
    digest = file_sha256(folder / WEIGHTS)
    if digest != described["weights_sha256"]:
        raise CheckpointError(
            f"{folder / WEIGHTS} does not have the sha256 that {CONFIG} states", _AGAIN
        )
    if config.tie_embeddings:
        tensors["lm_head.weight"] = tensors["embeddings.weight"]
    model.load_state_dict(tensors, assign=True)
    if config.tie_embeddings:
        model.lm_head.weight = model.embeddings.weight
    model.vocab = vocab
    model.provenance = {**described["provenance"], "sha256": digest, "path": str(folder)}
    return model.eval()


def read_vocabulary(folder: Path) -> Vocabulary:
    """Read only the genes of a checkpoint: all that ranking needs."""
    return _vocabulary(folder, _read_config(folder))


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _state(model: GeneMamba) -> dict[str, Tensor]:
    state = dict(model.state_dict())
    if model.config.tie_embeddings:
        del state["lm_head.weight"]
    return state


def _read_config(folder: Path) -> dict[str, Any]:
    for name in (CONFIG, GENES, WEIGHTS):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} holds no {name}", _AGAIN)
    try:
        described = json.loads((folder / CONFIG).read_text())
        wrong = {
            "format": int,
            "config": dict,
            "extra_tokens": list,
            "vocabulary_sha256": str,
            "weights_sha256": str,
            "provenance": dict,
        }
        wrong = {k: t for k, t in wrong.items() if not isinstance(described[k], t)}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{folder / CONFIG} is damaged ({error!r})", _AGAIN) from None
    if wrong:
        raise CheckpointError(f"{folder / CONFIG}: {next(iter(wrong))} has a wrong type", _AGAIN)
    if described["format"] != FORMAT:
        raise CheckpointError(
            f"{folder} has checkpoint format {described['format']}, this version reads {FORMAT}",
            "update genemamba",
        )
    return described


def _vocabulary(folder: Path, described: dict[str, Any]) -> Vocabulary:
    extra = described["extra_tokens"]
    if not all(isinstance(token, str) for token in extra):
        raise CheckpointError(f"{folder / CONFIG}: extra_tokens are not all text", _AGAIN)
    return Vocabulary.from_csv(folder / GENES, extra=extra)


def _read_weights(path: Path, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            _compare(path, file, expected)
            tensors = {name: file.get_tensor(name).float() for name in expected}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is truncated or damaged ({error})", _AGAIN) from None
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path}: tensor {name} holds NaN or infinite values", _AGAIN)
    return tensors


def _compare(path: Path, file: Any, expected: dict[str, Tensor]) -> None:
    found = set(file.keys())
    for name in sorted(expected.keys() - found):
        raise CheckpointError(f"{path}: tensor {name} is missing", _AGAIN)
    for name in sorted(found - expected.keys()):
        raise CheckpointError(f"{path}: tensor {name} has no place in this model", _AGAIN)
    for name, tensor in expected.items():
        piece = file.get_slice(name)
        if list(tensor.shape) != list(piece.get_shape()):
            raise CheckpointError(
                f"{path}: tensor {name} has shape {piece.get_shape()}, not {list(tensor.shape)}",
                _AGAIN,
            )
        if piece.get_dtype() not in _FLOATS:
            raise CheckpointError(
                f"{path}: tensor {name} has dtype {piece.get_dtype()}, not a float type", _AGAIN
            )
