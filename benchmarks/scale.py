"""Are a million cells tokenised, and fifty thousand embedded, in memory that does not grow?

    python benchmarks scale --data ../shared/data

A file of a million cells is made (cells of a real set, drawn with repeats and their counts thinned)
in a scratch folder, and deleted in the end. Every part runs in a process of its own, whose peak
memory is its own.

tokenise   gm.pp.rank_tokenize from a path (h5ad and zarr) into a store.
embed      gm.tl.embed from a path into a store with a model of one layer, 5,000 and 50,000 cells.
kill       a streamed embedding killed at ten random moments and resumed each time, compared with
           an uninterrupted one: are both stores the same, byte for byte?
mini       gm.tl.embed from a path into a store with genemamba-mini, 5,000 and 50,000 cells, and
           what a million would take at the rate of the second; 20,000 killed twice.
dask       gm.tl.embed of a dask array with two worker processes, compared with one of one thread.
The last line printed is the same as JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

import genemamba as gm
from genemamba.cells.files import opened as cells_in
from genemamba.network import GeneMamba, GeneMambaConfig

RUN = """
import json, sys, time
import genemamba as gm
what, source, out, model = sys.argv[1:5]
run = gm.pp.rank_tokenize if what == "tokenise" else gm.tl.embed
begun = time.perf_counter()
run(source, model=model, out=out)
lines = open("/proc/self/status").read().splitlines()  # getrusage remembers the parent's memory
peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e6
print(json.dumps({"seconds": time.perf_counter() - begun, "peak_gb": peak}))
"""

DASK = """
import json, sys, time
import anndata as ad, dask.array as da, numpy as np, torch
import genemamba as gm
from distributed import Client, LocalCluster

def main():
    source, model, workers = sys.argv[1], sys.argv[2], int(sys.argv[3])
    adata = ad.read_h5ad(source)
    adata.X = da.from_array(adata.X, chunks=(1024, -1))
    with LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as local:
        with Client(local) as client:
            seconds = []
            for _ in range(2):  # the first compiles and imports
                begun = time.perf_counter()
                found = gm.tl.embed(adata, model=model, copy=True, precision="float32")
                seconds.append(time.perf_counter() - begun)
    np.save(sys.argv[4], found.obsm["X_genemamba"])
    print(json.dumps({"seconds": seconds[1]}))

if __name__ == "__main__":
    main()
"""


def thinned(source: Path, n_cells: int, share: float, out: Path) -> int:
    """Write cells drawn from a set, counts thinned, as one h5ad; return its entries."""
    import h5py

    cells = ad.read_h5ad(source)
    counts, rng = sparse.csr_matrix(cells.X), np.random.default_rng(0)
    block = 20_000
    with h5py.File(out, "w") as file:
        obs = pd.DataFrame(index=[f"cell{i}" for i in range(n_cells)])
        ad.io.write_elem(file, "/", ad.AnnData(obs=obs, var=cells.var[[]]))
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0",
                            "shape": (n_cells, counts.shape[1])})  # fmt: skip
        options = {"maxshape": (None,), "chunks": (1 << 18,), "shape": (0,)}
        data = group.create_dataset("data", dtype=np.float32, **options)
        indices = group.create_dataset("indices", dtype=np.int32, **options)
        indptr = [np.zeros(1, np.int64)]
        for first in range(0, n_cells, block):
            n = min(block, n_cells - first)
            part = counts[rng.integers(0, counts.shape[0], n)]
            part.data = rng.binomial(part.data.astype(int), share).astype(np.float32)
            part.eliminate_zeros()
            for array, values in ((data, part.data), (indices, part.indices)):
                array.resize(len(array) + len(values), axis=0)
                array[len(array) - len(values) :] = values
            indptr.append(indptr[-1][-1] + part.indptr[1:])
        group.create_dataset("indptr", data=np.concatenate(indptr))
        return len(data)


def run(code: str, *arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def tree(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(f for f in folder.rglob("*") if f.is_file()):
        digest.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return digest.hexdigest()


def part_tokenise(scratch: Path, million: Path, _: Path) -> list[dict[str, Any]]:
    rows = []
    for source in (million, as_zarr(million)):
        out = scratch / "tokens.zarr"
        n = len(ad.io.read_elem(root(source)["obs"]))
        row = run(RUN, "tokenise", source, out, "genemamba-mini")
        size = sum(f.stat().st_size for f in out.rglob("*") if f.is_file()) / 1e9
        rows.append({"from": source.suffix, "cells": n, "cells_per_s": n / row["seconds"],
                     "store_gb": size, **row})  # fmt: skip
        shutil.rmtree(out)
    return rows


def root(source: Path) -> Any:
    import h5py
    import zarr

    return zarr.open_group(source, mode="r") if source.suffix == ".zarr" else h5py.File(source)


def as_zarr(source: Path) -> Path:
    """Copy the million cells into a zarr store, piece by piece."""
    import h5py
    import zarr

    out = source.with_suffix(".zarr")
    with h5py.File(source) as file:
        root = zarr.open_group(out, mode="w", zarr_format=2)
        for name in ("obs", "var"):
            ad.io.write_elem(root, name, ad.io.read_elem(file[name]))
        root.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        group = root.create_group("X", attributes={
            "encoding-type": "csr_matrix", "encoding-version": "0.1.0",
            "shape": [int(n) for n in file["X"].attrs["shape"]]})  # fmt: skip
        for name in ("data", "indices", "indptr"):
            given = file["X"][name]
            array = group.create_array(
                name, shape=given.shape, chunks=(1 << 20,), dtype=given.dtype
            )
            for first in range(0, len(given), 1 << 24):
                array[first : first + (1 << 24)] = given[first : first + (1 << 24)]
    return out


def part_embed(scratch: Path, million: Path, model: Path | str) -> list[dict[str, Any]]:
    rows = []
    for n in (5_000, 50_000):
        source = head(million, n, scratch)
        row = run(RUN, "embed", source, scratch / "out.zarr", model)
        rows.append({"cells": n, "cells_per_s": n / row["seconds"], **row})
        shutil.rmtree(scratch / "out.zarr")
    return rows


def head(million: Path, n: int, scratch: Path) -> Path:
    """Write the first cells to a file of their own."""
    out = scratch / f"{n}.h5ad"
    if not out.exists():
        with cells_in(million) as cells:
            ad.AnnData(cells.X[:n], obs=cells.obs[:n], var=cells.var).write_h5ad(out)
    return out


def part_mini(scratch: Path, million: Path, _: Path) -> list[dict[str, Any]]:
    rows = part_embed(scratch, million, "genemamba-mini")
    rows[-1]["million_hours"] = 1e6 / rows[-1]["cells_per_s"] / 3600
    return rows + part_kill(scratch, million, "genemamba-mini", 2)


def part_kill(
    scratch: Path, million: Path, model: Path | str, most: int = 10
) -> list[dict[str, Any]]:
    source, draw = head(million, 20_000, scratch), random.Random(0)
    whole = run(RUN, "embed", source, scratch / "whole.zarr", model)["seconds"]
    out, kills, blocks = scratch / "broken.zarr", 0, []
    command = [sys.executable, "-c", RUN, "embed", str(source), str(out), str(model)]
    journal = scratch / "broken.zarr.partial" / "journal.jsonl"
    while kills < most:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        before = len(blocks)
        while process.poll() is None and (
            len(journal.read_text().splitlines() if journal.exists() else []) <= before
        ):
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 1.5 * whole / 20))
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
        blocks = journal.read_text().splitlines() if journal.exists() else []
    run(RUN, "embed", source, out, model)
    same = tree(out) == tree(scratch / "whole.zarr")
    for store in (out, scratch / "whole.zarr"):
        shutil.rmtree(store)
    return [{"cells": 20_000, "kills": kills, "same": same}]


def part_dask(scratch: Path, million: Path, _: Path) -> list[dict[str, Any]]:
    source = head(million, 4_096, scratch)
    one = gm.tl.embed(ad.read_h5ad(source), copy=True, precision="float32").obsm["X_genemamba"]
    rows = []
    for workers in (1, 2):
        file = scratch / f"{workers}.npy"
        script = scratch / "dask_run.py"  # worker processes import the script that started them
        script.write_text(DASK)
        done = subprocess.run(
            [sys.executable, str(script), str(source), "genemamba-mini", str(workers), str(file)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        seconds = json.loads(done.stdout.splitlines()[-1])["seconds"]
        rows.append({"workers": workers, "seconds": seconds, "cells_per_s": 4_096 / seconds,
                     "largest_difference": float(np.abs(np.load(file) - one).max())})  # fmt: skip
    return rows


PARTS = {
    "tokenise": part_tokenise,
    "embed": part_embed,
    "kill": part_kill,
    "mini": part_mini,
    "dask": part_dask,
}


def main() -> None:
    """Measure the parts, print rows, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of .h5ad files")
    parser.add_argument("--source", default="covid_pbmc_gse149689", help="file to draw cells from")
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--share", type=float, default=0.3, help="of the counts that is kept")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--scratch", type=Path, help="folder with some GB of room")
    args = parser.parse_args()
    result: dict[str, Any] = {"benchmark": "scale"}
    with tempfile.TemporaryDirectory(dir=args.scratch) as folder:
        scratch = Path(folder)
        million = scratch / "million.h5ad"
        source = next(args.data.rglob(f"{args.source}*.h5ad"))
        entries = thinned(source, args.cells, args.share, million)
        result["genes_per_cell"] = entries / args.cells
        vocab = gm.models.vocabulary("genemamba-mini")
        config = GeneMambaConfig(vocab_size=len(vocab), d_model=32, n_layers=1, d_state=16,
                                 headdim=16)  # fmt: skip
        tiny = GeneMamba(config).reset_parameters(0)
        tiny.vocab = vocab
        tiny.save_pretrained(scratch / "tiny")
        for part in args.parts.split(","):
            result[part] = PARTS[part](scratch, million, scratch / "tiny")
            for row in result[part]:
                print(part, row, flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
