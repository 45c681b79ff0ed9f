"""The shape of a model, in one frozen dataclass."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from genemamba._settings import integer, number, one_of, problem, switch
from genemamba.errors import CheckpointError, shown

Merge = Literal["gate", "mean", "sum", "concat"]
_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class GeneMambaConfig:
    """Sizes and switches of a GeneMamba model (letters as in the Mamba-2 paper).

    The defaults are the paper's 24-layer model, except for the vocabulary, which has none.

    Raises
    ------
    CheckpointError
        If a value is out of range or the sizes do not fit each other.
    """

    vocab_size: int = integer(low=1, high=_LARGEST)
    """V, genes and special tokens together."""
    d_model: int = integer(512, 1, _LARGEST)
    """D, width of the residual stream and of the embedding."""
    n_layers: int = integer(24, 1, _LARGEST)
    """Bi-Mamba layers."""
    d_state: int = integer(64, 1, _LARGEST)
    """N, state size of one head channel."""
    d_conv: int = integer(4, 1, _LARGEST)
    """W, width of the causal depthwise convolution."""
    expand: int = integer(2, 1, _LARGEST)
    """E / D, inner width over model width."""
    headdim: int = integer(64, 1, _LARGEST)
    """P, channels of one head."""
    chunk_size: int = integer(64, 1, 4096)
    """Q, tokens that plain code scans at once; changes speed, not results. Memory grows with Q²."""
    merge: Merge = one_of("gate", "mean", "sum", "concat")  # noqa: RUF009
    """How the two directions become one."""
    bidirectional: bool = switch(True)
    """Read in both directions; otherwise the forward pass serves as both (the paper's ablation)."""
    pre_norm: bool = switch(False)
    """RMSNorm before every layer (the paper has none)."""
    tie_embeddings: bool = switch(False)
    """Share the output projection with the gene embeddings."""
    norm_eps: float = number(1e-5, 1e-12, 1.0)
    """Epsilon of every RMSNorm."""

    def __post_init__(self) -> None:
        what, fix = problem(self)
        if what:
            raise CheckpointError(f"config: {what}", fix)
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
            raise CheckpointError("config: vocab_size is missing", "fetch the checkpoint again")
        return cls(**values)
