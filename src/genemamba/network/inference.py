"""Ranked tokens in, one vector per cell out: the array core of ``gm.tl.embed``."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from genemamba._progress import Progress
from genemamba.errors import InputError
from genemamba.network import compiled, kernels
from genemamba.network.batch import Batch
from genemamba.network.genemamba import GeneMamba, Pooling
from genemamba.network.memory import free_cached, is_out_of_memory
from genemamba.network.runtime import Runtime, choose_runtime
from genemamba.tokens import Ranked, longest_first, pack

A = TypeVar("A")
T = TypeVar("T")
Step = Callable[[np.ndarray, Batch], T]

_AHEAD = 2  # batches prepared for a GPU
_ROW = 2_048  # tokens that cells are packed into
# Activations of a small batch stay in a CPU's caches: 2,048 tokens run twice as fast as 16,384.
# A GPU wants many, but kernels index with 32 bits.
_TOKENS_PER_BATCH = {"cpu": _ROW, "cuda": 131_072, "mps": 32_768}
_BYTES_PER_TOKEN = 2**16  # a guess on the safe side for width 512; what it misses is halved


def embed_tokens(
    model: GeneMamba,
    ranked: Ranked,
    *,
    pooling: Pooling = "mean",
    runtime: Runtime | None = None,
    progress: bool = True,
) -> np.ndarray:
    """Embed every cell; cells without tokens get NaN.

    Cells share rows, so that next to nothing is padding, and come back in their own order. What
    stands beside a cell does not change its vector.

    Returns
    -------
    ``(n_cells, d_model)`` float32.
    """
    runtime = runtime or choose_runtime()
    check_pooling(model, pooling)
    network = placed(model, runtime)

    lead = None
    if pooling == "cls":
        assert model.vocab is not None
        lead = model.vocab.special("[CLS]")
    return map_cells(
        lambda batch: network.embed(batch, pooling),
        ranked,
        model.config.d_model,
        runtime=runtime,
        lead=lead,
        progress=progress,
    )


def map_cells(
    f: Callable[[Batch], Tensor],
    ranked: Ranked,
    width: int,
    *,
    runtime: Runtime,
    lead: int | None = None,
    progress: bool = True,
) -> np.ndarray:
    """Apply `f` to every cell; cells without tokens get NaN.

    `f` takes a batch on the runtime's device, and gives S × `width`.

    Returns
    -------
    ``(n_cells, width)`` float32, cells in their own order.
    """
    out = np.full((ranked.n_cells, width), np.nan, dtype=np.float32)

    def step(_: np.ndarray, batch: Batch) -> Tensor:
        return f(batch)

    over = over_cells(step, ranked, runtime=runtime, lead=lead, progress=progress)
    for cells, found in over:
        out[cells] = found.float().cpu().numpy()
    return out


def over_cells(
    step: Step[T],
    ranked: Ranked,
    *,
    runtime: Runtime,
    lead: int | None = None,
    doing: str = "embed",
    progress: bool = True,
) -> Iterator[tuple[np.ndarray, T]]:
    """Yield cells, by index, and what `step` makes of them, batch by batch.

    `step` takes these indices and the batch on the runtime's device; it runs without gradients.
    Rows are filled with cells, each after the token `lead` if there is one. On a CPU several
    batches run at once, each on one thread. Cells without tokens are left out. Where memory does
    not suffice, batches are halved.

    Raises
    ------
    InputError
        If a single cell does not fit the memory.
    """
    lengths = ranked.lengths
    batches = _batches(lengths, runtime, int(lead is not None))
    on = f" on {runtime.device} in {runtime.precision}"
    total, n_cells = int(lengths.sum()), len(lengths)
    with Progress(doing, total, "token", n_cells, on=on, shown=progress) as bar:
        for pieces in _stepped(step, ranked, batches, runtime, lead):
            yield from pieces
            bar.update(sum(int(lengths[cells].sum()) for cells, _ in pieces))


def _stepped(
    step: Step[T],
    ranked: Ranked,
    batches: list[list[np.ndarray]],
    runtime: Runtime,
    lead: int | None,
) -> Iterator[list[tuple[np.ndarray, T]]]:
    """Run `step` on every batch, in order; on a CPU as many at once as torch has threads."""

    def laid(rows: list[np.ndarray]) -> Batch:
        batch = Batch.packed(ranked, rows, lead=lead)
        return batch.pinned() if runtime.kind == "cuda" else batch

    def run(rows: list[np.ndarray], batch: Batch | None = None) -> list[tuple[np.ndarray, T]]:
        with torch.inference_mode():
            return _in_memory(step, rows, laid, runtime, batch)

    n_threads = torch.get_num_threads()
    if runtime.device != "cpu":
        with ThreadPoolExecutor(1) as other:
            coming = _ahead(laid, batches, other, _AHEAD)
            for rows, batch in zip(batches, coming, strict=True):
                yield run(rows, batch)
    elif min(n_threads, len(batches)) == 1:
        compiled.keep_rooms()
        try:
            yield from map(run, batches)
        finally:
            compiled.keep_rooms(False)
    else:
        # torch's own threads wait for each other after every operation; these never do
        with ThreadPoolExecutor(n_threads, initializer=_alone) as own:
            try:
                yield from _ahead(run, batches, own, n_threads + 1)
            finally:
                torch.set_num_threads(n_threads)


def _alone() -> None:
    torch.set_num_threads(1)
    compiled.keep_rooms()


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
    laid: Callable[[list[np.ndarray]], Batch],
    runtime: Runtime,
    batch: Batch | None = None,
) -> list[tuple[np.ndarray, T]]:
    """Apply `step` to cells in rows; where memory does not suffice, to each half of them."""
    cells = np.concatenate(rows)
    try:
        batch = (batch or laid(rows)).to(runtime.device)
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
    return [
        found
        for part in (rows[:half], rows[half:])
        for found in _in_memory(step, part, laid, runtime)
    ]


def check_pooling(model: GeneMamba, pooling: str) -> None:
    """Refuse a pooling that is unknown or that the checkpoint was not made for."""
    if pooling not in ("mean", "cls"):
        raise InputError(f"pooling={pooling!r} is unknown", "use 'mean' or 'cls'")
    if pooling == "cls" and not (model.vocab is not None and model.vocab.has_special("[CLS]")):
        raise InputError(
            "pooling='cls', but this model has no trained [CLS] token", "use pooling='mean'"
        )


def _batches(lengths: np.ndarray, runtime: Runtime, lead: int) -> list[list[np.ndarray]]:
    """Choose the cells of each row of each batch."""
    batch_size = runtime.batch_size
    if batch_size != "auto":
        order = longest_first(lengths)
        parts = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        widths = [max(_ROW, int(lengths[own[0]]) + lead) for own in parts]  # the longest is first
        return [
            [own[row] for row in pack(lengths[own] + lead, width)]
            for own, width in zip(parts, widths, strict=True)
        ]
    rows = pack(np.where(lengths, lengths + lead, 0), _ROW)
    batches, most = [], _most_tokens(runtime)
    while rows:  # the longest cell of the first row is the longest there is
        n = max(1, most // max(_ROW, int(lengths[rows[0]].sum()) + lead))
        batches.append(rows[:n])
        rows = rows[n:]
    return batches


def _most_tokens(runtime: Runtime) -> int:
    """Return the tokens of a batch: as many as are quick, or fewer where memory is short."""
    most = _TOKENS_PER_BATCH[runtime.kind]
    if runtime.kind != "cuda":
        return most
    free, _ = torch.cuda.mem_get_info(runtime.device)
    return min(most, max(_TOKENS_PER_BATCH["cpu"], free // _BYTES_PER_TOKEN))


def placed(model: GeneMamba, runtime: Runtime) -> GeneMamba:
    """Give the model itself if it already fits, else a copy: the caller's is never changed."""
    dtype = getattr(torch, runtime.precision)
    weight = model.embeddings.weight
    there = str(weight.device) == runtime.device or weight.device.type == runtime.device
    fits = there and weight.dtype == dtype and not model.training
    if fits and model.backend == runtime.backend:
        return model
    if runtime.backend == "triton":
        kernels.require_powers_of_two(model.config)
    placed = copy.deepcopy(model).eval().to(runtime.device)
    for name, parameter in placed.named_parameters():
        if name.rsplit(".", 1)[-1] not in ("A_log", "dt_bias", "D"):  # small, and exponentiated
            parameter.data = parameter.data.to(dtype)
    return placed.use(runtime.backend)
