# For type checkers, to whom `compare` is hidden by its import on first use.
from genemamba.compare.compare import compare as compare
from genemamba.metrics._ari import ari as ari
from genemamba.metrics._asw_batch import asw_batch as asw_batch
from genemamba.metrics._asw_label import asw_label as asw_label
from genemamba.metrics._avg_batch import avg_batch as avg_batch
from genemamba.metrics._avg_bio import avg_bio as avg_bio
from genemamba.metrics._balanced_accuracy import balanced_accuracy as balanced_accuracy
from genemamba.metrics._bras import bras as bras
from genemamba.metrics._expected_calibration_error import (
    expected_calibration_error as expected_calibration_error,
)
from genemamba.metrics._graph_connectivity import graph_connectivity as graph_connectivity
from genemamba.metrics._ilisi import ilisi as ilisi
from genemamba.metrics._isolated_labels import isolated_labels as isolated_labels
from genemamba.metrics._leiden_agreement import leiden_agreement as leiden_agreement
from genemamba.metrics._macro_f1 import macro_f1 as macro_f1
from genemamba.metrics._nmi import nmi as nmi
