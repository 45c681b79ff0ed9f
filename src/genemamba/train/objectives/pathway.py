"""Bring genes of a pathway together: the paper's second objective."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genemamba.errors import InputError
from genemamba.genes.enrichment import read_gmt
from genemamba.network import GeneMamba
from genemamba.network.packed import wide
from genemamba.tokens import FIRST_GENE, Vocabulary
from genemamba.train.objectives.base import Objective
from genemamba.train.packing import Batch

GENES = 512  # of a batch take part, the most frequent ones: pairs grow with the square
_LARGEST = 500  # genes of a pathway; larger sets say little of any two


class Pathway(Objective):
    """InfoNCE over the genes of a batch: those that share a pathway attract.

    The paper leaves open what a gene's vector is and which pairs a step sees. Here it is the mean
    of the gene's final states over the batch, where it is not hidden, and the pairs are all ordered
    pairs of the most frequent 512 genes. The published formula sets a positive pair against all
    other pairs of its gene, other positive ones among them, so the loss would push genes of one
    pathway apart; here only genes that share no pathway are negatives:

    ``-log(exp(s_ij) / (exp(s_ij) + Σ_k exp(s_ik)))``, k sharing no pathway with i, s = cosine / τ.

    Parameters
    ----------
    member_VS
        Tokens × pathways, bool.
    temperature
        τ.
    """

    def __init__(self, member_VS: Tensor, *, temperature: float = 0.1) -> None:
        super().__init__()
        self.temperature = temperature
        self.register_buffer("member", member_VS, persistent=False)
        self.member: Tensor

    def forward(self, model: GeneMamba, batch: Batch, states_RLD: Tensor) -> Tensor:
        """Return the mean loss of all pairs that share a pathway; 0 if there is none."""
        with torch.autocast(states_RLD.device.type, enabled=False):
            gene, mean = self._vectors(batch, wide(states_RLD))
            mean = F.normalize(mean, dim=-1)
            member = self.member[gene].to(mean.dtype)
            shared = (member @ member.T) > 0
            similarity = mean @ mean.T / self.temperature
            itself = torch.eye(len(gene), dtype=torch.bool, device=gene.device)
            against = similarity.masked_fill(shared | itself, -torch.inf).logsumexp(1)
            pair = shared & ~itself & against.isfinite()[:, None]
            losses = F.softplus((against[:, None] - similarity)[pair])
        return losses.sum() / max(1, len(losses))

    def _vectors(self, batch: Batch, states_RLD: Tensor) -> tuple[Tensor, Tensor]:
        """Return the genes that take part, and the mean state of each."""
        shown = (batch.ids == batch.genes) & self.member.any(1)[batch.genes]
        gene, own, number = batch.genes[shown].unique(return_inverse=True, return_counts=True)
        total = states_RLD.new_zeros(len(gene), states_RLD.shape[-1])
        mean = total.index_add(0, own, states_RLD[shown]) / number[:, None]
        chosen = number.argsort(descending=True, stable=True)[:GENES]
        return gene[chosen], mean[chosen]


def read_pathways(path: str, vocab: Vocabulary) -> Tensor:
    """Read a GMT file; tokens × pathways, bool, with pathways of 2 to 500 known genes.

    Raises
    ------
    InputError
        If the file cannot be read, or no pathway has two genes of the vocabulary.
    """
    columns = []
    for names in read_gmt(path).values():
        known = {vocab.name_to_gene.get(name, -1) for name in names} - {-1}
        if 2 <= len(known) <= _LARGEST:
            columns.append(np.array(sorted(known)) + FIRST_GENE)
    if not columns:
        raise InputError(
            f"no pathway of {path} has 2 to {_LARGEST} genes of the corpus",
            "name genes by human symbols or Ensembl ids",
        )
    member = torch.zeros(len(vocab), len(columns), dtype=torch.bool)
    for column, tokens in enumerate(columns):
        member[tokens, column] = True
    return member
