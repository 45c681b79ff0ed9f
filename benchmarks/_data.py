"""The labelled sets that benchmarks are scored on; none of them was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np


def within(data: Path, part: str) -> Path:
    """Return a part of the folder of all data (`bench`, `corpus` …), or `data` if it is that."""
    return data / part if (data / part).is_dir() else data


@dataclass(frozen=True)
class BenchSet:
    """One labelled set: `obs["cell_type"]`, and the batches or donors where they are known."""

    name: str
    batch_key: str | None = None
    unlabelled: tuple[str, ...] = ()

    def load(self, folder: Path, max_cells: int | None = None) -> ad.AnnData:
        """Read raw counts, drop unlabelled cells, and keep at most `max_cells` drawn at random."""
        adata = ad.read_h5ad(within(folder, "bench") / f"{self.name}.h5ad")
        keep = np.flatnonzero(~adata.obs["cell_type"].isin(self.unlabelled))
        if max_cells is not None and max_cells < len(keep):
            keep = np.sort(np.random.default_rng(0).choice(keep, max_cells, replace=False))
        return adata[keep].copy()


SETS = {
    bench.name: bench
    for bench in (
        BenchSet("zheng_facs_pbmc"),
        BenchSet("pbmc3k", unlabelled=("unassigned",)),
        BenchSet("pbmc_combined_4batch", batch_key="batch"),
        BenchSet("kang_ctrl_8donors", batch_key="donor"),
        BenchSet("kang_ifnb2800"),
        BenchSet("onek1k_sub_scdesignpop"),
        BenchSet("sc_mixology_celseq2_dropseq", batch_key="batch"),
        BenchSet("fetal_telencephalon_2000", unlabelled=("unknown",)),
        BenchSet("pancreas_panc8_small"),
        BenchSet("pancreatic_cancer_7000g"),
    )
}
