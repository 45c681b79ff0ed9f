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
# # Annotate
#
# You will have a cell type for every cell of a query, named from a labelled reference, with a
# confidence that can be checked, sets of types that hold the true one nine times in ten, and
# cells called unknown. At the end it is seen which missing types are noticed, and which are not.
# It takes about a minute.

# %%
import warnings

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scanpy as sc
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

import genemamba as gm

DATA = None  # "my_cells.h5ad": your own cells, raw counts in X, instead of scanpy's
LABEL = "bulk_labels"  # column of obs with cell types

warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"  # the text alone
plt.rcParams["figure.dpi"] = 80


# %% [markdown]
# ## Cells
#
# Scanpy's 700 blood cells are stored as log1p of counts scaled cell by cell. Undone, the smallest
# value of a cell is one count, and the others are whole multiples of it; the assertion checks it.


# %%
def counts_of_scanpys_cells():
    raw = sc.datasets.pbmc68k_reduced()
    scaled = np.expm1(raw.raw.X.toarray().astype(float))
    counts = scaled / np.where(scaled > 0, scaled, np.inf).min(axis=1, keepdims=True)
    assert np.abs(counts - counts.round()).max() < 0.2
    var = pd.DataFrame(index=raw.raw.var_names)
    return ad.AnnData(csr_matrix(counts.round(), dtype=np.float32), raw.obs[[LABEL]], var)


adata = counts_of_scanpys_cells() if DATA is None else sc.read_h5ad(DATA)
report = gm.pp.check(adata)
print("usable:", report.ok)
print(*report.notes, sep="\n")

# %% [markdown]
# The note matters here. `gm.tl.annotate(adata)` without a reference uses
# a head for blood that comes with the checkpoint. It was taught on panels of 1,287 genes and
# more, and wants about 1,300 known genes; below that, cells look unlike all it has seen. These
# have 747.

# %%
blood = gm.tl.annotate(adata, copy=True)
blood.obs["genemamba_label"].value_counts().head(1)

# %% [markdown]
# All 700 are called unknown. So this head is of no use here, and a reference is needed.

# %% [markdown]
# ## Reference and query
#
# Half of the cells of each type, drawn with a seed, are the reference; we pretend not to know the
# labels of the others. A cell's vector depends on that cell alone, so all may be embedded before
# they are divided: nothing leaks from one half to the other.

# %%
gm.tl.embed(adata)
known, asked = train_test_split(
    np.arange(adata.n_obs), test_size=0.5, random_state=0, stratify=adata.obs[LABEL]
)
reference, query = adata[known].copy(), adata[asked].copy()
reference.obs[LABEL].value_counts()

# %% [markdown]
# A random half is the easy case. Your query will come from another donor or laboratory: then put
# the donor of the reference cells into `batch_key`, so that confidence, sets and "unknown" are
# set on whole donors held out.

# %% [markdown]
# ## Annotate

# %%
gm.tl.annotate(query, reference=reference, label_key=LABEL, coverage=0.9)
said = query.uns["genemamba"]["annotate"]
print(f"held-out reference cells named right: {said['held_out_accuracy']:.1%}")
print(f"called unknown: {said['unknown']} of {said['annotated']} cells of the query")

# %% [markdown]
# The first figure needs no label of the query: ten times a tenth of the reference is held out
# and named by the rest, without a say in how the classifier is set. The warning is about a type
# with four cells in the reference.

# %%
query.obs[["genemamba_label", "genemamba_confidence", "genemamba_distance"]].head()

# %% [markdown]
# The truth is known here, so look.

# %%
ax = gm.pl.confusion(query, LABEL)

# %% [markdown]
# B, dendritic and CD34+ cells are named well. A quarter of the monocytes is taken for dendritic
# cells, and the kinds of T cell for each other: most memory cells for regulatory ones, and none of
# the four naive cells is named so. Of NK cells 44 % are called unknown, though the reference holds
# 15 of them. In the title "unknown" counts as wrong.

# %% [markdown]
# ## Does the confidence mean something?

# %%
ax = gm.pl.reliability(query, LABEL, n_bins=10)

# %% [markdown]
# Cells called unknown are left out here. Above .6 the bars follow the diagonal: of the cells with
# .9 or more, 96 % are named right. Between .4 and .6 the confidence promises more than it keeps,
# and about a third is right; few cells lie there.

# %% [markdown]
# ## Prediction sets
#
# With `coverage=0.9` each cell also has a set of types that should hold the true one nine times
# in ten. A sure cell has a set of one; a cell between types has several.

# %%
truth = query.obs[LABEL].astype(str)
sets = pd.DataFrame(query.obsm["genemamba_sets"], query.obs_names, said["classes"])
size = sets.sum(axis=1)
holds = pd.Series([sets.at[cell, truth[cell]] for cell in sets.index], sets.index)
print(f"sets that hold the true type: {holds.mean():.1%}, types in a set: {size.mean():.2f}")
pd.DataFrame(
    {"cells": truth.value_counts(), "hold the true type": holds.groupby(truth).mean(),
     "types in a set": size.groupby(truth).mean()}
).sort_values("cells", ascending=False).round(2)  # fmt: skip

# %% [markdown]
# Over all cells the promise is nearly kept. It is not one for each type: the sets of memory and
# naive T cells hold 1.2 to 1.4 types, and mostly not the true one.

# %% [markdown]
# ## Beside what you would have done
#
# `sc.tl.ingest` takes labels from the neighbours in a PCA of the reference. A logistic regression
# on the logged genes is the other plain choice. Of `gm.tl.annotate` both quick methods are shown,
# its default, a linear probe on the embedding, and a vote of neighbours. Nobody may say "unknown":
# each cell gets the most probable type.

# %%
logged = adata.copy()
sc.pp.normalize_total(logged, target_sum=1e4)
sc.pp.log1p(logged)
plain_reference, plain_query = logged[known].copy(), logged[asked].copy()
sc.pp.pca(plain_reference, n_comps=50)
sc.pp.neighbors(plain_reference)
sc.tl.ingest(plain_query, plain_reference, obs=LABEL, embedding_method="pca")

regression = LogisticRegression(max_iter=1000)
regression.fit(plain_reference.X, plain_reference.obs[LABEL])
guesses = {
    "sc.tl.ingest": plain_query.obs[LABEL].astype(str),
    "regression on genes": regression.predict(plain_query.X),
}

# %%
neighbours = gm.tl.annotate(
    query, reference=reference, label_key=LABEL, method="knn", unknown=False, copy=True
)
guesses["gm.tl.annotate, knn"] = neighbours.obs["genemamba_label"].astype(str)
likeliest = query.obsm["genemamba_proba"].argmax(axis=1)
guesses["gm.tl.annotate, probe"] = pd.Series(said["classes"][likeliest], query.obs_names)
pd.DataFrame(
    {name: {"accuracy": (guess == truth).mean(), "macro-F1": gm.metrics.macro_f1(truth, guess)}
     for name, guess in guesses.items()}
).T.round(3)  # fmt: skip

# %% [markdown]
# The regression on the genes wins: it names 13 cells of 350 more right than the probe does. These
# 765 genes were selected because they vary among these very cells, which helps it. The probe has
# the second-best macro-F1, in which each type counts the same; by accuracy it is level with
# `sc.tl.ingest`, and the vote of neighbours is a little ahead. What a regression does not bring is
# a calibrated confidence, sets, and "unknown".

# %% [markdown]
# ## Types that the reference lacks
#
# A cell is called unknown if it lies farther from the reference than 95 % of the reference's own
# held-out cells do. Take one type after the other out of the reference, and see what becomes of
# its cells in the query. Beside it stands what share of them is called unknown with the whole
# reference, when none should be.

# %%
before = query.obs["genemamba_label"] == "unknown"
rows = {}
for left_out in adata.obs[LABEL].cat.categories:
    without = reference[reference.obs[LABEL] != left_out].copy()
    with warnings.catch_warnings(action="ignore"):  # of the rare type, again
        named = gm.tl.annotate(query, reference=without, label_key=LABEL, copy=True)
    its_label = named.obs["genemamba_label"].astype(str)[truth == left_out]
    named_so = its_label[its_label != "unknown"].value_counts()
    rows[left_out] = {
        "cells": len(its_label),
        "unknown, whole reference": before[truth == left_out].mean(),
        "unknown, left out": (its_label == "unknown").mean(),
        "else mostly named": named_so.index[0] if len(named_so) else "",
    }
pd.DataFrame.from_dict(rows, orient="index").round(2)

# %% [markdown]
# B cells and CD34+ cells are noticed: nearly all become unknown when their type is missing. All NK
# cells do, too, but nearly half had been unknown before. Half of the dendritic and of the
# cytotoxic T cells are noticed; a fifth of the latter had been unknown before. Monocytes are not
# noticed: they become dendritic cells, and the other kinds of T cell are named as one another.
#
# So distance notices a type that is far from all the others, and passes over one that has a near
# relative in the reference. Few "unknown" cells do not prove that the reference is complete: look
# at marker genes as well.

# %% [markdown]
# ## Next
#
# - [03_integrate](03_integrate.ipynb): several batches in one space.
# - [04_genes_and_perturbation](04_genes_and_perturbation.ipynb): which genes made a label.
# - [05_pretrain](05_pretrain.ipynb): a model of your own.
