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
# # Genes and perturbation
#
# What does the model know about genes? In this tutorial you score it on hidden genes, compare its
# gene embeddings with those of a PCA, delete CD3 genes from T cells in silico, and compute which
# genes contribute to the embedding of each cell type. It takes about two minutes on two cores,
# without a GPU or internet access.

# %%
import itertools

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scanpy as sc

import genemamba as gm

plt.rcParams["figure.dpi"] = 80
pd.set_option("display.width", 120, "display.max_colwidth", None)

# %% [markdown]
# ## Cells
#
# To use your own cells, set a file of raw counts, the column with cell types, and two of these
# types: the one in which genes are deleted, and the target.

# %%
DATA = None  # "my_cells.h5ad": your own cells, raw counts, instead of scanpy's
LABEL = "bulk_labels"
FROM, TOWARDS = "T", "NK"

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
gm.pp.check(adata)

# %% [markdown]
# 756 genes are few: the model knows 19,713. This tutorial shows the methods; with a whole
# transcriptome, the model reads more genes per cell and the results are more reliable.
#
# The ten labels are fine-grained and were assigned by similarity to sorted cells, so we merge the
# T-cell subtypes.

# %%
JOIN = {
    "CD4+/CD25 T Reg": "T",
    "CD4+/CD45RA+/CD25- Naive T": "T",
    "CD4+/CD45RO+ Memory": "T",
    "CD8+ Cytotoxic T": "T",
    "CD8+/CD45RA+ Naive Cytotoxic": "T",
    "CD56+ NK": "NK",
    "CD19+ B": "B",
    "CD14+ Monocyte": "monocyte",
    "Dendritic": "dendritic",
    "CD34+": "progenitor",
}
adata.obs["type"] = adata.obs[LABEL].astype(str).replace(JOIN).astype("category")
adata.obs["type"].value_counts()

# %% [markdown]
# ## Hidden genes
#
# In each cell, 15 % of the genes are hidden, and the model predicts the gene at each hidden
# position. The table compares it with two baselines that need no model: the mean ranking of the
# training cells, and a copy of the genes that are not hidden.

# %%
gm.tl.reconstruct(adata, n_cells=300)
table = adata.uns["genemamba"]["reconstruct"]["table"]
table[["recall_50", "recall", "spearman", "bleu", "nld"]].round(3)

# %%
gm.pl.reconstruction(adata)
plt.show()

# %% [markdown]
# Look at `recall_50` and `spearman`. For 71 % of the hidden genes, the correct gene is among the
# model's 50 most likely genes for its position, compared with 31 % for the mean ranking. The
# model's predicted ranks also agree better with the true ones. The plot shows how far from perfect
# this is: for genes near the top of a cell, the medians of both predictions are far too low in the
# ranking. The model recovers 29 % of the hidden genes (`recall`), little more than the mean
# ranking.
#
# `bleu` and `nld` include the 85 % of the cell that was not hidden. A copy that predicts nothing
# scores almost the same, so these scores tell you little about a model.

# %% [markdown]
# ## Gene embeddings
#
# `"static"` vectors are part of the model and the same for all data. A `"context"` vector is the
# mean of the gene's states over the cells that express it. Without a model, you would use the PCA
# loadings of the same cells.

# %%
gm.tl.gene_embedding(adata, key_added="static")
gm.tl.gene_embedding(adata, kind="context", key_added="context")

logged = adata.copy()
sc.pp.normalize_total(logged)
sc.pp.log1p(logged)
sc.pp.pca(logged)
vectors = {
    "static": pd.DataFrame(adata.varm["static"], index=adata.var_names),
    "context": pd.DataFrame(adata.varm["context"], index=adata.var_names),
    "PCA loadings": pd.DataFrame(logged.varm["PCs"], index=adata.var_names),
}


# %% [markdown]
# The nearest genes of a few markers, by cosine:


# %%
def unit(table):
    table = table.dropna()
    return table.div(np.linalg.norm(table, axis=1), axis=0)


def nearest(table, gene, n=5):
    return ", ".join((unit(table) @ unit(table).loc[gene]).drop(gene).nlargest(n).index)


MARKERS = ["CD3D", "CD79A", "LYZ", "NKG7", "HLA-DRA"]
pd.DataFrame({name: {g: nearest(t, g) for g in MARKERS} for name, t in vectors.items()})

# %% [markdown]
# All three find related genes for the markers. To measure this, we need pairs of related genes.
# Gene families that are visible from the names will do: two genes of one family count as related,
# two genes of different families as unrelated.

# %%
FAMILIES = {
    "ribosome": r"RP[LS]\d",
    "proteasome": "PSM[ABCD]",
    "ATP synthase": "ATP5",
    "cytochrome c oxidase": r"COX\d",
    "NADH dehydrogenase": "NDUF",
    "MHC class II": "HLA-D[PQR]",
    "T-cell receptor": "CD3[DEG]|CD247",
    "granzymes": "GZM",
    "S100": "S100A",
    "initiation factors": "EIF",
}
names = adata.var_names.to_series()
families = {family: names[names.str.match(start)].tolist() for family, start in FAMILIES.items()}
family_of = {gene: family for family, genes in families.items() for gene in genes}
pairs = [(a, b, family_of[a] == family_of[b]) for a, b in itertools.combinations(family_of, 2)]
found = gm.tl.gene_similarity(pairs, vectors)
shown = ["kind", "positive", "negative", "auroc", "auroc_low", "auroc_high", "auroc_matched"]
found.table.xs("cosine", level="measure")[shown].round(2)

# %% [markdown]
# `auroc` is the probability that a related pair is more similar than an unrelated one. The context
# vectors are ahead of the loadings here, but the intervals (bootstrap over genes) overlap: ten
# small families are not enough to decide. Random vectors are at 0.5, as expected.
#
# `gene_modules` clusters the genes, and `enrich` tests which families are enriched in each module,
# relative to all genes that could be in it.

# %%
modules = gm.tl.gene_modules(vectors["context"])
rich = gm.tl.enrich(modules, families, min_size=4)
rich.loc[rich["fdr"] < 0.05, ["gene_set", "overlap", "set_size", "module_size", "expected", "fdr"]]

# %% [markdown]
# A network is only readable if it is small: here 38 markers, with the closest 8 % of pairs
# connected. Black edges are in both embeddings, coloured edges in only one. The vectors are first
# scaled to unit length: the network uses Euclidean distances, and rare genes, whose loadings are
# all small, would otherwise be close to each other.

# %%
CHOSEN = [
    *["CD3D", "CD3E", "CD3G", "CD247", "CD2", "IL32", "CD8A", "CD8B", "IL7R", "LCK"],
    *["NKG7", "GNLY", "GZMA", "GZMB", "GZMH", "PRF1", "CST7", "CTSW", "KLRB1"],
    *["CD79A", "CD79B", "MS4A1", "BANK1", "BLK", "SPIB"],
    *["LYZ", "S100A8", "S100A9", "MNDA", "CST3", "LST1", "FCGR3A"],
    *["HLA-DRA", "HLA-DRB1", "HLA-DPA1", "HLA-DPB1", "HLA-DQA1", "CD74"],
]
network = gm.tl.gene_network(
    {name: unit(vectors[name]) for name in ("context", "PCA loadings")},
    genes=CHOSEN,
    threshold=0.08,
)
gm.pl.gene_network(network)
plt.show()

# %% [markdown]
# The two networks share two thirds of their edges, far more than expected by chance (the legend
# gives the numbers; only the 30 shortest edges of each kind are drawn). The T-cell genes are more
# connected in the context vectors, the B-cell genes in the loadings.
#
# ## Deleting genes
#
# `CD3D` and `CD3E` are markers of T cells. If we delete them from T cells, do these cells move
# towards the NK cells? Deleting `NKG7`, a marker of NK cells and cytotoxic T cells, should do the
# opposite.
#
# Each deletion is compared with 50 controls: other genes of similar rank and detection rate, in
# the same 12 cells where these express both. The controls of all four rows form one null
# distribution, so the smallest possible one-sided `p_shift` is 1 in 201, and the smallest
# two-sided `p_score` is 2 in 201. For real analyses, use at least the default of 100 controls with
# 25 cells each.

# %%
gm.tl.perturb(
    adata,
    ["CD3D", "CD3E", ("CD3D", "CD3E"), "NKG7"],
    groupby="type",
    groups=[FROM],
    target=TOWARDS,
    n_controls=50,
    control_cells=12,
)
perturbed = adata.uns["genemamba"]["genemamba_perturb"]["table"]
shown = ["perturbation", "changed", "cosine", "cosine_controls", "p_shift", "score"]
perturbed[[*shown, "score_controls", "p_score", "fdr_score"]].round(4)

# %%
gm.pl.perturb(adata, kind="controls")
plt.show()

# %% [markdown]
# `score` is how much a cell moves towards the NK cells and away from the T cells, as a fraction of
# the distance between the two. Each deletion of CD3 genes moves T cells closer to NK cells than
# nearly all of its 50 controls. Deleting both genes has about the same effect as the two single
# deletions added up. Deleting `NKG7` moves the cells away, but so do some of its controls.
#
# Keep the effect size in mind: deleting both genes covers 6 % of the distance. And a low p-value
# means that the model treats a gene as special. It does not predict what a knock-out would do in a
# real cell.

# %% [markdown]
# ## Which genes determine an embedding
#
# `attribute` measures how far a cell is from the mean of all cells, in the direction of its group,
# and divides this distance among the genes of the cell. Each step takes about as long as three
# embeddings, so we use six cells of each type, and 8 steps instead of 16.

# %%
few = adata[adata.obs.groupby("type", observed=True).sample(6, random_state=0).index].copy()
gm.tl.attribute(few, groupby="type", steps=8)
print(
    "missed by the sum:",
    f"{few.uns['genemamba']['genemamba_attribution']['completeness_error']:.2%}",
)

# %%
gm.pl.attribution(few, n_genes=5)
plt.show()

# %% [markdown]
# Many of these are well-known markers. Blue genes point away from the group: a progenitor that
# expresses HLA class II looks less like a progenitor. How many of the top ten genes are among the
# top ten of a standard differential expression test on all cells?

# %%
sc.tl.rank_genes_groups(logged, "type", method="wilcoxon")
tested = pd.DataFrame(logged.uns["rank_genes_groups"]["names"])
groups = few.uns["genemamba"]["genemamba_attribution"]["groups"]
means = pd.DataFrame(few.varm["genemamba_attribution"], few.var_names, groups)
common = pd.Series(
    {t: [g for g in means[t].nlargest(10).index if g in {*tested[t][:10]}] for t in means}
)
pd.DataFrame({"of ten": common.str.len(), "genes": common.str.join(", ")})

# %% [markdown]
# Four to eight of ten. The two methods answer different questions: the test finds what differs
# between types, in 700 cells; attribution finds what the model used, in six cells of each type.
# `SMARCB1` is not a known B-cell marker, but it is in both lists, so it is a feature of these data
# and not a model artefact. Attribution does not show causation.

# %% [markdown]
# ## Next
#
# - [Annotate cells](02_annotate.ipynb). To attribute labels instead of the embedding, use
#   `gm.tl.attribute(adata, target="label", label_key=…)`
# - [Pretrain a model](05_pretrain.ipynb), and run the same analyses with it
