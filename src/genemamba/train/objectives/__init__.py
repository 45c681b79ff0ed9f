"""What a model can be trained to do, one objective a file.

An objective takes the model, a batch and the final states of the batch, and gives one loss. Those
that name genes also give the loss of every place, which shows whether they leak: the loss of a
place must not change when the gene to be named there is taken out of the input.

Shapes: R rows, L tokens, D model width, S views, V vocabulary.
"""

from genemamba.train.objectives.base import NamesGenes, Objective
from genemamba.train.objectives.choose import choose

__all__ = ["NamesGenes", "Objective", "choose"]
