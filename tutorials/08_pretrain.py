# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Pretrain your own model
#
# You turn a file of counts into a corpus, train a small model on it without labels, and compare its
# embedding with a PCA and with `genemamba-mini`. It needs `pip install "genemamba[train]"`.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from cells import blood

import genemamba as gm

plt.rcParams["figure.dpi"] = 80

adata = blood()  # your own cells: sc.read_h5ad("my_cells.h5ad"), raw counts in X
folder = Path(tempfile.mkdtemp())

adata.var["ensembl_id"] = gm.pp.check(adata).genes["ensembl_id"]
adata.write_h5ad(folder / "blood.h5ad")
vocab = gm.models.vocabulary("genemamba-mini")
genes = pd.DataFrame({"id": vocab.ensembl_id, "symbol": vocab.symbol})
genes.to_csv(folder / "genes.csv", header=False, index=False)
corpus = gm.datasets.build_corpus(
    [folder / "blood.h5ad"],
    folder / "corpus",
    gene_names=folder / "genes.csv",
    min_genes=50,
    min_cells=5,
)

RECIPE = {
    "name": "blood-tiny",
    "model": {
        "d_model": 64,
        "n_layers": 1,
        "d_state": 16,
        "headdim": 32,
        "chunk_size": 32,
        "merge": "mean",
        "pre_norm": True,
        "tie_embeddings": True,
        "start": "factors",
    },
    "objectives": {"masked": 0.3, "contrast": 1.0},
    "data": {"length": 96, "cells": 16, "held_out_share": 0.1},
    "optimiser": {"learning_rate": 2e-3, "steps": 100},
    "run": {"precision": "32-true", "compile": False, "check_every": 20},
}
model = gm.tl.pretrain(corpus, folder / "blood-tiny", recipe=RECIPE)

# %%
losses = pd.read_csv(folder / "blood-tiny" / "metrics.csv", index_col="step")
held_out = losses.dropna(subset="share_masked")
figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.2), layout="constrained")
TITLES = {"masked": "hidden genes", "contrast": "other part of a cell"}
for ax, (name, title) in zip(axes, TITLES.items(), strict=True):
    ax.plot(losses[name], label="training cells")
    ax.plot(held_out[f"share_{name}"], "o-", label="held-out cells")
    ax.set(title=title, xlabel="step", ylabel="loss, nats")
    ax.legend()
plt.show()

# %% [markdown]
# The model gets better at predicting hidden genes (left), in cells that it has not seen, too. Mind
# the narrow scale: to guess one of 754 genes at random costs 6.6 nats. Finding the other part of a
# cell (right) hardly improves, because the factors that training starts from already do that. The
# two curves on the right cannot be compared with each other: a held-out cell is told apart from
# more cells than the 16 of a step.
#
# This shows how it is done and is no model to use. 700 cells with 765 genes are far too few:
# `genemamba-mini` was trained on some 14,000 cells and on cells drawn from average profiles,
# published models on millions.
#
# ## What the corpus holds
#
# A corpus knows genes by their Ensembl id. `gm.pp.check` found the id of every gene, also of those
# under former names, and the column `ensembl_id` hands them over. The table `genes.csv` names all
# genes that may be in the corpus; take those of a GENCODE release for yours. By default, cells with
# fewer than 200 known genes are dropped, and genes detected in fewer than 50 cells: too strict for
# this small file. The report counts what was dropped, by reason.

# %%
print(f"{len(corpus):,} cells, {corpus.vocab.n_genes:,} genes")
pd.DataFrame(corpus.manifest["sources"])

# %% [markdown]
# Genes are ranked relative to their median over the cells that express them, in counts per 10,000.
# The corpus computes these medians. Compare them with those of `genemamba-mini`:

# %%
gm.pp.gene_medians(adata)
known = adata.var[adata.var["ensembl_id"] != ""]
known = known.assign(mini=known["ensembl_id"].map(pd.Series(vocab.median, vocab.ensembl_id)))
known.loc[["CD3D", "CD79A", "LYZ", "ATP5B"]].round(1)

# %% [markdown]
# Ours are far higher: here 765 genes share 10,000 counts, there a whole transcriptome. A model
# trained on a selection of genes is at home only in cells with the same selection. Pretrain on all
# genes.
#
# ## The recipe
#
# What a recipe leaves out has a default. `unlabelled`, `genemamba-mini`, `genemamba-small` and
# `paper` ship with the package, and a recipe may also be a TOML file. This one is tiny: one layer
# of width 64, 100 steps of 16 cells. `start = "factors"` begins with gene vectors from a
# factorisation of the corpus. If a run is interrupted, the same call resumes it; if it is finished,
# the call returns its model.
#
# ## Compared with others
#
# The folder is a checkpoint, and its name serves as `model=` everywhere. It holds a sketch of the
# training cells, so `check` can look yours up:

# %%
print(gm.pp.check(adata, model=folder / "blood-tiny").rows()["training cells"])

# %% [markdown]
# All cells but the held-out ones were trained on, so the scores below show how to compare and are
# no result. Next to the model stand the same network after a single step, with random weights,
# `genemamba-mini`, and a PCA of these cells.

# %%
start = RECIPE | {"name": "start", "optimiser": {"learning_rate": 2e-3, "steps": 1}}
_ = gm.tl.pretrain(corpus, folder / "start", recipe=start)
gm.tl.embed(adata, model=folder / "blood-tiny", key_added="X_tiny")
gm.tl.embed(adata, model=folder / "start", key_added="X_start")
gm.tl.embed(adata, key_added="X_mini")
_ = gm.metrics.compare(
    adata,
    "cell_type",
    use_rep=["X_tiny", "X_start", "X_mini"],
    baselines=["random", "pca"],
    model=folder / "blood-tiny",
)

# %% [markdown]
# The table says zero-shot because no labels were used; it does not know who has seen the cells.
# Random weights are far behind, so the model has learned something: but so had the model after one
# step, and the PCA is as good. With so few cells, all quality comes from the factors that training
# began with. What 100 steps added is better prediction of hidden genes. To gain from pretraining,
# use more cells, more genes and more steps. If you have a few thousand cells,
# [adapt](07_adapt.ipynb) a model that has seen many.
#
# ## Next
#
# - [Adapt](07_adapt.ipynb): a few minutes of training, from the released weights on
# - [Atlas](09_atlas.ipynb): embed more cells than fit in memory, with any model
# - the page "Pretraining" of the documentation: corpora of many files, GPUs, registering a model
