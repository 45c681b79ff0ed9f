"""Does a regression taught on full cells name shallow cells and those of a panel, too?

    python benchmarks robustness --data ../shared/data

Sets: zheng_facs_pbmc, pbmc3k and sc_mixology of `bench/`, and the two of `valid/`. Rows: the model,
PCA-50, and log-expression of 2,000 genes; what each keeps of its macro-F1 on full cells when the
cells asked about are thinned to 1,000 or 500 counts or cut to 1,000 or 300 genes (`_judge.py`).
The last line printed is the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import anndata as ad
from _data import SETS
from _judge import BASELINES, judged, model_vectors, score

BENCH = ("zheng_facs_pbmc", "pbmc3k", "sc_mixology_celseq2_dropseq")


def sets(folder: Path, n_cells: int) -> dict[str, ad.AnnData]:
    """Read the sets."""
    found = {name: SETS[name].load(folder, n_cells) for name in BENCH}
    found |= {p.stem: ad.read_h5ad(p) for p in sorted((folder / "valid").glob("*.h5ad"))}
    return {name: judged(adata, n_cells) for name, adata in found.items()}


def main() -> None:
    """Score every set, print a line a row, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with bench/ and valid/")
    parser.add_argument("--model", default="genemamba-mini", help="name or folder of a checkpoint")
    parser.add_argument("--former", help="a second checkpoint: the former release")
    parser.add_argument("--max-cells", type=int, default=1_500, help="of a set")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    results: dict[str, dict[str, dict[str, float]]] = {}
    for name, adata in sets(args.data, args.max_cells).items():
        rows = {args.model: model_vectors(args.model)}
        rows |= {"former release": model_vectors(args.former)} if args.former else {}
        rows |= {baseline: make() for baseline, make in BASELINES.items()}
        results[name] = {}
        for row, embed in rows.items():
            results[name][row] = score(adata, embed)
            print(name, row, results[name][row], flush=True)
    print(json.dumps({"benchmark": "robustness", "sets": results}))


if __name__ == "__main__":
    main()
