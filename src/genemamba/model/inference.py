"""Ranked tokens in, one vector per cell out: the array core of ``gm.tl.embed``."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from genemamba.errors import InputError
from genemamba.model.genemamba import GeneMamba, Pooling
from genemamba.tokens import Ranked, length_batches, pad

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16"]

# Activations of a small batch stay in a CPU's caches: 2,048 tokens run twice as fast as 16,384.
# A GPU wants many, but kernels index with 32 bits.
_TOKENS_PER_BATCH = {"cpu": 2_048, "cuda": 131_072, "mps": 32_768}


@dataclass(frozen=True)
class Runtime:
    """Where and how precisely a model runs."""

    device: str
    precision: Literal["float32", "bfloat16"]


def choose_runtime(device: Device = "auto", precision: Precision = "auto") -> Runtime:
    """Decide where to run: CUDA if there is one, else the CPU; bfloat16 where it is fast.

    bfloat16 is chosen on GPUs that compute in it and on CPUs with AMX tiles; elsewhere its
    conversions cost what its products save.

    Raises
    ------
    InputError
        If the device or precision is unknown, or the device is not there.
    """
    if device not in ("auto", "cpu", "cuda", "mps"):
        raise InputError(f"device={device!r} is unknown", "use 'auto', 'cpu', 'cuda' or 'mps'")
    if precision not in ("auto", "float32", "bfloat16"):
        raise InputError(
            f"precision={precision!r} is unknown", "use 'auto', 'float32' or 'bfloat16'"
        )
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if device == "auto":
        device = "cuda" if present["cuda"] else "cpu"
    if not present[device]:
        raise InputError(f"device={device!r}: torch finds none here", "use device='cpu'")
    if precision == "auto":
        precision = "bfloat16" if _bfloat16_is_fast(device) else "float32"
    return Runtime(device, precision)


def _bfloat16_is_fast(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device == "cpu" and torch.cpu._is_amx_tile_supported()


def embed_tokens(
    model: GeneMamba,
    ranked: Ranked,
    *,
    pooling: Pooling = "mean",
    batch_size: int | Literal["auto"] = "auto",
    runtime: Runtime | None = None,
) -> np.ndarray:
    """Embed every cell; cells without tokens get NaN.

    Cells run in batches of nearly equal length, so that short ones do not pay for long ones, and
    come back in their own order. Neither batch nor padding changes a cell's vector.

    Returns
    -------
    ``(n_cells, d_model)`` float32.
    """
    runtime = runtime or choose_runtime()
    check_pooling(model, pooling)
    network = placed(model, runtime)

    def embed(ids: Tensor, lengths: Tensor) -> Tensor:
        if pooling == "cls":
            assert model.vocab is not None
            ids, lengths = F.pad(ids, (1, 0), value=model.vocab.special("[CLS]")), lengths + 1
        return network.embed(ids, lengths, pooling)

    width = model.config.d_model
    return map_cells(embed, ranked, width, batch_size=batch_size, runtime=runtime)


def map_cells(
    f: Callable[[Tensor, Tensor], Tensor],
    ranked: Ranked,
    width: int,
    *,
    batch_size: int | Literal["auto"] = "auto",
    runtime: Runtime,
) -> np.ndarray:
    """Apply `f` to every cell in batches of nearly equal length; cells without tokens get NaN.

    `f` takes padded rows and their lengths on the runtime's device, and gives b × `width`.

    Returns
    -------
    ``(n_cells, width)`` float32, cells in their own order.
    """
    out = np.full((ranked.n_cells, width), np.nan, dtype=np.float32)
    with torch.inference_mode():
        for cells, rows, n in stream(ranked, batch_size=batch_size, runtime=runtime):
            out[cells] = f(rows, n).float().cpu().numpy()
    return out


def stream(
    ranked: Ranked,
    *,
    batch_size: int | Literal["auto"] = "auto",
    runtime: Runtime,
    doing: str = "embed",
) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
    """Yield batches of cells of nearly equal length: their indices, padded rows and lengths.

    Rows and lengths are on the runtime's device. Cells without tokens are left out.
    """
    lengths = ranked.lengths
    batches = _batches(lengths, batch_size, runtime)
    with tqdm(
        total=int(lengths.sum()), unit="token", unit_scale=True, desc=doing, delay=3, leave=False
    ) as bar:
        for cells in batches:
            rows, n = (
                torch.from_numpy(a).to(runtime.device) for a in pad(ranked, cells, multiple=1)
            )
            yield cells, rows, n
            bar.update(int(n.sum()))


def check_pooling(model: GeneMamba, pooling: str) -> None:
    """Refuse a pooling that is unknown or that the checkpoint was not made for."""
    if pooling not in ("mean", "cls"):
        raise InputError(f"pooling={pooling!r} is unknown", "use 'mean' or 'cls'")
    if pooling == "cls" and not (model.vocab is not None and model.vocab.has_special("[CLS]")):
        raise InputError(
            "pooling='cls', but this model has no trained [CLS] token", "use pooling='mean'"
        )


def _batches(
    lengths: np.ndarray, batch_size: int | Literal["auto"], runtime: Runtime
) -> list[np.ndarray]:
    if batch_size == "auto":
        most = _TOKENS_PER_BATCH[runtime.device]
        return length_batches(lengths, max_tokens_per_batch=most, multiple=1)
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"batch_size={batch_size!r}", "give a number of cells, or 'auto'")
    order = np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)]
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def placed(model: GeneMamba, runtime: Runtime) -> GeneMamba:
    """Give the model itself if it already fits, else a copy: the caller's is never changed."""
    dtype = getattr(torch, runtime.precision)
    weight = model.embeddings.weight
    if weight.device.type == runtime.device and weight.dtype == dtype and not model.training:
        return model
    placed = copy.deepcopy(model).eval().to(runtime.device)
    for name, parameter in placed.named_parameters():
        if name.rsplit(".", 1)[-1] not in ("A_log", "dt_bias", "D"):  # small, and exponentiated
            parameter.data = parameter.data.to(dtype)
    return placed
