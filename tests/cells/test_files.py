"""Paths that lead to cells, and those that lead to something else."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py
import mudata
import numpy as np
import pytest
from anndata import AnnData

import genemamba as gm
from genemamba.cells.files import opened
from genemamba.errors import InputError
from genemamba.network import GeneMamba


def test_an_old_file(pbmc: AnnData, small_model: GeneMamba, tmp_path: Path) -> None:
    """Before anndata 0.7 tables were arrays of records."""
    path = tmp_path / "old.h5ad"
    with h5py.File(path, "w") as file:
        file["X"] = pbmc.X.astype(np.float32)
        for axis, names in (("obs", pbmc.obs_names), ("var", pbmc.var_names)):
            table = [np.array(names, "S40"), np.arange(len(names))]
            file[axis] = np.rec.fromarrays(table, names=["index", "n"])
        file.create_group("uns")
    assert gm.pp.check(path, model=small_model).ok
    gm.pp.rank_tokenize(path, model=small_model, out=tmp_path / "out.zarr")
    gm.pp.rank_tokenize(pbmc, model=small_model)
    found = ad.read_zarr(tmp_path / "out.zarr").obsm["genemamba_tokens"]
    np.testing.assert_array_equal(found, pbmc.obsm["genemamba_tokens"].toarray())


@pytest.mark.filterwarnings("ignore:Writing zarr v2")
@pytest.mark.parametrize("suffix", [".h5mu", ".zarr"])
def test_a_modality_of_a_file(
    pbmc: AnnData, small_model: GeneMamba, tmp_path: Path, suffix: str
) -> None:
    protein = AnnData(np.ones((700, 2)), obs=pbmc.obs[[]])
    mdata = mudata.MuData({"rna": pbmc, "prot": protein})
    path = tmp_path / f"cells{suffix}"
    mdata.write(path) if suffix == ".h5mu" else mdata.write_zarr(path)
    report = gm.pp.check(path, model=small_model)
    assert (report.ok, report.n_cells, report.n_genes) == (True, 700, 765)
    assert gm.pp.check(path, model=small_model, mod="prot").n_genes == 2
    with pytest.raises(InputError, match="mod='atac' is not in the MuData"):
        gm.pp.check(path, model=small_model, mod="atac")


@pytest.mark.filterwarnings("ignore:Writing zarr v2")
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_zarr_group_of_any_name(pbmc: AnnData, tmp_path: Path, zarr_format: int) -> None:
    """As a table of a SpatialData store."""
    with ad.settings.override(zarr_write_format=zarr_format):
        pbmc.write_zarr(tmp_path / "sdata.zarr/tables/table")
    with opened(tmp_path / "sdata.zarr/tables/table") as cells:
        assert cells.shape == pbmc.shape


def of_10x(path: Path) -> Path:
    with h5py.File(path / "matrix.h5", "w") as file:
        file.create_group("matrix/features")
    return path / "matrix.h5"


def of_10x_v2(path: Path) -> Path:
    with h5py.File(path / "matrix.h5", "w") as file:
        file["GRCh38/barcodes"] = np.array([b"AAAC-1"])
    return path / "matrix.h5"


def folder_of_10x(path: Path) -> Path:
    (path / "matrix.mtx.gz").write_bytes(b"")
    return path


def loom(path: Path) -> Path:
    with h5py.File(path / "a.loom", "w") as file:
        file["matrix"] = np.ones((2, 2))
        file.create_group("row_attrs")
    return path / "a.loom"


def spatial(path: Path) -> Path:
    import zarr

    zarr.open_group(str(path / "s.zarr"), mode="w").create_group("tables/cells")
    return path / "s.zarr"


def seurat(path: Path) -> Path:
    with h5py.File(path / "a.h5seurat", "w") as file:
        file.create_group("assays/RNA")
    return path / "a.h5seurat"


def empty(path: Path) -> Path:
    h5py.File(path / "a.h5ad", "w").close()
    return path / "a.h5ad"


def text(path: Path) -> Path:
    (path / "a.csv").write_text("gene,cell")
    return path / "a.csv"


def packed(path: Path) -> Path:
    with gzip.open(path / "a.h5ad.gz", "wb") as file:
        file.write(b"cells")
    return path / "a.h5ad.gz"


def cut(path: Path) -> Path:
    AnnData(np.ones((50, 50))).write_h5ad(path / "whole.h5ad")
    (path / "a.h5ad").write_bytes((path / "whole.h5ad").read_bytes()[:5_000])
    return path / "a.h5ad"


@pytest.mark.parametrize(
    ("make", "what", "fix"),
    [
        (of_10x, "Cell Ranger", "scanpy.read_10x_h5("),
        (of_10x_v2, "Cell Ranger", "scanpy.read_10x_h5("),
        (folder_of_10x, "Cell Ranger", "scanpy.read_10x_mtx("),
        (lambda path: path, "is a folder", ".zarr store"),
        (loom, "loom", "scanpy.read_loom("),
        (spatial, "SpatialData", "s.zarr/tables/cells"),
        (seurat, "Seurat", "convert it"),
        (empty, "holds no AnnData", ".h5ad"),
        (text, "cannot be read", "read it with scanpy"),
        (packed, "cannot be read", "read it with scanpy"),
        (cut, "cannot be read", "copy the file again"),
    ],
)
def test_what_is_no_anndata_is_named(
    make: Callable[[Path], Path], what: str, fix: str, tmp_path: Path
) -> None:
    path = make(tmp_path)
    with pytest.raises(InputError, match=what) as refused, opened(path):
        pass
    assert str(path) in refused.value.what
    assert fix in refused.value.fix


def test_real_files(shared_data: Path, tmp_path: Path) -> None:
    """As other programs write them: read, or refused in our words."""
    files = sorted((shared_data / "files").iterdir())
    said = {}
    for file in files:
        try:
            said[file.name] = gm.pp.check(file).ok
        except InputError as error:
            assert error.fix
            said[file.name] = False
    readable = {name for name, ok in said.items() if ok}
    assert {"cellphonedb_test.h5ad", "scimilarity_test.h5ad"} <= readable
    tar = shared_data / "files/10x_mtx_v3_antibody_pbmc_10k_protein_scvi.tar.gz"
    shutil.unpack_archive(tar, tmp_path, filter="data")
    matrix = next(tmp_path.rglob("matrix.mtx*"))
    with pytest.raises(InputError, match="Cell Ranger"), opened(matrix.parent):
        pass
