"""Running out of memory, on any device."""

from __future__ import annotations

import torch

# What torch's allocators say; only CUDA's have an exception of their own.
_SIGNS = (
    "out of memory",  # CUDA, MPS, XPU
    "DefaultCPUAllocator",  # "can't allocate memory", on Windows "not enough memory"
    "ALLOC_FAILED",  # cuBLAS, cuDNN
)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of Python, numpy or torch means that memory ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def free_cached(kind: str) -> None:
    """Return the memory that torch caches to a kind of device."""
    if kind == "cuda":
        torch.cuda.empty_cache()
    elif kind == "mps":
        torch.mps.empty_cache()
