"""The cells that a map is made of: one AnnData or several, in memory or on disk."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import reduce
from itertools import combinations
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from genemamba import _files
from genemamba._keys import OBSM_EMBEDDING
from genemamba._labels import in_memory
from genemamba.cells.labels import UNKNOWN, column, full_column
from genemamba.cells.open import is_path, opened_in, require_anndata
from genemamba.cells.read import Reading, read_counts
from genemamba.errors import GeneMambaWarning, InputError, shown
from genemamba.maps.columns import read_column
from genemamba.tl._embedding import Embedding, Running, embed_into, named
from genemamba.tl._expressed import expressed_blocks
from genemamba.tokens import MUCH_LOST, Measured

if TYPE_CHECKING:
    from genemamba.models._load import ModelLike
    from genemamba.network import GeneMamba

SOURCE = "source"
_BLOCK = 65_536
_COMMON = 0.1  # of the genes of the smaller of two sources that both have to measure


@contextmanager
def opened_sources(adata: Any, mod: str | None) -> Iterator[dict[str, AnnData]]:
    """Give the cells of each source by name: that of its file, or ``adata``."""
    several = isinstance(adata, Sequence) and not is_path(adata)
    given = list(adata) if several else [adata]
    if not given:
        raise InputError("adata is an empty list", "give an AnnData, a path, or several of them")
    with ExitStack() as stack:
        found: dict[str, AnnData] = {}
        for i, one in enumerate(given):
            name = Path(fspath(one)).stem if is_path(one) else f"adata[{i}]" if several else "adata"
            if name in found:
                raise InputError(f"two of adata are called {name!r}", "rename one of the files")
            found[name] = stack.enter_context(opened_in(one, mod))
            require_anndata(found[name])
        yield found


class Sources:
    """All cells of a map, one source after the other."""

    def __init__(
        self, cells: dict[str, AnnData], loaded: GeneMamba, reading: Reading, running: Running
    ) -> None:
        self.parts = {
            name: Embedding(adata, loaded, reading, running, of=name)
            for name, adata in cells.items()
        }
        self.loaded = loaded
        self._arrays: list[Any] = []
        self.known = np.empty(0, dtype=bool)
        """``(n_cells,)`` whether a cell has a vector; after :meth:`embed`."""

    @property
    def names(self) -> list[str]:
        """Names of the sources."""
        return list(self.parts)

    def table(
        self, label_key: str | None, batch_key: str | None, keep: Sequence[str]
    ) -> tuple[pd.DataFrame, np.ndarray | None]:
        """Return the columns to keep, and the batch of each cell; None for one batch.

        Raises
        ------
        InputError
            If a column is missing, has too many values or a name that gm.tl.map uses, or there are
            no labels.
        """
        wanted = _wanted(label_key, keep)
        frames, batches = [], []
        for name, part in self.parts.items():
            obs = pd.DataFrame(index=part.adata.obs_names.astype(str))
            for key in wanted:
                if key == label_key:
                    values = column(part.adata, key, "label_key", name)
                else:
                    values = _column(part.adata, key, name)
                obs[key] = read_column(values, key, name).to_numpy()
            if len(self.parts) > 1 and SOURCE not in wanted:
                obs[SOURCE] = name
            frames.append(obs)
            of_source = pd.Series(name, obs.index)
            if batch_key is not None:
                own = full_column(part.adata, batch_key, "batch_key", name).astype(str).to_numpy()
                of_source = of_source + "\0" + own
            batches.append(of_source.to_numpy(dtype=object))
        obs = pd.concat(frames)
        for key in obs.columns:
            obs[key] = read_column(obs[key], key, "adata")
        if label_key is not None:
            _check_labels(obs[label_key])
        if batch_key is None and len(self.parts) == 1:
            return obs, None
        return obs, pd.factorize(np.concatenate(batches), sort=True)[0]

    def require_common_genes(self) -> None:
        """Raise if sources share hardly a gene; warn if one measures much that another lacks.

        Raises
        ------
        InputError
            If they do, for their cells could not lie on one map.
        """
        for (a, first), (b, second) in combinations(self.parts.items(), 2):
            own, other = first.genes.tokens, second.genes.tokens
            n = len(np.intersect1d(own, other))
            if n < _COMMON * min(len(np.unique(own)), len(np.unique(other))):
                raise InputError(
                    f"{a} and {b} have {n} genes in common: their cells cannot lie on one map",
                    "make a map of each",
                )
            lost = [m.elsewhere(t) for m, t in ((first.measured, other), (second.measured, own))
                    if m is not None]  # fmt: skip
            if lost and max(lost) > MUCH_LOST:
                warnings.warn(
                    f"{max(lost):.0%} of the counts of {a} or {b} are on genes that the other does "
                    "not measure: their cells may lie apart on the map",
                    GeneMambaWarning,
                    stacklevel=3,
                )
        tokens = [np.unique(part.genes.tokens) for part in self.parts.values()]
        n = len(reduce(np.intersect1d, tokens))
        if n < _COMMON * min(map(len, tokens)):
            raise InputError(
                f"all of {', '.join(self.names)} have {n} genes in common: their cells cannot lie "
                "on one map",
                "leave out what measures other genes",
            )

    def require_runnable(self) -> None:
        """Raise unless counts can be read, and the model can run as it was told to."""
        for part in self.parts.values():
            with named(part.of):
                part.running.for_counts(read_counts(part.adata, part.reading.layer))

    def sha256(self, obs: pd.DataFrame) -> str:
        """Hash names and columns of the cells."""
        text = pd.util.hash_pandas_object(obs.astype(str)).to_numpy()
        return _files.sha256(*(f"{name}\0" for name in [*self.names, "", *obs.columns]), text)

    def embed(self, folder: Path, model: ModelLike) -> None:
        """Compute the vectors, in stores in a folder unless they are there already."""
        import zarr

        self._arrays = []
        for i, part in enumerate(self.parts.values()):
            if part.reused:
                self._arrays.append(part.vectors)
                continue
            store = folder / f"{i}.zarr"
            embed_into(store, part, OBSM_EMBEDDING, model)
            self._arrays.append(zarr.open_group(str(store), mode="r")[f"obsm/{OBSM_EMBEDDING}"])
        self.known = np.concatenate([_known(array) for array in self._arrays])

    def blocks(self, basis: np.ndarray | None) -> Iterator[tuple[np.ndarray, Any]]:
        """Yield embeddings and log-normalised expression of these genes, in the order of the cells.

        Without a `basis`, there is None in place of expression.
        """
        for part, array in zip(self.parts.values(), self._arrays, strict=True):
            if basis is None:
                for start in range(0, array.shape[0], _BLOCK):
                    yield np.asarray(array[start : start + _BLOCK]), None
                continue
            start = 0
            for logged in expressed_blocks(part, basis):
                yield np.asarray(array[start : start + logged.shape[0]]), logged
                start += logged.shape[0]

    def basis(self) -> np.ndarray | None:
        """Return the tokens of the genes that all sources measure; None if one has no counts."""
        if any(part.measured is None for part in self.parts.values()):
            return None
        tokens = [part.genes.tokens for part in self.parts.values()]
        return np.unique(reduce(np.intersect1d, tokens))

    def measured(self) -> Measured:
        """Return which genes the cells measure, and their mean shares of the counts."""
        found = [m for part in self.parts.values() if (m := part.measured) is not None]
        tokens = np.unique(np.concatenate([m.tokens for m in found] or [np.empty(0, np.int32)]))
        share = np.zeros(len(tokens))
        for one in found:
            share[np.searchsorted(tokens, one.tokens)] += one.share / len(found)
        return Measured(tokens.astype(np.int32), share.astype(np.float32))


def _wanted(label_key: Any, keep: Any) -> list[str]:
    """Return the columns to keep, the labels first."""
    if label_key is not None and not (label_key and isinstance(label_key, str)):
        raise InputError(f"label_key={shown(label_key)} is not a name", "give that of a column")
    if isinstance(keep, str):
        raise InputError(f"keep={keep!r} is a text", f"give a list: keep=[{keep!r}]")
    keep = list(keep) if isinstance(keep, Iterable) and not isinstance(keep, Mapping) else [keep]
    if not all(isinstance(key, str) for key in keep):
        raise InputError(f"keep={shown(keep)} is not a list of names", 'give keep=["tissue"], say')
    others = [key for key in keep if key != label_key]
    kinds = ["label", "confidence", "quality", *(f"{key}_confidence" for key in others)]
    if taken := [key for key in others if key in kinds]:
        raise InputError(
            f"keep names {taken[0]!r}, which is where gm.tl.map writes something else",
            "rename the column, or leave it out",
        )
    if slashed := [key for key in others if "/" in key]:
        raise InputError(
            f"keep names {slashed[0]!r}, and a file cannot keep a name with a '/'",
            "rename the column, or leave it out",
        )
    return list(dict.fromkeys([*([] if label_key is None else [label_key]), *others]))


def _check_labels(labels: pd.Series) -> None:
    if labels.isna().all():
        raise InputError(
            f"label_key={labels.name!r} is empty (all NaN)",
            "give a column of labels, or leave out label_key",
        )
    if UNKNOWN in labels.cat.categories:
        raise InputError(
            f"{UNKNOWN!r} is one of the labels, but this name is reserved for unfamiliar cells",
            "set these labels to NaN",
        )


def _column(adata: AnnData, key: str, of: str) -> pd.Series:
    """Return a column to keep; text for a missing value is NaN."""
    if key not in adata.obs:
        raise InputError(
            f"keep names {key!r}, which is not in {of}.obs",
            f"use some of {', '.join(map(repr, map(str, adata.obs.columns[:10])))}",
        )
    values = in_memory(adata.obs[key])
    plain = not pd.api.types.is_complex_dtype(values)
    if pd.api.types.is_numeric_dtype(values) and plain:
        return values
    return column(adata, key, "keep", of)


def _known(array: Any) -> np.ndarray:
    parts = [
        np.isfinite(array[i : i + _BLOCK]).all(axis=1) for i in range(0, array.shape[0], _BLOCK)
    ]
    return np.concatenate(parts)
