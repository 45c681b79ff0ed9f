"""Are cells of another batch laid on a reference map where they belong, and others not at all?

    python benchmarks map --data ../shared/data [--peers PYTHON]

1. transfer. gm.tl.build_map on all donors (batches, technologies, samples) but one, or groups of
   donors where there are many: splits and sizes as in `annotate`. gm.tl.map lays the cells of the
   one left out on it, as they are and with correct=True. Scored as `annotate` does, on the label
   with most votes; f1_unknown counts a cell called unknown as wrong. same is the share of a cell's
   30 neighbours with its type, mostly the share of cells for which that is more than half, of all
   cells and of those whose type the map has. Neighbours are always of other batches than the cell.
   Next to it are gm.tl.annotate(method="knn") and, with --peers, symphonypy with its defaults, run
   by that interpreter (`_symphony.py`), and the same before it corrects the query; it gives no
   probabilities. unchanged: no byte of a map's folder differs after all cells were laid on it.
2. quality. Three maps of blood: the share of cells with a mapping quality below .05, of blood that
   was held out, of blood of other studies, of fetal brain, and of lung cancer lines.
3. body. The map of the package on the sets of `truth.csv`: labels judged as `terms` does, next to
   gm.tl.annotate(adata). And gm.tl.search: the first tissue of `enrichment` (the smallest p-value),
   and the place of the tissue that the cells are of; for all cells, and for each type as a query.
4. time. Seconds to build, cells a second laid on a map after they were embedded, bytes.

The last line printed is the same as JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from _data import SETS, within
from annotate import GROUPS, by_class, folds, rounded
from scipy import sparse
from sklearn.metrics import f1_score
from terms import ONTOLOGY, judge, truths, verdict

import genemamba as gm
from genemamba.errors import GeneMambaWarning
from genemamba.maps.reference_map import ReferenceMap
from genemamba.maps.transfer import most_voted

PARTS = ("transfer", "quality", "body", "time")
FOUR = "pbmc_combined_4batch"
KEYS = {name: key for name, own in SETS.items() if (key := GROUPS.get(name, own.batch_key))}
BLOOD = ("pbmc3k", "zheng_facs_pbmc", FOUR, "kang_ctrl_8donors", "kang_ifnb2800",
         "onek1k_sub_scdesignpop")  # fmt: skip
OTHERS = ("fetal_telencephalon_2000", "sc_mixology_celseq2_dropseq")
MAPS = {  # of blood: the set, and the batches that it is told
    "four batches": (FOUR, "batch"),
    "four batches, not told apart": (FOUR, None),
    "sorted blood": ("zheng_facs_pbmc", None),
}
TISSUES = {  # of the map, that the cells are of
    "breast_tumour": ("Breast",),
    "fetal_telencephalon_2000": ("Brain", "Cerebrum", "Cerebellum"),
    "kang_ifnb2800": ("Blood",),
    "lymphoid_organs": ("Lymphoid tissue", "Spleen"),
    "onek1k_sub_scdesignpop": ("Blood",),
    "pancreas_panc8_small": ("Pancreas",),
    "pancreatic_cancer_7000g": ("Pancreas",),
    "pbmc3k": ("Blood",),
    "sc_mixology_celseq2_dropseq": ("Cell culture",),
    "zheng_facs_pbmc": ("Blood",),
}
NEAR = ("same", "mostly", "same_known", "mostly_known")
SYMPHONY = Path(__file__).with_name("_symphony.py")


@cache
def cells_of(name: str, data: Path, max_cells: int) -> ad.AnnData:
    """Read and embed a set; a cell's vector depends on that cell alone."""
    if name in SETS:
        adata = SETS[name].load(data, max_cells)
    else:
        adata = ad.read_h5ad(within(data, "valid") / f"{name}.h5ad")
        adata = adata[drawn(np.arange(adata.n_obs), max_cells)].copy()
    gm.tl.embed(adata, precision="bfloat16")
    return adata[np.isfinite(adata.obsm["X_genemamba"]).all(axis=1)].copy()


def drawn(cells: np.ndarray, n: int) -> np.ndarray:
    """Return at most `n` of the cells, at random."""
    few = len(cells) > n
    return np.sort(np.random.default_rng(0).choice(cells, n, replace=False)) if few else cells


@contextmanager
def map_of(cells: ad.AnnData, key: str | None) -> Iterator[tuple[ReferenceMap, float]]:
    """Build a map; give it and the seconds that it took."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        several = key is not None and cells.obs[key].nunique() > 1
        built = gm.tl.build_map(
            cells, out=Path(folder) / "map", label_key="cell_type",
            batch_key=key if several else None,
        )  # fmt: skip
        yield built, time.perf_counter() - begun


def folder_hash(reference: ReferenceMap) -> str:
    """Hash every file of a map."""
    files = sorted(reference.folder.iterdir())
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def agreed(near: np.ndarray, truth: np.ndarray, on_map: np.ndarray) -> dict[str, float]:
    """Compare the types of neighbours, ``(n_cells, 30)``, with those of the cells."""
    same = (near == truth[:, None]).mean(axis=1)
    there = np.isin(truth, on_map)
    shares = (same.mean(), (same > 0.5).mean(), same[there].mean(), (same[there] > 0.5).mean())
    return dict(zip(NEAR, shares, strict=True))


def scored(truth: np.ndarray, guess: np.ndarray, sure: np.ndarray | None = None) -> dict[str, Any]:
    """Return accuracy, macro-F1 over the types of the query, and the calibration error."""
    row = {"accuracy": (guess == truth).mean(), "f1": macro_f1(truth, guess)}
    if sure is not None:
        row["ece"] = gm.metrics.expected_calibration_error(sure, guess == truth)
    return row


def macro_f1(truth: np.ndarray, guess: np.ndarray) -> float:
    """Return the mean F1 of the types of the query."""
    return f1_score(truth, guess, labels=np.unique(truth), average="macro", zero_division=0)


def mapped(
    query: ad.AnnData, reference: ReferenceMap, key: str | None, *, correct: bool
) -> dict[str, Any]:
    """Lay cells on a map, and score them."""
    truth, begun = query.obs["cell_type"].to_numpy(str), time.perf_counter()
    several = correct and key is not None and query.obs[key].nunique() > 1
    gm.tl.map(query, reference, correct=correct, batch_key=key if several else None)
    seconds = time.perf_counter() - begun
    kinds = np.array(reference.columns.values("cell_type"))
    codes = reference.columns.codes("cell_type")[query.obsm["genemamba_map_neighbors"]]
    voted, _ = most_voted(codes, query.obsm["genemamba_map_distances"], len(kinds))
    label = query.obs["genemamba_map_label"].to_numpy(str)
    sure = query.obs["genemamba_map_confidence"].to_numpy()
    known = label != "unknown"
    if (label[known] != kinds[voted][known]).any():
        raise RuntimeError("the label is not the one with most votes")
    return {
        **scored(truth, kinds[voted], sure),
        "f1_unknown": macro_f1(truth, label),
        "unknown": (~known).mean(),
        **agreed(kinds[codes], truth, kinds),
        "seconds": seconds,
    }


def by_knn(query: ad.AnnData, reference: ad.AnnData, key: str) -> dict[str, Any]:
    """Name cells by neighbours, without a map."""
    begun = time.perf_counter()
    gm.tl.annotate(
        query, reference=reference, label_key="cell_type", method="knn", batch_key=key,
        unknown=False,
    )  # fmt: skip
    seconds = time.perf_counter() - begun
    proba = by_class(query, "proba")
    guess = proba.columns.to_numpy(str)[proba.to_numpy().argmax(axis=1)]
    truth = query.obs["cell_type"].to_numpy(str)
    return {**scored(truth, guess, proba.max(axis=1).to_numpy()), "seconds": seconds}


def by_symphony(
    adata: ad.AnnData, key: str, splits: list[tuple[str, Any, Any]], python: Path
) -> dict[str, list[dict[str, Any]]]:
    """Run symphonypy in a process of its own; return a row for each split, and not corrected."""
    types = adata.obs["cell_type"].to_numpy(str)
    rows: dict[str, list[dict[str, Any]]] = {"symphony": [], "plain": []}
    with tempfile.TemporaryDirectory() as folder:
        sparse.save_npz(f"{folder}/counts.npz", sparse.csr_matrix(adata.X, dtype=np.float32))
        about = {"cell_type": types.tolist(), "batch": adata.obs[key].astype(str).tolist(),
                 "splits": [[a.tolist(), b.tolist()] for _, a, b in splits]}  # fmt: skip
        Path(folder, "about.json").write_text(json.dumps(about))
        subprocess.run([python, SYMPHONY, folder], check=True, stdout=subprocess.DEVNULL)
        for i, (_, train, test) in enumerate(splits):
            with np.load(f"{folder}/{i}.npz") as found:
                for row, own in rows.items():
                    near = types[train][found[f"{row}.neighbours"]]
                    own.append({
                        **scored(types[test], found[f"{row}.label"]),
                        **agreed(near, types[test], types[train]),
                        "seconds": float(found["seconds"]),
                    })  # fmt: skip
    return rows


def transfer(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Lay each group of a set on a map of the others."""
    adata, key = cells_of(name, args.data, args.max_cells), KEYS[name]
    splits = list(folds(adata, key, args))
    rows: dict[str, list[dict[str, Any]]] = {"map": [], "corrected": [], "knn": []}
    unchanged = True
    for fold, train, test in splits:
        reference, query = adata[train].copy(), adata[test].copy()
        with map_of(reference, key) as (built, _):
            before = folder_hash(built)
            rows["map"].append(mapped(query, built, key, correct=False))
            rows["corrected"].append(mapped(query, built, key, correct=True))
            unchanged = unchanged and folder_hash(built) == before
        rows["knn"].append(by_knn(query, reference, key))
        print(f"  {name} {fold}:", {row: round(own[-1]["f1"], 3) for row, own in rows.items()})
    if args.peers is not None:
        rows |= by_symphony(adata, key, splits, args.peers)
    tables = {row: pd.DataFrame(found) for row, found in rows.items()}
    return {
        "folds": len(splits),
        "unchanged": unchanged,
        "rows": {row: {**table.mean(), "f1_sd": table["f1"].std()}
                 for row, table in tables.items()},
        "by_fold": {fold: {row: dict(table[list(NEAR)].iloc[i]) for row, table in tables.items()
                           if "same" in table} for i, (fold, _, _) in enumerate(splits)},
    }  # fmt: skip


def strangers(cells: ad.AnnData, reference: ReferenceMap, *, correct: bool) -> float:
    """Return the share of the cells that do not belong on a map."""
    gm.tl.map(cells, reference, correct=correct)
    return float((cells.obs["genemamba_map_quality"] < 0.05).mean())


def quality(args: argparse.Namespace) -> dict[str, Any]:
    """Lay blood and other cells on maps of blood; not one of the cells is on the map."""
    found: dict[str, Any] = {}
    for title, (name, key) in MAPS.items():
        adata = cells_of(name, args.data, args.max_cells)
        chosen = drawn(np.arange(adata.n_obs), args.max_train)
        rest = drawn(np.setdiff1d(np.arange(adata.n_obs), chosen), args.max_test)
        asked = {"held out": adata[rest].copy()}
        for other in (*BLOOD, *OTHERS):
            if other != name:
                cells = cells_of(other, args.data, args.max_cells)
                asked[other] = cells[drawn(np.arange(cells.n_obs), args.max_test)].copy()
        with map_of(adata[chosen].copy(), key) as (built, _):
            for row, correct in ((title, False), (f"{title}, corrected", True)):
                found[row] = {n: strangers(c, built, correct=correct) for n, c in asked.items()}
                print(" ", row, found[row], flush=True)
    return found


def body(name: str, truth: dict[str, tuple[str, ...]], args: argparse.Namespace) -> dict[str, Any]:
    """Lay a set on the map of the package; search it for the tissue."""
    adata = cells_of(name, args.data, args.max_cells)
    adata = adata[adata.obs["cell_type"].isin(truth).to_numpy()].copy()
    gm.tl.map(adata)
    said = adata.obs["genemamba_map_label"].astype(object)
    terms = {label: ONTOLOGY.find(label) for label in said.dropna().unique() if label != "unknown"}
    of = np.array([
        verdict(str(terms[label]), truth[kind]) if label in terms else "unknown"
        for label, kind in zip(said, adata.obs["cell_type"].astype(str), strict=True)
    ])  # fmt: skip
    found: dict[str, Any] = {
        kind: float((of == kind).mean()) for kind in ("right", "finer", "wrong", "unknown")
    }
    named = of != "unknown"
    if named.any():
        sure = adata.obs["genemamba_map_confidence"].to_numpy()[named]
        found["stated"] = float(sure.mean())
        found["ece"] = gm.metrics.expected_calibration_error(sure, of[named] != "wrong")
    return {"cells": adata.n_obs, "map": found, "annotate": judge(adata, truth, "auto"),
            "tissue": tissue(adata, TISSUES[name])}  # fmt: skip


def tissue(adata: ad.AnnData, own: tuple[str, ...]) -> dict[str, Any]:
    """Search for the cells; return the tissue found first, and the place of their own."""
    table = gm.tl.search(adata).enrichment.query("column == 'tissue'").reset_index(drop=True)
    each = gm.tl.search(adata, groupby="cell_type").enrichment.query("column == 'tissue'")
    first = each.groupby("query", sort=False)["value"].first()
    place = int(table.index[table["value"].isin(own)][0]) + 1
    top, found = table.iloc[0], table.iloc[place - 1]
    return {
        "first": str(top["value"]), "first_fold": float(top["fold"]),
        "own": str(found["value"]), "own_fold": float(found["fold"]), "place": place,
        "largest_fold": str(table.loc[table["fold"].idxmax(), "value"]),
        "types": len(first), "types_own_first": int(first.isin(own).sum()),
    }  # fmt: skip


def timed(args: argparse.Namespace) -> dict[str, Any]:
    """Build a map of a set; lay another on it, and on the map of the package."""
    reference, query = (cells_of(name, args.data, args.max_cells) for name in (FOUR, BLOOD[1]))
    result: dict[str, Any] = {"cells": reference.n_obs, "asked": query.n_obs, "maps": {}}
    with map_of(reference, "batch") as (built, seconds):
        result["build_seconds"] = seconds
        for title, own in ((FOUR, built), ("genemamba-body", gm.maps.load("genemamba-body"))):
            taken = {}
            for way, correct in (("map", False), ("corrected", True)):
                begun = time.perf_counter()
                gm.tl.map(query, own, correct=correct)
                taken[f"{way}_cells_per_s"] = query.n_obs / (time.perf_counter() - begun)
            size = sum(file.stat().st_size for file in own.folder.iterdir())
            result["maps"][title] = {"cells": own.n_cells, "width": own.index.width,
                                     "bytes": size, **taken}  # fmt: skip
    few = query[: args.max_test].copy()
    del few.obsm["X_genemamba"]
    begun = time.perf_counter()
    gm.tl.embed(few, precision="bfloat16")
    result["embed_cells_per_s"] = few.n_obs / (time.perf_counter() - begun)
    return result


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with bench/ and valid/")
    parser.add_argument("--peers", type=Path, help="an interpreter that has symphonypy")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--sets", default=",".join(KEYS), help="of the first part")
    parser.add_argument("--folds", type=int, help="the first few of each set; else all")
    parser.add_argument("--max-cells", type=int, default=2000, help="cells of a set")
    parser.add_argument("--max-train", type=int, default=1000, help="cells of a map")
    parser.add_argument("--max-test", type=int, default=500, help="cells laid on it")
    return parser.parse_args()


def main() -> None:
    """Run the parts, print each result, then JSON."""
    args = parse_args()
    warnings.simplefilter("ignore", GeneMambaWarning)
    parts, result = args.parts.split(","), {"benchmark": "map"}
    with map_of(cells_of(FOUR, args.data, args.max_cells), "batch") as (_, first):
        pass  # compiles
    if "transfer" in parts:
        result["transfer"] = {}
        for name in args.sets.split(","):
            found = result["transfer"][name] = transfer(name, args)
            table = pd.DataFrame(found["rows"]).T.drop(columns="seconds").round(3)
            print(f"{name}, unchanged: {found['unchanged']}\n{table.to_string()}", flush=True)
    if "quality" in parts:
        result["quality"] = quality(args)
    if "body" in parts:
        result["body"] = {}
        for name, truth in truths().items():
            found = result["body"][name] = body(name, truth, args)
            print(name, found, flush=True)
    if "time" in parts:
        result["time"] = {**timed(args), "first_seconds": first}
        print(result["time"], flush=True)
    print("\n" + json.dumps(rounded(result)))


if __name__ == "__main__":
    main()
