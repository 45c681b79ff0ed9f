"""Does the model know which genes a cell expresses and how they rank? Hidden genes, and the paper.

    python benchmarks reconstruct --data ../shared/data \
        --models both=build/both,forward=build/forward,paper=build/paper

Three protocols of `gm.tl.reconstruct` (masked, paper, next), for genemamba-mini, the same
architecture with random weights, and the models of benchmarks/reconstruct_models.py where they are
given. The mean ranking of the training cells and a copy of what is given stand beside them. All
rows of a set see the same cells, the genes that all models know and, where genes are hidden, the
same hidden genes; but for `--former`, the former release, whose medians rank genes otherwise, and
which has a mean ranking of its own. Columns: edits
(Levenshtein), NLD, BLEU, Spearman of the genes asked for, share of them found, share of hidden
genes among the 50 likeliest for their place; edits and BLEU over ten cells joined, as published.
The last line printed is the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _data import SETS

import genemamba as gm
from genemamba.errors import GeneMambaWarning
from genemamba.network import GeneMamba
from genemamba.network.rebuild import names_next_gene
from genemamba.tokens import match

PROTOCOLS = ("masked", "paper", "next")
COLUMNS = {
    "levenshtein": "edits",
    "nld": "NLD",
    "bleu": "BLEU",
    "spearman": "Spearman",
    "recall": "found",
    "recall_50": "of 50",
    "levenshtein_10": "edits, ten cells",
    "bleu_10": "BLEU, ten cells",
}


def random_weights(model: GeneMamba) -> GeneMamba:
    """Return the architecture, genes and mean ranking of a model with weights drawn anew."""
    other = GeneMamba(model.config).reset_parameters(0).eval()
    other.vocab, other.ranking = model.vocab, model.ranking
    return other


def run_set(
    name: str, models: dict[str, GeneMamba], args: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Return, for each protocol, the rows of one set."""
    adata = SETS[name].load(args.data)
    known = [match(adata.var_names, model.vocab).token >= 0 for model in models.values()]
    adata = adata[:, np.all(known, axis=0)].copy()
    found: dict[str, dict[str, Any]] = {}
    for protocol in args.protocols:
        n_cells = args.next_cells if protocol == "next" else args.cells
        rows = found[protocol] = {}
        for title, model in models.items():
            if protocol == "masked" and names_next_gene(model):
                continue  # it was never shown a hidden gene
            if protocol == "paper" and title == "forward":
                continue  # it cannot copy what it has not seen
            begun = time.perf_counter()
            gm.tl.reconstruct(adata, protocol=protocol, model=model, n_cells=n_cells)
            table = adata.uns["genemamba"]["reconstruct"]["table"]
            rows[title] = table.loc["model"].to_dict()
            rows[title]["seconds"] = time.perf_counter() - begun
            for baseline in ("mean ranking", "copy"):
                said = "copy of the next gene" if is_moved(model, protocol, baseline) else baseline
                rows.setdefault(said, table.loc[baseline].to_dict())
    return found


def is_moved(model: GeneMamba, protocol: str, baseline: str) -> bool:
    """Whether the copy is that of a model that names the next gene."""
    return baseline == "copy" and protocol == "paper" and names_next_gene(model)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the .h5ad files")
    parser.add_argument("--sets", default="pbmc3k,zheng_facs_pbmc,kang_ctrl_8donors")
    parser.add_argument("--protocols", default=",".join(PROTOCOLS))
    parser.add_argument("--models", default="", help="name=folder, comma-separated")
    parser.add_argument("--former", help="a checkpoint: the former release")
    parser.add_argument("--cells", type=int, default=200, help="cells of a set")
    parser.add_argument("--next-cells", type=int, default=32, help="the same for protocol next")
    args = parser.parse_args()
    args.sets, args.protocols = args.sets.split(","), args.protocols.split(",")
    args.models = dict(pair.split("=", 1) for pair in args.models.split(",") if pair)
    return args


def main() -> None:
    """Run every set, print tables, then JSON."""
    args = parse_args()
    warnings.simplefilter("ignore", GeneMambaWarning)
    mini = gm.models.load("genemamba-mini")
    models = {"genemamba-mini": mini, "random weights": random_weights(mini)}
    for name, folder in args.models.items():
        models[name] = gm.models.load(folder)
        models[name].ranking = mini.ranking
    if args.former:
        models["former release"] = gm.models.load(args.former)
    result: dict[str, Any] = {"benchmark": "reconstruct", "sets": {}}
    for name in args.sets:
        result["sets"][name] = run_set(name, models, args)
        for protocol, rows in result["sets"][name].items():
            table = pd.DataFrame(rows).T.rename(columns=COLUMNS).round(3)
            print(f"\n{name}, {protocol}\n{table.to_string()}", flush=True)
    print("\n" + json.dumps(result))


if __name__ == "__main__":
    main()
