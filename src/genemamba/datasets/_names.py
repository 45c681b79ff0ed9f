"""The names of genes: ids, symbols, aliases and biotypes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd

from genemamba._files import sha256
from genemamba.errors import InputError
from genemamba.tokens import Vocabulary

_COLUMNS = ("id", "symbol", "biotype", "former")


@dataclass(frozen=True, eq=False)
class GeneNames:
    """All genes that a corpus can contain."""

    table: pd.DataFrame
    """Columns ``id``, ``symbol``, ``biotype``, ``former``; sorted by id."""
    sha256: str

    @classmethod
    def read(cls, file: Path, biotypes: tuple[str, ...] = ()) -> GeneNames:
        """Read a CSV without header: Ensembl id, symbol and, optionally, biotype."""
        try:
            digest = sha256(file)
            table = pd.read_csv(file, header=None, dtype=str, keep_default_na=False)
        except (OSError, ValueError) as error:
            raise InputError(
                f"gene_names={str(file)!r} cannot be read ({error})",
                "give a CSV of Ensembl id and symbol, without header",
            ) from None
        if (
            not 2 <= table.shape[1] <= len(_COLUMNS)
            or not table[0].str.fullmatch(r"ENSG\d{11}").all()
        ):
            raise InputError(
                f"gene_names={str(file)!r} is not a table of human Ensembl ids and symbols",
                "give a CSV of Ensembl id, symbol and, optionally, biotype and former symbols, "
                "without header",
            )
        table.columns = list(_COLUMNS[: table.shape[1]])
        if biotypes:
            if "biotype" not in table:
                raise InputError(
                    f"biotypes={list(biotypes)}, but {file} has no third column with biotypes",
                    "add it, or leave out biotypes",
                )
            table = table[table["biotype"].isin(biotypes)]
        return cls(table.sort_values("id", ignore_index=True), digest)

    def reference(self, tables: Iterable[pd.DataFrame]) -> Vocabulary:
        """Return all genes with their unambiguous names; medians are placeholders.

        If the ``var`` of a file has ``ensembl_id``, the names in the file become aliases.
        """
        named = self.table
        twice = named["symbol"].duplicated(keep=False) | (named["symbol"] == named["id"])
        row = {gene: i for i, gene in enumerate(named["id"])}
        known = {*named["id"], *named["symbol"][~twice]}
        alias = self._former(known)
        known |= {name for names in alias.values() for name in names}
        for var in tables:
            for name, gene in zip(var.index, var.get("ensembl_id", []), strict=False):
                if gene in row and name not in known:
                    known.add(name)
                    alias.setdefault(row[gene], []).append(name)
        return Vocabulary(
            ensembl_id=named["id"].to_numpy(),
            symbol=named["symbol"].mask(twice, "").to_numpy(),
            median=np.ones(len(named)),
            alias=np.array(["|".join(alias.get(i, [])) for i in range(len(named))]),
        )

    def _former(self, known: set[str]) -> dict[int, list[str]]:
        """Return the former symbols of each gene, unless another gene has or had them."""
        if "former" not in self.table:
            return {}
        genes: dict[str, list[int]] = {}
        for i, joined in enumerate(self.table["former"]):
            for name in filter(None, joined.split("|")):
                genes.setdefault(name, []).append(i)
        alias: dict[int, list[str]] = {}
        for name, of in genes.items():
            if len(of) == 1 and name not in known:
                alias.setdefault(of[0], []).append(name)
        return alias

    def vocabulary(
        self, reference: Vocabulary, genes: np.ndarray, median: np.ndarray, extra: tuple[str, ...]
    ) -> Vocabulary:
        """Return the chosen genes with their medians and former names."""
        symbol = self.table["symbol"].where(self.table["symbol"] != self.table["id"], "")
        chosen = Vocabulary(
            ensembl_id=reference.ensembl_id[genes],
            symbol=symbol.to_numpy()[genes],
            median=median,
            alias=reference.alias[genes],
            extra=extra,
        )
        return with_former_names(chosen)


def with_former_names(vocab: Vocabulary) -> Vocabulary:
    """Add former names of genes, so that older data sets match as well."""
    renamed = pd.read_csv(str(files("genemamba.datasets") / "renamed_genes.csv"))
    former = renamed.groupby("new")["old"].agg("|".join)
    alias = [
        "|".join(dict.fromkeys([*filter(None, known.split("|")), *former.get(s, "").split("|")]))
        for known, s in zip(vocab.alias, vocab.symbol, strict=True)
    ]
    return replace(vocab, alias=np.array([a.strip("|") for a in alias]))
