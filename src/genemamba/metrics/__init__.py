"""Scores of an embedding (biology kept, batches mixed), of clusters and of predicted labels.

Every function takes plain arrays and returns numbers; those of an embedding also take an AnnData
and the names of its columns. :func:`compare` compares an embedding with baselines.
"""

from genemamba._lazy import on_first_use
from genemamba.metrics._ari import ari
from genemamba.metrics._asw_batch import asw_batch
from genemamba.metrics._asw_label import asw_label
from genemamba.metrics._avg_batch import avg_batch
from genemamba.metrics._avg_bio import avg_bio
from genemamba.metrics._balanced_accuracy import balanced_accuracy
from genemamba.metrics._bras import bras
from genemamba.metrics._expected_calibration_error import expected_calibration_error
from genemamba.metrics._graph_connectivity import graph_connectivity
from genemamba.metrics._ilisi import ilisi
from genemamba.metrics._isolated_labels import isolated_labels
from genemamba.metrics._leiden_agreement import leiden_agreement
from genemamba.metrics._macro_f1 import macro_f1
from genemamba.metrics._nmi import nmi

__all__ = [
    "ari", "asw_batch", "asw_label", "avg_batch", "avg_bio", "balanced_accuracy", "bras", "compare",
    "expected_calibration_error", "graph_connectivity", "ilisi", "isolated_labels",
    "leiden_agreement", "macro_f1", "nmi",
]  # fmt: skip

# `compare` needs models and scanpy, and itself uses the metrics.
__getattr__, __dir__ = on_first_use(__name__, compare="genemamba.compare.compare")
