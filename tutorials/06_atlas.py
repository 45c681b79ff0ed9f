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
# # Atlases: files larger than memory
#
# At the end you will have embedded a file block by block without reading it whole, killed the run
# half way and gone on with it, read the result beside the cells, and done the same on the workers
# of a dask cluster. It takes about two minutes on two cores, without a GPU or a network. The last
# part needs `pip install "genemamba[dask]"`.
#
# The file here is small so that you need not wait. The same calls do a million cells: memory stays
# as it is, only time grows.

# %%
import logging
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import scanpy as sc
from distributed import Client, LocalCluster

import genemamba as gm

warnings.filterwarnings("ignore", message="Writing zarr v2 data")  # of anndata, about its default

# %% [markdown]
# ## A file
#
# To use your own, name it here: h5ad or zarr, raw counts, its matrix CSR or dense. Else a file is
# made.

# %%
DATA = None  # "my_atlas.h5ad": your own cells, raw counts, instead of made ones
N_CELLS = 5_000  # of the file that is made

# %% [markdown]
# The cells are made from the 700 blood cells that come with scanpy: drawn with replacement, three
# in ten of their counts kept at random. So they are no data to learn from. Scanpy's `.raw` holds
# log1p of counts scaled per cell, rounded to three decimals; undoing the log and dividing by the
# smallest value of the cell, which is one count, gives the counts back.


# %%
def make_atlas(path, n_cells, kept=0.3):
    cells = sc.datasets.pbmc68k_reduced().raw.to_adata()
    counts = cells.X.astype(np.float64).expm1()
    one = np.minimum.reduceat(counts.data, counts.indptr[:-1])
    counts.data /= np.repeat(one, np.diff(counts.indptr))
    whole = counts.data.round()
    assert np.allclose(counts.data, whole, rtol=0.002)
    counts.data = whole
    rng = np.random.default_rng(0)
    drawn = rng.integers(cells.n_obs, size=n_cells)
    made = counts[drawn]
    made.data = rng.binomial(made.data.astype(int), kept).astype(np.float32)
    made.eliminate_zeros()
    obs = cells.obs[["bulk_labels"]].iloc[drawn].set_axis([f"cell_{i}" for i in range(n_cells)])
    ad.AnnData(made, obs=obs, var=cells.var).write_h5ad(path)


folder = Path(tempfile.mkdtemp())
atlas = folder / "atlas.h5ad" if DATA is None else Path(DATA)
if DATA is None:
    make_atlas(atlas, N_CELLS)

# %% [markdown]
# ## Look first
#
# `check` reads some of the cells and says what they hold and what would be lost. Nothing is
# changed. `print(report)` would also say how long embedding takes on your machine; it is left out
# here because it differs from run to run.

# %%
report = gm.pp.check(atlas)
for name, text in report.rows().items():
    if name != "embedding takes":  # depends on your machine
        print(f"{name:16}{text}")

# %% [markdown]
# ## Embed, and be stopped
#
# A path and a zarr store are all that `embed` needs. Cells are read, embedded and stored 1,024 at
# a time. Here it runs in another process, which we kill without warning as soon as two blocks are
# written.

# %%
out = folder / "vectors.zarr"
partial = folder / "vectors.zarr.partial"
journal = partial / "journal.jsonl"  # a line for each block that is safe
call = f"import genemamba as gm; gm.tl.embed({str(atlas)!r}, out={str(out)!r}, precision='float32')"
process = subprocess.Popen([sys.executable, "-c", call])
while process.poll() is None and not (journal.exists() and journal.read_text().count("\n") >= 2):
    time.sleep(0.02)
process.kill()
print("killed:", process.wait() == -signal.SIGKILL)
print("the store has its name:", out.exists())
print("what was written is kept:", partial.exists())
print("blocks that are safe, two or more:", journal.read_text().count("\n") >= 2)

# %% [markdown]
# What has the name you gave is always whole; what is not finished stands beside it under another
# name. The same call goes on: it verifies the blocks by their hash, and computes those that are
# missing.

# %%
gm.tl.embed(atlas, out=out, precision="float32")
print("the store has its name:", out.exists())
print("nothing is left beside it:", not partial.exists())

# %% [markdown]
# ## Read the vectors
#
# The store is an AnnData of its own, with the cells in their order. Open the atlas backed, so that
# its counts stay on disk, and put the vectors beside them.

# %%
adata = ad.read_h5ad(atlas, backed="r")
vectors = ad.read_zarr(out)
assert (vectors.obs_names == adata.obs_names).all()
adata.obsm["X_genemamba"] = vectors.obsm["X_genemamba"]
print(adata.obsm["X_genemamba"].shape)

# %% [markdown]
# How they were made is kept with them:

# %%
record = vectors.uns["genemamba"]["X_genemamba"]
{key: record[key] for key in ("model", "precision", "values", "genes_known", "tokens_per_cell")}

# %% [markdown]
# A cell's vector depends on that cell alone, not on its block nor on where the run was stopped.
# 100 cells from all over the file, read into memory and embedded by themselves, show it:

# %%
some = adata[:: adata.n_obs // 100].to_memory()
gm.tl.embed(some, precision="float32", key_added="again")
print("the same:", np.allclose(some.obsm["again"], some.obsm["X_genemamba"], atol=1e-5))

# %% [markdown]
# From here on it is scanpy: `sc.pp.neighbors(adata, use_rep="X_genemamba")`. 5,000 vectors are 5
# MB, a million 1 GB.
#
# ## Dask
#
# The workers of a dask cluster can read and embed the blocks. They read the file themselves, which
# zarr allows to do at once, so the atlas is written as zarr, and opened lazily. The workers of an
# active `Client` are used by the call as it is; give it the address of a scheduler to use several
# machines. Here two processes on this machine stand for them.

# %%
adata.to_memory().write_zarr(folder / "atlas.zarr")

with (
    LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR
    ) as cluster,
    Client(cluster),
):
    lazy = ad.experimental.read_lazy(folder / "atlas.zarr")
    gm.tl.embed(lazy, out=folder / "vectors_dask.zarr", precision="float32")

# %% [markdown]
# The vectors are those of one machine:

# %%
dask = ad.read_zarr(folder / "vectors_dask.zarr").obsm["X_genemamba"]
print("the same:", np.allclose(dask, vectors.obsm["X_genemamba"], atol=1e-5))

# %% [markdown]
# `precision="float32"` stands in each call because the default takes bfloat16 where a machine
# computes in it quickly, and workers of several kinds would then differ; `embed` refuses to mix
# them. On one machine, leave it out: it is faster.
#
# ## Memory
#
# The highest use of memory by this notebook, all libraries included, and the cell that made the
# atlas:

# %%
unit = 2**30 if sys.platform == "darwin" else 2**20
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
print("below 1.5 GB:", peak < 1.5)

# %% [markdown]
# ## Next
#
# - [Embed and cluster](01_embed_and_cluster.ipynb): what to do with the vectors
# - [Annotate](02_annotate.ipynb), [integrate](03_integrate.ipynb)
# - the page "Atlases" of the documentation: SLURM and Kubernetes
