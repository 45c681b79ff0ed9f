"""The shell between AnnData and the array core of annotation: embeddings, labels, groups."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from genemamba import models
from genemamba._anndata import known_genes, tokenise
from genemamba._keys import OBSM_EMBEDDING, UNS
from genemamba.errors import InputError
from genemamba.tl._embed import Embedded, embed_cells

if TYPE_CHECKING:
    from genemamba.model import GeneMamba
    from genemamba.tokens import Ranked

UNKNOWN = "unknown"
MAX_TOKENS = 2048
_LONGEST_NAME = 1_000


class Source:
    """The cells of one AnnData: embedded and ranked when first asked for, written to nobody."""

    def __init__(
        self,
        adata: AnnData,
        loaded: GeneMamba,
        layer: str | None,
        gene_ids: str | Sequence[str] | None,
        of: str = "adata",
    ) -> None:
        if of != "adata":  # what is said of the cells goes for it if it has the same
            has_raw = layer == "raw" and adata.raw is not None
            layer = layer if layer in adata.layers or has_raw else None
            gene_ids = gene_ids if isinstance(gene_ids, str) and gene_ids in adata.var else None
        self.adata, self.loaded, self.layer, self.gene_ids = adata, loaded, layer, gene_ids
        self.of = of
        self._present = _present_embedding(adata, loaded, of)

    @property
    def vectors(self) -> np.ndarray:
        """``n_obs × d_model`` float32; NaN rows where no gene is known."""
        return self._embedded.vectors if self._present is None else self._present

    @property
    def new(self) -> Embedded | None:
        """The embedding made here, if one had to be made."""
        return self._embedded if self._present is None else None

    @cached_property
    def ranked(self) -> Ranked:
        """The ranked genes of every cell."""
        if self._present is None:
            return self._embedded.tokens.ranked
        vocab = models.vocabulary(self.loaded)
        with _speaking_of(self.of):
            return tokenise(
                self.adata, vocab, layer=self.layer, gene_ids=self.gene_ids, max_tokens=MAX_TOKENS
            ).ranked

    @cached_property
    def genes(self) -> set[int]:
        """Tokens of the genes that are there and known."""
        vocab = models.vocabulary(self.loaded)
        with _speaking_of(self.of):
            return known_genes(self.adata, vocab, layer=self.layer, gene_ids=self.gene_ids)

    @cached_property
    def _embedded(self) -> Embedded:
        with _speaking_of(self.of):
            return embed_cells(
                self.adata,
                self.loaded,
                layer=self.layer,
                gene_ids=self.gene_ids,
                max_tokens=MAX_TOKENS,
            )


@contextmanager
def _speaking_of(name: str) -> Iterator[None]:
    """Call what an error is about by its name; `layer` and `gene_ids` are those of `adata`."""
    try:
        yield
    except InputError as error:
        if name == "adata":
            raise
        fix = error.fix
        if "use layer='raw'" in fix:
            fix = "give it with them: reference=reference.raw.to_adata()"
        elif found := re.search(r"use layer=('.*')", fix):
            fix = f"put them into X: adata.X = adata.layers[{found[1]}]"
        elif found := re.search(r"use gene_ids=('.*')", fix):
            fix = f"name its genes by it: adata.var_names = adata.var[{found[1]}]"
        what, fix = (re.sub(r"\badata\b(?!\()", name, text) for text in (error.what, fix))
        raise InputError(what, fix) from None


@dataclass(frozen=True, eq=False)
class Labelled:
    """The labelled cells of an AnnData that have an embedding."""

    cells: np.ndarray
    """Their indices."""
    names: np.ndarray
    """The class of each, str."""
    groups: np.ndarray | None
    """The donor or batch of each, str."""
    given: np.ndarray
    """Of all cells, with or without an embedding: the label, "" where there is none."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, sorted."""
        return tuple(np.unique(self.names).tolist())

    @property
    def codes(self) -> np.ndarray:
        """The class of each, an index into `classes`."""
        return np.unique(self.names, return_inverse=True)[1]


def read_labelled(
    source: Source, label_key: str, batch_key: str | None, *, unknown: bool
) -> Labelled:
    """Read labels and groups.

    Raises
    ------
    InputError
        If a column is missing, labels are numbers, of one class only or none, a batch is NaN.
    """
    of, adata = source.of, source.adata
    values = column(adata, label_key, "label_key", of)
    if pd.api.types.is_numeric_dtype(values):
        raise InputError(
            f"{of}.obs[{label_key!r}] holds numbers ({values.dtype}), not names of cell types",
            f"if they are names: {of}.obs[{label_key!r}] = {of}.obs[{label_key!r}].astype(str)",
        )
    there = values.notna().to_numpy()
    if not there.any():
        raise InputError(f"{of}.obs[{label_key!r}] is empty (all NaN)", "give a column of labels")
    names = values[there].astype(str).to_numpy(dtype=str)
    if len(np.unique(names)) < 2:
        raise InputError(
            f"all labelled cells are {names[0]!r}: one class cannot be told from another",
            "label cells of two or more types",
        )
    if unknown and UNKNOWN in names:
        raise InputError(
            f"{UNKNOWN!r} is one of the labels, and it is what unfamiliar cells are called",
            "set these labels to NaN, or use unknown=False",
        )
    groups = read_groups(adata, batch_key, of)
    given = np.full(adata.n_obs, "", dtype=object)
    given[there] = names
    cells = np.flatnonzero(there)
    embedded = np.isfinite(source.vectors[cells]).all(axis=1)
    cells = cells[embedded]
    return Labelled(cells, names[embedded], None if groups is None else groups[cells], given)


def read_groups(adata: AnnData, key: str | None, of: str = "adata") -> np.ndarray | None:
    """Return the donor or batch of every cell as str; ``None`` if no key is given."""
    if key is None:
        return None
    values = column(adata, key, "batch_key", of)
    if values.isna().any():
        raise InputError(
            f"{of}.obs[{key!r}] is missing (NaN) for {int(values.isna().sum())} cells",
            "name the batch of every cell",
        )
    return values.astype(str).to_numpy(dtype=str)


def column(adata: AnnData, key: str, argument: str, of: str = "adata") -> pd.Series:
    """Return a column of ``obs``, or say which there are.

    numpy gives every cell the width of the longest name.
    """
    if key not in adata.obs:
        have = ", ".join(map(repr, adata.obs.columns)) or "none"
        raise InputError(
            f"{argument}={key!r} is not a column of {of}.obs", f"its columns are: {have}"
        )
    values = adata.obs[key]
    longest = max((len(str(name)) for name in values.unique()), default=0)
    if longest > _LONGEST_NAME and not pd.api.types.is_numeric_dtype(values):
        raise InputError(
            f"{of}.obs[{key!r}] holds a name of {longest:,} characters",
            f"give a column with names of at most {_LONGEST_NAME:,}",
        )
    return values


def require_common_genes(cells: Source, reference: Source) -> None:
    """Refuse a reference that shares no gene with the cells."""
    if not cells.genes & reference.genes:
        raise InputError(
            f"adata ({len(cells.genes):,} known genes) and reference ({len(reference.genes):,}) "
            "have no gene in common",
            "give a reference measured on the same genes",
        )


def _present_embedding(adata: AnnData, loaded: GeneMamba, of: str) -> np.ndarray | None:
    """Return the embedding that is there if this very model wrote it, ``None`` if there is none."""
    if OBSM_EMBEDDING not in adata.obsm:
        return None
    records = adata.uns.get(UNS, {})
    entry: Any = records.get(OBSM_EMBEDDING, {}) if isinstance(records, Mapping) else {}
    wrote, wanted = entry.get("model_sha256", "?"), loaded.provenance.get("sha256", "unsaved")
    if wrote == wanted:
        # a model that was never saved has no name to be known by
        return None if wanted == "unsaved" else np.asarray(adata.obsm[OBSM_EMBEDDING], np.float32)
    raise InputError(
        f"{of}.obsm[{OBSM_EMBEDDING!r}] was made by {entry.get('model', 'an unknown model')} "
        f"({str(wrote)[:8]}), not by this model ({str(wanted)[:8]}): their vectors do not compare",
        f"give model= the one that made it, or drop it: del {of}.obsm[{OBSM_EMBEDDING!r}]",
    )
