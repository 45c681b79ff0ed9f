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
from dataclasses import replace
from pathlib import Path

from genemamba.datasets import Corpus
from genemamba.model import GeneMambaConfig
from genemamba.train.loop import MINI, MINI_SIZES, describe, train

VARIANTS = {
    "both": ("hidden", True),
    "forward": ("hidden", False),
    "paper": ("next", True),
    "causal": ("next", False),
}
RECIPE = replace(MINI, cells=32, contrast_weight=0.0, save_every=20, check_every=100)


def main() -> None:
    """Train one variant; resumes if run again."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("--corpus", type=Path, required=True, help="made by genemamba build-corpus")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    args = parser.parse_args()
    predict, bidirectional = VARIANTS[args.variant]
    corpus = Corpus(args.corpus)
    recipe = replace(RECIPE, steps=args.steps, predict=predict)
    sizes = MINI_SIZES | {"bidirectional": bidirectional}
    config = GeneMambaConfig(vocab_size=len(corpus.vocab), **sizes)
    model = train(corpus, config, recipe, args.out)
    model.ranking = corpus.ranking
    model.provenance = {"name": args.variant, **describe(recipe, corpus)}
    model.save_pretrained(args.out, half=True)


if __name__ == "__main__":
    main()
