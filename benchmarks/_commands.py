"""What `python benchmarks all` runs: the commands behind the tables of docs/benchmarks.md.

A word in capitals is an option of `all` (``--corpus CORPUS``): without it a command is skipped, or
the part in brackets is left out. The whole list takes some hours on two cores; fine-tuning, the
slowest of it, is measured on the first two folds of each set.
"""

from __future__ import annotations

COMMANDS = (
    "quality --data DATA --max-cells 2000 [--former FORMER]",
    "adapt --data DATA --steps 250",
    "robustness --data DATA --max-cells 500 [--former FORMER]",
    "annotate --data DATA --rows auto,probe,expression,pca --max-cells 2000 --max-train 1000 "
    "--max-test 500",
    "annotate --data DATA --sets kang_ctrl_8donors,pbmc_combined_4batch,zheng_facs_pbmc --folds 2 "
    "--max-train 1000 --max-test 500",
    "terms --data DATA",
    "unknown --data DATA --max-cells 400 --sets zheng_facs_pbmc,kang_ctrl_8donors,"
    "pbmc_combined_4batch,pancreas_panc8_small,breast_tumour,lymphoid_organs",
    "map --data DATA [--peers PEERS]",
    "mouse --data DATA",
    "integrate --data DATA",
    "reconstruct --data DATA [--former FORMER] [--models both=MODELS/both,forward=MODELS/forward,"
    "causal=MODELS/causal,paper=MODELS/paper]",
    "genes --data DATA",
    "perturb --data DATA",
    "corpus --data DATA --gene-names NAMES",
    "ablation --corpus CORPUS [--plain PLAIN] --data DATA --out RUNS",
    "length --runs 3",
    "pretrain --corpus CORPUS --length 192",
    "table5",
    "speed --data DATA [--former FORMER]",
    "waits --data DATA [--before BEFORE]",
    "inference --data DATA --parts cells",
    "inference --data DATA --parts model",
    "inference --data DATA --parts length",
    "inference --device cuda --parts model,length,bert --batches 8 32",
    "scale --data DATA --parts tokenise,embed,kill,mini",
    "scale --data DATA --parts dask",
)
OPTIONS = {
    "DATA": "folder with bench/, valid/, corpus/, gene-pairs/ and gene-sets/",
    "BEFORE": "checkout of an older commit: a column of its own",
    "FORMER": "checkpoint folder of the former release: a row of its own",
    "CORPUS": "made by genemamba build-corpus with profiles and labels",
    "PLAIN": "the same without profiles, for a row of the ablation",
    "RUNS": "folder for the runs of the ablation, which are not trained again",
    "MODELS": "folder of the models of benchmarks/reconstruct_models.py",
    "PEERS": "an interpreter that has symphonypy: build/symphony/bin/python of peers.sh",
    "NAMES": "table of gene names, made by benchmarks/gene_names.py",
}
