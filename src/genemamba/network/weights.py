"""The weights of a file: checked against the model first, then mapped into memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from genemamba._files import replacing, sha256
from genemamba.errors import CheckpointError, shown
from genemamba.network.config import GeneMambaConfig
from genemamba.network.files import AGAIN, parse_json

MAX_HEADER = 4 * 2**20  # bytes; 48 layers need 50 kB
_FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


class Slot(NamedTuple):
    """One tensor: bytes `start` to `stop` of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def tensor_shapes(config: GeneMambaConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield name and shape of every stored tensor of a model, without making the model."""
    c = config
    yield "embeddings.weight", (c.vocab_size, c.d_model)
    for i in range(c.n_layers):
        layer = f"mamba_mixer.layers.{i}"
        yield f"{layer}.mamba.dt_bias", (c.n_heads,)
        yield f"{layer}.mamba.A_log", (c.n_heads,)
        yield f"{layer}.mamba.D", (c.n_heads,)
        yield f"{layer}.mamba.in_proj.weight", (c.d_inner + c.d_xbc + c.n_heads, c.d_model)
        yield f"{layer}.mamba.conv1d.weight", (c.d_xbc, 1, c.d_conv)
        yield f"{layer}.mamba.conv1d.bias", (c.d_xbc,)
        yield f"{layer}.mamba.norm.weight", (c.d_inner,)
        yield f"{layer}.mamba.out_proj.weight", (c.d_model, c.d_inner)
        if c.pre_norm:
            yield f"{layer}.norm.weight", (c.d_model,)
        if c.merge in ("gate", "concat"):
            yield f"{layer}.merge.weight", (c.d_model, 2 * c.d_model)
            yield f"{layer}.merge.bias", (c.d_model,)
    yield "norm_f.weight", (c.d_model,)
    if not c.tie_embeddings:
        yield "lm_head.weight", (c.vocab_size, c.d_model)
    yield "lm_head.bias", (c.vocab_size,)


class WeightFile:
    """A safetensors file with a sound header; tensors are read when they are needed.

    safetensors checks that sizes and offsets agree with each other and with the file. Added here: a
    limit to the header, and names that are unique.

    Raises
    ------
    CheckpointError
        If the header is damaged, a tensor is missing or unknown, or a weight is NaN or infinite.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise CheckpointError(f"{path.parent} holds no {path.name}", AGAIN)
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if length > MAX_HEADER:
                    raise SafetensorError(f"a header of {length} bytes is longer than {MAX_HEADER}")
                text = file.read(length)
            with safe_open(path, framework="np"):  # checks the header
                pass
        except SafetensorError as error:
            raise CheckpointError(
                f"{path} is damaged or not a safetensors file: {error}", AGAIN
            ) from None
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read ({error})", AGAIN) from None
        entries = parse_json(text, path)
        self.metadata: dict[str, str] = entries.pop("__metadata__", {})
        self.slots = {}
        for name, entry in entries.items():
            start, stop = (8 + length + offset for offset in entry["data_offsets"])
            self.slots[name] = Slot(entry["dtype"], tuple(entry["shape"]), start, stop)

    def require(self, expected: Iterator[tuple[str, tuple[int, ...]]]) -> None:
        """Reject the file unless it holds exactly these tensors, all of a float type."""
        seen = set()
        for name, shape in expected:  # stops at the first wrong one, however many are expected
            wrong, slot = "", self.slots.get(name)
            if slot is None:
                wrong = "is missing"
            elif slot.shape != shape:
                wrong = f"has shape {shown(list(slot.shape))}, not {list(shape)}"
            elif slot.dtype not in _FLOATS:
                wrong = f"has dtype {slot.dtype}, not a float type"
            if wrong:
                raise CheckpointError(f"{self.path}: tensor {name} {wrong}", AGAIN)
            seen.add(name)
        if extra := sorted(self.slots.keys() - seen):
            raise CheckpointError(
                f"{self.path}: tensor {shown(extra[0])} has no place in this model", AGAIN
            )

    def sha256(self) -> str:
        """Hash of all bytes."""
        return sha256(self.path)

    def tensors(self, *, grow: frozenset[str] = frozenset()) -> dict[str, Tensor]:
        """Return all tensors as stored, mapped: those not used need no memory.

        Those in `grow` are copied and get one more row, the mean of the others.
        """
        found = {}
        try:
            with safe_open(self.path, framework="pt") as file:
                for name in self.slots:
                    tensor = self._grown(name) if name in grow else file.get_tensor(name)
                    low, high = torch.aminmax(tensor)  # unlike isfinite, it needs no memory
                    if not (torch.isfinite(low.float()) and torch.isfinite(high.float())):
                        raise CheckpointError(
                            f"{self.path}: tensor {name} holds NaN or infinite values", AGAIN
                        )
                    found[name] = tensor
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{self.path} cannot be read ({error})", AGAIN) from None
        return found

    def _grown(self, name: str) -> Tensor:
        slot = self.slots[name]
        grown = torch.empty((slot.shape[0] + 1, *slot.shape[1:]), dtype=_FLOATS[slot.dtype])
        with self.path.open("rb") as f:  # not mapped: the pages would count twice
            f.seek(slot.start)
            if f.readinto(grown[:-1].view(torch.uint8).numpy().data) != slot.stop - slot.start:
                raise CheckpointError(f"{self.path} ends within tensor {name}", AGAIN)
        grown[-1] = mean_row(grown[:-1])
        return grown


def mean_row(rows: Tensor) -> Tensor:
    """Mean of all rows, summed in float64 and rounded once."""
    total = torch.zeros(rows.shape[1:], dtype=torch.float64)
    for part in rows.split(1024):
        total += part.double().sum(0)
    return (total / len(rows)).to(rows.dtype)


def write_weights(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write a safetensors file whole or not at all; tensors may be mapped from an earlier one."""
    try:
        with replacing(path) as part:
            save_file(tensors, part, metadata=metadata)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} cannot be written ({error})", "free some space, or write to another folder"
        ) from None
