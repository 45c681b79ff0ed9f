"""Find genes that a user names in a vocabulary."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from .genes import look_up
from .vocab import FIRST_GENE, Vocabulary


def find_genes(names: Sequence[str], vocab: Vocabulary, *, argument: str = "genes") -> np.ndarray:
    """Return the tokens of genes named by symbol, alias or Ensembl id, ``(n,)`` int32.

    >>> ids = ["ENSG00000010610", "ENSG00000177455"]
    >>> vocab = Vocabulary(ids, ["CD4", "CD19"], median=[1.5, 2.0], alias=["", ""])
    >>> find_genes(["CD19"], vocab)
    array([3], dtype=int32)
    """
    names = [str(name) for name in names]
    gene, status = look_up(names, vocab)
    if (gene < 0).any():
        bad = int(np.argmax(gene < 0))
        what = "names several genes" if status[bad] == "ambiguous" else "is not a gene of the model"
        raise InputError(f"{argument}: {names[bad]!r} {what}", _near(names[bad], vocab))
    tokens = (gene + FIRST_GENE).astype(np.int32)
    first: dict[int, str] = {}
    for name, token in zip(names, tokens.tolist(), strict=True):
        if token in first:
            raise InputError(
                f"{argument}: {first[token]!r} and {name!r} are one gene", "name each gene once"
            )
        first[token] = name
    return tokens


def _near(name: str, vocab: Vocabulary) -> str:
    """Suggest similar names, ignoring case."""
    known = {known.upper(): known for known in vocab.name_to_gene}
    near = difflib.get_close_matches(name.upper(), known, n=3, cutoff=0.6)
    if not near:
        return "use gene symbols or Ensembl ids of human genes"
    return f"did you mean {', '.join(repr(known[n]) for n in near)}?"
