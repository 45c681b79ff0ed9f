"""Ranked tokens in, one vector per cell out: the array core of ``gm.tl.embed``."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from genemamba._progress import Progress
from genemamba.errors import InputError
from genemamba.network import compiled
from genemamba.network.genemamba import GeneMamba, Pooling
from genemamba.network.memory import free_cached, is_out_of_memory
from genemamba.network.packed import PackedCells
from genemamba.network.runtime import Runtime, choose_runtime
from genemamba.tokens import Ranked, longest_first, pack

A = TypeVar("A")
T = TypeVar("T")
Step = Callable[[np.ndarray, PackedCells], T]

_AHEAD = 2  # batches prepared for a GPU
_ROW = 2_048  # tokens that cells are packed into
# Activations of a small batch stay in a CPU's caches: 2,048 tokens run twice as fast as 16,384.
# A GPU wants many, but kernels index with 32 bits.
_TOKENS_PER_BATCH = {"cpu": _ROW, "cuda": 131_072, "mps": 32_768}
_WITH_GRADIENTS = 8  # times fewer on a GPU: all layers keep what the gradient needs
_BYTES_PER_TOKEN = 2**16  # a safe guess for width 512; where it is too low, batches are halved


def embed_tokens(
    model: GeneMamba,
    ranked: Ranked,
    *,
    pooling: Pooling = "mean",
    runtime: Runtime | None = None,
    progress: bool | Progress = True,
) -> np.ndarray:
    """Embed every cell, ``(n_cells, d_model)`` float32; cells without tokens get NaN."""
    runtime = runtime or choose_runtime()
    check_pooling(model, pooling)
    network, vocab = placed(model, runtime), model.vocab
    return map_cells(
        lambda cells: network.embed(cells, pooling), ranked, model.config.d_model,
        prefix_token=vocab.special("[CLS]") if vocab and pooling == "cls" else None,
        runtime=runtime, progress=progress,
    )  # fmt: skip


def map_cells(
    f: Callable[[PackedCells], Tensor],
    ranked: Ranked,
    width: int,
    *,
    runtime: Runtime,
    prefix_token: int | None = None,
    progress: bool | Progress = True,
) -> np.ndarray:
    """Apply `f`, which returns S × `width`, to every cell; float32, NaN without tokens."""
    out = np.full((ranked.n_cells, width), np.nan, dtype=np.float32)
    how: Any = {"runtime": runtime, "prefix_token": prefix_token, "progress": progress}
    for cells, found in over_cells(lambda _, packed: f(packed), ranked, **how):
        out[cells] = found.float().cpu().numpy()
    return out


def over_cells(
    step: Step[T],
    ranked: Ranked,
    *,
    runtime: Runtime,
    prefix_token: int | None = None,
    gradients: bool = False,
    doing: str = "embed",
    progress: bool | Progress = True,
) -> Iterator[tuple[np.ndarray, T]]:
    """Yield the indices of some cells, and what `step` returns for them, batch by batch.

    `step` takes these indices and the cells, packed into rows on the runtime's device. On a CPU
    several batches run at once, each on one thread, unless they need the memory for `gradients`.
    Cells without tokens are left out. A batch that does not fit the memory is halved. `progress`
    may be a bar of the caller's own.

    Raises
    ------
    InputError
        If a single cell does not fit the memory.
    """
    lengths = ranked.lengths
    batches = _batches(lengths, runtime, int(prefix_token is not None), gradients=gradients)

    def packed(rows: list[np.ndarray]) -> PackedCells:
        cells = PackedCells.pack(ranked, rows, prefix_token=prefix_token)
        return cells.pinned() if runtime.kind == "cuda" else cells

    def run(rows: list[np.ndarray], cells: PackedCells | None = None) -> list[tuple[np.ndarray, T]]:
        with torch.enable_grad() if gradients else torch.inference_mode():
            return _in_memory(step, rows, packed, runtime, cells)

    n_threads = 1 if gradients else max(1, min(torch.get_num_threads(), len(batches)))
    on = f" on {runtime.device} in {runtime.precision}"
    share = len(lengths) / max(1, int(lengths.sum()))  # of a cell in a token
    given: AbstractContextManager[Progress] = (
        nullcontext(progress)
        if isinstance(progress, Progress)
        else Progress(doing, len(lengths), on=on, shown=progress)
    )
    with given as bar:
        for pieces in _in_order(run, packed, batches, runtime, n_threads):
            yield from pieces
            bar.update(share * sum(int(lengths[cells].sum()) for cells, _ in pieces))


def _in_order(
    run: Callable[..., T],
    packed: Callable[[list[np.ndarray]], PackedCells],
    batches: list[list[np.ndarray]],
    runtime: Runtime,
    n_threads: int,
) -> Iterator[T]:
    """Run all batches; on a CPU one on each of `n_threads`."""
    if runtime.device != "cpu":
        with ThreadPoolExecutor(1) as other:
            ahead = _ahead(packed, batches, other, _AHEAD)
            for rows, cells in zip(batches, ahead, strict=True):
                yield run(rows, cells)
    elif n_threads == 1:
        compiled.keep_buffers()
        try:
            yield from map(run, batches)
        finally:
            compiled.keep_buffers(False)
    else:
        # torch's own threads wait for each other after every operation; these never do
        before = torch.get_num_threads()
        with ThreadPoolExecutor(n_threads, initializer=_one_thread) as own:
            try:
                yield from _ahead(run, batches, own, n_threads + 1)
            finally:
                torch.set_num_threads(before)


def _one_thread() -> None:
    torch.set_num_threads(1)
    compiled.keep_buffers()


def _ahead(f: Callable[[A], T], items: list[A], pool: ThreadPoolExecutor, n: int) -> Iterator[T]:
    """Map in order, no more than `n` items ahead."""
    coming = deque(pool.submit(f, item) for item in items[:n])
    try:
        for later in range(n, n + len(items)):
            yield coming.popleft().result()
            coming.extend(pool.submit(f, item) for item in items[later : later + 1])
    finally:
        for future in coming:
            future.cancel()


def _in_memory(
    step: Step[T],
    rows: list[np.ndarray],
    packed: Callable[[list[np.ndarray]], PackedCells],
    runtime: Runtime,
    batch: PackedCells | None = None,
) -> list[tuple[np.ndarray, T]]:
    """Apply `step` to cells in rows; if they do not fit the memory, to each half of them."""
    cells = np.concatenate(rows)
    try:
        batch = (batch or packed(rows)).to(runtime.device)
        return [(cells, step(cells, batch))]
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        if len(cells) == 1:
            other = "" if runtime.device == "cpu" else ", or device='cpu'"
            size = "a cell" if batch is None else f"a cell of {int(batch.lengths)} tokens"
            raise InputError(
                f"{size} does not fit the memory of {runtime.device}",
                f"give a smaller max_tokens{other}",
            ) from None
    del batch
    free_cached(runtime.kind)  # outside of except, which would hold on to tensors
    rows = rows if len(rows) > 1 else [own[None] for own in cells]
    half = len(rows) // 2
    halves = (_in_memory(step, part, packed, runtime) for part in (rows[:half], rows[half:]))
    return [found for part in halves for found in part]


def check_pooling(model: GeneMamba, pooling: str) -> None:
    """Reject a pooling that is unknown or that the checkpoint was not trained for."""
    if pooling not in ("mean", "cls"):
        raise InputError(f"pooling={pooling!r} is unknown", "use 'mean' or 'cls'")
    if pooling == "cls" and not (model.vocab is not None and model.vocab.has_special("[CLS]")):
        raise InputError(
            "pooling='cls', but this model has no trained [CLS] token", "use pooling='mean'"
        )


def _batches(
    lengths: np.ndarray, runtime: Runtime, prefix: int, *, gradients: bool = False
) -> list[list[np.ndarray]]:
    """Choose the cells of each row of each batch."""
    if runtime.batch_size != "auto":
        order, size = longest_first(lengths), runtime.batch_size
        parts = [order[i : i + size] for i in range(0, len(order), size)]
        widths = [max(_ROW, int(lengths[own[0]]) + prefix) for own in parts]  # the longest is first
        return [
            [own[row] for row in pack(lengths[own] + prefix, width)]
            for own, width in zip(parts, widths, strict=True)
        ]
    rows = pack(np.where(lengths, lengths + prefix, 0), _ROW)
    batches, most = [], _most_tokens(runtime, gradients=gradients)
    while rows:  # the longest cell of the first row is the longest of all
        n = max(1, most // max(_ROW, int(lengths[rows[0]].sum()) + prefix))
        batches.append(rows[:n])
        rows = rows[n:]
    return batches


def _most_tokens(runtime: Runtime, *, gradients: bool = False) -> int:
    """Return the tokens of a batch: as many as are fast, or fewer where memory is short."""
    most = _TOKENS_PER_BATCH[runtime.kind]
    if gradients:
        most = max(_ROW, most // _WITH_GRADIENTS)
    if runtime.kind != "cuda":
        return most
    free, _ = torch.cuda.mem_get_info(runtime.device)
    return min(most, max(_ROW, free // _BYTES_PER_TOKEN))


def placed(model: GeneMamba, runtime: Runtime) -> GeneMamba:
    """Return the model itself if it fits the runtime, else a copy that does."""
    dtype = getattr(torch, runtime.precision)
    weight = model.embeddings.weight
    on_device = str(weight.device) == runtime.device or weight.device.type == runtime.device
    fits = on_device and weight.dtype == dtype and not model.training
    if fits and model.backend == runtime.backend:
        return model
    tables = (model.vocab, model.ranking, model.sketch, model.provenance)  # not its weights
    with torch.inference_mode(False):  # of such weights one could not tell whether they change
        placed = copy.deepcopy(model, {id(t): t for t in tables}).eval().to(runtime.device)
        for name, parameter in placed.named_parameters():
            if name.rsplit(".", 1)[-1] not in ("A_log", "dt_bias", "D"):  # small, exponentiated
                parameter.data = parameter.data.to(dtype)
    return placed.use(runtime.backend)
