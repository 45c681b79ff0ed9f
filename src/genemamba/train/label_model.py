"""A GeneMamba with a [CLS] token and a head that names cells.

Shapes: B cells, L tokens, D model width, K classes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
    """Logits from states: a linear map, and an MLP that adds nothing until it has learnt.

    The linear map can be set to a regression fitted in closed form; what gradients do from there
    on has to be better than that, not to find it first.
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
    """Reads a cell with [CLS] in front and gives a logit per class.

    A cell's state is that of [CLS] beside the mean over its genes, 2 D numbers; they are
    standardised as on the training cells and go through an MLP with one hidden layer and a linear
    way past it.

    Parameters
    ----------
    body
        The model that reads; it is part of the result and will be trained with it.
    classes
        Names of the classes, in the order of the logits.

    Notes
    -----
    A body without a trained [CLS] gets a row for it here, the mean of its gene rows; the body's
    vocabulary stays as it is.
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
        """Take mean and spread of these states as the head's unit."""
        self.centre.copy_(states.mean(0))
        self.scale.copy_(states.std(0, correction=0).clamp(min=1e-6))

    def embed(self, ranked: Ranked, *, runtime: Runtime | None = None) -> np.ndarray:
        """Return each cell's state, ``(n_cells, 2 d_model)`` float32; NaN without tokens.

        The labels the model was trained on are in these vectors: score them on other cells only.
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
        """Return logits of states from :meth:`embed`, where both are wanted."""
        rows = torch.from_numpy(states).to(self.centre.device)
        return self.classify(rows).cpu().numpy()

    def save(self, folder: Path) -> None:
        """Write the body to `folder` as a checkpoint for ``gm.models.load``, the head beside it."""
        self.body.save_pretrained(folder)
        write_weights(self._head_tensors(), folder / HEAD, METADATA)
        described = {
            "format": _FORMAT,
            "classes": list(self.classes),
            "head_sha256": WeightFile(folder / HEAD).sha256(),
        }
        (folder / DESCRIBED).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> LabelModel:
        """Read what :meth:`save` wrote.

        Raises
        ------
        CheckpointError
            If a file is missing or damaged, or files do not belong together.
        """
        described = _read_described(folder / DESCRIBED)
        model = cls(GeneMamba.from_pretrained(folder), described["classes"])
        file = WeightFile(folder / HEAD)
        file.require((name, tuple(t.shape)) for name, t in model._head_tensors().items())
        if file.sha256() != described["head_sha256"]:
            raise CheckpointError(f"{file.path} does not have the sha256 that is stated", AGAIN)
        model.load_state_dict(model.state_dict() | file.tensors())
        return model.eval()

    def _head_tensors(self) -> dict[str, Tensor]:
        return {
            name: t.float().contiguous().cpu()
            for name, t in self.state_dict().items()
            if not name.startswith("body.")
        }


def _states(body: GeneMamba, cls: Tensor, batch: PackedCells) -> Tensor:
    """Read cells whose first token stands for [CLS]: its state beside the mean of the genes'."""
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
