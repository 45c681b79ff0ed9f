"""Cells rebuilt by a model: hidden genes, the paper's protocol, and gene after gene.

Shapes: B cells, L tokens, M hidden genes of one cell, D model width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from genemamba.errors import InputError
from genemamba.network.genemamba import GeneMamba
from genemamba.network.inference import Step, over_cells, placed
from genemamba.network.packed import PackedCells
from genemamba.network.recurrent import start, step
from genemamba.network.runtime import Runtime
from genemamba.tokens import FIRST_GENE, Ranked, pad
from genemamba.tokens import reconstruction as core
from genemamba.tokens.reconstruction import Reconstruction

_CELLS_PER_STEP = 64  # a step reads all weights once, for any number of cells


def names_next_gene(model: GeneMamba) -> bool:
    """Whether the head at a gene names the gene after it, as in the paper, or the gene itself."""
    if objective := model.provenance.get("objective"):
        return objective.startswith("next gene")
    return model.vocab is None or not model.vocab.has_special("[MASK]")


def rebuild_hidden(
    model: GeneMamba, ranked: Ranked, hidden: np.ndarray, measured: np.ndarray, *, runtime: Runtime
) -> Reconstruction:
    """Name the hidden genes and estimate their ranks.

    Names: of the genes that were measured and are not visible, those the model expects most often
    in the hidden places, put where most are expected to be right. Ranks: the mean over the hidden
    places, weighted by how probable the gene is in each.
    """
    assert model.vocab is not None
    if not model.vocab.has_special("[MASK]"):
        raise InputError(
            "protocol='masked', but this model was not trained on hidden genes: it has no [MASK]",
            "use protocol='next' or 'paper'",
        )
    network, mask = placed(model, runtime), model.vocab.special("[MASK]")
    excluded = _excluded(model, runtime, measured)
    rank, likely = np.full((2, len(hidden)), np.nan)

    def step(own: np.ndarray, batch: PackedCells) -> list[np.ndarray]:
        covered, rebuilt = batch.ids.clone(), []
        for k, i in enumerate(own):
            here = torch.from_numpy(hidden[ranked.indptr[i] : ranked.indptr[i + 1]])
            batch.of(covered, k)[here.to(covered.device)] = mask
        states_RLD = network(covered, batch.borders)
        for k, i in enumerate(own):
            part = slice(ranked.indptr[i], ranked.indptr[i + 1])
            places = torch.from_numpy(np.flatnonzero(hidden[part])).to(covered.device)
            logits_MV = network.lm_head(batch.of(states_RLD, k)[places]).float()
            logits_MV[:, excluded] = -torch.inf
            logits_MV[:, batch.of(covered, k)] = -torch.inf  # the visible ones
            truth = batch.of(batch.ids, k)[places]
            given = logits_MV.gather(1, truth[:, None])
            likely[part][hidden[part]] = ((logits_MV > given).sum(1) < core.LIKELY).cpu()
            rank[part][hidden[part]] = _expected_rank(logits_MV, truth, places).cpu()
            rebuilt.append(ranked.tokens[part].copy())
            rebuilt[-1][hidden[part]] = _named(logits_MV)
        return rebuilt

    return Reconstruction.of(_each_cell(step, ranked, runtime), rank, likely)


def _expected_rank(logits_MV: Tensor, truth_M: Tensor, places_M: Tensor) -> Tensor:
    """Return the rank, from 1, that the model expects of each hidden gene."""
    of_place = logits_MV.log_softmax(-1)[:, truth_M]  # places × genes
    return (places_M + 1.0) @ of_place.softmax(0)


def _named(logits_MV: Tensor) -> np.ndarray:
    """Return the gene to put at each place."""
    probability_MV = logits_MV.softmax(-1)
    named_M = probability_MV.sum(0).topk(len(logits_MV)).indices
    return named_M.cpu().numpy()[core.assign(probability_MV[:, named_M].cpu().numpy())]


def rebuild_as_published(model: GeneMamba, ranked: Ranked, *, runtime: Runtime) -> Reconstruction:
    """Feed whole cells in and take the most likely gene at each place: nothing is hidden."""
    network, special = placed(model, runtime), _excluded(model, runtime)

    def step(own: np.ndarray, batch: PackedCells) -> list[np.ndarray]:
        states_RLD, rebuilt = network(batch.ids, batch.borders), []
        for k in range(len(own)):
            logits_LV = network.lm_head(batch.of(states_RLD, k))
            logits_LV[:, special] = -torch.inf
            rebuilt.append(logits_LV.argmax(-1).cpu().numpy().astype(np.int32))
        return rebuilt

    cells = _each_cell(step, ranked, runtime)
    return Reconstruction.with_ranks(ranked, cells, np.ones(len(ranked.tokens), dtype=bool))


def rebuild_next(
    model: GeneMamba, ranked: Ranked, target: np.ndarray, measured: np.ndarray, *, runtime: Runtime
) -> Reconstruction:
    """Add one measured gene at a time to those given, up to the cell's length; none twice.

    `target` marks the tokens to rebuild. The model reads forwards only, with a recurrent state: a
    step costs the same at the end as at the beginning. A model that names hidden genes reads a
    hidden one at the end.
    """
    network = placed(model, runtime)
    if runtime.batch_size == "auto":
        runtime = replace(runtime, batch_size=_CELLS_PER_STEP)
    given = np.bincount(ranked.cell[~target], minlength=ranked.n_cells)
    excluded = _excluded(model, runtime, measured)

    def step(own: np.ndarray, _: PackedCells) -> list[np.ndarray]:
        rows, n = pad(ranked, own, multiple=1)  # all cells advance together
        ids, kept = (torch.from_numpy(a).to(runtime.device) for a in (rows, given[own]))
        written = _continue(network, model, ids, kept, excluded)
        return [row[:k].cpu().numpy().astype(np.int32) for row, k in zip(written, n, strict=True)]

    return Reconstruction.with_ranks(ranked, _each_cell(step, ranked, runtime), target)


def _each_cell(step: Step[list[np.ndarray]], ranked: Ranked, runtime: Runtime) -> list[np.ndarray]:
    """Return what `step` makes of each cell, in their own order; nothing for an empty one."""
    cells: list[np.ndarray] = [np.empty(0, np.int32)] * ranked.n_cells
    for own, rebuilt in over_cells(step, ranked, runtime=runtime, doing="reconstruct"):
        for i, tokens in zip(own, rebuilt, strict=True):
            cells[i] = tokens
    return cells


def _continue(
    network: GeneMamba, model: GeneMamba, rows_BL: Tensor, given_B: Tensor, excluded_V: Tensor
) -> Tensor:
    """Keep the first `given_B` genes of each row and write the others."""
    assert model.vocab is not None
    by_mask = not names_next_gene(model)
    mask = model.vocab.special("[MASK]") if by_mask else 0
    written_BL = rows_BL.clone()
    used_BV = excluded_V.repeat(len(rows_BL), 1)
    state, first = start(network, len(rows_BL)), int(given_B.min())
    for t in range(rows_BL.shape[1]):
        if t >= first:
            if by_mask:
                y_BD, _ = step(network, torch.full_like(given_B, mask), state)
            logits_BV = network.lm_head(y_BD).float().masked_fill(used_BV, -torch.inf)
            chosen_B = torch.where(t < given_B, rows_BL[:, t], logits_BV.argmax(-1))
            written_BL[:, t] = chosen_B
        used_BV.scatter_(1, written_BL[:, t, None], True)
        y_BD, state = step(network, written_BL[:, t], state)
    return written_BL


def _excluded(model: GeneMamba, runtime: Runtime, measured: np.ndarray | None = None) -> Tensor:
    """Mark the tokens that cannot be an answer: special ones, and genes that were not measured."""
    assert model.vocab is not None
    excluded = np.ones(model.config.vocab_size, dtype=bool)
    genes = np.arange(model.vocab.n_genes) + FIRST_GENE if measured is None else measured
    excluded[genes] = False
    return torch.from_numpy(excluded).to(runtime.device)
