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
# In this tutorial you embed a file block by block, kill the run half way and resume it, read the
# result together with the cells, and do the same on the workers of a dask cluster. It takes about
# two minutes on two cores, without a GPU or internet access. The last part needs
# `pip install "genemamba[dask]"`.
#
# The example file is small so that you do not have to wait. The same calls work for a million
# cells: memory use stays constant and only time grows.

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
# To use your own file, set `DATA`: h5ad or zarr with raw counts, as a CSR or dense matrix.
# Otherwise, an example file is generated.

# %%
DATA = None  # "my_atlas.h5ad": your own cells, raw counts, instead of generated ones
N_CELLS = 5_000  # in the generated file

# %% [markdown]
# The cells are generated from the 700 blood cells that ship with scanpy: drawn with replacement,
# keeping a random 30 % of their counts. Do not draw conclusions from them. Scanpy's `.raw` holds
# log1p of counts that were scaled per cell, rounded to three decimals. To recover the counts, undo
# the log and divide by the smallest value of the cell, which is one count.


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
# ## Check your data first
#
# `check` reads a sample of the cells and reports what the values are and how much is unused. It
# changes nothing. `print(report)` would also estimate how long embedding takes on your machine; we
# leave that out here because it differs from run to run.

# %%
report = gm.pp.check(atlas)
for name, text in report.rows().items():
    if name != "embedding takes":  # depends on your machine
        print(f"{name:24}{text}")

# %% [markdown]
# ## Embed, and interrupt the run
#
# `embed` needs only a path and a zarr store. It reads, embeds and stores 1,024 cells at a time.
# Here it runs in another process, which we kill without warning as soon as two blocks are written.

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
# A store with the name that you chose is always complete; an unfinished one has another name in
# the same folder. Repeat the call to resume: it verifies the finished blocks by their hash and
# computes the missing ones.

# %%
gm.tl.embed(atlas, out=out, precision="float32")
print("the store has its name:", out.exists())
print("no unfinished store is left:", not partial.exists())

# %% [markdown]
# ## Read the vectors
#
# The store is an AnnData with the cells in their original order. Open the atlas in backed mode, so
# that its counts stay on disk, and add the vectors.

# %%
adata = ad.read_h5ad(atlas, backed="r")
vectors = ad.read_zarr(out)
assert (vectors.obs_names == adata.obs_names).all()
adata.obsm["X_genemamba"] = vectors.obsm["X_genemamba"]
print(adata.obsm["X_genemamba"].shape)

# %% [markdown]
# The store also records how the vectors were computed:

# %%
record = vectors.uns["genemamba"]["X_genemamba"]
{key: record[key] for key in ("model", "precision", "values", "genes_known", "tokens_per_cell")}

# %% [markdown]
# A cell's vector depends on that cell alone, not on its block or on where the run was interrupted.
# To see this, read 100 cells from across the file into memory and embed them separately:

# %%
some = adata[:: adata.n_obs // 100].to_memory()
gm.tl.embed(some, precision="float32", key_added="again")
print("the same:", np.allclose(some.obsm["again"], some.obsm["X_genemamba"], atol=1e-5))

# %% [markdown]
# From here on, use scanpy: `sc.pp.neighbors(adata, use_rep="X_genemamba")`. 5,000 vectors take
# 5 MB, a million take 1 GB.
#
# ## Dask
#
# The workers of a dask cluster can read and embed the blocks. Zarr allows parallel reads, so we
# write the atlas as zarr and open it lazily. The call is the same: if there is an active `Client`,
# its workers are used. To use several machines, pass the address of a scheduler to `Client`. Here
# we use two processes on this machine.

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
# The vectors are the same as on one machine:

# %%
dask = ad.read_zarr(folder / "vectors_dask.zarr").obsm["X_genemamba"]
print("the same:", np.allclose(dask, vectors.obsm["X_genemamba"], atol=1e-5))

# %% [markdown]
# We pass `precision="float32"` in each call because the default uses bfloat16 on machines that
# support it. Different kinds of workers would then give different results, and `embed` rejects
# such a mix. On a single machine, leave it out: the default is faster.
#
# ## Memory
#
# This is the peak memory of this notebook, including all libraries and the cell that generated the
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
