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
# # An atlas larger than memory
#
# You embed a file block by block into a store, kill the run half way, and resume it with the same
# call. Then the workers of a dask cluster do the same; that part needs `pip install
# "genemamba[dask]"`.

# %%
import logging
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import scanpy as sc
from cells import drawn
from distributed import Client, LocalCluster

import genemamba as gm

plt.rcParams.update({"figure.dpi": 80, "figure.figsize": (4.5, 4)})
warnings.filterwarnings("ignore", message="Writing zarr v2 data")  # of anndata, about its default

folder = Path(tempfile.mkdtemp())
atlas = folder / "atlas.h5ad"  # your own file: h5ad or zarr, raw counts, as a CSR or dense matrix
samples = {f"sample {seed}": drawn("lung", 1_000, seed=seed) for seed in range(4)}
ad.concat(samples, label="sample", index_unique=", ").write_h5ad(atlas)

out = folder / "vectors.zarr"
partial = folder / "vectors.zarr.partial"
journal = partial / "journal.jsonl"  # a line for each block that is safe
settings = {"out": str(out), "max_tokens": 192, "precision": "float32"}
call = f"import genemamba as gm; gm.tl.embed({str(atlas)!r}, **{settings})"
process = subprocess.Popen([sys.executable, "-c", call])
while process.poll() is None and not (journal.exists() and journal.read_text().count("\n") >= 2):
    time.sleep(0.02)
process.kill()
print("killed:", process.wait() == -signal.SIGKILL)
print("the store has its name:", out.exists(), "| what was written is kept:", partial.exists())

# %%
gm.tl.embed(atlas, **settings)  # the same call resumes
print("the store has its name:", out.exists(), "| what was written is kept:", partial.exists())

vectors = ad.read_zarr(out)
vectors.obs = ad.read_h5ad(atlas, backed="r").obs
sc.pp.neighbors(vectors, use_rep="X_genemamba")
sc.tl.umap(vectors)
sc.pl.umap(vectors, color=["sample", "cell_type"], wspace=0.4, frameon=False)

# %% [markdown]
# Another process embedded the first blocks and was killed without warning, as soon as the journal
# named two of them. The second call checked these by their hash and computed the rest. A store with
# the name that you chose is always complete; an unfinished one has another name in the same folder.
# Put the call into a job script, and a job that hits its time limit is simply submitted again.
#
# The plot is of all 4,000 cells. They were drawn from average profiles of lung cell types that the
# model was trained on, so the types separate more cleanly than in real tissue, and the samples mix
# because nothing but chance tells them apart ([figures on real cells](../docs/benchmarks.md)).
#
# ## Check the file first
#
# `check` reads a sample of the cells and changes nothing. `print(report)` would also estimate how
# long embedding takes on your machine, so that you know before you submit a job.

# %%
report = gm.pp.check(atlas)
for name, text in report.rows().items():
    if name != "embedding takes":  # depends on the machine
        print(f"{name:24}{text}")

# %% [markdown]
# `max_tokens=192` keeps this page short: of the 1,600 or so genes that these cells express, the
# model reads the first 192 in the ranking of each cell. Leave it out for your own cells, and reckon
# with eight times the time. Memory does not depend on the number of cells: `embed` reads, embeds
# and stores 1,024 at a time, a thousand or a million in all.
#
# ## What is in the store
#
# The store is an AnnData with the cells in the order of the file, and a record of how they were
# computed. A million vectors take 1 GB. Keep the counts on disk and put the vectors next to them:

# %%
record = vectors.uns["genemamba"]["X_genemamba"]
print({key: record[key] for key in ("model", "precision", "values", "genes_known")})

adata = ad.read_h5ad(atlas, backed="r")
assert (vectors.obs_names == adata.obs_names).all()
adata.obsm["X_genemamba"] = vectors.obsm["X_genemamba"]
print("vectors:", adata.obsm["X_genemamba"].shape)

# %% [markdown]
# A cell's vector depends on that cell alone, not on its block or on where the run was interrupted.
# To see this, read 100 cells from across the file into memory and embed them separately:

# %%
some = adata[:: adata.n_obs // 100].to_memory()
gm.tl.embed(some, max_tokens=192, precision="float32", key_added="again")
print("the same:", np.allclose(some.obsm["again"], some.obsm["X_genemamba"], atol=1e-5))

# %% [markdown]
# ## Dask
#
# The workers of a dask cluster read and embed the blocks, if the file is a zarr store, which allows
# parallel reads, and is opened lazily. The call stays the same: an active `Client` is found. Two
# processes of this machine serve here; for several machines, give `Client` the address of a
# scheduler. Half of the cells will do.

# %%
adata[:2_048].to_memory().write_zarr(folder / "atlas.zarr")

with (
    LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR
    ) as cluster,
    Client(cluster),
):
    lazy = ad.experimental.read_lazy(folder / "atlas.zarr")
    gm.tl.embed(lazy, **settings | {"out": folder / "vectors_dask.zarr"})

dask = ad.read_zarr(folder / "vectors_dask.zarr").obsm["X_genemamba"]
print("the same:", np.allclose(dask, vectors.obsm["X_genemamba"][:2_048], atol=1e-5))

# %% [markdown]
# We ask for `precision="float32"` in each call because the default is bfloat16 where the processor
# supports it. Workers of different kinds would then give different vectors, and `embed` rejects
# such a mix. On one machine, leave it out: the default is faster.
#
# ## Next
#
# - [Blood](01_blood.ipynb): what to do with the vectors
# - [Annotate](02_annotate.ipynb), [integrate](04_integrate.ipynb)
# - the page "Atlases" of the documentation: SLURM and Kubernetes
