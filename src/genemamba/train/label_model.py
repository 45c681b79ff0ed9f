"""A GeneMamba with a [CLS] token and a classification head.

Shapes: B cells, L tokens, D model width, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genemamba._files import write_json
from genemamba.errors import CheckpointError, InputError
from genemamba.network import GeneMamba
from genemamba.network.checkpoint import METADATA
from genemamba.network.files import AGAIN, read_json
from genemamba.network.inference import map_cells, placed
from genemamba.network.packed import PackedCells
from genemamba.network.runtime import Runtime, choose_runtime
from genemamba.network.weights import WeightFile, mean_row, write_weights
from genemamba.tokens import FIRST_GENE, PAD, Ranked

HEAD, DESCRIBED = "head.safetensors", "head.json"
_FORMAT = 1


class Head(nn.Module):
    """Logits from states: a linear map plus an MLP whose output starts at zero.

    The linear map starts as a fitted logistic regression, on which gradient descent improves.
    """

    def __init__(self, width: int, hidden: int, n_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, n_classes)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, n_classes))
        last = self.mlp[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, states: Tensor) -> Tensor:
        """Return logits, B × K."""
        return self.linear(states) + self.mlp(states)


class LabelModel(nn.Module):
    """Reads a cell with [CLS] in front and returns a logit per class.

    A cell's state is the state of [CLS] and the mean over its genes, 2 D numbers, standardised on
    the training cells. `body` is trained with the head. If it has no trained [CLS], the row used
    here is the mean of its gene rows, and its vocabulary does not change.
    """

    def __init__(self, body: GeneMamba, classes: Sequence[str]) -> None:
        super().__init__()
        if body.vocab is None:
            raise InputError("the model has no vocabulary", "load one with gm.models.load")
        self.body = body
        self.classes = tuple(map(str, classes))
        rows = body.embeddings.weight.detach()
        if body.vocab.has_special("[CLS]"):
            start = rows[body.vocab.special("[CLS]")]
        else:
            start = mean_row(rows[FIRST_GENE : FIRST_GENE + body.vocab.n_genes])
        self.cls = nn.Parameter(start.clone())
        d = body.config.d_model
        self.centre = nn.Buffer(torch.zeros(2 * d))
        self.scale = nn.Buffer(torch.ones(2 * d))
        self.head = Head(2 * d, d, len(self.classes))

    def forward(self, ids_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """Return logits, B × K, from rows padded at the end."""
        return self.classify(self.states(ids_BL, lengths_B))

    def states(self, ids_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """Return the cells' states, B × 2 D, from rows padded at the end."""
        ids_BL = F.pad(ids_BL, (1, 0), value=PAD)
        return _states(self.body, self.cls, PackedCells.padded(ids_BL, lengths_B + 1))

    def classify(self, states: Tensor) -> Tensor:
        """Return logits from states."""
        return self.head((states - self.centre) / self.scale)

    def standardise(self, states: Tensor) -> None:
        """Set the centre and scale of the head's input to those of these states."""
        self.centre.copy_(states.mean(0))
        self.scale.copy_(states.std(0, correction=0).clamp(min=1e-6))

    def embed(self, ranked: Ranked, *, runtime: Runtime | None = None) -> np.ndarray:
        """Return each cell's state, ``(n_cells, 2 d_model)`` float32; NaN without tokens.

        The training labels shaped these vectors: evaluate them on other cells only.
        """
        runtime = runtime or choose_runtime()
        body = placed(self.body, runtime)
        cls = self.cls.detach().to(body.embeddings.weight)
        return map_cells(
            lambda batch: _states(body, cls, batch),
            ranked,
            len(self.centre),
            runtime=runtime,
            prefix_token=PAD,
        )

    def logits(self, ranked: Ranked, *, runtime: Runtime | None = None) -> np.ndarray:
        """Return logits, ``(n_cells, K)`` float32; NaN for cells without tokens."""
        return self.logits_of(self.embed(ranked, runtime=runtime))

    @torch.no_grad()
    def logits_of(self, states: np.ndarray) -> np.ndarray:
        """Return the logits of states from :meth:`embed`."""
        rows = torch.from_numpy(states).to(self.centre.device)
        return self.classify(rows).cpu().numpy()

    def save(self, folder: Path) -> None:
        """Write the body as a checkpoint for ``gm.models.load``, and the head with it."""
        self.body.save_pretrained(folder)
        write_weights(self._head_tensors(), folder / HEAD, METADATA)
        described = {
            "format": _FORMAT,
            "classes": list(self.classes),
            "head_sha256": WeightFile(folder / HEAD).sha256(),
        }
        write_json(folder / DESCRIBED, described)

    @classmethod
    def load(cls, folder: Path) -> LabelModel:
        """Read what :meth:`save` wrote."""
        described = _read_described(folder / DESCRIBED)
        model = cls(GeneMamba.from_pretrained(folder), described["classes"])
        file = WeightFile(folder / HEAD)
        file.require((name, tuple(t.shape)) for name, t in model._head_tensors().items())
        if file.sha256() != described["head_sha256"]:
            raise CheckpointError(f"{file.path} does not have the sha256 in {DESCRIBED}", AGAIN)
        model.load_state_dict(model.state_dict() | file.tensors())
        return model.eval()

    def _head_tensors(self) -> dict[str, Tensor]:
        return {
            name: t.float().contiguous().cpu()
            for name, t in self.state_dict().items()
            if not name.startswith("body.")
        }


def _states(body: GeneMamba, cls: Tensor, batch: PackedCells) -> Tensor:
    """Read cells whose first token is [CLS]; return its state and the mean state of the genes."""
    x_RLD = body.embeddings(batch.ids)
    shape = x_RLD.shape
    x_RLD = x_RLD.flatten(0, 1).index_copy(0, batch.begin, cls.expand(len(batch.begin), -1))
    states = body.read(x_RLD.unflatten(0, shape[:2]), batch.borders)
    first, n = batch.first(states), batch.lengths[:, None]
    return torch.cat([first, (batch.mean(states) * n - first) / (n - 1)], dim=-1)


def _read_described(path: Path) -> dict[str, Any]:
    described = read_json(path)
    classes = described.get("classes")
    if described.get("format") != _FORMAT:
        raise CheckpointError(f"{path} has another format", "update genemamba")
    if not (
        isinstance(classes, list)
        and len(classes) > 1
        and all(isinstance(name, str) for name in classes)
        and isinstance(described.get("head_sha256"), str)
    ):
        raise CheckpointError(f"{path} is damaged", AGAIN)
    return described
