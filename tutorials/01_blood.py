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
# # Blood, named with nothing given
#
# You have counts and no labels. Seven lines give you clusters, each with a name of the Cell
# Ontology: no reference, no list of markers. The rest of this tutorial asks how far you can trust
# these names.

# %%
import tempfile

import matplotlib.pyplot as plt
import pandas as pd
import scanpy as sc
from cells import blood

import genemamba as gm

plt.rcParams["figure.dpi"] = 80

# %%
adata = blood()  # your own cells: sc.read_h5ad("my_cells.h5ad"), raw counts in X
gm.tl.embed(adata)
sc.pp.neighbors(adata, use_rep="X_genemamba")
sc.tl.umap(adata)
sc.tl.leiden(adata, flavor="igraph", n_iterations=2, directed=False)
gm.tl.annotate(adata, tissue="blood", groupby="leiden")
sc.pl.umap(adata, color="genemamba_group_label", title="names of the clusters", frameon=False)

# %% [markdown]
# These are 700 real blood cells that ship with scanpy. `gm.tl.embed` gives each cell a vector,
# which replaces the PCA: neighbours, UMAP and Leiden are scanpy as usual. `gm.tl.annotate` knows
# 203 cell types; `tissue="blood"` leaves out those of other tissues, and `groupby` names the
# clusters as well as the cells. Nothing is trained here, and no label of these cells is used.
#
# ## What was read
#
# With your own data, run this first. The report has more rows; `gm.pl.gene_coverage` plots one.

# %%
report = gm.pp.check(adata)
for row in ["adata.X", "genes", "unused (unknown genes)", "tokens per cell"]:
    print(f"{row:24}{report.rows()[row]}")
print(*report.notes, sep="\n")

# %% [markdown]
# Nearly all genes are known, but there are only 765: scanpy ships the variable genes alone. The
# note warns that names may be wrong on such a panel. With your own data, keep all genes. If `X`
# holds something other than counts, the report says so, and which layer to read.
#
# ## How sure are the names?
#
# A cell, or a cluster, gets the most specific term whose confidence is at least .8: "T cell" where
# "naive T cell" is not sure. `agreement` is the fraction of a cluster's cells whose own name is
# that of the cluster, or more specific. The last column has labels of the data set.

# %%
groups = pd.DataFrame(adata.uns["genemamba"]["annotate"]["groups"]).set_index("name")
by_cluster = adata.obs.groupby("leiden", observed=True)["cell_type"]
groups["most of its labels"] = by_cluster.agg(lambda labels: labels.mode()[0])
groups.drop(columns="groupby").round(2)

# %% [markdown]
# Nine of eleven clusters have a specific name. Two of these differ from the labels: cluster 4 is
# called plasma cell, and the labels, which have no such type, say B cell; cluster 0 is called
# non-classical monocyte, and the labels say CD14+. Clusters 7 and 10 have a general name, because
# no specific one is sure. Marker genes tell who is right.
#
# ## Do the marker genes agree?
#
# The names come from the embedding. The markers come from log-normalised expression, as usual.

# %%
adata.layers["log"] = sc.pp.normalize_total(adata, target_sum=1e4, inplace=False)["X"]
sc.pp.log1p(adata, layer="log")
sc.tl.rank_genes_groups(adata, "genemamba_group_label", layer="log", method="wilcoxon")
sc.pl.rank_genes_groups_dotplot(adata, n_genes=3, layer="log", dendrogram=False, figsize=(11, 3.5))

# %% [markdown]
# - The plasma cells express MZB1 and IGJ, the mature B cells MS4A1. They are two types.
# - The non-classical monocytes express FCGR3A, which is CD16. The name fits, the label CD14+ does
#   not: labels were given by similarity to sorted cells, and are not the truth.
# - The cells called leukocyte express NKG7 and GNLY, as NK cells do, and LST1 and CFD, as monocytes
#   do. Most likely these are two cells in one droplet, and so are the cells called monocyte, of
#   which most express CD3D of T cells. `sc.pp.scrublet` looks for such doublets.
# - The hematopoietic cells are labelled CD34+, which are progenitors. The name says little.
#
# ## How often are single cells right?
#
# Both need the same names: a list as `level` gives these only, and `mapping` translates labels.

# %%
types = ["T cell", "lymphocyte of B lineage", "natural killer cell", "monocyte", "dendritic cell"]
named = gm.tl.annotate(adata, tissue="blood", level=types, copy=True)
same = {
    "CD19+ B": "lymphocyte of B lineage", "CD56+ NK": "natural killer cell",
    "CD14+ Monocyte": "monocyte", "Dendritic": "dendritic cell", "CD34+": "CD34+ progenitor",
}  # fmt: skip
mapping = {label: same.get(label, "T cell") for label in adata.obs["cell_type"].cat.categories}
ax = gm.pl.confusion(named, "cell_type", mapping=mapping)

# %% [markdown]
# Of the B cells, NK cells and monocytes, .93 and more have the name of their label. A cell is
# unknown if none of these terms is sure: so are 11 of the 13 CD34+ progenitors, as they should be.
# The main disagreement is over cells labelled dendritic and named monocyte (.16). All of them are
# in clusters 0, 7 and 8, which express FCGR3A.

# %%
ax = gm.pl.reliability(named, "cell_type", mapping=mapping, n_bins=10)

# %% [markdown]
# Confidence is **too high** here: nearly all cells have more than .9, and 91.5 % of the named cells
# have the name of their label. Part of that is due to the labels, part to the panel. Where most
# genes are missing, confidence is not calibrated, and the distance to known cells cannot tell
# unknown ones: at the default level, above, no cell was unknown. With all genes it is better; see
# [the figures](../docs/benchmarks.md). On a panel, trust names of clusters more than those of
# cells, look at markers, and use a reference if you have one ([02_annotate](02_annotate.ipynb)).
#
# ## Is it better than a PCA?
#
# `gm.metrics.compare` scores the embedding and a PCA on the same cells: how well a regression and
# the nearest neighbours predict the labels in five folds, and whether clusters match the labels
# (AvgBIO, the mean of ARI, NMI and silhouette).

# %%
scores = gm.metrics.compare(adata, "cell_type", baselines=["pca", "expression"])

# %% [markdown]
# Clusters match the labels better (AvgBIO .63, PCA .57). In the prediction of labels, the rows are
# tied: they differ by less than the spread over folds. So you lose nothing here, and gain names,
# and vectors that can be compared with those of other cells. In other tissues a PCA can be better
# ([figures](../docs/benchmarks.md)): run this table, and use what wins.
#
# ## Write and read back
#
# Everything is in slots that `h5ad` can store, with a record of what was done.

# %%
with tempfile.TemporaryDirectory() as folder:
    adata.write_h5ad(f"{folder}/cells.h5ad")
    again = sc.read_h5ad(f"{folder}/cells.h5ad")
record = again.uns["genemamba"]["annotate"]
print({key: record[key] for key in ["model", "panel", "annotated", "unknown"]})

# %% [markdown]
# ## Next
#
# Use [a reference that you have](02_annotate.ipynb), see [where cells like yours have been
# seen](03_tissue_on_the_map.ipynb), or bring [two studies into one space](04_integrate.ipynb).
