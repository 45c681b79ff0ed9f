"""The shell between AnnData and the array core of annotation: embeddings, labels, groups."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from genemamba import models
from genemamba._anndata import genes_of, recorded, tokenise
from genemamba._keys import OBSM_EMBEDDING
from genemamba._labels import missing
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.tl._embed import Embedded, embed_cells, written_before

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
        if of != "adata":  # a column of the cells' names goes for it, too, if it has the same
            gene_ids = gene_ids if isinstance(gene_ids, str) and gene_ids in adata.var else None
        self.adata, self.loaded, self.layer, self.gene_ids = adata, loaded, layer, gene_ids
        self.of = of
        _refuse_other_model(adata, loaded, of)
        vocab = models.vocabulary(loaded)
        with _named(of):
            self._genes, where = genes_of(adata, vocab, layer=layer, gene_ids=gene_ids)
        self._present = written_before(adata, loaded, self._genes, where, max_tokens=MAX_TOKENS)

    @property
    def vectors(self) -> np.ndarray:
        """``n_obs × d_model`` float32; NaN rows where no gene is known."""
        return self._embedded.vectors if self._present is None else self._present

    @property
    def new(self) -> Embedded | None:
        """The embedding made here, if one had to be made."""
        return self._embedded if self._present is None else None

    @property
    def params(self) -> dict[str, Any]:
        """What a record keeps of the source."""
        by_name = isinstance(self.gene_ids, str)
        return {
            "layer": self.layer or "",
            "gene_ids": self.gene_ids if by_name else "",
            "max_tokens": MAX_TOKENS,
        }

    @cached_property
    def ranked(self) -> Ranked:
        """The ranked genes of every cell."""
        if self._present is None:
            return self._embedded.tokens.ranked
        vocab = models.vocabulary(self.loaded)
        with _named(self.of):
            return tokenise(
                self.adata, vocab, layer=self.layer, gene_ids=self.gene_ids, max_tokens=MAX_TOKENS
            ).ranked

    @cached_property
    def genes(self) -> set[int]:
        """Tokens of the genes that are there and known."""
        return set(self._genes.token.tolist()) - {-1}

    @cached_property
    def _embedded(self) -> Embedded:
        with _named(self.of):
            return embed_cells(
                self.adata,
                self.loaded,
                layer=self.layer,
                gene_ids=self.gene_ids,
                max_tokens=MAX_TOKENS,
            )


@contextmanager
def _named(of: str) -> Iterator[None]:
    """Let errors speak of `of` and its own arguments instead of ``adata``."""
    try:
        yield
    except InputError as error:
        if of == "adata":
            raise
        raise InputError(_about(error.what, of), _about(error.fix, of)) from None


def _about(text: str, of: str) -> str:
    text = re.sub(r"leave out layer: adata has only X|\buse X$", "use layer='X'", text)
    text = re.sub(
        r"use gene_ids=('.*')", rf"name its genes by it: {of}.var_names = {of}.var[\1]", text
    )
    return re.sub(r"\blayer=", f"{of}_layer=", re.sub(r"\badata\b", of, text))


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
    _say_lost(
        sorted({*names.tolist()} - {*names[embedded].tolist()}), len(np.unique(names[embedded])), of
    )
    cells = cells[embedded]
    return Labelled(cells, names[embedded], None if groups is None else groups[cells], given)


def _say_lost(lost: list[str], n_left: int, of: str) -> None:
    """Say which classes have no cell with an embedding; refuse to go on with fewer than two."""
    if not lost:
        return
    named = ", ".join(map(repr, lost[:5])) + (", …" if len(lost) > 5 else "")
    if n_left < 2:
        raise InputError(
            f"no labelled cell of {named} in {of} expresses a gene of the model, which leaves "
            f"{n_left or 'no'} class, and one class cannot be told from another",
            "label other cells of these types, or check gene_ids",
        )
    warnings.warn(
        f"no cell will be named {named}: none of the cells with this label in {of} expresses a "
        "gene of the model",
        GeneMambaWarning,
        stacklevel=4,
    )


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
    """Return a column of ``obs``, or say which there are; NaN where it is :func:`missing`.

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
    return values.mask(missing(values))


def require_common_genes(cells: Source, reference: Source) -> None:
    """Refuse a reference that shares no gene with the cells."""
    if not cells.genes & reference.genes:
        raise InputError(
            f"adata ({len(cells.genes):,} known genes) and reference ({len(reference.genes):,}) "
            "have no gene in common",
            "give a reference measured on the same genes",
        )


def _refuse_other_model(adata: AnnData, loaded: GeneMamba, of: str) -> None:
    if OBSM_EMBEDDING not in adata.obsm:
        return
    entry = recorded(adata, OBSM_EMBEDDING)
    wrote, wanted = entry.get("model_sha256", "?"), loaded.provenance.get("sha256", "unsaved")
    if wrote != wanted:
        raise InputError(
            f"{of}.obsm[{OBSM_EMBEDDING!r}] was made by {entry.get('model', 'an unknown model')} "
            f"({str(wrote)[:8]}), not by this model ({str(wanted)[:8]})",
            f"give model= the one that made it, or drop it: del {of}.obsm[{OBSM_EMBEDDING!r}]",
        )
