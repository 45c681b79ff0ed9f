"""The shape of a model, in one frozen dataclass."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from genemamba.errors import CheckpointError, shown

Merge = Literal["gate", "mean", "sum", "concat"]
_LONGEST_CHUNK = 4096
_FIX = "correct it in config.json, or fetch the checkpoint again"


@dataclass(frozen=True)
class GeneMambaConfig:
    """Sizes and switches of a GeneMamba model (letters as in the Mamba-2 paper).

    The defaults are the paper's 24-layer model, except for the vocabulary, which has none.

    Raises
    ------
    CheckpointError
        If a value is out of range or the sizes do not fit each other.
    """

    vocab_size: int
    """V, genes and special tokens."""
    d_model: int = 512
    """D, width of the residual stream and of the embedding."""
    n_layers: int = 24
    """Bi-Mamba layers."""
    d_state: int = 64
    """N, state size of one head channel."""
    d_conv: int = 4
    """W, width of the causal depthwise convolution."""
    expand: int = 2
    """E / D, inner width over model width."""
    headdim: int = 64
    """P, channels of one head."""
    chunk_size: int = 64
    """Q, tokens scanned at once on the CPU; changes speed, not results."""
    merge: Merge = "gate"
    """How the two directions are merged."""
    bidirectional: bool = True
    """Read backwards as well; else the forward reading counts twice (the paper's ablation)."""
    pre_norm: bool = False
    """RMSNorm before every layer (the paper has none)."""
    tie_embeddings: bool = False
    """Share the output projection with the gene embeddings."""
    norm_eps: float = 1e-5
    """Epsilon of every RMSNorm."""

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.type == "int" and not (type(value) is int and 0 < value < 2**31):
                raise CheckpointError(
                    f"config: {f.name}={shown(value)} is not a positive integer below 2**31", _FIX
                )
            if f.type == "bool" and type(value) is not bool:
                raise CheckpointError(
                    f"config: {f.name}={shown(value)} is neither true nor false", _FIX
                )
        if not (type(self.norm_eps) in (int, float) and 0 < self.norm_eps < 1):
            raise CheckpointError(
                f"config: norm_eps={shown(self.norm_eps)} is not a number between 0 and 1", _FIX
            )
        if self.chunk_size > _LONGEST_CHUNK:
            raise CheckpointError(
                f"config: chunk_size={self.chunk_size} is larger than {_LONGEST_CHUNK}, and memory "
                "grows with its square",
                "use 64",
            )
        if self.merge not in get_args(Merge):
            raise CheckpointError(
                f"config: merge={shown(self.merge)} is unknown", f"use {', '.join(get_args(Merge))}"
            )
        if self.d_inner % self.headdim:
            raise CheckpointError(
                f"config: the inner width {self.d_inner} (expand × d_model) is not a multiple of "
                f"headdim={self.headdim}",
                "choose a headdim that divides it",
            )

    @property
    def d_inner(self) -> int:
        """E, inner width."""
        return self.expand * self.d_model

    @property
    def n_heads(self) -> int:
        """H, number of heads."""
        return self.d_inner // self.headdim

    @property
    def d_xbc(self) -> int:
        """K, channels that pass the convolution: x, B and C."""
        return self.d_inner + 2 * self.d_state

    def to_dict(self) -> dict[str, Any]:
        """Return plain types, as written to config.json."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> GeneMambaConfig:
        """Build from config.json's mapping; unknown and missing names are errors."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise CheckpointError(
                f"config: unknown setting {shown(unknown[0])}", f"use {', '.join(sorted(known))}"
            )
        if "vocab_size" not in values:
            raise CheckpointError("config: vocab_size is missing", _FIX)
        return cls(**values)
