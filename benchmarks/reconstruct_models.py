"""Train the small models that benchmarks/reconstruct.py sets beside each other.

    python benchmarks/reconstruct_models.py both --corpus CORPUS --out build/both

All have the sizes of genemamba-mini and see the same rows for the same number of steps, a small
part of the release's. They differ in one thing each:

both       names hidden genes, reads both ways
forward    names hidden genes, reads forwards only: the paper's ablation (GeneMamba_U)
paper      names the next gene, reads both ways: the paper's objective
causal     names the next gene, reads forwards only: here the next gene has not been seen
"""

from __future__ import annotations

import argparse
from pathlib import Path

import genemamba as gm
from genemamba.train.recipe import Recipe

VARIANTS = {
    "both": ("masked", True),
    "forward": ("masked", False),
    "paper": ("next", True),
    "causal": ("next", False),
}


def main() -> None:
    """Train one variant; resumes if run again."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("--corpus", type=Path, required=True, help="made by genemamba build-corpus")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    args = parser.parse_args()
    objective, bidirectional = VARIANTS[args.variant]
    recipe = Recipe.read("genemamba-mini").to_dict() | {"name": args.variant}
    recipe["model"]["bidirectional"] = bidirectional
    recipe["model"].pop("start")
    recipe["objectives"] |= {"profile": 0.0, "contrast": 0.0} | {objective: 1.0}
    recipe["data"]["cells"] = 32
    recipe["optimiser"]["steps"] = args.steps
    recipe["run"] |= {"save_every": 20, "check_every": 100}
    gm.tl.pretrain(args.corpus, args.out, recipe=recipe)


if __name__ == "__main__":
    main()
