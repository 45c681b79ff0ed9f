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
# # Reference maps and cell search
#
# A cell's vector depends on that cell alone, so a map that was made once can be used for ever: you
# lay your cells on it and read off their neighbours, labels and place. In this tutorial you lay
# blood cells on the map of the human body that ships with the package, search it, make a map of
# your own, and lay cells of other samples on that. It takes about two minutes.

# %%
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import scanpy as sc

import genemamba as gm

LABEL = "bulk_labels"  # column of obs with cell types, to compare with

warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"  # the text alone
plt.rcParams["figure.dpi"] = 80

adata = sc.datasets.pbmc68k_reduced()  # 700 blood cells, 765 genes, counts as log1p in .raw
adata.obs["sample"] = "sample " + adata.obs_names.str.split("-").str[-1]
gm.tl.embed(adata, layer="raw")

# %% [markdown]
# ## On the map of the body
#
# The map has 13,040 cells: some of the training cells, and cells drawn from 508 published average
# profiles. These 700 cells measure only 765 genes, a small part of what the map's cells express,
# so that they lie elsewhere: as they are, hardly any of them belongs on the map.

# %%
gm.tl.map(adata, layer="raw")
(adata.obs["genemamba_map_quality"] < 0.05).mean()

# %% [markdown]
# `correct=True` shifts the cells, as one batch, towards the clusters of the map, which itself does
# not change. Use it for panels, and for other technologies.

# %%
gm.tl.map(adata, layer="raw", correct=True)
ax = gm.pl.map(adata, color=LABEL)

# %% [markdown]
# Two thirds of the cells now belong there: monocytes lie on monocytes, B cells on B cells. Each
# cell has the label with most votes among its 30 neighbours, or "unknown".

# %%
table = pd.crosstab(adata.obs["genemamba_map_label"], adata.obs[LABEL])
table[table.sum(axis=1) > 10]

# %% [markdown]
# Monocytes are called non-classical, and the T cells of all subtypes just T cells. Each column of
# the map is transferred, the tissue, too.

# %%
adata.obs["genemamba_map_tissue"].value_counts().head()

# %% [markdown]
# ## Search
#
# Where have cells like these been seen? `groupby` searches for the mean of each cluster. The result
# has two tables: the cells found, and what is frequent among them, compared with the whole map.

# %%
found = gm.tl.search(adata, layer="raw", groupby="louvain")
top = found.enrichment.query("column == 'tissue' or column == 'cell_type'")
top.groupby(["query", "column"]).head(1)[["query", "column", "value", "share", "fold"]].round(2)

# %%
fig, axes = plt.subplots(1, 2, figsize=(11, 3.4), layout="constrained")
for ax, column in zip(axes, ("cell_type", "tissue"), strict=True):
    gm.pl.search(found, column=column, query="8", n=6, ax=ax)

# %% [markdown]
# Cluster 8 is like plasma cells, wherever these were found. One cell can be a query as well, and
# sources can be left out.

# %%
one = gm.tl.search(adata[:1], layer="raw", k=5, exclude={"source": "pbmc_10x_v2"})
one.cells[["rank", "distance", "cell_type", "tissue", "source"]]

# %% [markdown]
# ## A map of your own
#
# The cells come from eight samples. Five of them become a map, with their labels. `batch_key` holds
# out whole samples when confidence and quality are calibrated.

# %%
known = adata.obs["sample"] < "sample 6"
folder = Path(tempfile.mkdtemp()) / "blood"
blood = gm.tl.build_map(
    adata[known].copy(), out=folder, layer="raw", label_key=LABEL, batch_key="sample",
    keep=["louvain"],
)  # fmt: skip
print(blood)
print(f"labels of held-out samples that are right: {blood.about['held_out']['accuracy']:.0%}")

# %% [markdown]
# The other three samples are laid on it. They measure the same genes, so nothing needs correcting.

# %%
query = adata[~known].copy()
gm.tl.map(query, folder, layer="raw")
ax = gm.pl.map(query, folder)

# %%
said, truth = (query.obs[key].astype(str) for key in ("genemamba_map_label", LABEL))
belongs = said != "unknown"
print(f"{belongs.mean():.0%} of the cells belong on the map")
print(f"{(said == truth)[belongs].mean():.0%} of these have the label of the data set")
query.obs.groupby(LABEL, observed=True)["genemamba_map_confidence"].mean().round(2)

# %% [markdown]
# The folder needs no pickle, can be copied, and is tied to the model that made it. Another cell can
# be laid on it next year, and gets the same place.
