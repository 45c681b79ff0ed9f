from __future__ import annotations

import pytest
import torch

from genemamba.errors import CheckpointError
from genemamba.network import GeneMamba, GeneMambaConfig


@pytest.mark.parametrize(
    ("layers", "width", "parameters"),
    [(24, 512, 65_744_338), (48, 512, 105_426_514), (24, 768, 127_055_122), (48, 768, 215_029_714)],
)
def test_parameter_counts_of_the_paper(layers: int, width: int, parameters: int) -> None:
    """Table 5: the paper's models have no gate in their published weights."""
    config = GeneMambaConfig(vocab_size=25_426, n_layers=layers, d_model=width, merge="mean")
    with torch.device("meta"):
        model = GeneMamba(config)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_the_published_tensor_names() -> None:
    with torch.device("meta"):
        names = set(
            GeneMamba(GeneMambaConfig(vocab_size=9, n_layers=24, merge="mean")).state_dict()
        )
    layer = {
        f"mamba_mixer.layers.{i}.mamba.{name}"
        for i in range(24)
        for name in (
            "dt_bias", "A_log", "D", "in_proj.weight", "conv1d.weight", "conv1d.bias",
            "norm.weight", "out_proj.weight",
        )
    }  # fmt: skip
    ends = {"embeddings.weight", "norm_f.weight", "lm_head.weight", "lm_head.bias"}
    assert names == layer | ends
    assert len(names) == 196


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"vocab_size": 0}, "vocab_size is 0"),
        ({"vocab_size": "9"}, "vocab_size is .9."),
        ({"vocab_size": 9, "merge": "max"}, "merge is .max."),
        ({"vocab_size": 9, "headdim": 60}, "headdim=60"),
        ({"vocab_size": 9, "pre_norm": 1}, "pre_norm is 1"),
        ({"vocab_size": 9, "d_modell": 8}, "'d_modell'"),
        ({}, "vocab_size is missing"),
    ],
)
def test_what_cannot_be_built_is_refused(settings: dict, said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        GeneMambaConfig.from_dict(settings)


def test_round_trip() -> None:
    config = GeneMambaConfig(vocab_size=9, merge="gate", pre_norm=True)
    assert GeneMambaConfig.from_dict(config.to_dict()) == config
