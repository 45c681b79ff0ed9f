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
# # Pretrain a model of your own
#
# At the end you will have turned a file of counts into a corpus, trained a small model on it
# without labels, looked at its losses, loaded it and embedded cells with it. It takes about two
# minutes on two cores, without a GPU or a network, and needs `pip install "genemamba[train]"`.
#
# This shows the way and is no model to use: 700 cells of 765 genes are far too few.
# `genemamba-mini` saw some 14,000 cells, published models see millions.

# %%
import hashlib
import tempfile
from pathlib import Path

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scanpy as sc

import genemamba as gm

plt.rcParams["figure.dpi"] = 80

# %% [markdown]
# ## Counts
#
# To use your own cells, name a file of raw counts here, and a column with cell types; it is used
# to look at the result only.

# %%
DATA = None  # "my_cells.h5ad": your own cells, raw counts, instead of scanpy's
LABEL = "bulk_labels"

# %% [markdown]
# The cells that come with scanpy are 700 blood cells with 765 genes. Their `.raw` holds log1p of
# counts scaled per cell, rounded to three decimals. Undoing the log and dividing by the smallest
# value of the cell, which is one count, gives the counts back; the cell checks that they are whole
# numbers.


# %%
def blood_cells():
    cells = sc.datasets.pbmc68k_reduced().raw.to_adata()
    counts = cells.X.astype(np.float64).expm1()
    one = np.minimum.reduceat(counts.data, counts.indptr[:-1])
    counts.data /= np.repeat(one, np.diff(counts.indptr))
    whole = counts.data.round()
    assert np.allclose(counts.data, whole, rtol=0.002)
    counts.data = whole
    cells.X = counts.astype(np.float32)
    return cells


adata = blood_cells() if DATA is None else ad.read_h5ad(DATA)
report = gm.pp.check(adata)
print(report)

# %% [markdown]
# A corpus names genes by Ensembl id. The report has the id of each gene that `genemamba-mini`
# knows, old names included. As a column `ensembl_id` they let the corpus find genes by the names
# this file uses.

# %%
adata.var["ensembl_id"] = report.genes["ensembl_id"]
adata.var.loc[["CD3D", "CD79A", "LYZ", "ATP5B"]]

# %% [markdown]
# Genes are ranked by how far they lie above their median over the cells that express them, in
# counts per 10,000. The corpus finds these medians itself. To see them beforehand, and beside
# those of `genemamba-mini`:

# %%
gm.pp.gene_medians(adata)
vocab = gm.models.vocabulary("genemamba-mini")
theirs = pd.Series(vocab.median, index=vocab.ensembl_id)
medians = adata.var[adata.var["ensembl_id"] != ""].assign(
    mini=lambda v: v["ensembl_id"].map(theirs)
)
medians.loc[["CD3D", "CD79A", "LYZ", "ATP5B"]].round(1)

# %% [markdown]
# Ours are far higher: 10,000 counts are shared by 765 genes here, by a whole transcriptome there.
# A model trained on a selection of genes ranks well only cells with the same selection. Pretrain
# on all genes.
#
# ## Corpus
#
# `build_corpus` reads files, so we write one, and a table of the ids and symbols of all genes that
# may be in the corpus. For your own, take a GENCODE or Ensembl release; here the model's genes
# will do.

# %%
folder = Path(tempfile.mkdtemp())
adata.write_h5ad(folder / "blood.h5ad")
names = pd.DataFrame({"id": vocab.ensembl_id, "symbol": vocab.symbol})
names.to_csv(folder / "genes.csv", header=False, index=False)

# %% [markdown]
# By default cells with fewer than 200 known genes are left out, and genes seen in fewer than 50
# cells. Both would take too much here.

# %%
corpus = gm.datasets.build_corpus(
    [folder / "blood.h5ad"],
    folder / "corpus",
    gene_names=folder / "genes.csv",
    min_genes=50,
    min_cells=5,
)
print(f"{len(corpus):,} cells, {corpus.vocab.n_genes:,} genes")
pd.DataFrame(corpus.manifest["sources"])

# %% [markdown]
# Cells that were read and not kept would be counted in the last columns, by reason.
#
# ## Recipe
#
# The recipe is a TOML file. What it leaves out has a default; `genemamba-mini`, `genemamba-small`
# and `paper` come with the package. This one is as small as can be: one layer, 64 wide, 100 steps
# of 16 cells. `start = "factors"` begins with gene vectors from a factorisation of the corpus.
# `compile` is worth its wait in long runs only.

# %%
RECIPE = """
name = "blood-tiny"

[model]
d_model = 64
n_layers = 1
d_state = 16
headdim = 32
chunk_size = 32
merge = "mean"
pre_norm = true
tie_embeddings = true
start = "factors"

[objectives]
masked = 0.3        # name hidden genes
contrast = 1.0      # find the other part of a cell's counts

[data]
length = 96         # most genes of a view
cells = 16          # of a step
held_out_share = 0.1

[optimiser]
learning_rate = 2e-3
steps = 100

[run]
precision = "32-true"
compile = false
check_every = 20    # steps between two looks at the held-out cells
"""
_ = (folder / "recipe.toml").write_text(RECIPE)

# %% [markdown]
# ## Train
#
# Half a minute. A run that was stopped goes on when it is called again; a finished one returns its
# model.

# %%
model = gm.tl.pretrain(folder / "corpus", folder / "blood-tiny", recipe=folder / "recipe.toml")
print(f"{sum(p.numel() for p in model.parameters()):,} weights")

# %%
losses = pd.read_csv(folder / "blood-tiny" / "metrics.csv", index_col="step")
held_out = losses.dropna(subset="share_masked")
figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.2), layout="constrained")
TITLES = {"masked": "hidden genes", "contrast": "other part of a cell"}
for ax, (name, title) in zip(axes, TITLES.items(), strict=True):
    ax.plot(losses[name], label="cells trained on")
    ax.plot(held_out[f"share_{name}"], "o-", label="cells held out")
    ax.set(title=title, xlabel="step", ylabel="loss, nats")
    ax.legend()
plt.show()

# %% [markdown]
# Hidden genes are named better and better, on cells that are held out as well; the scale is
# narrow, and a guess among 745 genes that knows nothing costs 6.6 nats. Finding the other part of
# a cell hardly improves: the factors that training began with do that already. The two curves on
# the right do not compare, for held-out cells are told from more others at a time than the 16 of a
# step.
#
# ## Load and embed
#
# The folder is a checkpoint: weights, genes, and a card that says what the model saw.

# %%
print(*sorted(f.name for f in (folder / "blood-tiny").iterdir() if f.is_file()), sep="\n")

# %%
print(gm.pp.check(adata, model=folder / "blood-tiny").rows()["training cells"])

# %% [markdown]
# The folder keeps a sketch of the training cells, so `check` can tell: all but the held-out ones
# were trained on. So the scores that follow are of cells it was trained on: they show the way and
# are no result. Beside it stand `genemamba-mini`, the same network with random weights, a PCA of
# these cells, and the model as it was after one step, because it began with factors.

# %%
start = RECIPE.replace("steps = 100", "steps = 1")
_ = (folder / "start.toml").write_text(start)
_ = gm.tl.pretrain(folder / "corpus", folder / "start", recipe=folder / "start.toml")

# %%
gm.tl.embed(adata, model=folder / "blood-tiny", key_added="X_tiny")
gm.tl.embed(adata, model=folder / "start", key_added="X_start")
gm.tl.embed(adata, key_added="X_mini")
table = gm.metrics.compare(
    adata,
    LABEL,
    use_rep=["X_tiny", "X_start", "X_mini"],
    baselines=["random", "pca"],
    model=folder / "blood-tiny",
)

# %% [markdown]
# The table says zero-shot because no labels were used; it does not look whether the cells were
# trained on. Even so a PCA is level with the trained model, and the model after one step is level
# with it, too: on so few cells all that is good about it comes from the factors it began with.
# What 100 steps added is that it names hidden genes better. More cells, more genes and more steps
# are what pretraining is for.
#
# ## Name it
#
# A checkpoint on a web server can be given a name with the hash of each file. Then
# `gm.models.fetch` downloads it, and `load` knows it. The address is made up, and nothing is
# downloaded here.

# %%
parts = ["model.safetensors", "config.json", "genes.csv"]
hashes = {p: hashlib.sha256((folder / "blood-tiny" / p).read_bytes()).hexdigest() for p in parts}
gm.models.register(
    "blood-tiny",
    {part: (f"https://lab.example.org/blood-tiny/{part}", hashes[part]) for part in parts},
    licence="CC BY 4.0",
)
gm.models.available().loc[["genemamba-mini", "blood-tiny"], ["source", "licence", "on_disk"]]

# %% [markdown]
# ## Next
#
# - [Genes and perturbation](04_genes_and_perturbation.ipynb): what a model knows about genes
# - [Atlases](06_atlas.ipynb): embed more cells than memory holds, with any model
