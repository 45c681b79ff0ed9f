"""Ranked tokens in, one vector per gene out: the array core of ``gm.tl.gene_embedding``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genemamba.network.batch import Batch
from genemamba.network.genemamba import GeneMamba
from genemamba.network.inference import over_cells, placed
from genemamba.network.runtime import Runtime, choose_runtime
from genemamba.tokens import Ranked


@dataclass(frozen=True, eq=False)
class GeneStates:
    """Mean final state of each gene over the cells of a group in which it was read.

    Parameters
    ----------
    tokens
        ``(n_genes,)`` int32, ascending: the genes read in any cell.
    means
        ``(n_groups, n_genes, d_model)`` float32, NaN where no cell of the group has the gene.
    n_cells
        ``(n_groups, n_genes)`` int64, cells of the group in which the gene was read.
    """

    tokens: np.ndarray
    means: np.ndarray
    n_cells: np.ndarray


def gene_states(
    model: GeneMamba,
    ranked: Ranked,
    groups: np.ndarray | None = None,
    *,
    runtime: Runtime | None = None,
) -> GeneStates:
    """Average the final states of each gene, cell by cell, without keeping them.

    Memory is that of one sum per group and gene, in float64, and of one batch; the number of cells
    does not matter. `groups` is ``(n_cells,)`` int, the group of each cell from 0; one group if
    it is not given.
    """
    runtime = runtime or choose_runtime()
    if groups is None:
        groups = np.zeros(ranked.n_cells, dtype=np.int64)
    tokens = np.unique(ranked.tokens)
    row_of = np.zeros(len(model.embeddings.weight), dtype=np.int64)
    row_of[tokens] = np.arange(len(tokens))
    shape = (int(groups.max(initial=0)) + 1, len(tokens))
    first = groups * len(tokens)  # where the rows of a cell's group begin
    rows = np.repeat(first, ranked.lengths) + row_of[ranked.tokens]
    n_cells = np.bincount(rows, minlength=shape[0] * shape[1])  # a cell reads a gene once
    sums = _sums(model, ranked, first, row_of, len(n_cells), runtime)
    with np.errstate(invalid="ignore"):
        means = (sums / n_cells[:, None]).astype(np.float32)
    return GeneStates(tokens, means.reshape(*shape, -1), n_cells.reshape(shape))


def _sums(
    model: GeneMamba,
    ranked: Ranked,
    first: np.ndarray,
    row_of: np.ndarray,
    n_rows: int,
    runtime: Runtime,
) -> np.ndarray:
    """Add up the states of each row, on the device: a cell's `first` plus a token's `row_of`."""
    network, device = placed(model, runtime), runtime.device
    wide = torch.float32 if device == "mps" else torch.float64  # which MPS does not have
    sums = torch.zeros(n_rows, model.config.d_model, dtype=wide, device=device)
    row_of_token = torch.from_numpy(row_of).to(device)

    def step(cells: np.ndarray, batch: Batch) -> tuple[Tensor, Tensor]:
        states, real = network(batch.ids, batch.borders), batch.segment >= 0
        group = torch.from_numpy(first[cells]).to(device)[batch.segment[real]]
        return group + row_of_token[batch.ids[real]], states[real]

    for _, (rows, states) in over_cells(step, ranked, runtime=runtime):
        sums.index_add_(0, rows, states.to(wide))
    return sums.cpu().numpy()
