"""Make the objectives of a recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from genemamba.network import GeneMamba
from genemamba.train.objectives.base import Objective
from genemamba.train.objectives.contrast import Contrast
from genemamba.train.objectives.label_tree import LabelTree
from genemamba.train.objectives.labels import Labels
from genemamba.train.objectives.masked import Masked
from genemamba.train.objectives.next_gene import NextGene
from genemamba.train.objectives.pathway import Pathway, read_pathways
from genemamba.train.objectives.profile import Profile
from genemamba.train.recipe import Objectives


def choose(settings: Objectives, model: GeneMamba, labels: Sequence[str] = ()) -> nn.ModuleDict:
    """Return the objectives with a weight, by name; `labels` are those of the corpus."""
    assert model.vocab is not None
    vocab, width = model.vocab, model.config.d_model
    tree = LabelTree(labels)
    make: dict[str, Callable[[], Objective]] = {
        "masked": Masked,
        "contrast": lambda: Contrast(tree, temperature=settings.temperature),
        "labels": lambda: Labels(tree, width),
        "next": NextGene,
        "pathway": lambda: Pathway(
            read_pathways(settings.gene_sets, vocab), temperature=settings.pathway_temperature
        ),
        "profile": lambda: Profile(model, vocab.n_genes),
    }
    return nn.ModuleDict({name: make[name]() for name in settings.weights()})
