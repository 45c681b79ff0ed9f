"""Files that commands read and write; all are checked before anything heavy is imported."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genemamba.errors import GeneMambaError, InputError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

H5AD, ZARR, CSV = ".h5ad", ".zarr", ".csv"
_READ = {
    "source": "give the path of an .h5ad file",
    "files": "give the paths of .h5ad files",
    "profiles": "give the paths of .h5ad files",
    "gene_names": "give a CSV file of Ensembl ids and symbols",
    "labels": "give a CSV file: file, label, cl_id",
    "corpus": "make it by genemamba build-corpus",
}
"""Arguments that name files or folders, and what to do where these are missing."""


def require_inputs(given: Mapping[str, Any]) -> None:
    """Raise if a file, reference, model or map that a command is given does not exist."""
    for name, fix in _READ.items():
        paths = given.get(name) or ()
        for path in [paths] if isinstance(paths, Path) else paths:
            if not path.exists():
                raise InputError(
                    f"there is no {'folder' * (name == 'corpus') or 'file'} {path}", fix
                )
    recipe = Path(given.get("config", ""))
    if recipe.suffix == ".toml" and not recipe.is_file():
        raise InputError(f"there is no file {recipe}", "give the path or the name of a recipe")
    if (reference := given.get("reference")) is not None and not reference.exists():
        raise InputError(
            f"there is no reference {reference}",
            "give an .h5ad file with labels, or the folder of an earlier annotation",
        )
    _require_model(given.get("model"))
    _require_map(given.get("reference_map"))


def _require_model(name: str | None) -> None:
    from genemamba.models._load import find
    from genemamba.models._registry import lookup

    if name is None or ((entry := lookup(name)) is not None and entry.complete):
        return  # the bytes are checked when it is loaded
    find(name)


def _require_map(name: str | None) -> None:
    from genemamba.models._registry import lookup, no_map

    if name is None or lookup(name, "map") is not None:
        return
    if not os.path.exists(os.path.expanduser(name)):
        raise no_map(name)


def require_target(target: Path, *suffixes: str, force: bool, **inputs: Path | None) -> None:
    """Raise unless a file can be written: the suffix, the folder, and nothing there already."""
    suffix = suffix_of(target)
    if suffix not in suffixes:
        ends = f"ends in {target.suffix}" if target.suffix else "has no suffix"
        only = "; only embed and tokenize write .zarr stores" * (suffix == ZARR)
        raise InputError(
            f"the output {target} {ends}{only}", f"give a name that ends in {' or '.join(suffixes)}"
        )
    if not target.absolute().parent.is_dir():
        raise InputError(f"there is no folder {target.parent}", "create it first")
    for what, path in inputs.items():
        if path is not None and target.exists() and target.samefile(path):
            raise InputError(f"{target} is the {what} itself", "write to another file")
    if suffix == ZARR:
        if force and target.exists():
            raise InputError(
                f"{target} exists, and --force replaces no store",
                "leave out --force to finish it, or remove it",
            )
        return  # it resumes, or tells whose it is
    if target.is_dir():
        raise InputError(f"{target} is a folder", "write to another file")
    if target.exists() and not force:
        raise InputError(f"{target} exists", "write to another file, or add --force")
    if not os.access(target.absolute().parent, os.W_OK):
        raise InputError(
            f"the folder {target.absolute().parent} cannot be written to", "write to another"
        )


def suffix_of(target: Path) -> str:
    """Return the suffix in small letters, which says what to write."""
    return target.suffix.lower()


def read_cells(path: Path) -> AnnData:
    """Read a file of cells into memory."""
    import anndata

    from genemamba.cells.files import opened

    with opened(path):  # raises if it is another kind of file
        pass
    try:
        return anndata.read_zarr(path) if path.is_dir() else anndata.read_h5ad(path)
    except Exception as error:  # a file can be broken in any way
        raise InputError(
            f"{path} is not an h5ad file ({error})",
            "give an .h5ad file; embed and tokenize read others if they write to an OUT.zarr",
        ) from None


def write_cells(adata: AnnData, target: Path) -> None:
    """Write cells to an h5ad file, whole or not at all."""
    _write(adata.write_h5ad, target)


def write_table(table: pd.DataFrame, target: Path) -> None:
    """Write a table to a CSV file, whole or not at all."""
    _write(lambda new: table.to_csv(new, index=False), target)


def _write(write: Callable[[Path], None], target: Path) -> None:
    target = Path(os.path.realpath(target))  # a link stays one
    try:  # `_files.replacing` writes to NAME.new, which here could be a file of the user's
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".genemamba-") as folder:
            new = Path(folder) / f"new{target.suffix}"
            write(new)
            new.replace(target)
    except OSError as error:
        raise GeneMambaError(
            f"{target} cannot be written ({error.strerror or error})",
            "free some space, or write to another folder",
        ) from None
