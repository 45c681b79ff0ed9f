"""What a user would otherwise run, for timing: random weights, the same tokens, the same dtype."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genemamba.network import GeneMambaConfig


class BothWays(nn.Module):
    """A stack of another package's Mamba-2 mixers, called once per direction, with a learned gate.

    This is the published way: flip, mix, flip back, merge, layer by layer.
    """

    def __init__(self, config: GeneMambaConfig, mixer: Callable[[int], nn.Module]) -> None:
        super().__init__()
        d = config.d_model
        self.embeddings = nn.Embedding(config.vocab_size, d)
        self.mixers = nn.ModuleList(mixer(i) for i in range(config.n_layers))
        self.gates = nn.ModuleList(nn.Linear(2 * d, d) for _ in range(config.n_layers))

    def forward(self, ids: Tensor) -> Tensor:
        """Return the final state of every token."""
        x = self.embeddings(ids)
        for mixer, gate in zip(self.mixers, self.gates, strict=True):
            forwards = mixer(x) + x
            backwards = mixer(x.flip(1)).flip(1) + x
            share = torch.sigmoid(gate(torch.cat([forwards, backwards], dim=-1)))
            x = share * forwards + (1 - share) * backwards
        return x


def transformers_mamba2(config: GeneMambaConfig) -> BothWays:
    """Mamba-2 of Hugging Face transformers, whose CPU path is plain torch."""
    from transformers.models.mamba2.configuration_mamba2 import Mamba2Config
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

    theirs = Mamba2Config(
        hidden_size=config.d_model, state_size=config.d_state, head_dim=config.headdim,
        num_heads=config.n_heads, expand=config.expand, n_groups=1, conv_kernel=config.d_conv,
    )  # fmt: skip
    return BothWays(config, lambda layer: Mamba2Mixer(theirs, layer))


def mamba_ssm_mamba2(config: GeneMambaConfig) -> BothWays:
    """Mamba-2 of mamba-ssm, which needs a CUDA device."""
    from mamba_ssm.modules.mamba2 import Mamba2

    return BothWays(
        config,
        lambda _: Mamba2(
            config.d_model, d_state=config.d_state, d_conv=config.d_conv,
            expand=config.expand, headdim=config.headdim,
        ),
    )  # fmt: skip


class Bert(nn.Module):
    """A BERT with torch's fused attention (SDPA), as Geneformer is."""

    def __init__(self, vocabulary: int, width: int, layers: int, heads: int, inner: int) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        config = BertConfig(
            vocab_size=vocabulary, hidden_size=width, num_hidden_layers=layers,
            num_attention_heads=heads, intermediate_size=inner, max_position_embeddings=2**16,
            attn_implementation="sdpa",
        )  # fmt: skip
        self.bert = BertModel(config, add_pooling_layer=False)

    def forward(self, ids: Tensor, real: Tensor | None = None) -> Tensor:
        """Return the final state of every token; `real` marks what is no padding."""
        return self.bert(ids, attention_mask=None if real is None else real.long())[0]


GENEFORMER_V1_10M = {"vocabulary": 25_426, "width": 256, "layers": 6, "heads": 4, "inner": 512}


def products(config: GeneMambaConfig, rows: int, length: int, dtype: torch.dtype) -> Callable:
    """Return a function that does the matrix products of our model and nothing else."""
    c, chunk = config, config.chunk_size
    chunks = -(-length // chunk)
    two = 2 * rows  # both directions

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape).to(dtype)

    x, inner = draw(rows, length, c.d_model), draw(rows, length, c.d_inner)
    into = draw(c.d_inner + c.d_xbc + c.n_heads, c.d_model)
    out, gate = draw(c.d_model, c.d_inner), draw(c.d_model, 2 * c.d_model)
    b, y = draw(two, chunks, chunk, c.d_state), draw(two, chunks, chunk, c.d_inner)
    state, scores = draw(two, chunks, c.d_state, c.d_inner), draw(two, chunks, chunk, chunk)

    def run() -> None:
        for _ in range(c.n_layers):
            F.linear(x, into)
            b @ b.transpose(-1, -2)
            scores @ y
            b.transpose(-1, -2) @ y
            b @ state
            for _ in range(2 if c.merge in ("gate", "concat") else 1):
                F.linear(inner, out)
            if c.merge in ("gate", "concat"):
                F.linear(torch.cat([x, x], dim=-1), gate)

    return run
