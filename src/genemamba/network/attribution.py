"""What each token of a cell adds to a linear function of the cell's vector.

Shapes: S cells, R rows, L tokens of a row, D model width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from genemamba._settings import check_whole
from genemamba.errors import InputError
from genemamba.network.genemamba import GeneMamba
from genemamba.network.inference import over_cells, placed
from genemamba.network.packed import PackedCells
from genemamba.network.runtime import Runtime, choose_runtime
from genemamba.tokens import FIRST_GENE, Ranked

Method = Literal["gradient_x_input", "integrated_gradients"]


@dataclass(frozen=True, eq=False)
class Attributed:
    """Attributions of ranked cells."""

    values: np.ndarray
    """``(nnz,)`` float32, one for each token of the cells, in their order."""
    at_cell: np.ndarray
    """``(n_cells,)`` float64, the function at the cell; NaN for a cell without tokens."""
    at_baseline: np.ndarray
    """The same at its baseline."""


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

    The baseline is a cell of the same length in which every token is the mean row of all genes.
    With x a token's input row and b that mean, a token gets ``(x − b) · gradient``: of the cell
    itself (``"gradient_x_input"``), or averaged over the straight path from baseline to cell
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
    check_whole("steps", steps)
    if method not in get_args(Method):
        raise InputError(
            f"method={method!r} is unknown", "use 'gradient_x_input' or 'integrated_gradients'"
        )
    points, shares = np.ones(1), np.ones(1)
    if method == "integrated_gradients":
        points, shares = (a / 2 for a in np.polynomial.legendre.leggauss(steps))
        points = points + 0.5  # from -1…1 to 0…1
    runtime = runtime or choose_runtime(precision="float32")
    network = placed(model, runtime)
    assert model.vocab is not None
    genes = slice(FIRST_GENE, FIRST_GENE + model.vocab.n_genes)
    base_D = network.embeddings.weight[genes].detach().mean(dim=0)
    values = np.zeros(len(ranked.tokens), dtype=np.float32)
    ends = np.full((2, ranked.n_cells), np.nan)

    def step(cells: np.ndarray, batch: PackedCells) -> tuple[Tensor, Tensor]:
        w_SD = torch.from_numpy(np.asarray(weights[cells], dtype=np.float32)).to(runtime.device)
        away_RLD = (network.embeddings(batch.ids) - base_D).detach()

        def function(x_RLD: Tensor) -> Tensor:  # of each cell
            return (batch.mean(network.read(x_RLD, batch.borders)) * w_SD).sum(dim=-1)

        mean_RLD = torch.zeros_like(away_RLD)
        for point, share in zip(points.tolist(), shares.tolist(), strict=True):
            x_RLD = (base_D + point * away_RLD).requires_grad_()
            mean_RLD += share * torch.autograd.grad(function(x_RLD).sum(), x_RLD)[0]
        with torch.inference_mode():
            at_ends = torch.stack([function(base_D + at * away_RLD) for at in (1.0, 0.0)])
        real_RL = batch.segment >= 0  # in the order of `cells`, each of them whole
        return (mean_RLD * away_RLD).sum(dim=-1)[real_RL], at_ends

    batches = over_cells(step, ranked, runtime=runtime, gradients=True, doing="attribute")
    for cells, (found, at_ends) in batches:
        lengths = ranked.lengths[cells]
        place = np.repeat(ranked.indptr[cells] - (np.cumsum(lengths) - lengths), lengths)
        values[place + np.arange(len(place))] = found.float().cpu().numpy()
        ends[:, cells] = at_ends.double().cpu().numpy()
    return Attributed(values, *ends)
