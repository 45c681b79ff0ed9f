"""Adapt a model to cells: train on them without labels, and keep what held-out counts confirm.

Training starts from the model with the factors of the cells joined to its gene vectors. Then the
weights before and after training are averaged with several shares, and held-out cells decide: their
counts are split into halves, neighbours are found by the embedding of one half, and the average is
kept whose neighbours predict the other half best (molecular cross-validation [1]_). In the same way
they choose the share of the factors. If the gain over the model unchanged is small, it stays
unchanged, so the result is never worse than it by this measure.

.. [1] Batson, Royer and Webber, *Molecular cross-validation for single-cell RNA-seq*, bioRxiv 2019.
"""

from __future__ import annotations

import copy
import shutil
import time
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from genemamba._expression import log_normalised
from genemamba.datasets import Corpus
from genemamba.datasets._factors import gene_factors
from genemamba.integration.halves import HALF_TOKENS, split_counts
from genemamba.network import GeneMamba
from genemamba.network.inference import embed_tokens
from genemamba.network.runtime import Runtime
from genemamba.tokens import FIRST_GENE, rank_csr
from genemamba.train import engine
from genemamba.train.data import CorpusSplit, Stream, split
from genemamba.train.packing import ViewBatch
from genemamba.train.recipe import Recipe
from genemamba.train.task import Task
from genemamba.train.validation import Validation

UNCHANGED = "unchanged"
SHARES = (0.0, 0.25, 0.5, 1.0)  # of the trained weights; 0: factors are joined, nothing is trained
FACTORS = 0.3, 0.7  # shares of the cells' factors in a gene's vector to begin with; held-out decide
_LEAST_GAIN = 0.03  # of what the model predicts unchanged: less says nothing of labels on valid/
_KNOWN = 50  # cells that express a gene, from which its factors count in full
_NEIGHBOURS, _GENES = 10, 1_000  # of halves of cells
_FEWEST_HELD, _MOST_HELD = 100, 300  # cells that decide
_TIMED, _FEWEST_STEPS = 4, 10
_CHOICE = 1 / 8  # steps that the choice takes as long as, for each held-out cell
START, RUN = "start", "run"


@dataclass(frozen=True)
class Adapting:
    """What decides an adaptation, except the cells and the model."""

    steps: int
    seed: int
    runtime: Runtime
    max_tokens: int

    def recipe(self, n_cells: int, masked: bool, start: Path | None = None) -> Recipe:
        """Return the recipe for a number of cells; without a [MASK] token, contrast alone."""
        text = (resources.files(__package__) / "adapted.toml").read_text("utf-8")
        values = tomllib.loads(text)
        values["model"] = {} if start is None else {"start": str(start)}
        values["objectives"]["masked"] *= masked
        values["data"]["held_out_share"] = held_out_share(n_cells)
        values["optimiser"]["steps"] = self.steps
        half = self.runtime.precision == "bfloat16"
        values["run"] |= {"seed": self.seed, "precision": "bf16-mixed" if half else "32-true"}
        return Recipe.from_dict(values)


def held_out_share(n_cells: int) -> float:
    """Return the share of the cells to hold out: 100 to 300 cells, at most three in ten."""
    wanted = min(max(_FEWEST_HELD, 0.1 * n_cells), _MOST_HELD)
    return round(min(0.3, wanted / n_cells), 4)


def steps_within(seconds: float, corpus: Corpus, model: GeneMamba, how: Adapting) -> int:
    """Time some steps, without taking them, and return how many fit; 0 if none does.

    The choice at the end needs time, too; a few steps come before it.
    """
    recipe = how.recipe(len(corpus), _has_mask(model))
    stream = Stream(corpus, recipe, split(corpus, recipe).training)
    device = torch.device(how.runtime.device)
    own = copy.deepcopy(model).to(device).train()
    own.vocab = corpus.vocab
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        task = Task(own, recipe).to(device)
        taken = []
        for step in range(_TIMED):
            begun = time.monotonic()
            with torch.autocast(
                device.type, torch.bfloat16, enabled=recipe.run.precision == "bf16-mixed"
            ):
                for batch in stream.own(step):
                    task.total(task(_placed(batch, device))).backward()
            task.zero_grad()
            taken.append(time.monotonic() - begun)
    fit = seconds / float(np.median(taken[1:]))
    return int(
        max(fit - _CHOICE * held_out_share(len(corpus)) * len(corpus), min(fit, _FEWEST_STEPS))
    )


def adapt(
    model: GeneMamba, corpus: Corpus, folder: Path, how: Adapting
) -> tuple[GeneMamba, dict[str, Any]]:
    """Train in `folder`, or resume; return the model that is kept, and how it was chosen."""
    masked = _has_mask(model)
    recipe = how.recipe(len(corpus), masked, folder / START)
    cells = split(corpus, recipe)
    start, judge = folder / START, Judge(corpus, recipe, cells, how)
    if not (folder / RUN).exists():
        shutil.rmtree(start, ignore_errors=True)
        turned = turned_factors(model, corpus, cells.training, how.seed)
        starts = {share: joined(model, corpus, turned, share) for share in FACTORS}
        predicted = {s: judge.neighbours(own)[0].mean() for s, own in starts.items()}
        factors = max(FACTORS, key=lambda share: float(predicted[share]))
        starts[factors].provenance = {"factors": factors}
        starts[factors].save_pretrained(start)
    accelerator = torch.device(how.runtime.device).type
    engine.pretrain(corpus, recipe, folder / RUN, accelerator=accelerator, doing="adapt")
    begun, end = GeneMamba.from_pretrained(start), GeneMamba.from_pretrained(folder / RUN)
    candidates = {UNCHANGED: (model, model, 0.0)}
    candidates |= {f"{share:g}": (begun, end, share) for share in SHARES}
    judged = {name: judge.neighbours(mixed(*two)) for name, two in candidates.items()}
    best = choose({name: predicted for name, (predicted, _) in judged.items()})
    scores = {
        name: {"predicted": round(float(predicted.mean()), 5), "neighbours": round(shared, 5)}
        for name, (predicted, shared) in judged.items()
    }
    for name in {UNCHANGED, best}:
        scores[name] |= judge.losses(mixed(*candidates[name]))
    kept = mixed(*candidates[best])
    kept.ranking, kept.sketch = model.ranking, end.sketch
    found = {
        "kept": best,
        "factors": begun.provenance["factors"],
        "steps": how.steps,
        "seed": how.seed,
        "trained_on": len(cells.training),
        "held_out": len(cells.share),
        "scores": scores,
    }
    return kept, found


def choose(predicted: dict[str, np.ndarray]) -> str:
    """Return the candidate that predicts held-out cells best; unchanged if the gain is small.

    It has to exceed its standard error and 3 % of what there was. `predicted` has a value for each
    candidate and held-out cell.
    """
    best = max(predicted, key=lambda name: float(predicted[name].mean()))
    before = predicted[UNCHANGED]
    gain = predicted[best] - before
    least = max(gain.std() / np.sqrt(len(gain)), _LEAST_GAIN * abs(before.mean()))
    return best if gain.mean() > least else UNCHANGED


def turned_factors(model: GeneMamba, corpus: Corpus, training: np.ndarray, seed: int) -> np.ndarray:
    """Return the factors of some cells, genes × width, turned to the model's gene vectors.

    Factors have no orientation of their own: the genes that are expressed most are to lie closest
    to where the model has them.
    """
    before = _gene_vectors(model, corpus)
    factors = gene_factors(corpus, training, before.shape[1], np.random.default_rng(seed))
    number = np.asarray(corpus.ranking.cells, dtype=np.float64)[:, None]
    weight = np.sqrt(number / max(number.max(), 1))
    left, _, right = np.linalg.svd((factors * weight).T @ (before * weight))
    return np.asarray(factors @ (left @ right))


@torch.no_grad()
def joined(model: GeneMamba, corpus: Corpus, turned: np.ndarray, share: float) -> GeneMamba:
    """Return a copy whose gene vectors contain, with a share, the factors of cells.

    Lengths stay; genes that few cells express move less.
    """
    own, before = copy.deepcopy(model), _gene_vectors(model, corpus)
    length = np.sqrt(np.mean(before**2, axis=1, keepdims=True))
    part = share * np.minimum(1, np.asarray(corpus.ranking.cells)[:, None] / _KNOWN)
    moved = (1 - part) * before + part * turned * length
    moved *= length / np.maximum(np.sqrt(np.mean(moved**2, axis=1, keepdims=True)), 1e-9)
    own.embeddings.weight[FIRST_GENE : FIRST_GENE + len(moved)] = torch.from_numpy(moved).float()
    return own


def _gene_vectors(model: GeneMamba, corpus: Corpus) -> np.ndarray:
    table = model.embeddings.weight.detach()[FIRST_GENE : FIRST_GENE + corpus.vocab.n_genes]
    return np.asarray(table.cpu().numpy(), dtype=np.float64)


@torch.no_grad()
def mixed(start: GeneMamba, end: GeneMamba, share: float) -> GeneMamba:
    """Return the model whose weights are averaged, those of `end` with `share`."""
    own, last = copy.deepcopy(start), end.state_dict()
    for name, weight in own.state_dict().items():
        if share and not (name == "lm_head.weight" and own.config.tie_embeddings):
            weight.lerp_(last[name].float(), share)
    return own.eval()


class Judge:
    """Scores models on held-out cells, without labels; halves and views are drawn once."""

    def __init__(self, corpus: Corpus, recipe: Recipe, cells: CorpusSplit, how: Adapting) -> None:
        self.recipe, self.how, self.vocab = recipe, how, corpus.vocab
        self.validation = Validation(corpus, recipe, cells)
        held = cells.share[:_MOST_HELD]
        self.halves = halves(corpus.rows(held), np.random.default_rng(how.seed))
        self.library = corpus.group[held]
        logged = [log_normalised(half) for half in self.halves]
        genes = _variable(logged)
        self.expression = [half[:, genes].toarray() for half in logged]

    def neighbours(self, model: GeneMamba) -> tuple[np.ndarray, float]:
        """Return how well neighbours, by the embedding of half a cell, predict and agree."""
        vectors = [self._embed(model, half) for half in self.halves]
        return by_neighbours(vectors, self.expression, self.library)

    def losses(self, model: GeneMamba) -> dict[str, float]:
        """Return the losses of training, and how often a view finds the other."""
        device = torch.device(self.how.runtime.device)
        with torch.random.fork_rng(devices=[]):
            task = Task(copy.deepcopy(model).to(device), self.recipe).to(device).eval()
        found = self.validation.scores(task, task.names, lambda b: _placed(b, device))
        return {name.removeprefix("share_"): round(value, 5) for name, value in found.items()}

    def _embed(self, model: GeneMamba, counts: sparse.csr_matrix) -> np.ndarray:
        token = np.arange(self.vocab.n_genes, dtype=np.int32) + FIRST_GENE
        arrays = counts.indptr.astype(np.int64), counts.indices, counts.data
        most = min(self.how.max_tokens, HALF_TOKENS)
        ranked = rank_csr(*arrays, token, self.vocab.median, most)
        vectors = embed_tokens(model, ranked, runtime=self.how.runtime, progress=False)
        return np.nan_to_num(vectors)


def halves(counts: sparse.csr_matrix, rng: np.random.Generator) -> list[sparse.csr_matrix]:
    """Split the counts of cells at random."""
    found = [half.copy() for half in split_counts(counts, rng)]  # they share indices
    for half in found:
        half.eliminate_zeros()
    return found


def by_neighbours(
    vectors: list[np.ndarray], expression: list[np.ndarray], library: np.ndarray
) -> tuple[np.ndarray, float]:
    """Score the embeddings of two halves of cells by the neighbours that they give.

    First, for each cell, the correlation between the expression of one half and the mean of that
    half over the cell's neighbours, which the other half chose. Second, the share of neighbours
    that both halves choose. Neighbours are of the same library, and expression is centred in it,
    so that differences between libraries count for nothing.
    """
    predicted, agreed = np.zeros(len(library)), np.zeros(len(library))
    judged = np.zeros(len(library), dtype=bool)
    for name in np.unique(library):
        own = np.flatnonzero(library == name)
        k = min(_NEIGHBOURS, len(own) // 4)
        if not k:
            continue
        near = [_nearest(half[own], k) for half in vectors]
        for seen, other in ((near[0], expression[1][own]), (near[1], expression[0][own])):
            centred = other - other.mean(axis=0)
            predicted[own] += _correlation(centred, centred[seen].mean(axis=1)) / 2
        same = (near[0][:, :, None] == near[1][:, None, :]).any(axis=2)
        agreed[own], judged[own] = same.mean(axis=1), True
    if not judged.any():
        return np.zeros(1), 0.0
    return predicted[judged], float(agreed[judged].mean())


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the correlation of each row of `a` with that of `b`; 0 where one is constant."""
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    products: np.ndarray = (a * b).sum(axis=1) / np.maximum(scale, 1e-12)
    return products


def _variable(logged: list[sparse.csr_matrix]) -> np.ndarray:
    """Return the genes that vary most in the halves of cells."""
    both = sparse.vstack(logged, format="csr")
    mean = np.asarray(both.mean(axis=0)).ravel()
    variance = np.asarray(both.power(2).mean(axis=0)).ravel() - mean**2
    return np.argsort(-variance, kind="stable")[:_GENES]


def _nearest(vectors: np.ndarray, k: int) -> np.ndarray:
    wide = vectors.astype(np.float64)
    square = (wide**2).sum(axis=1)
    distance = square[:, None] + square - 2 * wide @ wide.T
    np.fill_diagonal(distance, np.inf)
    return np.argsort(distance, axis=1, kind="stable")[:, :k]


def _has_mask(model: GeneMamba) -> bool:
    return model.vocab is not None and model.vocab.has_special("[MASK]")


def _placed(batch: ViewBatch, device: torch.device) -> ViewBatch:
    return ViewBatch._make(t.to(device) if isinstance(t, Tensor) else t for t in batch)
