"""How long does a user wait, for the first call and for the slow ones?

    python benchmarks waits --data ../shared/data

Every run is a process of its own, after the imports of scanpy and torch and the reading of the
file. With `--before`, a folder of an older checkout, its code runs by turns with the code here.

first      `import genemamba` and gm.tl.embed of 700 cells of 248 genes; `cold` with nothing
           compiled on this machine, `warm` with what the run before has compiled
embed      256 cells of pbmc3k, tokens given, the median of five in one process
perturb    one gene in 200 cells of pbmc3k (defaults), and ten genes towards a type
compare    1,500 cells of four batches
annotate, integrate    10,000 cells of eight donors; annotate with nothing given

The last line printed is the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from _data import within
from _timings import waits

START = """
import sys, time, warnings
import anndata as ad, numpy as np, scanpy as sc, torch
warnings.filterwarnings("ignore")
bench = sys.argv[1]
def cells(name, n):
    adata = ad.read_h5ad(f"{bench}/{name}.h5ad")
    adata.obs_names_make_unique()
    chosen = np.random.default_rng(0).choice(adata.n_obs, min(n, adata.n_obs), replace=False)
    return adata[np.sort(chosen)].copy()
def took(run):
    begun = time.perf_counter(); run(); print(time.perf_counter() - begun)
"""
FIRST = """
adata = sc.datasets.pbmc68k_reduced()
def run():
    import genemamba as gm
    gm.tl.embed(adata, layer="raw")
took(run)
"""
GM = "import genemamba as gm\n"
PARTS = {
    "embed": GM + """
import statistics
from genemamba.network.inference import embed_tokens
from genemamba.tokens import Ranked
adata = cells("pbmc3k", 256)
gm.pp.rank_tokenize(adata)
tokens, ones = adata.obsm["genemamba_tokens"], np.ones(adata.n_obs)
ranked = Ranked(tokens.data.astype(np.int32), tokens.indptr.astype(np.int64), ones, ones)
model, taken = gm.models.load("genemamba-mini"), []
for _ in range(6):
    begun = time.perf_counter(); embed_tokens(model, ranked, progress=False)
    taken.append(time.perf_counter() - begun)
print(statistics.median(taken[1:]))
""",
    "perturb one": GM + """
adata = cells("pbmc3k", 200)
gm.tl.embed(adata)
took(lambda: gm.tl.perturb(adata, "MS4A1"))
""",
    "perturb ten": GM + """
adata = cells("pbmc3k", 200)
gm.tl.embed(adata)
genes = ["CD3D", "CD3E", "MS4A1", "CD79A", "NKG7", "GNLY", "LYZ", "S100A9", "IL7R", "CD8A"]
took(lambda: gm.tl.perturb(adata, genes, groupby="cell_type", target="B", groups=["NK"]))
""",
    "compare": GM + """
adata = cells("pbmc_combined_4batch", 1_500)
gm.tl.embed(adata)
took(lambda: gm.metrics.compare(adata, label_key="cell_type", batch_key="batch"))
""",
    "annotate": GM + """
adata = cells("kang_ctrl_8donors", 10_000)
took(lambda: gm.tl.annotate(adata))
""",
    "integrate": GM + """
adata = cells("kang_ctrl_8donors", 10_000)
gm.tl.embed(adata)
took(lambda: gm.tl.integrate(adata, batch_key="donor"))
""",
}  # fmt: skip


def seconds(source: Path, data: Path, code: str, cache: Path) -> float:
    """Run code in a process of its own; it prints its seconds last."""
    environment = os.environ | {
        "PYTHONPATH": str(source),
        "NUMBA_CACHE_DIR": str(cache),
        "TQDM_DISABLE": "1",
    }
    command = [sys.executable, "-c", START + code, str(within(data, "bench"))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Time all parts by turns, print a line each, then the table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the .h5ad files")
    parser.add_argument("--parts", default=",".join(["first", *PARTS]), help="comma-separated")
    parser.add_argument("--before", type=Path, help="another checkout, run by turns")
    parser.add_argument(
        "--runs", type=int, default=3, help="of the first two parts; the others run once"
    )
    args = parser.parse_args()
    sources = {"now": Path(__file__).parents[1] / "src"}
    sources |= {"before": args.before / "src"} if args.before else {}
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for part in args.parts.split(","):
            taken: dict[str, dict[str, list[float]]] = {}
            for turn in range(args.runs if part in ("first", "embed") else 1):
                for row, source in sources.items():
                    kinds = {"first, cold": FIRST, "first, warm": FIRST}
                    if part != "first":
                        kinds = {part: PARTS[part]}
                    for kind, code in kinds.items():
                        cache = Path(scratch) / row / (f"{turn}" if part == "first" else "all")
                        one = seconds(source, args.data, code, cache)
                        taken.setdefault(kind, {}).setdefault(row, []).append(one)
            for kind, rows in taken.items():
                found[kind] = {row: statistics.median(each) for row, each in rows.items()}
                print(kind, found[kind], flush=True)
    result = {"benchmark": "waits", "runs": args.runs, "seconds": found}
    print(waits(result)["waits"] + "\n\n" + json.dumps(result))


if __name__ == "__main__":
    main()
