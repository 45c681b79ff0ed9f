"""Vectors of genes as the tools about genes take them: tables, or the cells that have them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np
import pandas as pd
from anndata import AnnData

from genemamba import models
from genemamba._keys import VARM_GENE, recorded
from genemamba.cells.open import cells_of
from genemamba.cells.read import Reading
from genemamba.errors import CheckpointError, InputError
from genemamba.tokens import FIRST_GENE
from genemamba.tokens.lookup import as_typed, find_genes, gene_names, near

if TYPE_CHECKING:
    from mudata import MuData

    from genemamba.network import GeneMamba
    from genemamba.tokens import GeneMatch, Vocabulary

GeneVectors: TypeAlias = "AnnData | MuData | pd.DataFrame"
ONE = "embedding"
_FIX = (
    "give cells, or a table of genes × dimensions: gm.tl.gene_embedding(), or "
    'pd.DataFrame(adata.varm["X_genemamba_gene"], index=adata.var_names)'
)
_ONE_ROW = "keep one row per gene: table[~table.index.duplicated()]"
_UNIQUE = "rename them: adata.var_names_make_unique()"


@dataclass(frozen=True, eq=False)
class Vectors:
    """Tables of gene vectors by name, and which row a name leads to."""

    tables: dict[str, pd.DataFrame]
    cells: AnnData | None = None
    vocab: Vocabulary | None = None
    organism: str = "human"
    of_token: dict[int, str] = field(default_factory=dict)
    """Row of each gene of the model."""

    @property
    def common(self) -> pd.Index:
        """The genes that have a vector in every table, in the order of the first."""
        first, *others = (table.index for table in self.tables.values())
        for other in others:
            first = first[first.isin(other)]
        return first

    @property
    def known(self) -> set[str]:
        """The genes that have a vector in any table."""
        return {name for table in self.tables.values() for name in table.index}

    def rows(self, names: Iterable[object]) -> list[str]:
        """Return the row that each name leads to, the name itself if it leads to none.

        Cells also know former symbols and Ensembl ids, tables only their own names in any case.
        """
        typed, known = [str(name) for name in names], self.known
        other = sorted(set(typed) - known)
        if self.vocab is None:
            times = Counter(name.casefold() for name in known)
            folded = {name.casefold(): name for name in known if times[name.casefold()] == 1}
            row = {name: folded.get(name.casefold(), name) for name in other}
        else:
            tokens = as_typed(other, self.vocab, self.organism)[0] + FIRST_GENE
            found = zip(other, tokens.tolist(), strict=True)
            row = {name: self.of_token.get(token, name) for name, token in found}
        return [row.get(name, name) for name in typed]

    def unknown(self, name: str) -> InputError:
        """Return the error for a name that leads to no row."""
        if self.vocab is None:
            fix = near(name, self.known) or "name genes as in the table"
            return InputError(f"genes: {name!r} is not among the genes of embeddings", fix)
        try:
            find_genes([name], self.vocab, organism=self.organism)
        except InputError as error:
            return error
        return InputError(
            f"genes: {name!r} is a gene of the model, but not among those of adata",
            "look among all genes of the model: "
            f"gm.tl.nearest_genes(gm.tl.gene_embedding(), {name!r})",
        )


def read_vectors(embeddings: Any, name: str = "embeddings") -> Vectors:
    """Read the vectors of cells, or check one table or several by name.

    Genes without a vector are left out. Cells have the vectors that their model knows,
    ``"static"``, and those of ``gm.tl.gene_embedding(adata, kind="context")``, if it was run.

    Raises
    ------
    InputError
        If there is none, or one is not a table of numbers, names a gene twice, or has one
        dimension; if the genes of cells are not known.
    """
    if isinstance(embeddings, pd.DataFrame):
        return Vectors({ONE: _read_table(embeddings, name)})
    if is_cells(embeddings):
        with cells_of(embeddings, None, copy=False) as (cells, _):
            return _of_cells(cells)
    if not isinstance(embeddings, Mapping) or not embeddings:
        raise InputError(f"{name} is a {type(embeddings).__name__}, not cells or a table", _FIX)
    return Vectors({str(k): _read_table(v, f"{name}[{k!r}]") for k, v in embeddings.items()})


def is_cells(value: Any) -> TypeGuard[AnnData | MuData]:
    """Whether it is an AnnData or a MuData."""
    return isinstance(value, AnnData) or isinstance(getattr(value, "mod", None), Mapping)


def static_rows(loaded: GeneMamba, tokens: np.ndarray) -> np.ndarray:
    """Return rows of the embedding table in float32; NaN where the token is -1."""
    weight = loaded.embeddings.weight.detach().float().cpu().numpy()
    return np.where(tokens[:, None] >= 0, weight[tokens], np.float32(np.nan))


def _of_cells(adata: AnnData) -> Vectors:
    """Read genes as ``gm.tl.gene_embedding`` read them, if it was run, else with its defaults."""
    entry = recorded(adata, VARM_GENE) if VARM_GENE in adata.varm else {}
    params = entry.get("params", {})
    own = {params["kind"]: adata.varm[VARM_GENE]} if "kind" in params else {}
    loaded = _load(entry)
    if loaded is None:  # a model that was not saved: no more than its vectors is known
        return Vectors(_tables_of(own, adata.var_names), adata)
    vocab = models.vocabulary(loaded)
    organism = entry.get("organism", {}).get("name", "auto")
    genes = Reading(None, params.get("gene_ids") or None, organism).matched(adata.var, vocab)
    kept = np.flatnonzero((genes.token >= 0) & (genes.status != "duplicate"))
    names, tokens = _names(adata, genes, vocab)[kept], genes.token[kept]
    vectors = {"static": static_rows(loaded, genes.token)} | own
    tables = _tables_of({kind: x[kept] for kind, x in vectors.items()}, names)
    of_token = dict(zip(tokens.tolist(), names.tolist(), strict=True))
    return Vectors(tables, adata, vocab, genes.organism, of_token)


def _tables_of(vectors: Mapping[str, np.ndarray], names: Any) -> dict[str, pd.DataFrame]:
    return {kind: _read_table(pd.DataFrame(x, names), kind, _UNIQUE) for kind, x in vectors.items()}


def _load(entry: Mapping[str, Any]) -> GeneMamba | None:
    """Load the model that a record names, if it can be found; the default if there is none."""
    try:
        loaded = models.load(entry.get("model", "genemamba-mini"))
    except CheckpointError:
        return None
    same = entry.get("model_sha256") in (None, loaded.provenance.get("sha256"))
    return loaded if same else None


def _names(adata: AnnData, genes: GeneMatch, vocab: Vocabulary) -> np.ndarray:
    """Name genes as `adata` does; by symbol where it has Ensembl ids."""
    names = adata.var_names.astype(str).to_numpy(dtype=object)
    symbols = gene_names(vocab, genes.organism)[genes.token - FIRST_GENE]
    return np.where(genes.status == "id", symbols, names)


def _read_table(table: Any, name: str, unique: str = _ONE_ROW) -> pd.DataFrame:
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"{name} is a {type(table).__name__}, not a table", _FIX)
    try:
        values = table.to_numpy(dtype=np.float32)
    except (TypeError, ValueError):
        raise InputError(f"{name} holds values that are not numbers", _FIX) from None
    if values.shape[1] < 2:
        raise InputError(f"{name} has {values.shape[1]} dimensions", "a vector has two or more")
    genes = table.index.astype(str)
    repeated = genes[genes.duplicated()]
    if len(repeated):
        raise InputError(
            f"{name} names {len(repeated)} genes more than once, such as {repeated[0]!r}",
            unique,
        )
    # all values alike is no direction: of a gene that no cell expresses, say
    known = np.isfinite(values).all(axis=1) & (values.min(axis=1) < values.max(axis=1))
    if not known.any():
        raise InputError(f"{name} has a vector for no gene: all rows are constant or NaN", _FIX)
    return pd.DataFrame(values[known], index=genes[known])
