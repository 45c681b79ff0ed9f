"""The training loop: seeded, resumable, on whatever torch runs on."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genemamba.datasets import Corpus
from genemamba.model import GeneMamba, GeneMambaConfig
from genemamba.train.objectives import CellContrast, gene_loss, pool
from genemamba.train.steps import decay_groups, save_whole, warm_cosine
from genemamba.train.views import Predict, Views, two_views


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run besides the corpus and the model's sizes."""

    steps: int
    cells: int = 64
    """Cells of a step, all of one library; each gives two rows."""
    length: int = 192
    """Tokens of a row."""
    predict: Predict = "hidden"
    """Which genes are to be named: hidden ones, or (the paper's objective) the next."""
    mask_fraction: float = 0.15
    """Share of a row's places at which a gene is to be named."""
    contrast_weight: float = 1.0
    learning_rate: float = 1e-3
    warmup: float = 0.05
    """Share of the steps in which the learning rate rises; then it falls as a cosine."""
    weight_decay: float = 0.01
    clip: float = 1.0
    held_out: float = 0.03
    """Share of the cells of each library that is never trained on."""
    save_every: int = 100
    check_every: int = 500
    seed: int = 0


MINI = Recipe(steps=2000, learning_rate=1.5e-3, save_every=50, check_every=250)
"""How ``genemamba-mini`` is trained."""
MINI_SIZES: dict[str, Any] = {
    "d_model": 256,
    "n_layers": 2,
    "d_state": 32,
    "headdim": 64,
    "chunk_size": 32,
    "merge": "mean",
    "pre_norm": True,
    "tie_embeddings": True,
}
"""Its sizes: wide and shallow, because the element-wise work of the scan is what a CPU pays for."""


def train(
    corpus: Corpus, config: GeneMambaConfig, recipe: Recipe, out: Path, *, compile: bool = True
) -> GeneMamba:
    """Train from the start, or from the last saved step in `out`; return the model.

    Writes ``state.pt`` (to resume) and ``log.jsonl`` (one line a check) into `out`. Every step
    draws its data from ``(seed, step)`` alone, so a resumed run sees what an unbroken one sees.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    model = GeneMamba(config).reset_parameters(recipe.seed)
    model.vocab = corpus.vocab
    contrast = CellContrast(config.d_model)
    optimiser = torch.optim.AdamW(
        decay_groups(
            [*model.named_parameters(), *contrast.named_parameters()], recipe.weight_decay
        ),
        betas=(0.9, 0.98),
        fused=True,
        lr=recipe.learning_rate,
    )
    state_file, started = out / "state.pt", 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        started = state["step"]
        model.load_state_dict(state["model"])
        contrast.load_state_dict(state["contrast"])
        optimiser.load_state_dict(state["optimiser"])
    training, held_out = _split(corpus, recipe)
    forward = torch.compile(model, dynamic=False) if compile else model
    clock, seen = time.perf_counter(), 0
    running: dict[str, float] = {}
    for step, views in _stream(corpus, training, recipe, started):
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * warm_cosine(step, recipe.steps, recipe.warmup)
        losses = _losses(forward, model, contrast, views)
        loss = losses["genes"] + recipe.contrast_weight * losses["contrast"]
        optimiser.zero_grad()
        loss.backward()
        parameters = [*model.parameters(), *contrast.parameters()]
        norm = nn.utils.clip_grad_norm_(parameters, recipe.clip)
        if not math.isfinite(norm.item()):
            raise FloatingPointError(f"step {step}: the gradient is not finite; lower the rate")
        optimiser.step()
        seen += len(views.ids)
        for name, value in losses.items():
            running[name] = 0.95 * running.get(name, value.item()) + 0.05 * value.item()
        done = step + 1
        if done % recipe.check_every == 0 or done == recipe.steps:
            row = {"step": done, **running, **_check(model, contrast, corpus, held_out, recipe)}
            row["rows_per_second"] = seen / (time.perf_counter() - clock)
            _log(out / "log.jsonl", row)
        if done % recipe.save_every == 0 or done == recipe.steps:
            _save(state_file, done, model, contrast, optimiser)
    return model


def _stream(
    corpus: Corpus, cells: np.ndarray, recipe: Recipe, started: int
) -> Iterator[tuple[int, Views]]:
    """Yield the views of each step; the next are made while the present ones are used."""

    def make(step: int) -> Views:
        rng = np.random.default_rng((recipe.seed, step))
        chosen = _one_library(corpus, cells, recipe.cells, rng)
        return two_views(
            corpus.rows(chosen),
            corpus.vocab,
            rng,
            length=recipe.length,
            mask_fraction=recipe.mask_fraction,
            predict=recipe.predict,
        )

    with ThreadPoolExecutor(1) as pool_:
        coming = pool_.submit(make, started)
        for step in range(started, recipe.steps):
            views = coming.result()
            coming = pool_.submit(make, step + 1)
            yield step, views


def _one_library(corpus: Corpus, cells: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Cells of the library that a random cell belongs to."""
    group = corpus.group[cells]
    own = cells[group == rng.choice(group)]
    return rng.choice(own, min(n, len(own)), replace=False)


def _split(corpus: Corpus, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    held = np.random.default_rng(recipe.seed).random(len(corpus.group)) < recipe.held_out
    return np.flatnonzero(~held), np.flatnonzero(held)


def _losses(
    forward: Any, model: GeneMamba, contrast: CellContrast, views: Views
) -> dict[str, Tensor]:
    ids, lengths, targets = map(torch.from_numpy, (views.ids, views.lengths, views.targets))
    real = torch.arange(ids.shape[1]) < lengths[:, None]
    segment = None if bool(real.all()) else real.long() - 1
    with torch.autocast("cpu", torch.bfloat16):
        states = forward(ids, segment)
        genes = gene_loss(model, states, targets)
    return {"genes": genes, "contrast": contrast(pool(states, lengths))}


@torch.no_grad()
def _check(
    model: GeneMamba, contrast: CellContrast, corpus: Corpus, cells: np.ndarray, recipe: Recipe
) -> dict[str, float]:
    """Losses on held-out cells, and how often a half finds its other half by the embedding."""
    rows: list[dict[str, float]] = []
    for name in np.unique(corpus.group[cells]):
        own = cells[corpus.group[cells] == name][:32]
        if len(own) < 16:
            continue
        rng = np.random.default_rng(recipe.seed)
        views = two_views(
            corpus.rows(own), corpus.vocab, rng, length=2 * recipe.length, mask_fraction=0.15,
            predict=recipe.predict,
        )  # fmt: skip
        row = {k: v.item() for k, v in _losses(model, model, contrast, views).items()}
        rng = np.random.default_rng(recipe.seed)
        whole = two_views(corpus.rows(own), corpus.vocab, rng, length=512, mask_fraction=0.0)
        vectors = model.embed(torch.from_numpy(whole.ids), torch.from_numpy(whole.lengths))
        a, b = nn.functional.normalize(vectors - vectors.mean(0), dim=-1).chunk(2)
        row["found"] = ((a @ b.T).argmax(1) == torch.arange(len(a))).float().mean().item()
        rows.append(row)
    return {f"held_out_{k}": float(np.mean([r[k] for r in rows])) for k in rows[0]}


def _save(file: Path, step: int, model: nn.Module, contrast: nn.Module, optimiser: Any) -> None:
    state = {
        "step": step,
        "model": model.state_dict(),
        "contrast": contrast.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    save_whole(state, file)


def _log(file: Path, row: dict[str, float]) -> None:
    line = json.dumps({k: round(v, 5) for k, v in row.items()})
    with file.open("a") as f:
        f.write(line + "\n")
    print(line, flush=True)


def describe(recipe: Recipe, corpus: Corpus) -> dict[str, Any]:
    """Return what a model card needs to repeat the run."""
    return {
        "recipe": asdict(recipe),
        "objective": "next gene" if recipe.predict == "next" else "masked genes",
        "cells": len(corpus),
        "libraries": len(corpus.groups),
        "genes": corpus.vocab.n_genes,
    }
