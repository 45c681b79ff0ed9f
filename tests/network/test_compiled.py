"""The compiled passes, beside the plain code in float64."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
import torch

from genemamba.network import GeneMamba, GeneMambaConfig, compiled, lanes, selftest
from genemamba.network.inference import placed
from genemamba.network.runtime import Runtime

CONFIG = {"vocab_size": 60, "d_model": 32, "n_layers": 2, "d_state": 32, "headdim": 16}


def model(**changes: object) -> GeneMamba:
    return GeneMamba(GeneMambaConfig(**(CONFIG | changes))).reset_parameters(0).eval()  # type: ignore[arg-type]


def segments(kind: str, rows: int, length: int) -> torch.Tensor | None:
    place = torch.arange(length).expand(rows, -1)
    return {
        "none": None,
        "packed": place // 13,
        "padded": (place < torch.linspace(1, length, rows).long()[:, None]).long() - 1,
        "of one token": place.clone(),
    }[kind]


def distance(model: GeneMamba, ids: torch.Tensor, segment: torch.Tensor | None) -> float:
    """How far the compiled passes are from float64, relative to the states."""
    with torch.inference_mode():
        true = model.double()(ids, segment)
        runtime = Runtime("cpu", "float32", "numba")
        found = placed(model.float(), runtime)(ids, segment)
    return float((found - true).norm() / true.norm())


@pytest.mark.parametrize("kind", ["none", "packed", "padded", "of one token"])
@pytest.mark.parametrize("length", [1, 3, 32, 77])
def test_states_are_those_of_the_plain_code(kind: str, length: int) -> None:
    ids = torch.randint(2, 60, (3, length), generator=torch.Generator().manual_seed(length))
    assert distance(model(), ids, segments(kind, 3, length)) < 1e-6


@pytest.mark.parametrize(
    "changes",
    [
        {"merge": "gate"}, {"merge": "concat"}, {"merge": "sum"}, {"merge": "mean"},
        {"bidirectional": False}, {"bidirectional": False, "merge": "concat"}, {"pre_norm": True},
        {"d_conv": 2}, {"d_conv": 3}, {"chunk_size": 5}, {"headdim": 64}, {"d_state": 16},
        {"d_conv": 1}, {"d_state": 64, "headdim": 32}, {"d_model": 48, "headdim": 48},
        {"d_conv": 5}, {"headdim": 8}, {"d_state": 24}, {"d_state": 1},  # by the plain code
    ],
)  # fmt: skip
def test_every_shape(changes: dict) -> None:
    ids = torch.randint(2, 60, (2, 70), generator=torch.Generator().manual_seed(0))
    assert distance(model(**changes), ids, segments("packed", 2, 70)) < 1e-6


def test_strong_decays_neither_overflow_nor_vanish() -> None:
    network, ids = model(), torch.arange(2, 60).expand(2, -1)
    for layer in network.mamba_mixer.layers:
        layer.mamba.A_log.data.fill_(6.0)  # type: ignore[union-attr]
        layer.mamba.dt_bias.data.copy_(torch.tensor([-9.0, -3.0, 0.0, 2.0]))  # type: ignore[union-attr]
    assert distance(network, ids, None) < 1e-6


def test_it_forgets_as_training_does() -> None:
    """Training compiles the plain code; what it taught has to be what is read."""
    network, ids = model(), torch.arange(2, 60).expand(2, -1)
    for layer in network.mamba_mixer.layers:
        layer.mamba.A_log.data.fill_(4.0)  # type: ignore[union-attr]
        layer.mamba.dt_bias.data.fill_(1.0)  # type: ignore[union-attr]
    with torch.no_grad():
        trained = torch.compile(network, backend="eager")(ids)
        for backend in ("torch", "numba"):
            found = placed(network, Runtime("cpu", "float32", backend))(ids)  # type: ignore[arg-type]
            torch.testing.assert_close(found, trained, rtol=1e-5, atol=1e-6)


def test_half_precision_is_as_near_as_the_plain_code() -> None:
    network, ids = model(), torch.arange(2, 60).expand(2, -1)
    with torch.inference_mode():
        true = network.double()(ids)
        network = network.float()
        plain, ours = (
            placed(network, Runtime("cpu", "bfloat16", backend))(ids)
            for backend in ("torch", "numba")
        )
    assert (ours - true).norm() < 1.2 * (plain - true).norm()
    assert selftest.self_test("cpu", "bfloat16", "numba") < selftest.TOLERANCE["bfloat16"]
    assert 0 < selftest.self_test("cpu", "float32", "numba") < 1e-6


def test_changed_weights_are_read_as_they_are() -> None:
    """What is computed once from the weights is computed again after they change."""
    network, ids = placed(model(), Runtime("cpu", "float32", "numba")), torch.arange(2, 60)[None]
    plain = placed(network, Runtime("cpu", "float32", "torch"))
    for name, weight in network.named_parameters():
        with torch.no_grad():
            network(ids)
            weight.mul_(1.5)
            plain.load_state_dict(network.state_dict())
            torch.testing.assert_close(network(ids), plain(ids), rtol=1e-4, atol=1e-5, msg=name)
            weight.data = weight.data * 0.7
            plain.load_state_dict(network.state_dict())
            torch.testing.assert_close(network(ids), plain(ids), rtol=1e-4, atol=1e-5, msg=name)


def test_weights_placed_in_inference_mode_are_prepared_once() -> None:
    ids = torch.arange(2, 60)[None]
    with torch.inference_mode():
        network = placed(model(), Runtime("cpu", "bfloat16", "numba"))
        network(ids)
        assert network._gene_projections() is network._gene_projections()
        assert network._gene_projections().filled[2:60].all()  # type: ignore[union-attr]


def test_what_is_prepared_in_inference_mode_serves_outside_of_it() -> None:
    network, ids = placed(model(), Runtime("cpu", "float32", "numba")), torch.arange(2, 60)[None]
    with torch.inference_mode():
        network(ids[:, :9])
    with torch.no_grad():
        found = network(ids)
        plain = placed(network, Runtime("cpu", "float32", "torch"))
        torch.testing.assert_close(found, plain(ids), rtol=1e-4, atol=1e-5)


def test_copies_compute_for_themselves() -> None:
    network, ids = placed(model(), Runtime("cpu", "float32", "numba")), torch.arange(2, 60)[None]
    with torch.no_grad():
        before = network(ids)
        other = copy.deepcopy(network)
        other.embeddings.weight.mul_(2).add_(1)
        assert not torch.allclose(other(ids), before)
        assert torch.equal(network(ids), before)


def test_a_gene_is_projected_alike_alone_and_among_others() -> None:
    network, ids = placed(model(), Runtime("cpu", "float32", "numba")), torch.arange(2, 60)[None]
    with torch.no_grad():
        whole = network(ids)
        other = copy.deepcopy(network)
        for first in (7, 2, 30):  # in another order, few at a time
            other(ids[:, first : first + 3])
        assert torch.equal(other(ids), whole)


_NARROW = """
import sys
from genemamba.network import lanes, passes, selftest
lanes.LANES = passes.LANES = int(sys.argv[1])
lanes.BLOCK = passes.BLOCK = int(sys.argv[2])
print(selftest.self_test("cpu", "float32", "numba"))
"""


@pytest.mark.parametrize(("lanes", "block"), [(8, 8), (4, 16)])
def test_processors_with_other_registers(lanes: int, block: int, tmp_path: Path) -> None:
    """As AVX2 and NEON have them; vectors are compiled for any processor, only more slowly."""
    command = [sys.executable, "-c", _NARROW, str(lanes), str(block)]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 0 < float(done.stdout) < 1e-6


@pytest.mark.parametrize("x", [0.0, 1e-8, -3.0, 30.0, -87.0, 200.0, -200.0, 1e30, -1e30])
def test_silu_is_exact_to_rounding(x: float) -> None:
    row = np.full(lanes.LANES, x, dtype=np.float32)
    taps, out = np.zeros((4, len(row)), dtype=np.float32), np.empty_like(row)
    taps[3] = 1
    _silu(row, taps.ravel(), np.zeros_like(row), out)
    true = torch.nn.functional.silu(torch.tensor(x, dtype=torch.float64)).item()
    np.testing.assert_allclose(out, true, rtol=2e-6, atol=1e-28 * max(1, abs(x)))


@numba.njit
def _silu(row, taps, bias, out):  # type: ignore[no-untyped-def]
    n = len(row)
    lanes.convolve(row, 0, 0, 1, 0, 1, n, taps, 0, n, bias, out, 0, n)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 7])
def test_threads_change_nothing(n_threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network, ids = placed(model(), Runtime("cpu", "float32", "numba")), torch.arange(2, 60)[None]
    with torch.inference_mode():
        alone = network(ids)
        monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
        assert torch.equal(network(ids), alone)


def test_where_gradients_are_wanted_the_plain_code_runs() -> None:
    network = placed(model(), Runtime("cpu", "float32", "numba"))
    ids = torch.arange(2, 60)[None]
    network(ids).sum().backward()
    assert network.embeddings.weight.grad is not None
    with torch.inference_mode():
        wide = network.double()
        assert torch.equal(wide(ids), wide.use("torch")(ids))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    compiled._spread(2, lambda first, last: None)
    child = os.fork()
    if not child:
        done = []
        compiled._spread(5, lambda first, last: done.append(last - first))
        os._exit(0 if sorted(done) == [2, 3] else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("merge", ["mean", "gate"])
def test_rows_do_not_see_the_memory_they_share(merge: str) -> None:
    network = placed(model(merge=merge), Runtime("cpu", "float32", "numba"))
    rows = [torch.randint(2, 60, (n, length)) for n, length in ((2, 70), (1, 9), (3, 40), (2, 70))]
    with torch.inference_mode():
        apart = [network(ids) for ids in rows]
        compiled.keep_buffers()
        try:
            shared = [network(ids) for ids in rows]
        finally:
            compiled.keep_buffers(False)
    for one, other in zip(apart, shared, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
