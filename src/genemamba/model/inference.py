"""Ranked tokens in, one vector per cell out: the array core of ``gm.tl.embed``."""

from __future__ import annotations

import copy
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from genemamba._machine import peak_memory
from genemamba.errors import InputError
from genemamba.model import kernels
from genemamba.model.genemamba import GeneMamba, Pooling
from genemamba.model.runtime import Runtime, choose_runtime
from genemamba.tokens import Ranked, length_batches, pad

_AHEAD = 2  # batches prepared for a GPU
_TOLD_AFTER, _LONG = 2.0, 30.0  # seconds until a run is judged; a longer one is announced
# Activations of a small batch stay in a CPU's caches: 2,048 tokens run twice as fast as 16,384.
# A GPU wants many, but kernels index with 32 bits.
_TOKENS_PER_BATCH = {"cpu": 2_048, "cuda": 131_072, "mps": 32_768}
_BYTES_PER_TOKEN = 2**16  # a guess on the safe side for width 512; what it misses is halved


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
            out[cells] = _in_memory(f, rows, n).float().cpu().numpy()
    return out


def _in_memory(f: Callable[[Tensor, Tensor], Tensor], rows: Tensor, n: Tensor) -> Tensor:
    """Apply `f`; where memory does not suffice, to each half of the batch.

    Raises
    ------
    InputError
        If a single cell does not fit.
    """
    try:
        return f(rows, n)
    except torch.OutOfMemoryError:
        if len(n) == 1:
            raise InputError(
                f"a cell of {int(n)} tokens does not fit the memory of {rows.device}",
                "give a smaller max_tokens, or device='cpu'",
            ) from None
    torch.cuda.empty_cache()  # outside of except, which would hold on to tensors
    halves = zip(rows.tensor_split(2), n.tensor_split(2), strict=True)
    return torch.cat([_in_memory(f, *half) for half in halves])


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
    told, tokens, done, begun = False, int(lengths.sum()), 0, 0.0
    with tqdm(total=tokens, unit="token", unit_scale=True, desc=doing, delay=3, leave=False) as bar:
        for cells, host in _on_host(ranked, batches, pinned=runtime.device == "cuda"):
            rows, n = (t.to(runtime.device, non_blocking=True) for t in host)
            yield cells, rows, n
            read = int(lengths[cells].sum())  # not of n: a GPU would have to be waited for
            bar.update(read)
            if not begun:  # the first batch warms up, and says nothing about the others
                begun = time.monotonic()
                continue
            done += read
            seconds = time.monotonic() - begun
            if not told and seconds > _TOLD_AFTER:
                told, whole = True, seconds * tokens / done
                if whole > _LONG and not bar.disable:
                    tqdm.write(_estimate(doing, whole, len(lengths), runtime), file=sys.stderr)


def _on_host(
    ranked: Ranked, batches: list[np.ndarray], *, pinned: bool
) -> Iterator[tuple[np.ndarray, list[Tensor]]]:
    """Pad batches; for a GPU in pinned memory, the next ones while the present one is computed."""

    def laid(cells: np.ndarray) -> list[Tensor]:
        tensors = [torch.from_numpy(a) for a in pad(ranked, cells, multiple=1)]
        return [t.pin_memory() for t in tensors] if pinned else tensors

    if not pinned:
        yield from ((cells, laid(cells)) for cells in batches)
        return
    with ThreadPoolExecutor(1) as thread:
        coming = deque(thread.submit(laid, cells) for cells in batches[:_AHEAD])
        for i, cells in enumerate(batches):
            host = coming.popleft().result()
            coming.extend(thread.submit(laid, later) for later in batches[i + _AHEAD :][:1])
            yield cells, host


def _estimate(doing: str, seconds: float, n_cells: int, runtime: Runtime) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{doing}: about {minutes} min {rest:02d} s for {n_cells:,} cells "
        f"({n_cells / seconds:,.0f} cells/s on {runtime.device} in {runtime.precision}); "
        f"{peak_memory():.1f} GB of memory so far"
    )


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
        most = _most_tokens(runtime)
        return length_batches(lengths, max_tokens_per_batch=most, multiple=1)
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"batch_size={batch_size!r}", "give a number of cells, or 'auto'")
    order = np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)]
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def _most_tokens(runtime: Runtime) -> int:
    """Return the tokens of a batch: as many as are quick, or fewer where memory is short."""
    most = _TOKENS_PER_BATCH[runtime.device]
    if runtime.device != "cuda":
        return most
    free, _ = torch.cuda.mem_get_info()
    return min(most, max(_TOKENS_PER_BATCH["cpu"], free // _BYTES_PER_TOKEN))


def placed(model: GeneMamba, runtime: Runtime) -> GeneMamba:
    """Give the model itself if it already fits, else a copy: the caller's is never changed."""
    dtype = getattr(torch, runtime.precision)
    weight = model.embeddings.weight
    fits = weight.device.type == runtime.device and weight.dtype == dtype and not model.training
    if fits and model.backend == runtime.backend:
        return model
    if runtime.backend == "triton":
        kernels.require_powers_of_two(model.config)
    placed = copy.deepcopy(model).eval().to(runtime.device)
    for name, parameter in placed.named_parameters():
        if name.rsplit(".", 1)[-1] not in ("A_log", "dt_bias", "D"):  # small, and exponentiated
            parameter.data = parameter.data.to(dtype)
    return placed.use(runtime.backend)
