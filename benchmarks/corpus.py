"""How fast is a corpus built, and in how much memory? A million cells, made and not stored.

    python benchmarks corpus --data ../shared/data --gene-names NAMES --cells 1000000

Cells of one file are drawn with replacement and their counts thinned at random, so that no two are
the same; they are written to an h5ad file (CSR, not compressed) in a temporary folder and built
from there in a process of its own, whose peak memory is that of the build alone. Then the medians
of a corpus of all files in the folder are compared with exact ones.
The last line printed is the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from _data import within

from genemamba.datasets import build_corpus
from genemamba.tokens import digests

BLOCK = 20_000
BUILD = """
import json, resource, sys, time
from genemamba.datasets import build_corpus
out, names, *files = sys.argv[1:]
begun = time.perf_counter()
corpus = build_corpus(files, out, gene_names=names)
seconds = time.perf_counter() - begun
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
tokens = sum(shard["tokens"] for shard in corpus.shards)
print(json.dumps({"cells": len(corpus), "genes": corpus.vocab.n_genes, "tokens": tokens,
                  "seconds": round(seconds, 1), "peak_mb": round(peak)}))
"""


def write_cells(source: Path, target: Path, n_cells: int, share: float) -> None:
    """Write thinned cells to an h5ad file, block by block."""
    adata = ad.read_h5ad(source)
    x = adata.X.tocsr().astype(np.int64)
    rng = np.random.default_rng(0)
    adata[:0].copy().write_h5ad(target)
    with h5py.File(target, "r+") as file:
        del file["X"], file["obs"]
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
        group.attrs["shape"] = np.array([n_cells, adata.n_vars])
        data = group.create_dataset("data", (0,), "f4", maxshape=(None,), chunks=(2**18,))
        indices = group.create_dataset("indices", (0,), "i4", maxshape=(None,), chunks=(2**18,))
        ends = [np.zeros(1, np.int64)]
        for first in range(0, n_cells, BLOCK):
            block = x[rng.integers(x.shape[0], size=min(BLOCK, n_cells - first))]
            block.data = rng.binomial(block.data, share)
            block.eliminate_zeros()
            for dataset, values in ((data, block.data), (indices, block.indices)):
                dataset.resize(dataset.shape[0] + len(values), axis=0)
                dataset[-len(values) :] = values
            ends.append(ends[-1][-1] + block.indptr[1:].astype(np.int64))
        group.create_dataset("indptr", data=np.concatenate(ends))
        names = np.arange(n_cells).astype(str)
        ad.io.write_elem(file, "obs", pd.DataFrame(index=names))


def build(files: list[Path], out: Path, names: Path) -> dict[str, float]:
    """Build in a process of its own."""
    command = [sys.executable, "-c", BUILD, str(out), str(names), *map(str, files)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def median_errors(files: list[Path], scratch: Path, names: Path) -> dict[str, float]:
    """Compare the medians of a corpus with those of a build that keeps all values as they are."""
    found = build_corpus(files, scratch / "found", gene_names=names)
    digests._KEPT = 10**8
    exact = build_corpus(files, scratch / "exact", gene_names=names)
    error = np.abs(found.vocab.median / exact.vocab.median - 1)
    return {
        "cells": len(found),
        "genes": len(error),
        "worst_percent": round(100 * float(error.max()), 3),
        "mean_percent": round(100 * float(error.mean()), 4),
    }


def main() -> None:
    """Make cells, build, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of .h5ad files")
    parser.add_argument("--gene-names", type=Path, required=True, help="CSV: Ensembl id, symbol")
    parser.add_argument("--source", default="covid_pbmc_gse149689", help="file to draw cells from")
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--share", type=float, default=0.3, help="of the counts that is kept")
    parser.add_argument("--scratch", type=Path, help="folder with some GB of room")
    args = parser.parse_args()
    args.data = within(args.data, "corpus")
    with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
        file = Path(scratch) / "cells.h5ad"
        begun = time.perf_counter()
        write_cells(args.data / f"{args.source}.h5ad", file, args.cells, args.share)
        print(f"made {args.cells:,} cells in {time.perf_counter() - begun:.0f} s", flush=True)
        result = build([file], Path(scratch) / "large", args.gene_names)
        result["read_per_second"] = round(args.cells / result["seconds"])
        result["stored_per_second"] = round(result["cells"] / result["seconds"])
        print(result, flush=True)
        errors = median_errors(sorted(args.data.glob("*.h5ad")), Path(scratch), args.gene_names)
        print(errors, flush=True)
    print(json.dumps({"benchmark": "corpus", "large": result, "medians": errors}))


if __name__ == "__main__":
    main()
