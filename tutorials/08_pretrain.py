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
# In this tutorial you convert a file of counts into a corpus, train a small model on it without
# labels, plot its losses, load it, and embed cells with it. It takes about two minutes on two
# cores, without a GPU or internet access, and needs `pip install "genemamba[train]"`.
#
# This is a demonstration, not a model to use: 700 cells with 765 genes are far too few.
# `genemamba-mini` was trained on some 14,000 cells, published models on millions.

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
# To use your own cells, set a file of raw counts and a column with cell types. The cell types are
# used only to evaluate the result.

# %%
DATA = None  # "my_cells.h5ad": your own cells, raw counts, instead of scanpy's
LABEL = "bulk_labels"

# %% [markdown]
# Scanpy ships with 700 blood cells and 765 genes. Their `.raw` holds log1p of counts that were
# scaled per cell, rounded to three decimals. To recover the counts, undo the log and divide by the
# smallest value of the cell, which is one count. The code checks that the results are whole
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
# A corpus identifies genes by Ensembl id. The report has the id of every gene that
# `genemamba-mini` knows, including genes under previous names. Stored in a column `ensembl_id`,
# these ids let the corpus find the genes of this file.

# %%
adata.var["ensembl_id"] = report.genes["ensembl_id"]
adata.var.loc[["CD3D", "CD79A", "LYZ", "ATP5B"]]

# %% [markdown]
# Genes are ranked relative to their median over the cells that express them, in counts per 10,000.
# `build_corpus` computes these medians itself. You can also compute them directly and compare them
# with those of `genemamba-mini`:

# %%
gm.pp.gene_medians(adata)
vocab = gm.models.vocabulary("genemamba-mini")
theirs = pd.Series(vocab.median, index=vocab.ensembl_id)
medians = adata.var[adata.var["ensembl_id"] != ""].assign(
    mini=lambda v: v["ensembl_id"].map(theirs)
)
medians.loc[["CD3D", "CD79A", "LYZ", "ATP5B"]].round(1)

# %% [markdown]
# Ours are far higher, because here 765 genes share 10,000 counts, and there a whole transcriptome
# does. A model trained on a selection of genes works well only for cells with the same selection.
# Pretrain on all genes.
#
# ## Corpus
#
# `build_corpus` reads files, so we write one, together with a table of the ids and symbols of all
# genes that may be in the corpus. For your own corpus, use a GENCODE or Ensembl release; here the
# model's genes will do.

# %%
folder = Path(tempfile.mkdtemp())
adata.write_h5ad(folder / "blood.h5ad")
names = pd.DataFrame({"id": vocab.ensembl_id, "symbol": vocab.symbol})
names.to_csv(folder / "genes.csv", header=False, index=False)

# %% [markdown]
# By default, cells with fewer than 200 known genes are dropped, and so are genes detected in fewer
# than 50 cells. Both thresholds are too strict for this small example.

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
# The last columns count the cells that were dropped, by reason.
#
# ## Recipe
#
# A recipe is a TOML file. Settings that it leaves out have defaults. `genemamba-mini`,
# `genemamba-small`, `unlabelled` and `paper` ship with the package. This recipe is minimal: one
# layer of width 64, and 100 steps of 16 cells. `start = "factors"` initialises the gene vectors
# from a factorisation of the corpus. `compile` pays off only in long runs.

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
masked = 0.3        # predict hidden genes
contrast = 1.0      # find the other part of a cell's counts

[data]
length = 96         # maximum genes per view
cells = 16          # per step
held_out_share = 0.1

[optimiser]
learning_rate = 2e-3
steps = 100

[run]
precision = "32-true"
compile = false
check_every = 20    # steps between evaluations on held-out cells
"""
_ = (folder / "recipe.toml").write_text(RECIPE)

# %% [markdown]
# ## Train
#
# This takes half a minute. If a run was interrupted, the same call resumes it; if it is finished,
# the call returns the model.

# %%
model = gm.tl.pretrain(folder / "corpus", folder / "blood-tiny", recipe=folder / "recipe.toml")
print(f"{sum(p.numel() for p in model.parameters()):,} weights")

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
# The model gets steadily better at predicting hidden genes, also in held-out cells. Note the
# narrow scale: a random guess among 745 genes costs 6.6 nats. Finding the other part of a cell
# hardly improves, because the initial factors already do that. The two curves on the right are not
# comparable, because a held-out cell is compared with more cells at a time than the 16 of a step.
#
# ## Load and embed
#
# The folder is a checkpoint: weights, genes, and a model card that describes the training data.

# %%
print(*sorted(f.name for f in (folder / "blood-tiny").iterdir() if f.is_file()), sep="\n")

# %%
print(gm.pp.check(adata, model=folder / "blood-tiny").rows()["training cells"])

# %% [markdown]
# The folder contains a sketch of the training cells, so `check` can look yours up: all cells
# except the held-out ones were used for training. The scores below are therefore computed on
# training cells. They show how to do the comparison and are not a result. We compare the model
# with `genemamba-mini`, the same network with random weights, a PCA of these cells, and, because
# training started from factors, the model after a single step.

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
# The table says zero-shot because no labels were used; it does not check whether the cells were
# used for training. Even so, a PCA is tied with the trained model, and so is the model after one
# step: with so few cells, all of its quality comes from the initial factors. What 100 steps added
# is better prediction of hidden genes. To gain from pretraining, use more cells, more genes and
# more steps.
#
# ## Register a name
#
# You can register a name for a checkpoint on a web server, with the hash of each file. Then
# `gm.models.fetch` can download it and `load` can find it. The address here is an example, and
# nothing is downloaded.

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
# - [Atlases](06_atlas.ipynb): embed more cells than fit in memory, with any model
