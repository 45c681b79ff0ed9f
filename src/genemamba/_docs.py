"""Parameter descriptions that several public functions share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_X = """
X
    Embedding (n_cells, n_features), finite; or an AnnData, then the others are columns of ``obs``.
"""
_BATCH = """batch
    Batch or donor of every cell.
"""
_LABELS = """labels
    Cell type of every cell.
"""
_CLUSTERS = """clusters
    Cluster of every cell.
"""
_USE_REP = """use_rep
    Slot of ``obsm`` to read from an AnnData.
"""
_AX = """
ax
    Axes to draw on, otherwise those of a new figure.
"""
_NO_RESULT = """
Raises
------
InputError
    If a slot, column or group does not exist, a column has NaN or holds measurements in place of
    names, or an option is unknown.
"""

SHARED = {
    "ax": _AX,
    "bad_groups": """
Raises
------
InputError
    NaN in an argument, arrays of different lengths, fewer than two cell types or batches, a batch
    of one cell, measurements in place of names, a slot or column that does not exist.
""",
    "bad_predictions": """
Raises
------
InputError
    NaN or fractions in an argument, arrays of different lengths, names in one and numbers in the
    other.
""",
    "copy": """
copy
    Return a modified copy and leave `adata` unchanged.
""",
    "geneformer": """
.. [1] Theodoris et al., *Transfer learning enables predictions in network biology*,
   Nature 2023.
""",
    "label_key": """
label_key
    Column of ``obs`` with the true cell type.
""",
    "labels_clusters": _LABELS + _CLUSTERS,
    "mapping": """
mapping
    Names to compare with the predictions in place of true labels, ``{"CD4 T": "T cell"}``. Several
    labels can get one name; the others stay unchanged.
""",
    "model": """
model
    Name of a checkpoint, a checkpoint folder, or a loaded model.
""",
    "no_result": _NO_RESULT,
    "plotted": _AX
    + """
Returns
-------
The axes. Nothing is written.
"""
    + _NO_RESULT,
    "pred_key": """
pred_key
    Column of ``obs`` with the predicted cell type.
""",
    "predictions": """
labels
    True cell type of every cell.
predicted
    Predicted cell type of every cell.
""",
    "reading": """
mod
    Modality of a MuData to use; by default "rna", or the only one.
layer
    Layer to read instead of ``X``; ``"raw"`` reads ``adata.raw``.
gene_ids
    Column of ``adata.var``, or one name per gene, to use instead of ``adata.var_names``: gene
    symbols or Ensembl ids, with or without version. Columns that name the same gene are added.
organism
    Organism of the genes: ``"human"``, ``"mouse"``, ``"macaque"`` or ``"pig"``. The model has human
    genes, so others are read as their one-to-one human orthologues; genes without one are left out.
    ``"auto"`` recognises mouse genes by their names and takes all others for human. Symbols of
    mouse genes in upper case need ``"mouse"``, symbols of macaque and pig their organism.
max_tokens
    Number of genes to read per cell, highest rank first.
""",
    "rng": """
rng
    Seed, or generator, of the random numbers.
""",
    "running": """
batch_size
    Cells per batch; ``"auto"`` keeps the number of tokens per batch constant. Affects speed and
    memory only.
device
    ``"auto"`` uses a CUDA GPU if torch finds one, otherwise the CPU. Or ``"cpu"``, ``"mps"``,
    ``"cuda"``, ``"cuda:1"``.
precision
    ``"auto"`` uses bfloat16 on GPUs and CPUs that compute in it natively, otherwise float32.
    bfloat16 vectors are within 2 % of float32 ones (relative Euclidean distance).
backend
    ``"torch"`` runs plain PyTorch code, ``"numba"`` code compiled for the CPU, ``"cuda"`` the
    kernels of mamba-ssm and causal-conv1d (``genemamba[cuda]``). ``"auto"`` uses the fastest that
    is installed and agrees with ``"torch"``; :func:`genemamba.doctor` reports which one and why.
""",
    "X_batch": _X + _BATCH + _USE_REP,
    "X_batch_labels": _X + _BATCH + _LABELS + _USE_REP,
    "X_labels": _X + _LABELS + _USE_REP,
}


def documented(f: F) -> F:
    """Fill the {placeholders} in a docstring: each is a line of its own."""

    def fill(match: re.Match[str]) -> str:
        indent, text = match[1], SHARED[match[2]].strip()
        return "\n".join(indent + line if line else "" for line in text.split("\n"))

    f.__doc__ = re.sub(r"(?m)^( *)\{(\w+)\}$", fill, f.__doc__ or "")
    return f
