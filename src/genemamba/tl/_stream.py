"""Embedding block by block: what a worker does with a block, and where the vectors go."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from anndata import AnnData

from genemamba import models
from genemamba.cells import cluster
from genemamba.cells.blocks import Array, Csr, fill, into_store, said_of, summed
from genemamba.cells.counts import Counts
from genemamba.cells.names import match_genes
from genemamba.cells.read import rank, read_counts
from genemamba.cells.record import entry_of, identity
from genemamba.errors import InputError
from genemamba.network.inference import check_pooling, embed_tokens, placed
from genemamba.network.runtime import Runtime, choose_runtime

if TYPE_CHECKING:
    from genemamba.network.genemamba import GeneMamba, Pooling
    from genemamba.network.runtime import Backend, Device, Precision
    from genemamba.tokens import GeneMatch


@dataclass(frozen=True, eq=False)
class EmbedBlock:
    """Counts of some cells to their vectors; it can be sent to another machine."""

    model: GeneMamba
    genes: GeneMatch
    max_tokens: int
    pooling: Pooling
    runtime: Runtime

    def __call__(self, block: Csr) -> tuple[np.ndarray, dict[str, Any]]:
        """Return ``n × d_model`` float32 vectors, and what the record sums up."""
        ranked = rank(block, self.genes, self.max_tokens)
        vectors = embed_tokens(
            self._placed, ranked, pooling=self.pooling, runtime=self.runtime, progress=False
        )
        return vectors, said_of(ranked)

    @cached_property
    def _placed(self) -> GeneMamba:
        return placed(self.model, self.runtime)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the copy that was placed on this machine's device."""
        return {k: v for k, v in self.__dict__.items() if k != "_placed"}


def runtime_for(
    counts: Counts,
    device: Device,
    precision: Precision,
    backend: Backend,
    batch_size: int | Literal["auto"],
) -> Runtime:
    """Choose where to run: here, or as the workers of a cluster would, if these agree.

    Raises
    ------
    InputError
        If a value is unknown or cannot be had, or workers would compute differently.
    """
    client = cluster.client_for(counts)
    if client is None:
        return choose_runtime(device, precision, backend, batch_size)
    choose = partial(choose_runtime, device, precision, backend, batch_size)
    found = cluster.everywhere(client, choose)
    if len(set(found)) != 1:
        said = sorted({f"{r.device} in {r.precision} by {r.code}" for r in found}) or ["none"]
        raise InputError(
            f"the workers of the cluster would compute differently: {', '.join(said)}",
            "give device, precision and backend, or use workers of one kind",
        )
    return found[0]


def embed_blocks(
    adata: AnnData,
    loaded: GeneMamba,
    name: str | None,
    *,
    out: str | PathLike[str] | None,
    key: str,
    layer: str | None,
    gene_ids: str | Sequence[str] | None,
    max_tokens: int,
    pooling: Pooling,
    batch_size: int | Literal["auto"],
    device: Device,
    precision: Precision,
    backend: Backend,
) -> tuple[np.ndarray | None, dict[str, Any]]:
    """Embed block by block, into the store `out`, or into an array; return it and the record."""
    vocab = models.vocabulary(loaded)
    check_pooling(loaded, pooling)
    counts = read_counts(adata, layer)
    genes = match_genes(counts.var, vocab, gene_ids=gene_ids, cells=adata.obs_names)
    runtime = runtime_for(counts, device, precision, backend, batch_size)
    step = EmbedBlock(loaded, genes, max_tokens, pooling, runtime)
    entry = entry_of(
        loaded, runtime, layer=layer, gene_ids=gene_ids, max_tokens=max_tokens,
        pooling=pooling, batch_size=batch_size,
    )  # fmt: skip
    entry |= identity(loaded, name)
    width = loaded.config.d_model
    if out is None:
        array = Array(counts.n_cells, width, np.float32)
        said = fill(counts, step, array, doing="embed")
        found = summed(adata, counts, genes, said)
        return array.rows, {**entry, **found}
    if entry["model_sha256"] == "unsaved":  # another call has to know it again
        entry["model_sha256"] = f"unsaved {weights_digest(loaded)[:16]}"
    return None, into_store(
        out, adata, counts, genes, step,
        key=key, width=width, dtype=np.float32, entry=entry, doing="embed",
    )  # fmt: skip


def weights_digest(model: GeneMamba) -> str:
    """Hash the weights of a model that no file holds."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().float().cpu().contiguous().numpy().data)
    return digest.hexdigest()
