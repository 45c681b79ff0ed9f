"""Which data, objectives, views and sizes make the better embedding? Bench sets take no part.

    python benchmarks ablation --corpus CORPUS --plain PLAIN --data DATA --out RUNS

Every row trains the recipe `genemamba-mini` with a few settings changed, for few steps, without the
labelled tissues of the corpus (`LEFT_OUT`), and is judged on these and on `valid/`: macro-F1 of a
regression on the frozen embedding, AvgBIO, and the share of macro-F1 that cells keep when they are
thinned or cut to a panel (`_judge.py`). `start` is what training begins with; `PCA-50` and
`log-expression` are of each set itself. "no profiles" and "cells alone" need a corpus of their own
(`--plain`), built without profiles. Without `--rows`, the ingredients of the recipe are measured,
with three seeds where they differ little. A row that is done is not trained again. The last line
printed is the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import warnings
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
from _judge import BASELINES, judged, model_vectors, score

import genemamba as gm
from genemamba.datasets import Corpus
from genemamba.train.data import split
from genemamba.train.recipe import Recipe
from genemamba.train.start import new_model

LEFT_OUT = ("fetal_brain_camp", "gastrula_tyser", "ipsc_cardio")
SEEDS = {  # of the ingredients: more where rows differ little
    "base": 3, "no labels": 3, "no pairs": 3, "no panels": 3, "no profiles": 1, "masked 1": 1,
    "not masked": 1, "width 384": 1, "paper: next gene": 1, "paper: pathways too": 1,
}  # fmt: skip
Changes = dict[str, dict[str, Any]]
NONE = {"labels": 0.0}
ROWS: dict[str, Changes] = {
    "base": {},
    "no profiles": {"objectives": NONE, "data": {"pairs": 0.0}},
    "no labels": {"objectives": NONE, "data": {"pairs": 0.0}},
    "no pairs": {"data": {"pairs": 0.0}},
    "labels 1": {"objectives": {"labels": 1.0}},
    "no panels": {"data": {"panels": 0.0}},
    "panels .6": {"data": {"panels": 0.6}},
    "former depths": {"data": {"shallowest": 400.0, "deepest": 4_000.0}},
    "even capture": {"data": {"capture": 0.0}},
    "384 tokens": {"data": {"length": 384, "cells": 32}},
    "768 tokens": {"data": {"length": 768, "cells": 16}},
    "width 384": {"model": {"d_model": 384}},
    "4 layers": {"model": {"n_layers": 4}},
    "random start": {"model": {"start": ""}},
    "masked only": {"objectives": NONE | {"contrast": 0.0}, "data": {"pairs": 0.0}},
    "not masked": {"objectives": {"masked": 0.0}},
    "masked 1": {"objectives": {"masked": 1.0}},
    "profile too": {"objectives": {"profile": 1.0}},
    "paper: next gene": {
        "objectives": NONE | {"next": 1.0, "masked": 0.0, "contrast": 0.0},
        "data": {"pairs": 0.0},
    },
    "paper: pathways too": {"objectives": {"pathway": 0.1}},
    "all of the last weights": {"optimiser": {"start_share": 0.0}},
}


def load(data: Path, n_cells: int) -> dict[str, ad.AnnData]:
    """Read the sets that judge."""
    files = sorted((data / "valid").glob("*.h5ad"))
    files += [data / "corpus" / f"{name}.h5ad" for name in LEFT_OUT]
    return {file.stem: judged(ad.read_h5ad(file), n_cells) for file in files}


def judge(sets: dict[str, ad.AnnData], new: Any) -> dict[str, Any]:
    """Score every set, and the mean over them."""
    each = {name: score(adata, new()) for name, adata in sets.items()}
    keys = next(iter(each.values()))
    mean = {key: round(float(np.mean([own[key] for own in each.values()])), 4) for key in keys}
    return {"mean": mean, "sets": each}


def recipe_of(row: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Return the recipe of a row."""
    values = Recipe.read("genemamba-mini").to_dict()
    for section, changes in ROWS[row].items():
        values[section] = values[section] | changes
    values["objectives"]["gene_sets"] = str(args.gene_sets or "")
    values["data"]["held_out"] = list(LEFT_OUT)
    values["optimiser"] |= {"steps": args.steps, "epochs": 0}
    values["run"] |= {"check_every": args.steps, "seed": seed}
    return values | {"name": row}


def run_row(row: str, seed: int, sets: dict[str, ad.AnnData], args: argparse.Namespace) -> Any:
    """Train and judge one row, or read what was found before."""
    name = row.replace(" ", "-").replace(",", "").replace(":", "")
    folder = args.out / (f"{name}-{seed}" if seed else name)
    done = folder / "judged.json"
    if done.exists():
        return json.loads(done.read_text())
    corpus = Corpus(args.plain if row == "no profiles" else args.corpus)
    begun = time.process_time()
    gm.tl.pretrain(corpus, folder, recipe=recipe_of(row, seed, args))
    seconds = time.process_time() - begun
    found = judge(sets, lambda: model_vectors(str(folder))) | {"cpu_seconds": round(seconds)}
    done.write_text(json.dumps(found))
    return found


def start(corpus: Corpus, folder: Path, args: argparse.Namespace) -> Path:
    """Store what training begins with."""
    if not (folder / "config.json").exists():
        recipe = Recipe.from_dict(recipe_of("base", 0, args))
        model = new_model(corpus, recipe, split(corpus, recipe).training).eval()
        model.provenance = {"name": "start"}
        model.save_pretrained(folder)
    return folder


def main() -> None:
    """Run the rows, print each, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder of build-corpus")
    parser.add_argument("--plain", type=Path, help="the same without profiles")
    parser.add_argument("--data", type=Path, required=True, help="folder with valid/ and corpus/")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--rows", help="comma-separated")
    parser.add_argument("--seeds", type=int, nargs="+", help="of all rows")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--cells", type=int, default=400, help="judged of each set")
    parser.add_argument("--gene-sets", type=Path, help="GMT file of pathways; Reactome by default")
    parser.add_argument("--model", nargs="*", default=[], help="judge these checkpoints, too")
    args = parser.parse_args()
    args.gene_sets = args.gene_sets or args.data / "gene-sets" / "human_reactome_v2025.gmt.gz"
    ingredients = [row for row in SEEDS if args.plain or row != "no profiles"]
    rows = ingredients if args.rows is None else list(filter(None, args.rows.split(",")))
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    sets, results = load(args.data, args.cells), {}

    def found(name: str, result: Any) -> None:
        results[name] = result
        print(name, result["mean"], flush=True)

    for name, new in BASELINES.items():
        found(name, judge(sets, new))
    begin = start(Corpus(args.corpus), args.out / "start", args)
    for path in [str(begin), *args.model]:
        found(Path(path).name, judge(sets, lambda path=path: model_vectors(path)))
    for row in rows:
        for seed in args.seeds or range(SEEDS.get(row, 1)):
            found(f"{row} ({seed})" if seed else row, run_row(row, seed, sets, args))
    print(json.dumps({"benchmark": "ablation", "steps": args.steps, "rows": results}))


if __name__ == "__main__":
    main()
