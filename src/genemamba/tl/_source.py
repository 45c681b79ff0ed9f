"""The cells of one AnnData: embedded and ranked when first asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData

from genemamba import models
from genemamba._keys import OBSM_EMBEDDING
from genemamba.cells.read import genes_of, tokenise
from genemamba.cells.record import recorded
from genemamba.errors import InputError
from genemamba.tl._embed import Embedded, embed_cells, written_before

if TYPE_CHECKING:
    from genemamba.network import GeneMamba
    from genemamba.tokens import Ranked

MAX_TOKENS = 2048


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
