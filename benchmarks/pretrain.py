"""How much of a batch is padding, and how fast training steps of genemamba-mini's sizes are.

    OMP_NUM_THREADS=1 python benchmarks pretrain --corpus CORPUS --length 192

Padded means that every view has a row of its own, as long as the longest of its micro-batch; packed
is what the engine does. Tokens are real ones. The objectives are those of the recipe; the
first half of the steps, compiling among them, is not counted. Preload tcmalloc, or glibc's
allocator is what is measured.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from genemamba.datasets import Corpus
from genemamba.train.data import Stream, split
from genemamba.train.packing import ViewBatch
from genemamba.train.recipe import Recipe
from genemamba.train.start import new_model
from genemamba.train.steps import decay_groups
from genemamba.train.task import Task


def padded(batch: ViewBatch) -> ViewBatch:
    """Give every view a row of its own."""
    lengths = torch.bincount(batch.segment[batch.segment >= 0], minlength=batch.n_views)
    real = torch.arange(int(lengths.max())) < lengths[:, None]
    # views one after the other, in their order
    order = batch.segment.flatten().argsort(stable=True)[-int(lengths.sum()) :]

    def rows(values: torch.Tensor, otherwise: int) -> torch.Tensor:
        out = torch.full(real.shape, otherwise, dtype=values.dtype)
        out[real] = values.flatten()[order]
        return out

    return batch._replace(
        ids=rows(batch.ids, 1),
        genes=rows(batch.genes, 1),
        target_mask=rows(batch.target_mask, 0),
        segment=rows(batch.segment, -1),
    )


def run(corpus: Corpus, stream: Stream, steps: int, *, pack: bool, compiled: bool) -> float:
    """Train some steps; return tokens a second."""
    model = new_model(corpus, stream.recipe, stream.training)
    task = Task(model, stream.recipe, corpus.labels)
    if compiled:
        task.compile()
    optimiser = torch.optim.AdamW(decay_groups(task.trained(), 0.01), lr=1e-3, fused=True)
    tokens, seconds = 0, 0.0
    for step, (batch,) in stream.from_step(0):
        if step == steps:
            break
        chosen = batch if pack else padded(batch)
        begun = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            losses = task(chosen)
        task.total(losses).backward()
        optimiser.step()
        optimiser.zero_grad()
        if step >= steps // 2:
            seconds += time.perf_counter() - begun
            tokens += int((chosen.segment >= 0).sum())
    return tokens / seconds


def main() -> None:
    """Print a JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--corpus", type=Path, required=True, help="made by genemamba build-corpus")
    parser.add_argument("--length", type=int, default=192)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--ways", nargs="*", default=["padded", "packed", "compiled"])
    args = parser.parse_args()
    corpus = Corpus(args.corpus)
    recipe = Recipe.read("genemamba-mini").to_dict()
    recipe["model"].pop("start", None)
    recipe["objectives"] |= {"masked": 1.0, "contrast": 1.0, "profile": 0.0}
    recipe["data"]["length"] = args.length
    recipe["optimiser"]["steps"] = max(args.steps, 40) + 1
    read = Recipe.from_dict(recipe)
    stream = Stream(corpus, read, split(corpus, read).training)
    batches = [stream.own(step)[0] for step in range(40)]
    found = {"benchmark": "pretrain", "length": args.length}
    for name, change in (("packed", lambda b: b), ("padded", padded)):
        shares = [float((change(b).segment >= 0).float().mean()) for b in batches]
        found[f"real_share_{name}"] = round(float(np.mean(shares)), 3)
    for way in args.ways:
        speed = run(corpus, stream, args.steps, pack=way != "padded", compiled=way == "compiled")
        found[f"tokens_per_second_{way}"] = round(speed)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
