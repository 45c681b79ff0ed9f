"""The model a run starts from: newly initialised, or a checkpoint."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from genemamba.datasets import Corpus
from genemamba.datasets._factors import gene_vectors
from genemamba.errors import InputError
from genemamba.network import GeneMamba
from genemamba.tokens import FIRST_GENE
from genemamba.train.recipe import Recipe

FACTORS = "factors"


def new_model(corpus: Corpus, recipe: Recipe, training: np.ndarray) -> GeneMamba:
    """Initialise a model, with gene factors if the recipe says so, or read a checkpoint."""
    folder = recipe.model.get("start")
    if not folder or folder == FACTORS:
        model = GeneMamba(recipe.config(len(corpus.vocab))).reset_parameters(recipe.run.seed)
        _expect_common_genes(model, corpus)
        if folder == FACTORS:
            _use_vectors(model, gene_vectors(corpus, training, model.config.d_model, 0))
    else:
        model = GeneMamba.from_pretrained(Path(folder).expanduser())
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


@torch.no_grad()
def _expect_common_genes(model: GeneMamba, corpus: Corpus) -> None:
    """Initialise output biases to gene frequencies, or the first steps learn nothing else."""
    cells = torch.from_numpy(np.asarray(corpus.ranking.cells, dtype=np.float64)) + 0.5
    model.lm_head.bias.fill_(math.log(0.5 / float(cells.sum())))
    model.lm_head.bias[FIRST_GENE : FIRST_GENE + len(cells)] = torch.log(cells / cells.sum())


@torch.no_grad()
def _use_vectors(model: GeneMamba, vectors: np.ndarray) -> None:
    """Initialise the gene vectors, and layers so that they add nothing to them."""
    table, width = model.embeddings.weight, model.config.d_model
    table.zero_()  # hidden genes start at 0
    table[FIRST_GENE : FIRST_GENE + len(vectors)] = torch.from_numpy(vectors)
    if not model.config.tie_embeddings:
        model.lm_head.weight.copy_(table)
    model.norm_f.weight.fill_(1 / math.sqrt(width))  # initial logits have unit spread
    for name, weight in model.named_parameters():
        if name.endswith("out_proj.weight"):
            weight.zero_()


def _require_same_genes(model: GeneMamba, corpus: Corpus, folder: str) -> None:
    """Require the same genes; medians may differ, because they only rank."""
    assert model.vocab is not None
    theirs, ours = model.vocab, corpus.vocab
    if np.array_equal(theirs.ensembl_id, ours.ensembl_id) and theirs.extra == ours.extra:
        return
    shared = len(np.intersect1d(theirs.ensembl_id, ours.ensembl_id))
    raise InputError(
        f"{folder} has {theirs.n_genes:,} genes and {corpus.folder} {ours.n_genes:,}, of which "
        f"{shared:,} are shared: its tokens would mean other genes",
        "leave out [model] start, or give the corpus that the checkpoint was trained on",
    )
