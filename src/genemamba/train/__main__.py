"""Train genemamba-mini again: ``python -m genemamba.train CORPUS OUT``."""

from __future__ import annotations

import argparse
from pathlib import Path

from genemamba.datasets import read_corpus
from genemamba.datasets._corpus import with_former_names
from genemamba.model import GeneMambaConfig
from genemamba.train.loop import MINI, MINI_SIZES, describe, mean_ranking, train


def main() -> None:
    """Read a folder of count matrices, train, and write a checkpoint; resumes if run again."""
    parser = argparse.ArgumentParser(prog="python -m genemamba.train", description=__doc__)
    parser.add_argument("corpus", type=Path, help="folder of .h5ad files with counts")
    parser.add_argument("out", type=Path, help="folder for the checkpoint, log and state")
    parser.add_argument(
        "--gene-names", type=Path, required=True, help="CSV without header: Ensembl id, symbol"
    )
    arguments = parser.parse_args()
    corpus = read_corpus(arguments.corpus, arguments.gene_names)
    config = GeneMambaConfig(vocab_size=len(corpus.vocab), **MINI_SIZES)
    model = train(corpus, config, MINI, arguments.out)
    model.vocab = with_former_names(corpus.vocab)
    model.ranking = mean_ranking(corpus)
    model.provenance = {"name": "genemamba-mini", **describe(MINI, corpus)}
    model.save_pretrained(arguments.out, half=True)


if __name__ == "__main__":
    main()
