"""Vectors of cells: the part of ``gm.tl.embed`` that other tools share."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from anndata import AnnData

from genemamba import models
from genemamba._keys import OBSM_EMBEDDING
from genemamba._progress import Progress
from genemamba.cells import cluster
from genemamba.cells.blocks import Array, Csr, fill, into_store, stats_of, summed
from genemamba.cells.counts import Counts
from genemamba.cells.names import genes_sha256
from genemamba.cells.read import (
    Reading,
    Tokens,
    genes_of,
    lazy,
    lost,
    no_genes,
    rank,
    read_counts,
    tokenise,
)
from genemamba.cells.record import entry_of, identity, record, recorded
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.network.inference import check_pooling, embed_tokens, placed
from genemamba.network.runtime import Runtime, choose_runtime
from genemamba.tokens import MUCH_LOST, measure

if TYPE_CHECKING:
    from genemamba.models._load import ModelLike
    from genemamba.network.genemamba import GeneMamba, Pooling
    from genemamba.network.runtime import Backend, BatchSize, Device, Precision
    from genemamba.tokens import GeneMatch, Measured


class Running(NamedTuple):
    """How a model is run: the keywords that all tools share."""

    device: Device = "auto"
    precision: Precision = "auto"
    backend: Backend = "auto"
    batch_size: BatchSize = "auto"

    def here(self) -> Runtime:
        """Choose for this machine."""
        return choose_runtime(*self)

    def for_counts(self, counts: Counts) -> Runtime:
        """Choose for this machine, or for the workers of a cluster that hold the counts.

        Raises
        ------
        InputError
            If a value is unknown or not available, or workers would compute differently.
        """
        client = cluster.client_for(counts)
        if client is None:
            return self.here()
        found = cluster.everywhere(client, partial(choose_runtime, *self))
        if len(set(found)) != 1:
            kinds = sorted({f"{r.device} in {r.precision} by {r.code}" for r in found}) or ["none"]
            raise InputError(
                f"the workers of the cluster would compute differently: {', '.join(kinds)}",
                "give device, precision and backend, or use workers of one kind",
            )
        return found[0]


class Embedding:
    """Vectors of the cells of one AnnData, computed when first used; nothing is written.

    Parameters
    ----------
    adata, loaded, reading, running, pooling
        The cells, the model, and how it reads them.
    reuse
        Use vectors that are already in `adata` if they were computed in the same way.
    of
        What messages call `adata`.
    """

    def __init__(
        self,
        adata: AnnData,
        loaded: GeneMamba,
        reading: Reading,
        running: Running,
        *,
        pooling: Pooling = "mean",
        reuse: bool = True,
        of: str = "adata",
    ) -> None:
        check_pooling(loaded, pooling)
        self.adata, self.loaded, self.reading, self.running = adata, loaded, reading, running
        self.pooling, self.reuse, self.of = pooling, reuse, of

    def on(self, tokens: np.ndarray) -> Embedding:
        """Return the same cells, read on these genes only."""
        return Embedding(
            self.adata, self.loaded, replace(self.reading, only=tokens), self.running,
            pooling=self.pooling, reuse=self.reuse, of=self.of,
        )  # fmt: skip

    def on_shared(self, tokens: np.ndarray) -> Embedding:
        """Return the same cells; read on these genes only, if many counts are on others.

        The embedding of a panel lies elsewhere than that of a whole transcriptome.
        """
        if np.isin(self.genes.tokens, tokens).all() or self.measured is None:
            return self
        return self.on(tokens) if self.measured.elsewhere(tokens) > MUCH_LOST else self

    @property
    def reused(self) -> bool:
        """Whether the vectors were already there."""
        return self._before is not None

    @cached_property
    def genes(self) -> GeneMatch:
        """The genes of the matrix to read."""
        return self._source[0]

    @cached_property
    def measured(self) -> Measured | None:
        """The genes and their shares of the counts; None if only the embedding was kept."""
        try:
            with named(self.of):
                counts = read_counts(self.adata, self.reading.layer)
        except InputError:
            return None
        return measure(counts.parts(), self.genes)

    @cached_property
    def vectors(self) -> np.ndarray:
        """``n_obs × d_model`` float32; NaN rows where no gene is known."""
        if self._before is not None:
            return self._before
        if lazy(self.adata, self.reading.layer):
            return self._streamed[0]
        ranked = self.tokens.ranked
        if not ranked.lengths.any():
            raise no_genes()
        return embed_tokens(self.loaded, ranked, pooling=self.pooling, runtime=self.runtime)

    @cached_property
    def tokens(self) -> Tokens:
        """The ranked genes of every cell."""
        with named(self.of):
            return tokenise(self.adata, models.vocabulary(self.loaded), self.reading)

    @cached_property
    def runtime(self) -> Runtime:
        """Where the model runs."""
        return self.running.here()

    @cached_property
    def entry(self) -> dict[str, Any]:
        """What ``uns`` keeps of the vectors."""
        if not self.reused and lazy(self.adata, self.reading.layer):
            return self._streamed[1]
        without = self.adata.obs_names[self.tokens.ranked.lengths == 0]
        return {
            **_entry(self, self.runtime),
            **self.tokens.report(),
            "cells_without_genes": np.array(without, dtype=str),
        }

    def write(self, adata: AnnData, key: str, given: ModelLike | None = None) -> None:
        """Write vectors and record, and warn of what the user has to know."""
        entry = self.entry | identity(self.loaded, given)
        write(adata, key, self.vectors, entry)
        warn(entry, key)

    @cached_property
    def _streamed(self) -> tuple[np.ndarray, dict[str, Any]]:
        """Vectors and record of cells that are not in memory."""
        with named(self.of):
            counts, genes, step, entry = _steps(self)
            array = Array(counts.n_cells, self.loaded.config.d_model, np.float32)
            found = summed(self.adata, counts, genes, fill(counts, step, array, doing="embed"))
        return array.rows, entry | found

    @cached_property
    def _source(self) -> tuple[GeneMatch, str]:
        """Genes and name of the matrix to read."""
        with named(self.of):
            return genes_of(self.adata, models.vocabulary(self.loaded), self.reading)

    @cached_property
    def _before(self) -> np.ndarray | None:
        """The vectors in `adata` if they were computed as they would be now.

        From the same matrix, genes and number of tokens, by the same model. The values themselves
        are not compared, and a model that was never saved has no hash to be known by.
        """
        before = recorded(self.adata, OBSM_EMBEDDING)
        if not self.reuse:
            return None
        if before.get("model_sha256") == "unsaved" or OBSM_EMBEDDING not in self.adata.obsm:
            return None
        genes, where = self._source
        now = {**identity(self.loaded), "input": where, "genes_sha256": genes_sha256(genes)}
        del now["model"]  # the same weights by another name
        params = before.get("params", {})
        read = (params.get("max_tokens"), params.get("pooling"))
        if any(before.get(name) != value for name, value in now.items()) or (
            read != (self.reading.max_tokens, self.pooling)
        ):
            return None
        vectors = np.asarray(self.adata.obsm[OBSM_EMBEDDING], dtype=np.float32)
        embedded = "batch_key" not in params and vectors.shape[1] == self.loaded.config.d_model
        return vectors if embedded else None


def embed_into(out: str | PathLike[str], cells: Embedding, key: str, given: ModelLike) -> None:
    """Embed block by block into a store, resuming it if it exists."""
    counts, genes, step, entry = _steps(cells)
    entry |= identity(cells.loaded, given)
    if entry["model_sha256"] == "unsaved":  # another call has to recognise it
        entry["model_sha256"] = known_by(cells.loaded)
    width = cells.loaded.config.d_model
    entry = into_store(
        out, cells.adata, counts, genes, step,
        key=key, width=width, dtype=np.float32, entry=entry, doing="embed",
    )  # fmt: skip
    warn(entry, key)


@dataclass(frozen=True, eq=False)
class EmbedBlock:
    """Counts of some cells to their vectors; it can be sent to another machine."""

    model: GeneMamba
    genes: GeneMatch
    max_tokens: int
    pooling: Pooling
    runtime: Runtime

    def __call__(
        self, block: Csr, progress: bool | Progress = False
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Return ``n × d_model`` float32 vectors, and what the record sums up."""
        ranked = rank(block, self.genes, self.max_tokens)
        how: Any = {"pooling": self.pooling, "runtime": self.runtime, "progress": progress}
        return embed_tokens(self._placed, ranked, **how), stats_of(ranked, block, self.genes)

    @cached_property
    def _placed(self) -> GeneMamba:
        return placed(self.model, self.runtime)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the copy that was placed on this machine's device."""
        return {k: v for k, v in self.__dict__.items() if k != "_placed"}


def _steps(cells: Embedding) -> tuple[Counts, GeneMatch, EmbedBlock, dict[str, Any]]:
    """Return the counts and their genes, what to do with a block, and the record so far."""
    reading = cells.reading
    counts = read_counts(cells.adata, reading.layer)
    genes = reading.matched(counts.var, models.vocabulary(cells.loaded), cells.adata.obs_names)
    runtime = cells.running.for_counts(counts)
    step = EmbedBlock(cells.loaded, genes, reading.max_tokens, cells.pooling, runtime)
    return counts, genes, step, _entry(cells, runtime)


def _entry(cells: Embedding, runtime: Runtime) -> dict[str, Any]:
    return entry_of(
        cells.loaded, cells.reading, runtime, pooling=cells.pooling, batch_size=runtime.batch_size
    )


def known_by(model: GeneMamba) -> str:
    """Return the hash of a checkpoint; of the weights, if the model was never saved."""
    saved = str(model.provenance.get("sha256", "unsaved"))
    if saved != "unsaved":
        return saved
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().float().cpu().contiguous().numpy().data)
    return f"unsaved {digest.hexdigest()[:16]}"


@contextmanager
def named(of: str) -> Iterator[None]:
    """Let errors speak of `of` and its own arguments instead of ``adata``."""
    try:
        yield
    except InputError as error:
        if of == "adata":
            raise
        raise InputError(_about(error.what, of), _about(error.fix, of)) from None


def _about(text: str, of: str) -> str:
    text = re.sub(r"leave out layer: adata has only X|\buse X$", "use layer='X'", text)
    text = re.sub(
        r"use gene_ids=('.*')", rf"name its genes by it: {of}.var_names = {of}.var[\1]", text
    )
    text = re.sub(
        r"use organism='mouse':.*", f"write {of}.var_names as the mouse's symbols: 'Cd3e'", text
    )
    return re.sub(r"\blayer=", f"{of}_layer=", re.sub(r"\badata\b", of, text))


def write(adata: AnnData, key: str, vectors: np.ndarray, entry: dict[str, Any]) -> None:
    """Write vectors and their record."""
    adata.obsm[key] = vectors
    record(adata, key, entry)


def warn(entry: Mapping[str, Any], key: str) -> None:
    """Warn of what affects the use of the vectors."""
    messages, without = [], list(entry.get("cells_without_genes", ()))
    if entry["values"] == "log1p":
        messages.append(
            f"{entry['input']} is logged ({entry['values_reason']}); "
            "the log was undone before ranking"
        )
    if entry.get("values_doubt"):
        messages.append(f"{entry['input']}: {entry['values_doubt']}")
    if without:
        shown = ", ".join(without[:5]) + (", …" if len(without) > 5 else "")
        messages.append(
            f"{len(without)} cells express no gene of the model and have NaN in obsm[{key!r}]: "
            f"{shown}; drop them before sc.pp.neighbors: "
            f"adata = adata[~np.isnan(adata.obsm[{key!r}]).any(axis=1)].copy()"
        )
    if text := lost(entry["counts_lost"]):
        messages.append(text)
    if entry["gene_status"]["duplicate"] > 0.01 * entry["genes_known"]:  # some are in most files
        messages.append(f"{entry['input']}: {entry['genes_added']}")
    for text in messages:
        warnings.warn(text, GeneMambaWarning, stacklevel=4)
