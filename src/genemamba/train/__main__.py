"""Train genemamba-mini again: ``python -m genemamba.train CORPUS OUT``."""

from __future__ import annotations

import argparse
from pathlib import Path

from genemamba.datasets import Corpus
from genemamba.model import GeneMambaConfig
from genemamba.train.loop import MINI, MINI_SIZES, describe, train


def main() -> None:
    """Train on a corpus and write a checkpoint; resumes if run again."""
    parser = argparse.ArgumentParser(prog="python -m genemamba.train", description=__doc__)
    parser.add_argument("corpus", type=Path, help="folder made by genemamba build-corpus")
    parser.add_argument("out", type=Path, help="folder for the checkpoint, log and state")
    arguments = parser.parse_args()
    corpus = Corpus(arguments.corpus)
    config = GeneMambaConfig(vocab_size=len(corpus.vocab), **MINI_SIZES)
    model = train(corpus, config, MINI, arguments.out)
    model.ranking = corpus.ranking
    model.provenance = {"name": "genemamba-mini", **describe(MINI, corpus)}
    model.save_pretrained(arguments.out, half=True)


if __name__ == "__main__":
    main()
