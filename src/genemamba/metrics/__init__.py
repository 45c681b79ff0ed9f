"""Scores of an embedding: what it keeps of the biology, what it removes of the batches.

Every function takes plain arrays and returns numbers.
"""

from genemamba.metrics._asw_batch import asw_batch
from genemamba.metrics._asw_label import asw_label
from genemamba.metrics._avg_batch import avg_batch
from genemamba.metrics._avg_bio import avg_bio
from genemamba.metrics._bras import bras
from genemamba.metrics._graph_connectivity import graph_connectivity
from genemamba.metrics._ilisi import ilisi
from genemamba.metrics._leiden_agreement import leiden_agreement

__all__ = [
    "asw_batch",
    "asw_label",
    "avg_batch",
    "avg_bio",
    "bras",
    "graph_connectivity",
    "ilisi",
    "leiden_agreement",
]
