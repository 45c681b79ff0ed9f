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
# # Embed and cluster
#
# You will have a vector for every cell, a UMAP and Leiden clusters made of these vectors, marker
# genes of the clusters, and the same clusters from a PCA beside them. It takes about a minute on
# a CPU and needs no network.

# %%
import tempfile

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scanpy as sc
from scipy.sparse import csr_matrix

import genemamba as gm

DATA = None  # "my_cells.h5ad": your own cells, raw counts in X, instead of scanpy's
LABEL = "bulk_labels"  # column of obs with cell types: for pictures and scores only

plt.rcParams.update({"figure.dpi": 80, "figure.figsize": (4.5, 4)})

# %% [markdown]
# ## Look first
#
# The cells here come inside scanpy: 700 blood cells and 765 genes that vary among them.
# `gm.pp.check` says what a matrix holds and whether the model can read it. It changes nothing.

# %%
adata = sc.datasets.pbmc68k_reduced() if DATA is None else sc.read_h5ad(DATA)
gm.pp.check(adata)

# %% [markdown]
# The matrix of scanpy's cells is scaled. A cell is read as a list of genes, highest first, and
# scaled values no longer give that order. The report names another matrix that does, so look at
# that one.

# %%
report = gm.pp.check(adata, layer="raw" if DATA is None else None)
print(*report.notes, sep="\n")

# %% [markdown]
# `gm.tl.embed(adata, layer="raw")` would work: it undoes the log, and warns that it did. Counts
# are better, and here they can be had. The values are log1p of counts scaled cell by cell, so
# after `expm1` the smallest value of a cell is one count, and every other is a multiple of it.
# The check below holds that they are whole numbers, up to rounding of the stored values.

# %%
if DATA is None:
    scaled = np.expm1(adata.raw.X.toarray().astype(float))
    one_count = np.where(scaled > 0, scaled, np.inf).min(axis=1, keepdims=True)
    counts = scaled / one_count
    assert np.abs(counts - counts.round()).max() < 0.2
    total = adata.obs["n_counts"].to_numpy() * one_count.ravel()
    print(f"one count × counts of the whole cell: {total.min():,.0f} to {total.max():,.0f}")

# %% [markdown]
# Multiplied by the counts of the whole cell, which `obs` remembers, the smallest value comes to
# 10,000 everywhere. So the values were counts per 10,000, and the smallest is one count indeed.
#
# We keep the counts in a layer and their log in `X`, as scanpy's functions expect.

# %%
if DATA is None:
    adata = ad.AnnData(
        adata.raw.X, obs=adata.obs[[LABEL]], var=pd.DataFrame(index=adata.raw.var_names)
    )
    adata.layers["counts"] = csr_matrix(counts.round(), dtype=np.float32)
else:
    adata.layers["counts"] = adata.X.copy()
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)

report = gm.pp.check(adata, layer="counts")
for row in ["adata.layers['counts']", "genes", "a cell loses", "tokens a cell"]:
    print(f"{row:24}{report.rows()[row]}")

# %% [markdown]
# ## What the model can read
#
# The model knows 15,955 genes by symbol, older symbol or Ensembl id. Counts in other genes are
# lost. This picture is the place to notice that a file has mouse genes, or names that are not
# genes.

# %%
ax = gm.pl.gene_coverage(adata, layer="counts")

# %% [markdown]
# Nearly nothing is lost: 18 genes are unknown, and half of one percent of an average cell's
# counts lie in them. What was lost before is another matter: these 765 genes were selected as
# variable, so the model reads only about 248 genes of a cell. Give it all genes of your own data.

# %% [markdown]
# ## Embed

# %%
gm.tl.embed(adata, layer="counts")
print(adata.obsm["X_genemamba"].shape)

# %% [markdown]
# No training and no labels were involved, and a cell's vector depends on that cell alone. Embed
# the first ten cells without the others, and see how far their vectors are from those above,
# relative to their length.

# %%
ten = adata[:10].copy()
del ten.obsm["X_genemamba"]
gm.tl.embed(ten, layer="counts")
alone, before = ten.obsm["X_genemamba"], adata.obsm["X_genemamba"][:10]
print(f"{np.linalg.norm(alone - before) / np.linalg.norm(before):.1e}")

# %% [markdown]
# They differ by rounding only: less than a thousandth in bfloat16, which is used where the
# processor is quick in it. With `precision="float32"` it would be a millionth.
#
# What was done stands in `uns`: the model with the hash of its weights, the values it found, the
# genes it matched and what was lost. Device, precision and backend depend on the machine.

# %%
adata.uns["genemamba"]["X_genemamba"]

# %% [markdown]
# ## Neighbours, UMAP, clusters
#
# From here on it is plain scanpy, with `use_rep`.

# %%
sc.pp.neighbors(adata, use_rep="X_genemamba")
sc.tl.umap(adata)
sc.tl.leiden(adata, flavor="igraph", n_iterations=2, directed=False)
sc.pl.umap(
    adata, color=[LABEL, "leiden"], title=["labels", "Leiden clusters"], wspace=0.6, frameon=False
)

# %%
pd.crosstab(adata.obs["leiden"], adata.obs[LABEL])

# %% [markdown]
# Dendritic cells, B cells, NK cells and CD34+ cells have clusters of their own. Monocytes and
# dendritic cells meet in clusters 0 and 5, and the kinds of T cell in cluster 2. Neither is the
# embedding's doing alone: the labels were given by likeness to profiles of sorted cells, which is
# itself uncertain between kinds so close.

# %% [markdown]
# ## Marker genes
#
# The clusters were made of the embedding; their marker genes are found in the logged values in
# `X`, as ever.

# %%
sc.tl.rank_genes_groups(adata, "leiden", method="wilcoxon")
sc.pl.rank_genes_groups_dotplot(adata, n_genes=3, dendrogram=False, figsize=(11, 3.5))

# %% [markdown]
# Genes one knows: NKG7 and GNLY for NK cells (1), CD3D with CCL5 for cytotoxic T cells (6), CD79A
# and MS4A1 for B cells (7), FCER1A for dendritic cells (3), AIF1 and LST1 for the clusters with
# the monocytes (0 and 5). Cluster 4 shows MZB1 and IGJ, which plasma cells express: 29 of its 32
# cells are labelled as B cells, because the labels know no plasma cells.

# %% [markdown]
# ## Beside a PCA
#
# Is this better than what one would have done anyway? A PCA of the same logged values, the same
# neighbours, the same Leiden, at several resolutions.

# %%
sc.pp.pca(adata, n_comps=50)
rows = []
for rep in ["X_genemamba", "X_pca"]:
    sc.pp.neighbors(adata, use_rep=rep, key_added=rep)
    for resolution in [0.25, 0.5, 1.0, 1.5, 2.0]:
        sc.tl.leiden(
            adata, resolution, neighbors_key=rep, key_added="tried",
            flavor="igraph", n_iterations=2, directed=False,
        )  # fmt: skip
        tried, labels = adata.obs["tried"], adata.obs[LABEL]
        ari, nmi = gm.metrics.ari(labels, tried), gm.metrics.nmi(labels, tried)
        rows.append((rep, resolution, tried.nunique(), ari, nmi))
table = pd.DataFrame(rows, columns=["space", "resolution", "clusters", "ARI", "NMI"])
table.pivot(index="resolution", columns="space").round(3)

# %% [markdown]
# NMI is higher for the embedding throughout, by .002 to .055, and ARI at three of five
# resolutions: the PCA has the better ARI at 1.0, where the clusters above were made, and at 1.5.
# With 700 cells, differences of a few hundredths say little. `gm.metrics.compare` sets more beside
# it: whether a regression or the nearest neighbours can tell the labels, over five folds, and
# AvgBIO, the mean of ARI, NMI and silhouette at the resolution that fits best.

# %%
scores = gm.metrics.compare(adata, LABEL, baselines=["pca", "hvg", "expression"])

# %% [markdown]
# The embedding is ahead with neighbours and clusters. It is behind with a regression, which names
# more types right from the genes themselves. These 765 were selected because they vary among
# these very cells, while the embedding takes nothing from a data set but the cell itself. For
# naming types see the next tutorial before you decide.

# %% [markdown]
# ## Write and read back
#
# All that was written is of kinds that `h5ad` knows, the record in `uns` included.

# %%
with tempfile.TemporaryDirectory() as folder:
    adata.write_h5ad(f"{folder}/cells.h5ad")
    again = sc.read_h5ad(f"{folder}/cells.h5ad")
record = again.uns["genemamba"]["X_genemamba"]
print(np.array_equal(again.obsm["X_genemamba"], adata.obsm["X_genemamba"]))
print(record["model"], record["version"], record["params"])

# %% [markdown]
# ## Next
#
# - [02_annotate](02_annotate.ipynb): name the cells from a labelled reference.
# - [03_integrate](03_integrate.ipynb): mix batches.
# - [04_genes_and_perturbation](04_genes_and_perturbation.ipynb): what the model knows of genes.
# - [06_atlas](06_atlas.ipynb): files larger than memory.
