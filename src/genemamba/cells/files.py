"""Open files that hold an AnnData; for others, suggest how to read them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import anndata as ad
from anndata import AnnData

from genemamba.errors import InputError

_ZARR = ("zarr.json", ".zgroup")
_OURS = (".h5ad", ".h5mu", ".zarr")


@contextmanager
def opened(path: str | PathLike[str], mod: str | None = None) -> Iterator[AnnData]:
    """Open an h5ad file, a zarr store, or a modality of an h5mu file; only its tables are read.

    Raises
    ------
    InputError
        If the file does not exist or holds no AnnData.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(
            f"{path} does not exist", "give the path of an .h5ad file or a .zarr store"
        )
    with ExitStack() as stack:
        try:
            adata = _lazily(_cells_in(stack.enter_context(_root_of(path)), path, mod))
        except InputError:
            raise
        except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
            raise InputError(
                f"{path} cannot be read as an AnnData file: {error}", _remedy(path)
            ) from error
        yield adata


def choose_modality(there: Sequence[str], mod: str | None) -> str:
    """Return the modality `mod`; by default "rna", or the only one.

    Raises
    ------
    InputError
        If the MuData does not have it.
    """
    chosen = mod or ("rna" if "rna" in there or len(there) != 1 else there[0])
    if chosen not in there:
        raise InputError(
            f"mod={mod!r} is not in the MuData" if mod else "the MuData has no modality 'rna'",
            f"say which modality has genes: mod= one of {', '.join(map(repr, there))}",
        )
    return chosen


@contextmanager
def _root_of(path: Path) -> Iterator[Any]:
    """Open the root group of an HDF5 file or a zarr store, and close it."""
    if path.suffix == ".zarr" or any((path / name).exists() for name in _ZARR):
        import zarr

        yield zarr.open_group(str(path), mode="r")
        return
    if path.is_dir():
        if list(path.glob("matrix.mtx*")):
            raise _of_10x(path, "read_10x_mtx")
        raise InputError(
            f"{path} is a folder but not a zarr store",
            "give the .h5ad file or the .zarr store in it",
        )
    import h5py

    with h5py.File(path, "r") as file:
        yield file


def _cells_in(root: Any, path: Path, mod: str | None) -> Any:
    """Return the group that holds the AnnData; for other formats, suggest how to read them."""
    if "mod" in root:
        return root["mod"][choose_modality(list(root["mod"]), mod)]
    if "obs" in root and "var" in root:
        if mod is not None:
            raise InputError(f"mod={mod!r}, and {path} is not a MuData", "leave out mod")
        return root
    if "matrix" in root and "row_attrs" in root:
        raise InputError(f"{path} is a loom file", f"adata = scanpy.read_loom({str(path)!r})")
    groups = [root[name] for name in root]
    if any(
        "barcodes" in group or "features" in group for group in groups if hasattr(group, "keys")
    ):
        raise _of_10x(path, "read_10x_h5")
    if "tables" in root:
        tables = [f"{path}/tables/{name}" for name in root["tables"]] or ["none"]
        raise InputError(
            f"{path} is a SpatialData store", f"give one of its tables: {', '.join(tables)}"
        )
    if "assays" in root:
        raise InputError(f"{path} is a Seurat file", "convert it to .h5ad in R")
    raise InputError(
        f"{path} holds no AnnData, but {', '.join(map(repr, root)) or 'nothing'}",
        "give the path of an .h5ad file or a .zarr store",
    )


def _of_10x(path: Path, reader: str) -> InputError:
    return InputError(
        f"{path} is the output of Cell Ranger", f"adata = scanpy.{reader}({str(path)!r})"
    )


def _remedy(path: Path) -> str:
    if path.suffix in _OURS or path.suffix in (".h5", ".hdf5"):
        return "copy the file again"
    return "read it with scanpy or anndata, and give the AnnData; paths lead to .h5ad or .zarr"


def _lazily(root: Any) -> AnnData:
    """Read a file's tables into an AnnData whose matrices stay in the file."""

    def matrix(at: Any) -> Any:
        return at if hasattr(at, "shape") else ad.io.sparse_dataset(at)

    if hasattr(root["obs"], "dtype"):  # before anndata 0.7; these files are small
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ad.read_h5ad(root.file.filename)
    layers = {name: matrix(root["layers"][name]) for name in root.get("layers", {})}
    uns = {"log1p": ad.io.read_elem(root["uns/log1p"])} if "uns/log1p" in root else {}
    raw = root["raw"] if "raw/X" in root else None  # may be stored as null
    return AnnData(
        X=matrix(root["X"]) if "X" in root else None,
        obs=ad.io.read_elem(root["obs"]),
        var=ad.io.read_elem(root["var"]),
        layers=layers,
        uns=uns,
        raw=raw and {"X": matrix(raw["X"]), "var": ad.io.read_elem(raw["var"])},
    )
