"""The modules of `benchmarks/`, which are a folder of scripts, and results as these print them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PRIVATE = sorted(script.stem for script in BENCHMARKS.glob("_[!_]*.py"))


@pytest.fixture(scope="session")
def scripts() -> Iterator[dict[str, ModuleType]]:
    """Modules by name; the path to them and they themselves are gone afterwards."""
    if not BENCHMARKS.is_dir():
        pytest.skip("benchmarks/ is not beside these tests")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        light = ("_all", "_commands", "_kept", "_map_tables", "_scgraph", "_tables", "_timings",
                 "cut_corpus")  # fmt: skip
        yield {name: importlib.import_module(name) for name in light}
    for name in (*PRIVATE, "cut_corpus"):
        sys.modules.pop(name, None)


SPACE = {"avg_bio": 0.7, "ari": 0.7, "nmi": 0.8, "asw_label": 0.6}
BATCH = {"avg_batch": 0.9, "asw_batch_within": 0.9, "graph_connectivity": 0.9, "bras": 0.8,
         "ilisi": 0.1}  # fmt: skip


def quality_rows(f1: float) -> dict[str, float]:
    return {"f1": f1, "f1_sd": 0.01, "knn": 0.8, "knn_sd": 0.02, **SPACE, "scgraph": 0.5}


QUALITY = {"cells": 3_874, "genes": 16_791, "types": 10, "split": "5-fold stratified", "folds": 5,
           "genes_known": 12_890, "counts_lost": 0.009}  # fmt: skip
PAIR = {"auroc": 0.5, "auroc_low": 0.4, "auroc_high": 0.6, "auroc_matched": 0.5,
        "auroc_matched_low": 0.4, "auroc_matched_high": 0.6, "euclidean": 0.03, "kl": 0.04,
        "js": 0.01, "js_shuffled": 0.005}  # fmt: skip
HIDDEN = {"levenshtein": 123.1, "bleu": 0.677, "spearman": None, "recall": 0.3, "recall_50": 0.4,
          "levenshtein_10": 1_200.0, "bleu_10": 0.6}  # fmt: skip
TYPES = {"accuracy": 0.9, "accuracy_sd": 0.03, "f1": 0.7, "f1_sd": 0.08, "balanced": 0.7,
         "ece": 0.04, "seconds": 181.4}  # fmt: skip
PERTURBED = {"changed": 157, "cells": 179, "cosine": 4e-5, "cosine_controls": 2e-5, "p_shift": 0.03,
             "towards": -0.37, "towards_controls": 0.0, "score": -0.011, "score_controls": -4e-4,
             "rank": 2, "p_away": 0.02, "p_score": 0.04, "fdr_score": 0.04}  # fmt: skip
SILENT = {"changed": 0, "cells": 179} | dict.fromkeys(list(PERTURBED)[2:])
SIZES = {"products": 0.52, "ours": 0.99, "peer": 7.1}
INFERENCE = {
    "cells": [{"set": "pbmc3k", "cells": 256, "tokens_per_cell": 843.9,
               "cells_per_s": {"ours": 110.6, "bert": 12.7, "padded": 22.2},
               "ours_over_bert": 8.7, "ours_over_padded": 5.0}],
    "length": [{"tokens": 512, "seconds": 0.006, "us_per_token": 12.6, "peak_memory_gb": 0.58}],
    "model": [{"batch": 1, **SIZES}, {"batch": 8, **SIZES}],
}  # fmt: skip
BERT = [{"tokens": 2_048, "rows": 32, "ours": 0.1, "bert": 0.2, "bert_over_ours": 2.0}]
LENGTH = {"tokens": 2_048, "genemamba_seconds": 0.85, "genemamba_proportional": 1.0,
          "transformer_seconds": 1.22, "transformer_proportional": 1.0,
          "transformer_over_genemamba": 1.44}  # fmt: skip
ADAPTED = {
    "cells": 2_000, "seconds": 301.2, "steps": 210, "kept": "0.5", "held_out": 200,
    "predicted": [0.2, 0.21], "neighbours": [0.3, 0.35],
    "rows": {row: {"f1": 0.8, "avg_bio": 0.6} for row in ("zero-shot", "adapted", "pca", "scvi")},
}  # fmt: skip
SHARES = {"right": 0.8, "finer": 0.1, "wrong": 0.03, "unknown": 0.07}
TERMS = SHARES | {"stated": 0.9, "right_or_finer": 0.92, "ece": 0.03, "depth": 4.5}
NEAR = {"same": 0.7, "mostly": 0.7, "same_known": 0.8, "mostly_known": 0.8}
LAID = NEAR | {"f1": 0.7, "f1_sd": 0.1, "ece": 0.1, "unknown": 0.03, "f1_unknown": 0.6}

# A result for each listed command, by the start of the command.
RESULTS: dict[str, dict[str, Any]] = {
    "quality": {"model": "genemamba-mini", "sets": {
        "zheng": QUALITY | {"unseen": {"b1": ["CD34+"]}, "rows": {
            "model": quality_rows(0.81) | BATCH, "former": quality_rows(0.79) | BATCH,
            "pca": quality_rows(0.8) | BATCH}},
        "pbmc3k": QUALITY | {"unseen": {}, "rows": {
            "model": quality_rows(0.71), "former": quality_rows(0.7), "pca": quality_rows(0.8)}},
    }},
    "mouse": {"model": "genemamba-mini", "sets": {"lung": {
        "cells": 800, "genes": 24_248, "current": 0.83, "mapped": 0.86, "read": 0.857, "types": 4,
        "rows": {row: SPACE | {"f1": 0.9, "f1_sd": 0.01} for row in ("model", "renamed", "pca")}},
        "intestine": {"cells": 431, "genes": 20_268, "current": 0.9, "mapped": 0.95,
                      "read": 0.949}},
        "lineages": {"cells": 800, "rows": {"checkpoint": {
            "f1": 0.4, "B": 0.6, "T": 0.2, "NK": 0.0, "myeloid": 0.8, "none": 0.7}}}},
    "adapt": {"minutes": 5, "steps": None, "sets": {
        "zheng": ADAPTED, "pbmc": ADAPTED | {"apart": ADAPTED | {"batch": "b1"}}}},
    "robustness": {"sets": {"zheng": {"genemamba-mini": {
        "f1": 0.8, "avg_bio": 0.6, "1000 counts": 0.95, "500 counts": 0.9, "1000 genes": 0.9,
        "300 genes": 0.7}}}},
    "annotate --data DATA --rows": {
        "types": {"zheng": {"auto": TYPES | {"coverage": 0.9, "size": 1.1}, "pca": TYPES}},
        "size": {"cells_of_a_set": 3_000, "folds": "all"}},
    "annotate --data DATA --sets": {
        "types": {"zheng": {"finetune": TYPES, "probe": TYPES}},
        "size": {"cells_of_a_set": 3_000, "folds": 2}},
    "terms": {"sets": {"pbmc3k": {
        "cells": 2_000, "broad": TERMS, "auto": TERMS, "fine": SHARES,
        "clusters": SHARES, "tissues": ["Blood"], "lineages": {"T cell": 0.97}}}},
    "unknown": {"types": {"zheng": {"types": {"B": {"found": 0.9, "false": 0.03}},
                                    "found": 0.9, "false": 0.03}},
                "others": {"zheng": {"brain": 1.0}},
                "panels": {"zheng": {"300 genes": 0.06}}},
    "map": {"transfer": {"pbmc_combined_4batch": {
                "folds": 4, "unchanged": True, "rows": {
                    "map": LAID, "corrected": LAID, "knn": {"f1": 0.6, "f1_sd": 0.1, "ece": 0.1},
                    "symphony": {"f1": 0.6, "f1_sd": 0.1, **NEAR}},
                "by_fold": {"b1": {"map": NEAR, "corrected": NEAR, "plain": NEAR}}}},
            "quality": {"four": {"held out": 0.03, "brain": 0.97}, "sorted": {"brain": 1.0}},
            "body": {"pbmc3k": {"cells": 2_000, "map": SHARES | {"stated": 0.6, "ece": 0.3},
                                "annotate": TERMS, "tissue": {
                "first": "Skin", "first_fold": 2.0, "own": "Blood", "own_fold": 1.5, "place": 2,
                "largest_fold": "Skin", "types": 9, "types_own_first": 8}}},
            "time": {"cells": 2_000, "asked": 2_000, "build_seconds": 4.0, "first_seconds": 31.0,
                     "embed_cells_per_s": 110.0, "maps": {"body": {
                "cells": 13_040, "width": 256, "bytes": 3_900_000, "map_cells_per_s": 2_000.0,
                "corrected_cells_per_s": 1_500.0}}}},
    "integrate": {"model": "genemamba-mini", "sets": {"kang": {
        "cells": 4_551, "types": 8, "batches": 2, "rows": {"pca": SPACE | BATCH},
        "held_out": {"pca": SPACE | BATCH,
                     "tuned": SPACE | BATCH | {"avg_bio_sd": 0.01, "bras_sd": 0.02}}}}},
    "reconstruct": {"sets": {"pbmc3k": {protocol: {"genemamba-mini": HIDDEN}
                                        for protocol in ("masked", "paper", "next")}}},
    "genes": {"pairs": {name: {"drawn": 30_000, "used": 8_096,
                               "rows": {"static": PAIR, "frequency": {"auroc": 0.6}}}
                        for name in ("ggipnn_test", "gene2vec_pairs")},
              "modules": {"static": {"modules": 15, "Hallmark: modules": 12, "Hallmark: sets": 32,
                                     "Reactome: modules": 15, "Reactome: sets": 537}}},
    "perturb": {"sets": {"pbmc3k": {
        "perturb": {"table": {"CD3D": PERTURBED, "SILENT": SILENT}},
        "attribute": {"cells_per_kind": 10,
                      "ranks": {"CD3D in T cells": {"place": 13_706, "label, IG": 1}}}}}},
    "corpus": {"large": {"cells": 607_928, "genes": 15_955, "tokens": 526_000_000, "seconds": 24.0,
                         "peak_mb": 1_360, "read_per_second": 41_800, "stored_per_second": 25_400},
               "medians": {"cells": 18_686, "genes": 15_955, "worst_percent": 0.27,
                           "mean_percent": 0.05}},
    "ablation": {"rows": {"PCA-50": {"mean": {"f1": 0.4, "avg_bio": 0.5, "500 counts": 0.8}},
                          "base": {"mean": {"f1": 0.7, "avg_bio": 0.6, "500 counts": 0.9},
                                   "cpu_seconds": 1_372},
                          "base (1)": {"mean": {"f1": 0.8, "avg_bio": 0.6, "500 counts": 0.9},
                                       "cpu_seconds": 1_380}}},
    "length": {"rows": [LENGTH]},
    "pretrain": {"length": 192, "real_share_packed": 0.97, "real_share_padded": 0.6,
                 "tokens_per_second_padded": 9_000, "tokens_per_second_compiled": 18_700},
    "table5": {"rows": [{"layers": 24, "width": 512, "parameters": 65_740_000, "published": 65.74,
                         "before": 10.3, "after": 8.1}]},
    "speed": {"set": "pbmc3k", "model": "genemamba-mini", "cells": 2_700, "tokens_per_cell": 825.9,
              "precision": "bfloat16", "tokenise_cells_per_s": 53_250,
              "numpy_loop_cells_per_s": 15_968, "embed_seconds": 24.3, "embed_cells_per_s": 111.1,
              "embed_tokens_per_s": 91_722, "memory_before_mb": 381, "peak_memory_mb": 970,
              "model_cpu_ms_per_cell": 16.2, "former_cpu_ms_per_cell": 14.8},
    "waits": {"seconds": {"first, cold": {"now": 5.1, "before": 14.0},
                          "perturb one": {"now": 19.0, "before": 39.0}}},
    "inference --data DATA --parts cells": {"device": "cpu", "cells": INFERENCE["cells"]},
    "inference --data DATA --parts model": {"device": "cpu", "model": INFERENCE["model"]},
    "inference --data DATA --parts length": {"device": "cpu", "length": INFERENCE["length"]},
    "inference --device cuda": {"device": "cuda", "bert": BERT, "length": INFERENCE["length"]},
    "scale --data DATA --parts tokenise": {
        "tokenise": [{"from": ".zarr", "cells": 1_000_000, "cells_per_s": 29_689.8,
                      "store_gb": 1.14, "seconds": 33.7, "peak_gb": 0.69}],
        "embed": [{"cells": 5_000, "cells_per_s": 306.2, "seconds": 16.3, "peak_gb": 0.73}],
        "kill": [{"cells": 20_000, "kills": 10, "same": True}],
        "mini": [{"cells": 50_000, "cells_per_s": 250.0, "seconds": 200.0, "peak_gb": 0.9,
                  "million_hours": 1.11}, {"cells": 20_000, "kills": 2, "same": True}]},
    "scale --data DATA --parts dask": {"dask": [{"workers": 2, "seconds": 71.0, "cells_per_s": 57.7,
                                                 "largest_difference": 1e-6}]},
}  # fmt: skip


@pytest.fixture(scope="session")
def results(scripts: dict[str, ModuleType]) -> dict[str, dict[str, Any]]:
    """A made-up result for each listed command."""
    found = {}
    for command in scripts["_commands"].COMMANDS:
        (start,) = (start for start in RESULTS if command.startswith(start))
        found[command] = RESULTS[start]
    return found
