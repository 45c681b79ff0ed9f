"""Step by step = in one go, and no step costs more than another."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from genemamba.network import GeneMamba, GeneMambaConfig
from genemamba.network.recurrent import start, step


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A step is too small to be shared, and threads that wait for each other are slow."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def forwards(merge: str, dtype: torch.dtype = torch.float64, **settings: object) -> GeneMamba:
    config = GeneMambaConfig(
        vocab_size=50, d_model=16, n_layers=3, d_state=8, headdim=8, chunk_size=16, merge=merge,
        bidirectional=False, **settings,
    )  # fmt: skip
    return GeneMamba(config).reset_parameters(0).to(dtype).eval()


def stepped(model: GeneMamba, ids: torch.Tensor) -> torch.Tensor:
    state, out = start(model, len(ids)), []
    for column in ids.T:
        y, state = step(model, column, state)
        out.append(y)
    return torch.stack(out, dim=1)


@torch.no_grad()
@pytest.mark.parametrize("merge", ["mean", "sum", "gate", "concat"])
def test_steps_equal_the_full_scan(merge: str) -> None:
    model = forwards(merge, pre_norm=merge == "mean")
    ids = torch.randint(2, 50, (3, 77), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(stepped(model, ids), model(ids), rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_steps_forget_as_the_full_scan() -> None:
    model = forwards("mean")
    for layer in model.mamba_mixer.layers:
        layer.mamba.A_log.fill_(4.0)  # type: ignore[union-attr]
        layer.mamba.dt_bias.fill_(1.0)  # type: ignore[union-attr]
    ids = torch.randint(2, 50, (3, 40), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(stepped(model, ids), model(ids), rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_float32_over_2048_tokens() -> None:
    model = forwards("mean", torch.float32, pre_norm=True)
    ids = torch.randint(2, 50, (2, 2048), generator=torch.Generator().manual_seed(1))
    assert (stepped(model, ids) - model(ids)).abs().max() < 1e-5


@torch.no_grad()
def test_a_model_that_reads_both_ways_steps_as_its_forward_reading() -> None:
    model = forwards("gate")
    both = GeneMamba(replace(model.config, bidirectional=True)).to(torch.float64)
    both.load_state_dict(model.state_dict())
    ids = torch.randint(2, 50, (2, 30), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(stepped(both, ids), model(ids))
    assert (both(ids) - model(ids)).abs().max() > 1e-3


@torch.no_grad()
def test_what_comes_later_is_not_seen() -> None:
    model = forwards("mean")
    ids = torch.randint(2, 50, (2, 30), generator=torch.Generator().manual_seed(0))
    other = ids.clone()
    other[:, 20:] = 3
    torch.testing.assert_close(model(ids)[:, :20], model(other)[:, :20])
    segment = (torch.arange(30) >= 20).long().expand(2, -1)  # a cell of its own begins at 20
    torch.testing.assert_close(model(ids, segment)[:, 20:], model(ids[:, 20:]))


@torch.no_grad()
def test_a_token_can_be_tried_and_forgotten() -> None:
    model = forwards("mean")
    ids = torch.randint(2, 50, (1, 9), generator=torch.Generator().manual_seed(0))
    state = start(model, 1)
    for column in ids.T[:-1]:
        step(model, torch.tensor([1]), state)
        _, state = step(model, column, state)
    y, _ = step(model, ids[:, -1], state)
    torch.testing.assert_close(y, model(ids)[:, -1])


@torch.no_grad()
def test_the_last_steps_cost_what_the_first_cost() -> None:
    model = forwards("mean", torch.float32)
    ids, late = torch.full((4,), 3), start(model, 4)
    for t in range(2048):
        if t == 50:
            early = late
        _, late = step(model, ids, late)
    seconds: dict[str, list[float]] = {"early": [], "late": []}
    for _ in range(200):  # by turns, so that other work slows down both
        for name, state in (("early", early), ("late", late)):
            begun = time.perf_counter()
            step(model, ids, state)
            seconds[name].append(time.perf_counter() - begun)
    assert statistics.median(seconds["late"]) < 1.5 * statistics.median(seconds["early"])
