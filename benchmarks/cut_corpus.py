"""Makes a smaller copy of a corpus: the first genes of every cell, for a machine far away.

    python benchmarks/cut_corpus.py CORPUS OUT --genes 1024

Views of a recipe with `length = 192` seldom reach genes beyond the first thousand. Cells, libraries
and labels stay the same, so the copy trains with the same recipe.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np

from genemamba.datasets._store import MANIFEST, Shard


def cut(shard: Shard, genes: int) -> Shard:
    """Keep the first genes of every cell."""
    place = np.arange(len(shard.tokens)) - np.repeat(shard.starts[:-1], np.diff(shard.starts))
    kept = place < genes
    starts = np.append(0, np.cumsum(np.minimum(np.diff(shard.starts), genes)))
    return Shard(
        shard.tokens[kept], shard.counts[kept], starts, shard.library, shard.label, shard.profile
    )


def cut_corpus(corpus: Path, out: Path, genes: int) -> None:
    """Write the copy; its manifest comes last."""
    out.mkdir(parents=True)
    manifest = json.loads((corpus / MANIFEST).read_text(encoding="utf-8"))
    names = {shard["name"] for shard in manifest["shards"]}
    for file in corpus.iterdir():
        if file.name != MANIFEST and file.name.split(".")[0] not in names:
            shutil.copy(file, out)
    for described in manifest["shards"]:
        shard = cut(Shard.load(corpus, described["name"]), genes)
        described |= {"tokens": len(shard.tokens), "sha256": shard.save(out, described["name"])}
    manifest["genes_per_cell"] = genes
    (out / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("corpus", type=Path, help="made by genemamba build-corpus")
    parser.add_argument("out", type=Path, help="a folder that does not exist")
    parser.add_argument("--genes", type=int, default=1_024, help="kept of each cell")
    args = parser.parse_args()
    cut_corpus(args.corpus, args.out, args.genes)


if __name__ == "__main__":
    main()
