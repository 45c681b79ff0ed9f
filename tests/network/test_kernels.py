"""What is asked of the kernels, by stand-ins that keep to their contract; no GPU runs here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genemamba.errors import GeneMambaWarning, InputError
from genemamba.network import GeneMamba, GeneMambaConfig, kernels, selftest
from genemamba.network.backend import Backend
from genemamba.network.inference import placed
from genemamba.network.runtime import Runtime

from .recurrence import scan_reference

SMALL = GeneMambaConfig(vocab_size=50, d_model=32, n_layers=2, d_state=16, headdim=16, merge="gate")


# Signatures as published in causal-conv1d 1.7.0 and mamba-ssm 2.3.2.post1.
def published_convolution(
    x, weight, bias=None, seq_idx=None, initial_states=None, return_final_states=False,
    final_states_out=None, activation=None,
): ...  # fmt: skip
def published_scan(
    x, dt, A, B, C, chunk_size, D=None, z=None, dt_bias=None, initial_states=None, seq_idx=None,
    cu_seqlens=None, dt_softplus=False, dt_limit=(0.0, float("inf")), return_final_states=False,
    return_varlen_states=False,
): ...  # fmt: skip


def as_published(published: Callable, stand_in: Callable) -> Callable:
    """Take calls that the published signature takes, and give them to a stand-in."""
    signature = inspect.signature(published)

    def call(*args: object, **more: object) -> Tensor:
        return stand_in(**signature.bind(*args, **more).arguments)

    return call


def convolution(
    x: Tensor, weight: Tensor, bias: Tensor, *, seq_idx: Tensor | None, activation: str
) -> Tensor:
    """As causal_conv1d_fn: channels last, seq_idx compared by equality."""
    assert x.stride(1) == 1 and x.stride(0) % 8 == x.stride(2) % 8 == 0
    assert activation == "silu" and 2 <= weight.shape[1] <= 4
    out = torch.zeros_like(x) + bias[:, None]
    for shift in range(weight.shape[1]):
        moved = F.pad(x, (shift, 0))[..., : x.shape[2]]
        if seq_idx is not None:
            same = F.pad(seq_idx, (shift, 0), value=-1)[:, : x.shape[2]] == seq_idx
            moved = moved * same[:, None]
        out = out + moved * weight[:, -1 - shift, None]
    return F.silu(out)


def scan(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, chunk_size: int, *,
    D: Tensor, dt_bias: Tensor, dt_softplus: bool, seq_idx: Tensor | None,
) -> Tensor:  # fmt: skip
    """As mamba_chunk_scan_combined: the state begins with zeros in number 0."""
    assert dt_softplus and chunk_size in (64, 128, 256)
    assert A.dtype == D.dtype == dt_bias.dtype == torch.float32
    if seq_idx is not None:
        assert seq_idx.dtype == torch.int32 and seq_idx.is_contiguous()
        assert (seq_idx[:, 0] == 0).all()
    wide = F.softplus(dt.float() + dt_bias)
    y = scan_reference(x.float(), wide, A, B[:, :, 0].float(), C[:, :, 0].float(), seq_idx)
    return (y + x * D[:, None]).to(x.dtype)


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pair = (as_published(published_convolution, convolution), as_published(published_scan, scan))
    monkeypatch.setattr(kernels, "_kernels", lambda: pair)
    selftest.refusal.cache_clear()
    yield
    selftest.refusal.cache_clear()


@pytest.mark.skipif(
    not all(map(selftest.installed, selftest.PACKAGES)), reason="kernels are not installed"
)
def test_signatures_are_those_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for real, published in zip(
        kernels._kernels(), (published_convolution, published_scan), strict=True
    ):
        known = inspect.signature(real).parameters
        for name, parameter in inspect.signature(published).parameters.items():
            assert (known[name].default, known[name].kind) == (parameter.default, parameter.kind)


def test_a_call_that_is_not_published_is_refused() -> None:
    x = torch.zeros(1, 8, 8).transpose(1, 2)
    convolve, scan = kernels._kernels()
    with pytest.raises(TypeError, match="seq_index"):
        convolve(x, x[0, :, :4], seq_index=None)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="chunk_size"):
        scan(x, x, x, x, x)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_right_kernels_pass_the_self_test(precision: str) -> None:
    assert selftest.self_test("cpu", precision, "cuda") < selftest.TOLERANCE[precision]


def _shifted(*args: Tensor, **more: Tensor) -> Tensor:
    return convolution(*args, **more).roll(1, dims=-1)  # type: ignore[arg-type]


def _blind(*args: Tensor, seq_idx: Tensor, **more: Tensor) -> Tensor:
    return scan(*args, seq_idx=None, **more)  # type: ignore[arg-type]


def _backwards(*args: Tensor, **more: Tensor) -> Tensor:
    """Right values, and gradients that are 5 % too large."""
    y = scan(*args, **more)  # type: ignore[arg-type]
    return y * 1.05 - 0.05 * y.detach()


@pytest.mark.parametrize(
    "pair", [(_shifted, scan), (convolution, _blind), (convolution, _backwards)]
)
def test_wrong_kernels_do_not(
    pair: tuple[Callable, Callable], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "_kernels", lambda: pair)
    assert selftest.self_test("cpu", "float32", "cuda") > 100 * selftest.TOLERANCE["float32"]


@pytest.mark.parametrize("merge", ["gate", "mean"])
def test_a_model_on_kernels_embeds_the_same(merge: str) -> None:
    config = GeneMambaConfig(**{**SMALL.to_dict(), "merge": merge})
    model = GeneMamba(config).reset_parameters(0).eval()
    other = placed(model, Runtime("cpu", "float32", "cuda"))
    assert other is not model
    ids = torch.randint(2, 50, (3, 40), generator=torch.Generator().manual_seed(0))
    segment = torch.tensor([0, 1, 2]).repeat_interleave(torch.tensor([15, 5, 20])).expand(3, -1)
    for packed in (None, segment):
        with torch.inference_mode():
            torch.testing.assert_close(other(ids, packed), model(ids, packed), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("backend", ["cuda", "numba"])
def test_every_backend_has_gradients(backend: Backend) -> None:
    """Where its own code has none, the plain code runs."""
    model, ids = GeneMamba(SMALL).reset_parameters(0).eval(), torch.arange(2, 40)[None]
    other = placed(model, Runtime("cpu", "float32", backend))
    for network in (model, other):
        network(ids).square().sum().backward()
    found, expected = other.embeddings.weight.grad, model.embeddings.weight.grad
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-3)


def test_segments_are_counted_from_0_whichever_way_they_are_read() -> None:
    segment = torch.tensor([[7, 7, -1, -1, 3], [2, 2, 2, 0, 0]])
    assert kernels.numbered(segment).tolist() == [[0, 0, 1, 1, 2], [0, 0, 0, 1, 1]]
    assert kernels.numbered(segment.flip(1)).tolist() == [[0, 1, 1, 2, 2], [0, 0, 1, 1, 1]]


def test_rows_are_cut_below_what_32_bits_count(monkeypatch: pytest.MonkeyPatch) -> None:
    paper = GeneMambaConfig(vocab_size=25_430)
    assert 470 < kernels.most_rows(paper, 2048) < 480
    with pytest.raises(InputError, match="too long for the kernels"):
        kernels.most_rows(paper, 2**20)
    model = GeneMamba(SMALL).reset_parameters(0).eval()
    other = placed(model, Runtime("cpu", "float32", "cuda"))
    ids = torch.randint(2, 50, (3, 20), generator=torch.Generator().manual_seed(0))
    segment = (torch.arange(20) // 7).expand(3, -1)
    with torch.inference_mode():
        for packed in (None, segment):
            whole = other(ids, packed)
            with monkeypatch.context() as patch:
                patch.setattr(kernels, "most_rows", lambda config, length: 4)
                torch.testing.assert_close(other(ids, packed), whole)


def test_kernels_that_drift_are_refused_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "installed", lambda name: True)
    monkeypatch.setattr(selftest, "self_test", lambda *args: 0.3)
    with pytest.warns(GeneMambaWarning, match=r"differ by 0\.3 .* in float32: they are not used"):
        assert "differ by 0.3" in selftest.refusal("float32")


def test_kernels_that_crash_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*args: str) -> float:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(selftest, "installed", lambda name: True)
    monkeypatch.setattr(selftest, "self_test", crash)
    assert "RuntimeError: no kernel image" in selftest.refusal("float32")


def test_absent_kernels_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "installed", lambda name: name != "mamba_ssm")
    assert selftest.refusal("bfloat16") == "mamba_ssm not installed"
