"""Parameter descriptions that several public functions share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

SHARED = {
    "copy": """
copy
    Return a modified copy and leave `adata` unchanged.
""",
    "model": """
model
    Name of a checkpoint, a checkpoint folder, or a loaded model.
""",
    "reading": """
mod
    Modality of a MuData to use; by default "rna", or the only one.
layer
    Layer to read instead of ``X``; ``"raw"`` reads ``adata.raw``.
gene_ids
    Column of ``adata.var``, or one name per gene, to use instead of ``adata.var_names``: gene
    symbols or Ensembl ids, with or without version. Columns that name the same gene are added.
max_tokens
    Number of genes to read per cell, highest rank first.
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
    kernels of mamba-ssm and causal-conv1d (``genemamba[cuda]``), ``"triton"`` the package's own
    kernel. ``"auto"`` uses the fastest that is installed and agrees with ``"torch"``;
    :func:`genemamba.doctor` reports which one and why.
""",
}


def documented(f: F) -> F:
    """Fill the {placeholders} in a docstring: each is a line of its own."""

    def fill(match: re.Match[str]) -> str:
        indent, text = match[1], SHARED[match[2]].strip()
        return "\n".join(indent + line if line else "" for line in text.split("\n"))

    f.__doc__ = re.sub(r"(?m)^( *)\{(\w+)\}$", fill, f.__doc__ or "")
    return f
