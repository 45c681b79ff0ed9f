"""What each token of a cell adds to a linear function of the cell's vector.

Shapes: B cells, L tokens, D model width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from genemamba._progress import tqdm
from genemamba.errors import InputError
from genemamba.network.genemamba import GeneMamba
from genemamba.network.inference import placed
from genemamba.network.runtime import Runtime, choose_runtime
from genemamba.tokens import FIRST_GENE, Ranked, length_batches, pad

Method = Literal["gradient_x_input", "integrated_gradients"]

# As in inference.py, but what the gradient needs is kept in memory, layer by layer.
_TOKENS_PER_BATCH = {"cpu": 2_048, "cuda": 16_384, "mps": 8_192}


@dataclass(frozen=True, eq=False)
class Attributed:
    """Attributions of ranked cells.

    Parameters
    ----------
    values
        ``(nnz,)`` float32, one for each token of the cells, in their order.
    at_cell, at_baseline
        ``(n_cells,)`` float64, the function at the cell and at its baseline; NaN for a cell
        without tokens.
    """

    values: np.ndarray
    at_cell: np.ndarray
    at_baseline: np.ndarray


def attribute_tokens(
    model: GeneMamba,
    ranked: Ranked,
    weights: np.ndarray,
    *,
    method: Method = "integrated_gradients",
    steps: int = 16,
    runtime: Runtime | None = None,
) -> Attributed:
    """Attribute ``weights[i] · mean of the final states`` of each cell to its tokens.

    The baseline is a sentence of the same length in which every word is the mean row of all
    genes. With x a token's input row and b that mean, a token gets ``(x − b) · gradient``: of the
    cell itself (``"gradient_x_input"``), or averaged over the straight path from baseline to cell
    (``"integrated_gradients"``; over a cell these sum to the function's difference).

    Parameters
    ----------
    weights
        ``(n_cells, d_model)``, the linear function of each cell.
    steps
        Points on the path of integrated gradients (Gauss–Legendre).

    Raises
    ------
    InputError
        If the method is unknown.
    """
    if steps < 1:
        raise InputError(f"steps is {steps}", "give steps of at least 1")
    if method not in get_args(Method):
        raise InputError(
            f"method={method!r} is unknown", "use 'gradient_x_input' or 'integrated_gradients'"
        )
    nodes = _nodes(steps) if method == "integrated_gradients" else (np.ones(1), np.ones(1))
    runtime = runtime or choose_runtime(precision="float32")
    network = placed(model, runtime)
    assert model.vocab is not None
    genes = slice(FIRST_GENE, FIRST_GENE + model.vocab.n_genes)
    base_D = network.embeddings.weight[genes].detach().mean(dim=0)
    values = np.zeros(len(ranked.tokens), dtype=np.float32)
    ends = np.full((2, ranked.n_cells), np.nan)
    most = _TOKENS_PER_BATCH[runtime.kind]
    batches = length_batches(ranked.lengths, max_tokens_per_batch=most, multiple=1)
    for cells in tqdm(batches, desc="attribute", delay=3, leave=False):
        ids, lengths = pad(ranked, cells, multiple=1)
        batch = _Batch(
            network,
            torch.from_numpy(ids).to(runtime.device),
            torch.from_numpy(lengths).to(runtime.device),
            torch.from_numpy(np.asarray(weights[cells], dtype=np.float32)).to(runtime.device),
            base_D,
        )
        found = batch.attributions(*nodes).cpu().numpy()
        real = np.arange(ids.shape[1]) < lengths[:, None]
        place = ranked.indptr[cells][:, None] + np.arange(ids.shape[1])
        values[place[real]] = found[real]
        ends[:, cells] = torch.stack(batch.ends()).double().cpu().numpy()
    return Attributed(values, *ends)


def _nodes(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Gauss–Legendre points and weights between 0 and 1."""
    points, weights = np.polynomial.legendre.leggauss(steps)
    return (points + 1) / 2, weights / 2


class _Batch:
    """Padded cells on the way from their baseline to themselves."""

    def __init__(
        self, network: GeneMamba, ids_BL: Tensor, lengths_B: Tensor, w_BD: Tensor, base_D: Tensor
    ) -> None:
        self.network, self.w_BD, self.base_D = network, w_BD, base_D
        real_BL = torch.arange(ids_BL.shape[1], device=ids_BL.device) < lengths_B[:, None]
        self.segment_BL = real_BL.long() - 1
        self.share_BL = (real_BL / lengths_B[:, None]).float()
        self.away_BLD = (network.embeddings(ids_BL) - base_D).detach()

    def function(self, x_BLD: Tensor) -> Tensor:
        """Return the linear function of each cell's mean state, B."""
        states = self.network.read(x_BLD, self.segment_BL)
        pooled = torch.einsum("bl,bld->bd", self.share_BL, states.float())
        return (pooled * self.w_BD).sum(dim=-1)

    def gradient(self, share: float) -> Tensor:
        """Return the gradient at this share of the way, B × L × D."""
        x_BLD = (self.base_D + share * self.away_BLD).requires_grad_()
        return torch.autograd.grad(self.function(x_BLD).sum(), x_BLD)[0]

    def attributions(self, points: np.ndarray, weights: np.ndarray) -> Tensor:
        """Average the gradient over points of the way, and spend it on the way, B × L."""
        mean_BLD = torch.zeros_like(self.away_BLD)
        for point, weight in zip(points.tolist(), weights.tolist(), strict=True):
            mean_BLD += weight * self.gradient(point)
        return (mean_BLD * self.away_BLD).sum(dim=-1)

    def ends(self) -> tuple[Tensor, Tensor]:
        """Return the function at the cell and at its baseline."""
        with torch.inference_mode():
            cell, base = (self.function(self.base_D + s * self.away_BLD) for s in (1.0, 0.0))
        return cell, base
