"""Open what the user passes as an AnnData: itself, a modality of a MuData, or a file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

from anndata import AnnData

from genemamba._progress import tell_end
from genemamba.cells.files import choose_modality, opened
from genemamba.errors import InputError

if TYPE_CHECKING:
    from mudata import MuData


@contextmanager
def cells_of(
    adata: AnnData | MuData | str | PathLike[str],
    mod: str | None,
    copy: bool,
    out: str | PathLike[str] | Literal[False] | None = False,
    *,
    doing: str = "",
    to: str = "",
) -> Iterator[tuple[AnnData, AnnData | MuData | None]]:
    """Give the cells to read and write, and what a tool returns: with `copy` the whole copy.

    `out` is False for tools that cannot write to a store. `doing` is what the line that closes a
    long operation calls it, and `to` the slot that the user will look for.

    Raises
    ------
    InputError
        If there is no place for the results of a path, or two places for results.
    """
    if out and copy:
        raise InputError("out and copy=True cannot be combined", "leave out copy")
    if is_path(adata) and not out:
        store = "" if out is False else "give out='results.zarr', or "
        raise InputError(
            f"adata is a path ({fspath(adata)!r}), which results cannot be written to",
            f"{store}read the file first: adata = anndata.read_h5ad(path)",
        )
    result, begun = None, time.monotonic()
    if copy:
        assert not isinstance(adata, (str, PathLike))
        cells = modality(adata, mod)
        require_anndata(cells)
        check_backed(cells, copy=True)
        result = adata.copy()
    with opened_in(adata if result is None else result, mod) as cells:
        require_anndata(cells)
        yield cells, result
        if doing:
            tell_end(doing, cells.n_obs, begun, f"{fspath(out)}: {to}" if out else to)


@contextmanager
def opened_in(adata: AnnData | MuData | str | PathLike[str], mod: str | None) -> Iterator[AnnData]:
    """Give an AnnData itself, a modality of a MuData, or the contents of a file.

    Raises
    ------
    InputError
        If the MuData has no modality `mod`.
    """
    if is_path(adata):
        with opened(adata, mod) as cells:
            yield cells
    else:
        yield modality(adata, mod)


def modality(adata: AnnData | MuData, mod: str | None) -> AnnData:
    """Return the AnnData of a modality; "rna", or the only one, if none is named."""
    if not isinstance(getattr(adata, "mod", None), Mapping):
        if mod is not None:
            raise InputError(f"mod={mod!r}, and adata is not a MuData", "leave out mod")
        return adata
    return adata.mod[choose_modality(list(adata.mod), mod)]


def is_path(adata: Any) -> TypeGuard[str | PathLike[str]]:
    """Whether it is a path, not an AnnData."""
    return isinstance(adata, (str, PathLike))


def check_backed(adata: AnnData, *, copy: bool) -> None:
    """Raise if a backed AnnData would be copied, or is a view."""
    if adata.isbacked and (copy or adata.is_view):
        what = "is backed by a file, which copy=True cannot copy"
        if adata.is_view:
            what = "is a view of a backed AnnData, which cannot be written to"
        raise InputError(f"adata {what}", "read it first: adata = adata.to_memory()")


def require_anndata(adata: Any) -> None:
    """Raise if this is not an AnnData."""
    if not isinstance(adata, AnnData):
        raise InputError(
            f"adata is a {type(adata).__name__}, not an AnnData",
            "read the file first: adata = anndata.read_h5ad(path); of a MuData give mdata['rna']",
        )
