"""Baselines: plain representations of the same cells, without labels."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scanpy as sc
from numpy.typing import NDArray
from scipy import sparse

from genemamba import models
from genemamba._expression import log_normalised
from genemamba._keys import recorded
from genemamba._machine import same_threads
from genemamba._progress import tell
from genemamba.cells.expression import variable_genes
from genemamba.cells.names import genes_sha256
from genemamba.cells.read import Reading, read_counts, tokenise
from genemamba.compare.scoreboard import TITLES, Baseline, Space
from genemamba.compare.trained import scvi_epochs, train_scvi
from genemamba.errors import CheckpointError, InputError
from genemamba.models._load import ModelLike
from genemamba.network.inference import embed_tokens
from genemamba.network.runtime import choose_runtime

N_PCS = 50
_WITHOUT = 'leave out that row: baselines=["pca", "hvg", "expression"]'


@same_threads()
def make_baselines(
    adata: Any,
    names: Sequence[Baseline],
    *,
    batch: pd.Series | None,
    use_rep: Sequence[str],
    model: ModelLike | None,
    layer: str | None,
    seed: int,
    spare: bool,
) -> tuple[dict[str, Space], sparse.csr_matrix | None]:
    """Return the representations by title, and the log-normalised expression if any is of it.

    All are computed from the values that were embedded. `spare` leaves out scVI where these are
    not counts.
    """
    entries = [recorded(adata, key) for key in use_rep]
    entry = next((e for e in entries if "model" in e), {})
    found: dict[str, Space] = {}
    if "random" in names:
        network = _load(entry, model, use_rep)
        found["random"] = random_weights(adata, network, entry, layer=layer, seed=seed)
    logged = None
    if {"harmony", "pca", "scvi", "hvg", "expression"} & set(names):
        counts = read_counts(adata, layer or entry.get("params", {}).get("layer") or None)
        whole = sparse.csr_matrix(counts.whole())
        found["expression"] = logged = log_normalised(whole)
        genes = variable_genes(logged)
        variable = logged[:, genes]
        found["hvg"] = variable.toarray()
    if {"harmony", "pca"} & set(names):
        if variable.shape[1] < 2:
            raise InputError(
                "a PCA needs two genes or more, and adata has one",
                "leave out 'pca' and 'harmony' from baselines",
            )
        n_comps = min(N_PCS, *(n - 1 for n in variable.shape))
        pca = sc.pp.pca(variable, n_comps=n_comps, random_state=seed)
        found["pca"] = np.ascontiguousarray(pca)
    if "harmony" in names:
        assert batch is not None
        found["harmony"] = harmony(found["pca"], batch.to_numpy(), seed)
    if "scvi" in names and counts.values.kind != "counts" and spare:
        names = [name for name in names if name != "scvi"]
    if "scvi" in names:
        if counts.values.kind != "counts":
            raise InputError(
                f"scVI needs counts, and {counts.where} holds {counts.values.kind} values",
                "name the layer with counts, layer=…, or leave out 'scvi' from baselines",
            )
        tell(f"compare: scVI is trained on these cells, {scvi_epochs(adata.n_obs)} epochs")
        own = None if batch is None else batch.to_numpy()
        found["scvi"] = train_scvi(whole[:, genes], own, seed)
    return {TITLES[name]: found[name] for name in names}, logged


def harmony(pca: Space, batch: NDArray[Any], seed: int) -> NDArray[np.float32]:
    """Return principal components corrected for the batch by Harmony with its defaults."""
    from harmonypy import run_harmony

    done = run_harmony(pca, {"batch": batch}, "batch", verbose=False, random_state=seed)
    return np.asarray(done.Z_corr, dtype=np.float32)


def random_weights(
    adata: Any, model: Any, entry: Mapping[str, Any], *, layer: str | None, seed: int
) -> NDArray[np.float32]:
    """Embed as the model did, but with random weights; the model stays unchanged.

    `layer` is read if no record names one.
    """
    untrained = copy.deepcopy(model).reset_parameters(seed=seed)
    params = entry.get("params", {})
    gene_ids = params.get("gene_ids") or None
    most = int(params.get("max_tokens", 2048))
    organism = entry.get("organism", {}).get("name", "auto")
    reading = Reading(params.get("layer", layer) or None, gene_ids, organism, most)
    tokens = tokenise(adata, models.vocabulary(untrained), reading)
    if entry.get("genes_sha256", now := genes_sha256(tokens.genes)) != now:
        raise InputError(
            "the embedding was computed from other genes than adata.var_names"
            + (f" or {gene_ids=}" if gene_ids else "")
            + " now name, so random weights cannot read the same",
            "embed these genes: gm.tl.embed(adata), with names in a column as gene_ids; or "
            + _WITHOUT,
        )
    return embed_tokens(
        untrained, tokens.ranked, pooling=params.get("pooling", "mean"), runtime=choose_runtime()
    )


def _load(entry: Mapping[str, Any], model: ModelLike | None, use_rep: Sequence[str]) -> Any:
    if model is not None:
        return models.load(model)
    if "model" not in entry:
        raise InputError(
            f"adata.uns does not say which model computed {', '.join(map(repr, use_rep))}, "
            "so its architecture cannot be given random weights",
            f"pass model=..., or {_WITHOUT}",
        )
    try:
        return models.load(entry["model"])
    except CheckpointError as error:
        raise InputError(error.what, f"pass model=..., or {_WITHOUT}") from None
