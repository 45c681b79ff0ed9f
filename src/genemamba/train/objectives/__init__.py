"""Training objectives, one per file.

An objective takes the model, a batch and its final states, and returns one loss. Those that predict
genes also return the loss of every position, which reveals leaks: the loss of a position must not
change when the gene to be predicted there is removed from the input.

Shapes: R rows, L tokens, D model width, S views, V vocabulary.
"""

from genemamba.train.objectives.base import Objective, PredictsGenes
from genemamba.train.objectives.choose import choose

__all__ = ["Objective", "PredictsGenes", "choose"]
