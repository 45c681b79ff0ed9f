from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from genemamba import _progress
from genemamba.errors import InputError
from genemamba.network import GeneMamba, inference
from genemamba.network.inference import embed_tokens, map_cells
from genemamba.network.memory import is_out_of_memory
from genemamba.network.packed import PackedCells
from genemamba.network.runtime import Runtime, choose_runtime
from genemamba.tokens import FIRST_GENE, PAD, Ranked


def test_the_same_seed_gives_the_same_weights(small_model: GeneMamba) -> None:
    again = GeneMamba(small_model.config).reset_parameters(0)
    other = GeneMamba(small_model.config).reset_parameters(1)
    for name, weight in small_model.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name
    assert not torch.equal(small_model.embeddings.weight, other.embeddings.weight)


@pytest.mark.parametrize("longer", [1, 7, 64])
def test_longer_padding_changes_nothing(small_model: GeneMamba, longer: int) -> None:
    ids = torch.randint(FIRST_GENE, 700, (2, 50), generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([50, 31])
    ids[1, 31:] = PAD
    with torch.inference_mode():
        short = small_model.embed(PackedCells.padded(ids, lengths))
        ids = torch.nn.functional.pad(ids, (0, longer), value=PAD)
        long = small_model.embed(PackedCells.padded(ids, lengths))
    torch.testing.assert_close(short, long, rtol=0, atol=1e-5)


def test_what_stands_in_the_padding_changes_nothing(small_model: GeneMamba) -> None:
    ids = torch.randint(FIRST_GENE, 700, (1, 50), generator=torch.Generator().manual_seed(0))
    garbage = ids.clone()
    garbage[:, 30:] = FIRST_GENE
    lengths = torch.tensor([30])
    with torch.inference_mode():
        assert torch.equal(
            *(small_model.embed(PackedCells.padded(i, lengths)) for i in (ids, garbage))
        )


def random_cells(n: int, longest: int) -> Ranked:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, longest, n)
    tokens = np.concatenate([rng.choice(700, k, replace=False) + FIRST_GENE for k in lengths])
    indptr = np.r_[0, np.cumsum(lengths)].astype(np.int64)
    return Ranked(tokens.astype(np.int32), indptr, np.ones(n), np.ones(n))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_batches_do_not_change_a_cell(small_model: GeneMamba, pooling: str) -> None:
    cells = random_cells(40, 200)

    def embedded(size: int | str) -> np.ndarray:
        runtime = choose_runtime("cpu", "float32", batch_size=size)
        return embed_tokens(small_model, cells, pooling=pooling, runtime=runtime)

    alone = embedded(1)
    for size in (3, 40, "auto"):
        together = embedded(size)
        assert np.abs(alone - together).max() < 1e-5


def test_bfloat16_keeps_to_its_stated_tolerance(small_model: GeneMamba) -> None:
    cells = random_cells(40, 200)
    full = embed_tokens(small_model, cells, runtime=choose_runtime("cpu", "float32"))
    half = embed_tokens(small_model, cells, runtime=choose_runtime("cpu", "bfloat16"))
    relative = np.linalg.norm(half - full, axis=1) / np.linalg.norm(full, axis=1)
    assert half.dtype == np.float32
    assert relative.max() < 0.02
    assert small_model.embeddings.weight.dtype == torch.float32  # the caller's model is left alone


def test_a_cell_without_tokens_is_nan(small_model: GeneMamba) -> None:
    cells = Ranked(np.array([5, 6], np.int32), np.array([0, 2, 2]), np.ones(2), np.ones(2))
    vectors = embed_tokens(small_model, cells)
    assert np.isfinite(vectors[0]).all()
    assert np.isnan(vectors[1]).all()


@pytest.mark.parametrize(
    "wrong",
    [{"device": "tpu"}, {"precision": "int8"}, {"device": "cuda"}],
)
def test_a_runtime_that_is_not_there(wrong: dict) -> None:
    if wrong.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA GPU here")
    with pytest.raises(ValueError, match=next(iter(wrong.values()))):
        choose_runtime(**wrong)


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
@pytest.mark.parametrize("longest", [200, 1_500, 5_000])
def test_rows_hold_2048_tokens_whatever_the_batch(batch_size: int, longest: int) -> None:
    lengths = np.random.default_rng(0).integers(0, longest, 300)
    batches = inference._batches(lengths, Runtime("cpu", "float32", batch_size=batch_size), 1)
    whole = [np.concatenate(rows) for rows in batches]
    assert {len(cells) for cells in whole[:-1]} <= {batch_size}
    assert sorted(np.concatenate(whole)) == np.flatnonzero(lengths).tolist()
    for rows in batches:
        filled = [int((lengths[row] + 1).sum()) for row in rows]
        most = max(2_048, max(int(lengths[row].max()) + 1 for row in rows))
        assert max(filled) <= most
        assert len(rows) <= 1 + 2 * sum(filled) / most  # none is half empty for nothing


SHORT = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    MemoryError(),
    np._core._exceptions._ArrayMemoryError((9, 9), np.dtype(float)),
    RuntimeError(
        "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"
    ),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


@pytest.mark.parametrize("error", SHORT, ids=lambda error: str(error)[:20])
def test_a_batch_that_memory_does_not_hold_is_halved(error: Exception) -> None:
    cells, asked = random_cells(40, 200), []

    def lengths_of(batch: PackedCells) -> torch.Tensor:
        asked.append(len(batch.begin))
        if batch.ids.numel() > 500:
            raise error
        return batch.lengths[:, None]

    found = map_cells(lengths_of, cells, 1, runtime=Runtime("cpu", "float32"))
    np.testing.assert_array_equal(found[:, 0], cells.lengths)
    assert max(asked) >= 10 > 2 >= min(asked)


def test_what_torch_really_says_of_memory() -> None:
    with pytest.raises(RuntimeError) as torchs:
        torch.empty(2**55)
    with pytest.raises(MemoryError) as numpys:
        np.empty(2**55)
    assert is_out_of_memory(torchs.value) and is_out_of_memory(numpys.value)
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_other_errors_are_not_taken_for_it() -> None:
    def wrong(batch: PackedCells) -> torch.Tensor:
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes cannot"):
        map_cells(wrong, random_cells(4, 50), 1, runtime=Runtime("cpu", "float32"))


@pytest.mark.parametrize("error", SHORT[:4], ids=lambda error: str(error)[:20])
def test_a_cell_that_memory_does_not_hold(error: Exception) -> None:
    def full(batch: PackedCells) -> torch.Tensor:
        raise error

    with pytest.raises(InputError, match=r"a cell of \d+ tokens does not fit .*\n.*max_tokens"):
        map_cells(full, random_cells(4, 50), 1, runtime=Runtime("cpu", "float32"))


@pytest.mark.parametrize(("long", "said"), [(0.0, True), (1e9, False)])
def test_a_long_run_is_announced_once(
    small_model: GeneMamba,
    long: float,
    said: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr(_progress, "_ESTIMATED_AFTER", 0.0)
    monkeypatch.setattr(_progress, "_LONG", long)
    runtime = Runtime("cpu", "float32", batch_size=4)
    embed_tokens(small_model, random_cells(12, 50), runtime=runtime)
    told = [line for line in capsys.readouterr().err.splitlines() if "cells/s on cpu" in line]
    assert len(told) == said
    if said:
        assert re.match(
            r"embed: about \d+ s for 12 cells \([\d,]+ cells/s on cpu in float32\); "
            r"\d+\.\d GB of memory so far", told[0],
        )  # fmt: skip


@pytest.mark.parametrize(("free", "tokens"), [(80e9, 131_072), (4e9, 61_035), (1e6, 2_048)])
def test_a_gpu_with_little_memory_gets_fewer_tokens(
    free: float, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(free), int(80e9)))
    assert inference._most_tokens(Runtime("cuda", "bfloat16")) == tokens


@pytest.mark.parametrize("n", [0, 1, 2, 6])
def test_no_more_than_a_few_are_prepared_ahead(n: int) -> None:
    begun: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        for done, item in enumerate(inference._ahead(begun.append, list(range(n)), pool, 2)):
            assert item is None and len(begun) <= done + 3
    assert begun == list(range(n))


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Set how many threads torch has, and set them back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_batches_at_once_come_in_order(n_threads: int, threads: Callable[[int], None]) -> None:
    threads(n_threads)
    cells, asked = random_cells(40, 200), []

    def step(cells: np.ndarray, batch: PackedCells) -> torch.Tensor:
        assert torch.is_inference_mode_enabled()
        time.sleep(0.02 * (len(asked) % 2 == 0))  # the first is later than the second
        asked.append(threading.get_ident())
        return batch.lengths

    runtime = Runtime("cpu", "float32", batch_size=7)
    found = list(inference.over_cells(step, cells, runtime=runtime))
    assert torch.get_num_threads() == n_threads == len(set(asked))
    order = np.argsort(-cells.lengths, kind="stable")
    assert np.array_equal(np.concatenate([own for own, _ in found]), order)
    assert np.array_equal(np.concatenate([n for _, n in found]), cells.lengths[order])


def test_what_fails_in_a_thread_is_said(threads: Callable[[int], None]) -> None:
    threads(2)

    def step(cells: np.ndarray, batch: PackedCells) -> None:
        raise InputError("it is dark", "light a candle")

    over = inference.over_cells(
        step, random_cells(40, 200), runtime=Runtime("cpu", "float32", batch_size=7)
    )
    with pytest.raises(InputError, match="dark"):
        next(over)
