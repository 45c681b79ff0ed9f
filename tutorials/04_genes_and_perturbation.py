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
# What does the model know about genes? At the end you will have scored it on genes that were
# hidden from it, set its vectors of genes beside those of a PCA, deleted CD3 genes from T cells in
# silico, and asked which genes made the embedding of each cell type. It takes about two minutes on
# two cores, without a GPU or a network.

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
# To use your own cells, name a file of raw counts here, the column of their types, and two of
# these types: the one to delete genes from, and the one to look towards.

# %%
DATA = None  # "my_cells.h5ad": your own cells, raw counts, instead of scanpy's
LABEL = "bulk_labels"
FROM, TOWARDS = "T", "NK"

# %% [markdown]
# The cells that come with scanpy are 700 blood cells with 765 genes. Its `.raw` holds log1p of
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
gm.pp.check(adata)

# %% [markdown]
# 747 genes are few: the model knows 15,955. What follows shows how to ask; with a whole
# transcriptome the sentences are longer and the answers better founded.
#
# The ten labels are fine and were given by likeness to sorted cells, so we join the T cells.

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
# 15 % of the genes of each cell are hidden. The model says for each hidden place which gene stands
# there. Two answers that need no model stand beside it: the mean ranking of the cells it was
# trained on, and a copy of what was not hidden.

# %%
gm.tl.reconstruct(adata, n_cells=300)
table = adata.uns["genemamba"]["reconstruct"]["table"]
table[["recall_50", "recall", "spearman", "bleu", "nld"]].round(3)

# %%
gm.pl.reconstruction(adata)
plt.show()

# %% [markdown]
# Read `recall_50` and `spearman`. For 71 % of the hidden genes the right one is among the model's
# 50 likeliest for its place, for the mean ranking for 31 %; and the ranks that the genes were
# given agree better with the true ones. The picture shows how far from perfect that is: for genes
# near the top of a cell the medians of both answers lie far too low in the ranking. Of the hidden
# genes themselves the model names 29 % (`recall`), little more than the mean ranking.
#
# `bleu` and `nld` count what was not hidden, 85 % of the cell, as well. A copy that names nothing
# has almost the same: such scores tell little about a model.

# %% [markdown]
# ## Vectors of genes
#
# `"static"` vectors are the model's own, the same for all data. `"context"` vectors are means over
# the places where these cells have the gene. Loadings of a PCA of the same cells are what one
# would use without a model.

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
# All three find partners of the markers. For a number we need pairs of related genes. Families
# that can be read off the names will do: two genes of one family are related, two of different
# families are not.

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
# `auroc` is the chance that a related pair is more similar than an unrelated one. The context
# vectors are ahead of the loadings here, but the intervals, over genes, overlap: with ten small
# families this is no proof. Random vectors stand at 0.5, as they have to.
#
# `gene_modules` groups the genes, and `enrich` asks which family a group is rich in, against all
# genes that could have been in it.

# %%
modules = gm.tl.gene_modules(vectors["context"])
rich = gm.tl.enrich(modules, families, min_size=4)
rich.loc[rich["fdr"] < 0.05, ["gene_set", "overlap", "set_size", "module_size", "expected", "fdr"]]

# %% [markdown]
# A network can be read as long as it is small: here 38 markers, the 8 % nearest pairs connected.
# Black edges are found in both embeddings, coloured ones in one. Lengths are set to one first: a
# network is made of Euclidean distances, and rare genes, whose loadings are all small, would
# otherwise be near each other.

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
# Two thirds of the edges of either are in the other, too, far more than by chance (the legend
# counts them; of each kind the 30 shortest are drawn). The T-cell genes hang together more in the
# context vectors, the B-cell genes more in the loadings.
#
# ## Deleting genes
#
# `CD3D` and `CD3E` mark T cells. If they are taken out of the sentences of T cells, do these move
# towards the NK cells? `NKG7`, which marks NK cells and killer T cells, should do the opposite.
#
# Each deletion is compared with 50 controls: other genes of similar rank and detection, in the same
# 12 cells as far as these express both. The controls of all four rows form one null distribution,
# so the smallest possible `p_shift`, one-sided, is 1 in 201, and the smallest `p_score`, two-sided,
# 2 in 201. Take the default of 100 controls of 25 cells, or more, for your own questions.

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
# `score` is how much nearer to the NK cells and farther from the T cells a cell came, as a share
# of the distance between the two. Each deletion of CD3 genes brings T cells nearer to NK cells
# than nearly all of its 50 controls did. Deleting both does
# about as much as the two deletions added up. `NKG7` moves the cells away, but so do some of its
# controls.
#
# Keep the size in mind: both genes make up 6 % of the way. And a low p says that the model treats
# a gene as special, not what a knock-out would do in a cell.

# %% [markdown]
# ## Which genes made an embedding
#
# `attribute` divides how far a cell lies from the mean of all cells, in the direction of its
# group, among the genes of the cell. It takes as long as some three embeddings a step, so we take
# six cells of each type, and 8 steps instead of 16.

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
# Many are the markers one would name. Blue genes lead away from the group: a progenitor that
# expresses HLA class II looks less like one. How many of the ten highest are among the ten that a
# plain test finds in all cells?

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
# Four to eight of ten. The two ask different things: the test, what differs between the types, in
# 700 cells; attribution, what the model used, in six of each. `SMARCB1`, no B-cell marker in the
# books, is in both lists, so it is in these data and no whim of the model. Attribution says
# nothing about cause.

# %% [markdown]
# ## Next
#
# - [Annotate cells](02_annotate.ipynb), with attributions of labels instead of the embedding:
#   `gm.tl.attribute(adata, target="label", label_key=…)`
# - [Pretrain a model](05_pretrain.ipynb), and ask it the same
