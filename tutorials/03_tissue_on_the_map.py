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
# # A tissue on the map
#
# You have cells of a lung. Two lines lay them on a map of the human body and tell for each cell
# what it is like, where such cells have been seen, and whether it belongs on the map at all. Then
# you make a map of your own tissue, which you can keep and lay other samples on.

# %%
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from cells import drawn

import genemamba as gm

warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"  # the text alone
plt.rcParams["figure.dpi"] = 80

# %%
adata = drawn("lung", 400)  # your own cells: sc.read_h5ad("my_cells.h5ad"), raw counts in X
gm.tl.map(adata)
ax = gm.pl.map(adata)

# %% [markdown]
# The map has 13,040 cells of the human body. It does not change, and a cell's place on it does not
# depend on what else you lay there. Each cell gets the label with most votes of its 30 neighbours,
# with a confidence, and a quality: the fraction of the map's own held-out cells that lie as far
# from it. Below .05 a cell does not belong, and its label is "unknown". (The warning is due to
# these cells, which have 15,000 genes. With more of the genes it goes away.)

# %%
obs = adata.obs
print(f"do not belong on the map: {(obs['genemamba_map_quality'] < 0.05).mean():.0%}")
print(f"mean confidence of the labels: {obs['genemamba_map_confidence'].mean():.2f}")
by_type = obs.groupby("cell_type", observed=True)
label, tissue = by_type["genemamba_map_label"], by_type["genemamba_map_tissue"]
pd.DataFrame(
    {"cells": by_type.size(),
     "label on the map": label.agg(lambda labels: labels.mode()[0]),
     "its share": label.agg(lambda labels: labels.value_counts(normalize=True).iloc[0]),
     "tissue": tissue.agg(lambda tissues: tissues.mode()[0])}
).round(2)  # fmt: skip

# %% [markdown]
# All cells belong on the map. Twenty of 21 types have the right name, down to the two macrophages;
# CD4+ T cells are mostly called regulatory. The tissue is lung. Confidence is low for so many right
# names: it counts a near term, such as "natural killer cell" for one of its subtypes, as wrong.
#
# This is too good to be true of your cells. These are drawn from averages of a published study that
# the model was trained on, and the averages are on the map, too. Real cells are harder
# ([figures](../docs/benchmarks.md)). `gm.tl.search` can leave a study out.
#
# ## Search, without the study itself
#
# The search asks where cells like these have been seen. `groupby` takes the mean of each type as a
# query; with your own cells, use clusters. `enrichment` counts what is frequent among the cells
# found, compared with the whole map.

# %%
found = gm.tl.search(adata, groupby="cell_type", k=30, exclude={"source": "Adult_Lung_HCA"})
first = found.enrichment.groupby(["query", "column"]).first()["value"].unstack()
share = found.enrichment.query("column == 'cell_type'").groupby("query")["share"].first()
first[["cell_type", "tissue"]].assign(share=share).round(2)

# %% [markdown]
# Without their own study, the map still knows cells that occur in many tissues: B cells, plasma
# cells, mast cells, NK cells, pDC, vessels, ciliated cells. It has no other lung, though. The cells
# most like alveolar ones are gland cells of the esophagus, fibroblasts are most like decidual
# cells, and the tissue is no longer found. So the map of the body is a first look, and as good as
# what is on it. `found.cells` lists the cells one by one, with their source.
#
# ## A map of your own
#
# For labels, make a map of your tissue. Half of the cells become one. We leave the fibroblasts and
# the monocytes out of it, to see what happens to types that a map does not have.

# %%
half = np.arange(adata.n_obs) % 2 == 0
missing = adata.obs["cell_type"].isin(["fibroblast", "monocyte"])
folder = Path(tempfile.mkdtemp()) / "lung"
lung = gm.tl.build_map(adata[half & ~missing].copy(), out=folder, label_key="cell_type")
print(lung)
print(f"held-out cells of the map with the right label: {lung.about['held_out']['accuracy']:.0%}")

# %% [markdown]
# The folder is the map: copy it, and lay other cells on it next year. If your cells come from
# several donors or studies, pass `batch_key`. Whole donors are then held out in the calibration, so
# that a cell is not called foreign only because its donor is new. Now lay the other half on it.

# %%
query = adata[~half].copy()
gm.tl.map(query, folder, key_added="lung")
ax = gm.pl.map(query, folder, color="cell_type", key="lung")

# %%
label, truth = (query.obs[key].astype(str) for key in ("lung_label", "cell_type"))
on_map = ~missing[~half]
print(f"of types that the map has, {(label == truth)[on_map].mean():.0%} have the right label")
pd.crosstab(truth[~on_map], label[~on_map])

# %% [markdown]
# Nearly all fibroblasts are unknown, as they should be. The monocytes are not: they are called
# dendritic cells, a near relative that the map does have. Quality says that a cell lies where the
# map has cells, not that its type is there. Check markers of the types that you care about.
#
# ## Cells of another tissue
#
# Blood shares many types with a lung, and has some of its own. Lay blood cells on the map of the
# lung, as they are and with `correct=True`, which shifts the query towards the map.

# %%
other = drawn("blood", 150)
gm.tl.map(other, folder, key_added="lung")
gm.tl.map(other, folder, key_added="shifted", correct=True)
by_type = other.obs.groupby("cell_type", observed=True)
pd.DataFrame(
    {"cells": by_type.size(),
     "unknown": by_type["lung_label"].agg(lambda labels: (labels == "unknown").mean()),
     "most frequent label": by_type["lung_label"].agg(lambda labels: labels.mode()[0]),
     "with correct=True": by_type["shifted_label"].agg(lambda labels: labels.mode()[0])}
).round(2)  # fmt: skip

# %% [markdown]
# As they are, the cells of types that this map does not have are unknown: granulocytes, platelets,
# red blood cells, and now monocytes, too (31 of 34 cells). The other types get a name of the lung
# that fits, or that of a near relative; 6 of their 116 cells are unknown.
#
# With `correct=True` no cell is unknown any more, and neutrophils are called regulatory T cells.
# The shift is meant for a gene panel or another technology, if the types are those of the map.
# Never use it to get rid of unknown cells.
#
# ## Next
#
# If neither of two studies is the reference, [integrate them](04_integrate.ipynb). How good maps
# are on real cells, with whole studies left out, is [here](../docs/benchmarks.md).
