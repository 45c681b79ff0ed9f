"""The model a run starts from: drawn anew, or a checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from genemamba.datasets import Corpus
from genemamba.errors import InputError
from genemamba.model import GeneMamba
from genemamba.model.checkpoint import read_checkpoint
from genemamba.train.recipe import Recipe


def new_model(corpus: Corpus, recipe: Recipe) -> GeneMamba:
    """Draw a model, or read the one that the recipe names, and give it the corpus's genes.

    Raises
    ------
    InputError
        If the checkpoint has other genes, or other sizes than the recipe says.
    """
    folder = recipe.model.get("start")
    if not folder:
        model = GeneMamba(recipe.config(len(corpus.vocab))).reset_parameters(recipe.run.seed)
    else:
        model = read_checkpoint(Path(folder).expanduser())
        _require_same_genes(model, corpus, folder)
        own = model.config.to_dict()
        for key, value in recipe.model.items():
            if key != "start" and own[key] != value:
                raise InputError(
                    f"[model] {key} is {value!r}, and {folder} has {own[key]!r}",
                    "leave the sizes out: they are the checkpoint's",
                )
    model.vocab, model.ranking = corpus.vocab, corpus.ranking
    return model.train()


def _require_same_genes(model: GeneMamba, corpus: Corpus, folder: str) -> None:
    """Tokens must mean the same genes; medians may differ, they only rank."""
    assert model.vocab is not None
    theirs, ours = model.vocab, corpus.vocab
    if np.array_equal(theirs.ensembl_id, ours.ensembl_id) and theirs.extra == ours.extra:
        return
    shared = len(np.intersect1d(theirs.ensembl_id, ours.ensembl_id))
    raise InputError(
        f"{folder} knows {theirs.n_genes:,} genes and {corpus.folder} {ours.n_genes:,}, of which "
        f"{shared:,} are shared: its tokens would mean other genes",
        "train from the start, without [model] start, or give the corpus that it was trained on",
    )
