"""GeneMamba: gene tokens in, one vector per gene and cell out.

Shapes: B cells, L tokens, D model width, V vocabulary.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from genemamba.network.config import GeneMambaConfig
from genemamba.network.mamba2 import BiMambaLayer, Mamba2, RMSNorm

if TYPE_CHECKING:
    from genemamba.network.batch import Batch
    from genemamba.network.kernels import Backend
    from genemamba.tokens import MeanRanking, Sketch, Vocabulary

Pooling = Literal["mean", "cls"]


class _Stack(nn.Module):
    """Holds the layers under the published name ``mamba_mixer.layers``."""

    def __init__(self, config: GeneMambaConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(BiMambaLayer(config) for _ in range(config.n_layers))


class GeneMamba(nn.Module):
    """A bidirectional Mamba-2 model that reads a cell as its genes, most telling first.

    Attributes
    ----------
    config
        Sizes and switches.
    vocab
        The genes it knows, with their medians; ``None`` until a checkpoint gives one.
    ranking
        The mean ranking of the training cells, if the checkpoint has one.
    sketch
        What tells whether cells were trained on, if the checkpoint has it.
    provenance
        Where the weights come from; ``sha256`` identifies them.

    Notes
    -----
    ``segment`` (B × L integers) marks which cell each token belongs to. Padding carries ``-1`` and
    several cells may share a row: what stands beside a cell cannot change it.
    """

    def __init__(self, config: GeneMambaConfig) -> None:
        super().__init__()
        self.config = config
        self.vocab: Vocabulary | None = None
        self.ranking: MeanRanking | None = None
        self.sketch: Sketch | None = None
        self.provenance: dict[str, Any] = {}
        # not drawn here: reset_parameters does, and on "meta" it would import sympy (1 s, 60 MB)
        table = torch.empty(config.vocab_size, config.d_model)
        self.embeddings = nn.Embedding.from_pretrained(table, freeze=False)
        self.mamba_mixer = _Stack(config)
        self.norm_f = RMSNorm(config.d_model, config.norm_eps)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size)
        if config.tie_embeddings:
            self.lm_head.weight = self.embeddings.weight

    def reset_parameters(self, seed: int) -> GeneMamba:
        """Draw all weights anew from `seed`, as at the start of training; in place."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.embeddings.weight.normal_(0.0, 0.02, generator=generator)
            if not self.config.tie_embeddings:
                self.lm_head.weight.normal_(0.0, 0.02, generator=generator)
            self.lm_head.bias.zero_()
            self.norm_f.weight.fill_(1.0)
        for layer in self.mamba_mixer.layers:
            assert isinstance(layer, BiMambaLayer)
            layer.reset_parameters(generator, self.config.n_layers)
        return self

    @property
    def backend(self) -> Backend:
        """Whose code mixes tokens."""
        layer = self.mamba_mixer.layers[0]
        assert isinstance(layer, BiMambaLayer)
        return layer.mamba.backend

    def use(self, backend: Backend) -> GeneMamba:
        """Let another code mix tokens: see :func:`~genemamba.network.runtime.choose_runtime`."""
        for part in self.modules():
            if isinstance(part, (Mamba2, RMSNorm)):
                part.backend = backend
        return self

    def save_pretrained(self, folder: str | PathLike[str], *, half: bool = False) -> None:
        """Write weights, config and gene tables to `folder`, to be read by ``gm.models.load``.

        `half` stores matrices in float16, which halves the file.
        """
        from genemamba.network.checkpoint import write_checkpoint

        write_checkpoint(self, Path(folder), half=half)

    def forward(self, ids_BL: Tensor, segment_BL: Tensor | None = None) -> Tensor:
        """Return the final state of every token, B × L × D."""
        return self.read(self.embeddings(ids_BL), segment_BL)

    def read(self, x_BLD: Tensor, segment_BL: Tensor | None = None) -> Tensor:
        """Do the same from input vectors, for what has no row in the vocabulary."""
        x = x_BLD
        for layer in self.mamba_mixer.layers:
            x = layer(x, segment_BL)
        return self.norm_f(x)

    def embed(self, batch: Batch, pooling: Pooling = "mean") -> Tensor:
        """Return one vector per cell, S × D float32.

        ``mean`` averages the states of the genes; ``cls`` takes the state of a leading [CLS].
        """
        states = self(batch.ids, batch.borders)
        return batch.first(states) if pooling == "cls" else batch.mean(states)
