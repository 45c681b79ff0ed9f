"""Ranked tokens in, one vector per gene out: the array core of ``gm.tl.gene_embedding``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genemamba.network.genemamba import GeneMamba
from genemamba.network.inference import over_cells, placed
from genemamba.network.packed import PackedCells
from genemamba.network.runtime import Runtime, choose_runtime
from genemamba.tokens import Ranked


@dataclass(frozen=True, eq=False)
class GeneStates:
    """Mean final state of each gene over the cells of a group that contain it."""

    tokens: np.ndarray
    """``(n_genes,)`` int32, ascending: the genes of all cells."""
    means: np.ndarray
    """``(n_groups, n_genes, d_model)`` float32, NaN where no cell of the group has the gene."""
    n_cells: np.ndarray
    """``(n_groups, n_genes)`` int64, cells of the group that contain the gene."""


def gene_states(
    model: GeneMamba,
    ranked: Ranked,
    groups: np.ndarray | None = None,
    *,
    runtime: Runtime | None = None,
) -> GeneStates:
    """Average the final states of each gene, cell by cell, without keeping them.

    Memory is that of one float64 sum per group and gene, and of one batch, whatever the number of
    cells. `groups` is ``(n_cells,)`` int, the group of each cell from 0; one group by default.
    """
    runtime = runtime or choose_runtime()
    network, device = placed(model, runtime), runtime.device
    if groups is None:
        groups = np.zeros(ranked.n_cells, dtype=np.int64)
    tokens = np.unique(ranked.tokens)
    row_of = np.zeros(len(model.embeddings.weight), dtype=np.int64)
    row_of[tokens] = np.arange(len(tokens))
    shape = (int(groups.max(initial=0)) + 1, len(tokens))
    first = groups * len(tokens)  # where the rows of a cell's group begin
    rows = np.repeat(first, ranked.lengths) + row_of[ranked.tokens]
    n_cells = np.bincount(rows, minlength=shape[0] * shape[1])  # a gene is once in a cell
    wide = torch.float32 if device == "mps" else torch.float64  # which MPS does not have
    sums = torch.zeros(len(n_cells), model.config.d_model, dtype=wide, device=device)
    row_of_token = torch.from_numpy(row_of).to(device)

    def step(cells: np.ndarray, batch: PackedCells) -> tuple[Tensor, Tensor]:
        states, real = network(batch.ids, batch.borders), batch.segment >= 0
        group = torch.from_numpy(first[cells]).to(device)[batch.segment[real]]
        return group + row_of_token[batch.ids[real]], states[real]

    for _, (rows_of_batch, states) in over_cells(step, ranked, runtime=runtime):
        sums.index_add_(0, rows_of_batch, states.to(wide))
    with np.errstate(invalid="ignore"):
        means = (sums.cpu().numpy() / n_cells[:, None]).astype(np.float32)
    return GeneStates(tokens, means.reshape(*shape, -1), n_cells.reshape(shape))
