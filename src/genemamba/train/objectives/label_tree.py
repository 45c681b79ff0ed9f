"""The labels of a corpus in the Cell Ontology, as matrices for the objectives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from genemamba.ontology import Ontology


class LabelTree:
    """Which labels belong to which terms, and which may be the same cell type.

    Labels are Cell Ontology ids; the label of a view is an index into them.

    Attributes
    ----------
    member
        Terms × labels, bool: the label is the term or a descendant. Terms with the same labels
        count once; terms with all labels carry no information and are left out.
    related
        Labels × labels, bool: one is the other, or its ancestor.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        terms, below = Ontology.load().closure(list(labels))
        row = {term: i for i, term in enumerate(terms)}
        own = below[[row[label] for label in labels]]
        self.labels = tuple(labels)
        self.member = torch.from_numpy(np.unique(below[~below.all(axis=1)], axis=0))
        self.related = torch.from_numpy(own | own.T)
