"""GeneMamba: gene tokens in, one vector per gene or cell out.

Shapes: B cells, L tokens, D model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from genemamba.errors import CheckpointError
from genemamba.network import compiled
from genemamba.network.backend import Backend
from genemamba.network.checkpoint import METADATA, Parts, read_parts, write_parts
from genemamba.network.config import GeneMambaConfig
from genemamba.network.mamba2 import BiMambaLayer, Mamba2, RMSNorm
from genemamba.network.packed import PackedCells
from genemamba.tokens import MeanRanking, Sketch, Vocabulary

Pooling = Literal["mean", "cls"]
_MOST_BYTES = 2**27  # that the projections of all genes may take


class GeneMamba(nn.Module):
    """A bidirectional Mamba-2 model that reads a cell as its ranked genes.

    Attributes
    ----------
    config
        Sizes and switches.
    vocab
        The genes it knows, with their medians; ``None`` until it is set or read from a checkpoint.
    ranking
        The mean ranking of the training cells, if the checkpoint has one.
    sketch
        A sketch of the training cells, if the checkpoint has one: were these cells among them?
    provenance
        Where the weights come from; ``sha256`` identifies them.

    Notes
    -----
    ``segment`` (B × L integers) says which cell each token belongs to, -1 for padding. Several
    cells may share a row: no token can change a token of another cell.
    """

    def __init__(self, config: GeneMambaConfig) -> None:
        super().__init__()
        self.config = config
        self.vocab: Vocabulary | None = None
        self.ranking: MeanRanking | None = None
        self.sketch: Sketch | None = None
        self.provenance: dict[str, Any] = {}
        self._genes = compiled.Remembered()
        # left empty for reset_parameters; drawing on "meta" would import sympy (1 s, 60 MB)
        table = torch.empty(config.vocab_size, config.d_model)
        self.embeddings = nn.Embedding.from_pretrained(table, freeze=False)
        layers = nn.ModuleList(BiMambaLayer(config) for _ in range(config.n_layers))
        self.mamba_mixer = nn.ModuleDict({"layers": layers})  # as in the published weights
        self.norm_f = RMSNorm(config.d_model, config.norm_eps)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size)
        if config.tie_embeddings:
            self.lm_head.weight = self.embeddings.weight

    def reset_parameters(self, seed: int) -> GeneMamba:
        """Draw all weights from `seed`, in place, as at the start of training."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.embeddings.weight.normal_(0.0, 0.02, generator=generator)
            if not self.config.tie_embeddings:
                self.lm_head.weight.normal_(0.0, 0.02, generator=generator)
            self.lm_head.bias.zero_()
            self.norm_f.weight.fill_(1.0)
        for layer in self.layers:
            layer.reset_parameters(generator, self.config.n_layers)
        return self

    @property
    def layers(self) -> list[BiMambaLayer]:
        """The layers, first to last."""
        return list(cast("Iterable[BiMambaLayer]", self.mamba_mixer["layers"]))

    @property
    def backend(self) -> Backend:
        """Whose code mixes tokens."""
        return self.norm_f.backend

    def use(self, backend: Backend) -> GeneMamba:
        """Let another code mix tokens: see :func:`~genemamba.network.runtime.choose_runtime`."""
        for part in self.modules():
            if isinstance(part, (Mamba2, RMSNorm)):
                part.backend = backend
        return self

    @classmethod
    def from_parts(cls, parts: Parts) -> GeneMamba:
        """Make a model around the tensors of a checkpoint; they become float32."""
        with torch.device("meta"):  # no memory for weights that exist already
            model = cls(parts.config)
        state = {name: tensor.float() for name, tensor in parts.tensors.items()}
        model.load_state_dict({"lm_head.weight": state["embeddings.weight"], **state}, assign=True)
        if parts.config.tie_embeddings:
            model.lm_head.weight = model.embeddings.weight
        model.vocab, model.provenance = parts.vocab, parts.provenance
        model.ranking, model.sketch = parts.ranking, parts.sketch
        return model.eval()

    @classmethod
    def from_pretrained(cls, folder: str | PathLike[str]) -> GeneMamba:
        """Read what :meth:`save_pretrained` wrote, in float32 on the CPU, after checking all of it.

        Weights stored in float32 are mapped, not copied.
        """
        return cls.from_parts(read_parts(Path(folder)))

    def save_pretrained(self, folder: str | PathLike[str], *, half: bool = False) -> None:
        """Write weights, config and gene tables to `folder`, to be read by ``gm.models.load``.

        `half` stores matrices in float16, which halves the file. Vectors, which are small and steer
        the dynamics, stay float32.
        """
        if self.vocab is None:
            raise CheckpointError(
                "the model has no vocabulary, so its tokens mean nothing", "set model.vocab first"
            )
        state = dict(self.state_dict())
        if self.config.tie_embeddings:
            del state["lm_head.weight"]
        tensors = {
            name: (t.half() if half and t.ndim > 1 else t.float()).contiguous().cpu()
            for name, t in state.items()
        }
        about = (self.provenance, self.ranking, self.sketch)
        write_parts(Path(folder), Parts(self.config, self.vocab, tensors, METADATA, *about))

    def forward(self, ids_BL: Tensor, segment_BL: Tensor | None = None) -> Tensor:
        """Return the final state of every token, B × L × D."""
        x, genes = self.embeddings(ids_BL), self._gene_projections()
        return self._read(x, segment_BL, None if genes is None else genes.of(ids_BL))

    def read(self, x_BLD: Tensor, segment_BL: Tensor | None = None) -> Tensor:
        """Do the same from input vectors, for inputs that are not rows of the embedding."""
        return self._read(x_BLD, segment_BL, None)

    def _read(self, x: Tensor, segment_BL: Tensor | None, projected: Tensor | None) -> Tensor:
        for layer in self.layers:
            x, projected = layer(x, segment_BL, projected), None
        return self.norm_f(x)

    def _gene_projections(self) -> compiled.GeneProjections | None:
        """Return those of the first layer as its weights are now, where compiled code reads."""
        first, table = self.layers[0], self.embeddings.weight
        weight = first.mamba.in_proj.weight
        if self.backend != "numba" or not compiled.suits(table, self.config):
            return None
        if len(table) * len(weight) * weight.element_size() > _MOST_BYTES:
            return None
        used = [table, weight, *([] if first.norm is None else [first.norm.weight])]
        return self._genes.of(used, lambda: compiled.GeneProjections(table, first.normed, weight))

    def embed(self, cells: PackedCells, pooling: Pooling = "mean") -> Tensor:
        """Return one vector per cell, S × D float32.

        ``mean`` averages the states of the genes; ``cls`` takes the state of a [CLS] in front.
        """
        states = self(cells.ids, cells.borders)
        return cells.first(states) if pooling == "cls" else cells.mean(states)
