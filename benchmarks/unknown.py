"""Do cells that a reference does not hold come back as unknown, and only these?

    python benchmarks unknown --data ../shared/data

1. Types. Each set is split into a reference and a query: whole donors or batches where they are
   known, else at random. Each type is taken from the reference in turn: found is the share of its
   cells in the query that are called unknown, false the share of the other cells of the query.
2. Other tissues. The reference is blood; fetal brain and lung cancer lines are asked about.
3. Panels. The query is cut to the genes that vary most in it; the reference has all genes, and all
   types.

At most --max-cells of a reference and of a query. The last line printed is the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
from _data import SETS, within
from _judge import cut
from annotate import GROUPS

import genemamba as gm
from genemamba.errors import GeneMambaWarning

FEWEST = 10  # cells of a type, in reference and in query, to be taken from the reference
BLOOD = ("pbmc_combined_4batch", "zheng_facs_pbmc", "kang_ifnb2800")
OTHERS = ("fetal_telencephalon_2000", "sc_mixology_celseq2_dropseq")
PANELS = (1_300, 700, 300)


def halves(name: str, data: Path, max_cells: int) -> tuple[ad.AnnData, ad.AnnData, str | None]:
    """Return reference and query, embedded, and the batches of the reference.

    Donors or batches take turns, the largest first.
    """
    if name in SETS:
        adata = SETS[name].load(data)
    else:
        adata = ad.read_h5ad(within(data, "valid") / f"{name}.h5ad")
    rng, key = (
        np.random.default_rng(0),
        GROUPS.get(name, getattr(SETS.get(name), "batch_key", None)),
    )
    key = "sample" if name == "lymphoid_organs" else key
    if key is None:
        second = rng.permutation(adata.n_obs) % 2 == 1
    else:
        groups = adata.obs[key].astype(str)
        second = groups.isin(groups.value_counts().index[1::2]).to_numpy()
    parts = []
    for own in (~second, second):
        cells = np.flatnonzero(own)
        if len(cells) > max_cells:
            cells = np.sort(rng.choice(cells, max_cells, replace=False))
        part = adata[cells].copy()
        gm.tl.embed(part, precision="bfloat16")
        parts.append(part)
    several = key is not None and parts[0].obs[key].nunique() > 1
    return parts[0], parts[1], key if several else None


def unknown(query: ad.AnnData, reference: ad.AnnData, key: str | None) -> np.ndarray:
    """Annotate; return which cells are unknown."""
    gm.tl.annotate(query, reference=reference, label_key="cell_type", batch_key=key)
    return (query.obs["genemamba_label"] == "unknown").to_numpy()


def types(reference: ad.AnnData, query: ad.AnnData, key: str | None) -> dict[str, Any]:
    """Take each type from the reference in turn."""
    ours, theirs = (part.obs["cell_type"].astype(str).to_numpy() for part in (query, reference))
    shared = np.isin(ours, theirs)
    found = {}
    for kind in sorted(set(ours[shared])):
        left = theirs != kind
        if min((ours == kind).sum(), (~left).sum()) < FEWEST or len(set(theirs[left])) < 2:
            continue
        called = unknown(query, reference[left].copy(), key)
        others = shared & (ours != kind)
        found[kind] = {
            "found": float(called[ours == kind].mean()),
            "false": float(called[others].mean()),
        }
        print("   ", kind, found[kind], flush=True)
    mean = {key: float(np.mean([own[key] for own in found.values()])) for key in ("found", "false")}
    return {"types": found, **mean}


def main() -> None:
    """Run the parts, print each result, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with bench/ and valid/")
    parser.add_argument("--sets", default=",".join((*SETS, "breast_tumour", "lymphoid_organs")))
    parser.add_argument("--max-cells", type=int, default=600, help="of a reference, and of a query")
    args = parser.parse_args()
    warnings.simplefilter("ignore", GeneMambaWarning)
    result: dict[str, Any] = {"benchmark": "unknown", "types": {}, "others": {}, "panels": {}}
    names = args.sets.split(",")
    others = [halves(name, args.data, args.max_cells)[1] for name in OTHERS]
    for name in names:
        reference, query, key = halves(name, args.data, args.max_cells)
        result["types"][name] = types(reference, query, key)
        print(name, {k: v for k, v in result["types"][name].items() if k != "types"}, flush=True)
        if name not in BLOOD:
            continue
        result["others"][name] = {
            other: float(unknown(cells.copy(), reference, key).mean())
            for other, cells in zip(OTHERS, others, strict=True)
        }
        full = query[query.obs["cell_type"].isin(reference.obs["cell_type"])].copy()
        panels = {"all genes": full} | {f"{n} genes": cut(full, n) for n in PANELS}
        result["panels"][name] = {
            panel: float(unknown(cells.copy(), reference.copy(), key).mean())
            for panel, cells in panels.items()
        }
        print(name, result["others"][name], result["panels"][name], flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
