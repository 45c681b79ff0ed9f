"""Counts of cells wherever they are, read in blocks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata as ad
import dask.array as da
import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

import genemamba as gm
from genemamba.cells import counts as module
from genemamba.cells.files import opened
from genemamba.cells.read import _layers, read_counts
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.network import GeneMamba


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 128)
    monkeypatch.setattr(module, "_PIECES", 4)
    monkeypatch.setattr(module, "_PIECE", 16)


def h5ad(adata: AnnData, folder: Path) -> AnnData:
    adata.write_h5ad(folder / "cells.h5ad")
    return ad.read_h5ad(folder / "cells.h5ad", backed="r")


def lazily(adata: AnnData, folder: Path) -> AnnData:
    adata.write_zarr(folder / "cells.zarr")
    return ad.experimental.read_lazy(folder / "cells.zarr")


def of_dask(adata: AnnData, _: Path) -> AnnData:
    lazy = adata.copy()
    lazy.X = da.from_array(adata.X, chunks=(150, 300))
    return lazy


def open_file(suffix: str) -> Callable[[AnnData, Path], Any]:
    def make(adata: AnnData, folder: Path) -> Any:
        file = folder / f"cells{suffix}"
        adata.write_h5ad(file) if suffix == ".h5ad" else adata.write_zarr(file)
        return opened(file)

    return make


@pytest.mark.filterwarnings("ignore:Writing zarr v2")
@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize("where", [h5ad, lazily, open_file(".h5ad"), open_file(".zarr"), of_dask])
def test_blocks_are_the_rows(pbmc: AnnData, layout: Any, where: Any, tmp_path: Path) -> None:
    if where is of_dask and layout is sparse.csc_matrix:
        pytest.skip("dask has no rows of these")
    dense = pbmc.X.copy()
    pbmc.X = layout(pbmc.X)
    lazy = where(pbmc, tmp_path)
    with lazy if not isinstance(lazy, AnnData) else Already(lazy) as cells:
        by_genes = layout is sparse.csc_matrix and where is not lazily
        with pytest.warns(GeneMambaWarning, match="memory grows") if by_genes else nullcontext():
            found = read_counts(cells, None)
        assert found.in_memory == by_genes
        assert found.values.kind == "counts"
        assert found.var.index.tolist() == pbmc.var_names.tolist()
        starts, blocks = zip(*found.blocks(), strict=True)
        assert list(starts) == list(range(0, 700, 128))
        assert [len(b.toarray()) for b in blocks] == [128] * 5 + [60]
        np.testing.assert_array_equal(np.vstack([b.toarray() for b in blocks]), dense)
        np.testing.assert_array_equal(found.whole().toarray(), dense)
        np.testing.assert_array_equal(found.block(640).toarray(), dense[640:])


class Already:
    def __init__(self, adata: AnnData) -> None:
        self.adata = adata

    def __enter__(self) -> AnnData:
        return self.adata

    def __exit__(self, *_: object) -> None:
        if self.adata.isbacked:
            self.adata.file.close()


def test_a_file_gives_layers_and_raw(pbmc: AnnData, tmp_path: Path) -> None:
    pbmc.layers["counts"] = pbmc.X.copy()
    pbmc.raw = pbmc[:, :500].copy()
    pbmc.X = np.log1p(pbmc.X / pbmc.X.sum(1, keepdims=True) * 1e4).astype(np.float32)
    pbmc.uns["log1p"] = {"base": None}
    pbmc.write_h5ad(tmp_path / "cells.h5ad")
    with opened(tmp_path / "cells.h5ad") as cells:
        kinds = {layer: read_counts(cells, layer) for layer in (None, "counts", "raw")}
        assert [c.values.kind for c in kinds.values()] == ["log1p", "counts", "counts"]
        assert [len(c.var) for c in kinds.values()] == [765, 765, 500]
        whole = kinds[None].whole()
        np.testing.assert_allclose(whole.sum(axis=1), 1e4, rtol=1e-4)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.nan, "NaN"),
        (-1.0, "negative"),
        (0.5, "fractions in others, such as in cells 512 to 639"),
    ],
)
def test_what_the_sample_missed_is_refused_when_read(
    pbmc: AnnData, value: float, said: str, tmp_path: Path
) -> None:
    pbmc.X = sparse.csr_matrix(pbmc.X.astype(np.float32))
    pbmc.X[600, 3] = value  # not among the cells looked at
    found = read_counts(h5ad(pbmc, tmp_path), None)
    assert found.values.kind == "counts"
    with pytest.raises(InputError, match=said) as refused:
        list(found.blocks())
    if np.isnan(value):
        assert "in cell 600, gene 3" in refused.value.what


@pytest.mark.parametrize("content", [None, b"no file of cells"])
def test_a_path_that_leads_to_no_cells(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "cells.h5ad"
    if content is not None:
        file.write_bytes(content)
    said = "does not exist" if content is None else "cannot be read"
    with pytest.raises(InputError, match=said), opened(file):
        pass


def test_an_error_inside_is_not_one_of_the_file(pbmc: AnnData, tmp_path: Path) -> None:
    pbmc.write_h5ad(tmp_path / "cells.h5ad")
    with pytest.raises(ValueError, match="mine"), opened(tmp_path / "cells.h5ad"):
        raise ValueError("mine")


def test_layers_of_anndata_0_13_have_a_key_that_is_no_name() -> None:
    assert _layers(SimpleNamespace(layers={None: 1, "counts": 2})) == ["counts"]  # type: ignore[arg-type]


def test_a_file_stored_by_columns_is_read_once_and_said_once(
    pbmc: AnnData, small_model: GeneMamba, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pbmc.X = sparse.csc_matrix(pbmc.X)
    pbmc.write_h5ad(tmp_path / "cells.h5ad")
    with opened(tmp_path / "cells.h5ad") as cells:
        dataset = type(cells.X)
    read, times = dataset.to_memory, []
    monkeypatch.setattr(dataset, "to_memory", lambda x: (times.append(1), read(x))[1])
    for call in (
        lambda: gm.pp.rank_tokenize(
            tmp_path / "cells.h5ad", model=small_model, out=tmp_path / "out.zarr"
        ),
        lambda: gm.pp.check(tmp_path / "cells.h5ad", model=small_model),
    ):
        times.clear()
        with pytest.warns(GeneMambaWarning, match="memory grows with the number of cells") as said:
            call()
        own = [w for w in said if w.category is GeneMambaWarning]
        assert (len(times), len(own)) == (1, 1)
