from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from genemamba.network import GeneMambaConfig
from genemamba.network.mamba2 import BiMambaLayer, Mamba2

CONFIG = {"vocab_size": 9, "d_model": 32, "d_state": 16, "headdim": 16, "chunk_size": 16}


def layer(merge: str = "mean", **settings: object) -> BiMambaLayer:
    made = BiMambaLayer(GeneMambaConfig(**CONFIG, merge=merge, **settings))
    made.reset_parameters(torch.Generator().manual_seed(0), 2)
    return made.double()


def cells(*shape: int) -> Tensor:
    return torch.randn(*shape, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("direction", ["forwards", "backwards"])
def test_parity_with_transformers(direction: str) -> None:
    """The same weights in an implementation this project did not write."""
    theirs_module = pytest.importorskip("transformers.models.mamba2.modeling_mamba2")
    config_module = pytest.importorskip("transformers.models.mamba2.configuration_mamba2")
    ours = Mamba2(GeneMambaConfig(vocab_size=9, d_model=128, headdim=32, d_state=16, chunk_size=32))
    ours.reset_parameters(torch.Generator().manual_seed(0), 1)
    theirs = theirs_module.Mamba2Mixer(
        config_module.Mamba2Config(
            vocab_size=9, hidden_size=128, state_size=16, num_heads=8, head_dim=32, expand=2,
            conv_kernel=4, n_groups=1, use_bias=False, use_conv_bias=True, chunk_size=32,
            layer_norm_epsilon=1e-5, time_step_limit=(0.0, float("inf")),
        ),
        layer_idx=0,
    )  # fmt: skip
    theirs.load_state_dict(ours.state_dict())
    u = torch.randn(2, 75, 128, generator=torch.Generator().manual_seed(1))
    if direction == "backwards":
        u = u.flip(1)
    with torch.no_grad():
        error = ours(u) - theirs(u)
    assert error.abs().max() < 1e-5


@pytest.mark.parametrize("merge", ["gate", "mean", "sum", "concat"])
def test_the_layer_is_its_definition(merge: str) -> None:
    """X_f = M(X) + X and X_b = flip(M(flip X) + flip X), merged as the paper writes."""
    m, x = layer(merge), cells(2, 21)
    mixer: nn.Module = m.mamba
    forwards = mixer(x) + x
    backwards = (mixer(x.flip(1)) + x.flip(1)).flip(1)
    if merge == "mean":
        expected = (forwards + backwards) / 2
    elif merge == "sum":
        expected = forwards + backwards
    else:
        expected = m.merge(torch.cat([forwards, backwards], -1))
        if merge == "gate":
            z = torch.sigmoid(expected)
            expected = z * forwards + (1 - z) * backwards
    torch.testing.assert_close(m(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("merge", ["mean", "sum"])
@pytest.mark.parametrize("pre_norm", [False, True])
def test_reversing_the_input_reverses_the_output(merge: str, pre_norm: bool) -> None:
    m, x = layer(merge, pre_norm=pre_norm), cells(2, 40)
    torch.testing.assert_close(m(x.flip(1)), m(x).flip(1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("merge", ["gate", "mean", "sum", "concat"])
def test_cells_packed_in_a_row_do_not_see_each_other(merge: str) -> None:
    m, one, two = layer(merge), cells(1, 19), 3 * cells(1, 30)
    packed = torch.cat([one, two, 50 * cells(1, 5)], 1)
    segment = torch.tensor([[0] * 19 + [1] * 30 + [-1] * 5])
    together = m(packed, segment)
    torch.testing.assert_close(together[:, :19], m(one), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(together[:, 19:49], m(two), rtol=1e-10, atol=1e-10)


def test_cells_shorter_than_the_convolution() -> None:
    m, x = layer(), cells(1, 1)
    assert torch.isfinite(m(x)).all()
