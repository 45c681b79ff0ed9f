"""Build the four models of the paper's Table 5 and take one training step with each.

    python benchmarks table5

Vocabulary 25,426, next gene, tiny rows: this shows that the sizes are right and that they train,
not how fast. Parameters are counted as the paper does, without a gate. The last line printed is
the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np
import torch
from scipy import sparse

from genemamba.network import GeneMamba
from genemamba.tokens import FIRST_GENE, Vocabulary
from genemamba.train.packing import make_batch
from genemamba.train.recipe import Recipe
from genemamba.train.steps import decay_groups
from genemamba.train.task import Task
from genemamba.train.views import Views

GENES = 25_424
PUBLISHED = {(24, 512): 65.74, (48, 512): 105.43, (24, 768): 127.06, (48, 768): 215.03}


def one_step(n_layers: int, d_model: int) -> tuple[int, float, float]:
    """Take a step on four random views; return parameters and the loss before and after."""
    recipe = Recipe.from_dict(
        {
            "model": {"n_layers": n_layers, "d_model": d_model, "merge": "mean"},
            "objectives": {"masked": 0.0, "contrast": 0.0, "next": 1.0, "mask_fraction": 1.0},
            "optimiser": {"learning_rate": 1e-3, "steps": 1},
        }
    )
    names = np.array([f"ENSG{i:011d}" for i in range(GENES)])
    vocab = Vocabulary(names, names, np.ones(GENES), np.full(GENES, ""))
    model = GeneMamba(recipe.config(len(vocab))).reset_parameters(0)
    model.vocab = vocab
    task = Task(model, recipe)
    rng = np.random.default_rng(0)
    rankings = [rng.choice(GENES, 16, replace=False) + FIRST_GENE for _ in range(4)]
    views = Views(rankings, sparse.csr_matrix((4, GENES)), np.ones((2, GENES), dtype=bool))
    batch = make_batch(views, vocab, rng, row=32, target_fraction=1.0, hide=False)
    optimiser = torch.optim.AdamW(decay_groups(task.named_parameters(), 0.01), lr=1e-3, fused=True)
    before = task.total(task(batch))
    before.backward()
    optimiser.step()
    with torch.no_grad():
        after = task.total(task(batch))
    return sum(p.numel() for p in model.parameters()), before.item(), after.item()


def main() -> None:
    """Print a row for each size, then JSON."""
    argparse.ArgumentParser(description=__doc__.split("\n", 1)[0]).parse_args()
    print("| layers | width | parameters (M) | paper (M) | loss before | after | seconds |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for (n_layers, d_model), published in PUBLISHED.items():
        begun = time.perf_counter()
        n, before, after = one_step(n_layers, d_model)
        seconds = time.perf_counter() - begun
        print(f"| {n_layers} | {d_model} | {n / 1e6:.2f} | {published} | {before:.3f} | "
              f"{after:.3f} | {seconds:.1f} |")  # fmt: skip
        rows.append({"layers": n_layers, "width": d_model, "parameters": n, "published": published,
                     "before": before, "after": after})  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.1f} GB")
    print(json.dumps({"benchmark": "table5", "rows": rows, "peak_gb": round(peak, 1)}))


if __name__ == "__main__":
    main()
