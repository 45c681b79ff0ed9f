"""The published model's own size, 24 × 512 with 25,426 tokens, with random weights."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import genemamba as gm
from genemamba.network import GeneMamba, GeneMambaConfig
from genemamba.tokens import Vocabulary

SIZE = 262_998_656
GENES = 25_424
TABLES = ("token_dictionary.pkl", "gene_median_dictionary.pkl", "gene_name_id_dict.pkl")


@pytest.fixture(scope="module")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder with a file in the published layout and a gene table of as many genes."""
    folder = tmp_path_factory.mktemp("full") / "published"
    folder.mkdir()
    config = GeneMambaConfig(vocab_size=GENES + 2, merge="mean")
    weights = GeneMamba(config).reset_parameters(0).state_dict()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    ids = [f"ENSG{i:011d}" for i in range(GENES)]
    median = np.random.default_rng(0).uniform(0.5, 5.0, GENES)
    Vocabulary(ids, ids, median, [""] * GENES).to_csv(folder / "genes.csv")  # type: ignore[arg-type]
    yield folder
    (folder / "model.safetensors").unlink()


def test_the_published_number_of_bytes(full_size: Path) -> None:
    assert (full_size / "model.safetensors").stat().st_size == SIZE


def test_real_cells_through_both_layouts(
    full_size: Path, tmp_path: Path, shared_data: Path
) -> None:
    """pbmc3k's first 64 cells, with Geneformer's own gene tables."""
    folder = tmp_path / "release"
    folder.mkdir()
    for file in (
        full_size / "model.safetensors",
        *(shared_data / "geneformer-v1" / t for t in TABLES),
    ):
        (folder / file.name).symlink_to(file)
    cells = ad.read_h5ad(shared_data / "bench" / "pbmc3k.h5ad")[:64].copy()
    ours = gm.models.convert(folder, tmp_path / "ours")
    for key, model in (("published", folder), ("ours", ours)):
        gm.tl.embed(cells, model=model, max_tokens=64, precision="float32", key_added=key)
    assert cells.obsm["ours"].shape == (64, 512)
    assert np.isfinite(cells.obsm["ours"]).all()
    assert (cells.obsm["ours"] == cells.obsm["published"]).all()
    back = gm.models.convert(ours, tmp_path / "back")
    with (
        (back / "model.safetensors").open("rb") as ends,
        (folder / "model.safetensors").open("rb") as began,
    ):
        while block := began.read(2**24):
            assert ends.read(2**24) == block
        assert not ends.read(1)


COST = """
import sys, time
from pathlib import Path
import torch
from genemamba import models
from genemamba.network import checkpoint
from genemamba.models import _published

def kilobytes(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what))

torch.set_num_threads(2)
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before, start, cpu = kilobytes("VmRSS"), time.perf_counter(), time.process_time()
model = models.load(sys.argv[1])
print(time.perf_counter() - start, time.process_time() - cpu)
print((kilobytes("VmHWM") - before) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
@pytest.mark.parametrize("layout", ["published", "ours"])
def test_loading_costs_little(full_size: Path, tmp_path: Path, layout: str) -> None:
    """At most 1.2 times the file in memory, at its peak, and 3 s of two cores."""
    folder = full_size if layout == "published" else gm.models.convert(full_size, tmp_path / "ours")
    done = subprocess.run(
        [sys.executable, "-c", COST, str(folder)], capture_output=True, text=True, check=True
    )
    seconds, cpu_seconds, extra = map(float, done.stdout.split())
    print(f"{layout}: {seconds:.2f} s, {cpu_seconds:.2f} s of CPU, {extra / SIZE:.2f} × the file")
    assert extra < 1.2 * SIZE
    assert cpu_seconds < 3  # what a busy machine adds is not ours


def test_training_leaves_the_file_alone(full_size: Path) -> None:
    model = gm.models.load(full_size)
    with torch.no_grad():
        model.norm_f.weight.zero_()
    assert gm.models.load(full_size).norm_f.weight.any()
