"""What a model has to stand beside: plain representations of the same cells, without labels."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData

from genemamba import models
from genemamba._machine import same_threads
from genemamba.cells.names import genes_sha256
from genemamba.cells.read import Reading, read_counts, tokenise
from genemamba.errors import CheckpointError, InputError
from genemamba.metrics._from_anndata import provenance
from genemamba.metrics._scoreboard import TITLES
from genemamba.network.inference import embed_tokens
from genemamba.network.runtime import choose_runtime

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genemamba.metrics._scoreboard import Baseline, Space
    from genemamba.models._load import ModelLike as ModelLike

N_HVG, N_PCS = 2000, 50


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
) -> dict[str, Space]:
    """Return the representations by title. The values are those the embedding was made of."""
    made = _record_of_model(adata, use_rep)
    params = made.get("params", {})
    found: dict[str, Space] = {}
    if "random" in names:
        network = _load(made, model, use_rep)
        found["random"] = random_weights(adata, network, made, layer=layer, seed=seed)
    layer = layer or params.get("layer") or None
    if {"harmony", "pca", "hvg", "expression"} & set(names):
        work = log_normalised(adata, layer)
        found["expression"] = work.X
        if work.n_vars > N_HVG:
            sc.pp.highly_variable_genes(work, flavor="seurat", n_top_genes=N_HVG)
            work = work[:, work.var["highly_variable"]].copy()
        found["hvg"] = work.X.toarray()
    if {"harmony", "pca"} & set(names):
        n_comps = min(N_PCS, *(n - 1 for n in work.shape))
        sc.pp.pca(work, n_comps=n_comps, mask_var=None, random_state=seed)
        found["pca"] = np.ascontiguousarray(work.obsm["X_pca"])
    if "harmony" in names:
        assert batch is not None
        found["harmony"] = harmony(found["pca"], batch.to_numpy(), seed)
    return {TITLES[name]: found[name] for name in names}


def log_normalised(adata: AnnData, layer: str | None) -> AnnData:
    """Return log1p of counts per 10,000, all genes, sparse."""
    work = AnnData(read_counts(adata, layer).whole().astype(np.float32))
    sc.pp.normalize_total(work, target_sum=1e4)
    sc.pp.log1p(work)
    return work


def harmony(pca: Space, batch: NDArray[Any], seed: int) -> NDArray[np.float32]:
    """Return principal components corrected for the batch by Harmony, its defaults."""
    from harmonypy import run_harmony

    done = run_harmony(pca, {"batch": batch}, "batch", verbose=False, random_state=seed)
    return np.asarray(done.Z_corr, dtype=np.float32)


def random_weights(
    adata: AnnData, model: Any, made: dict[str, Any], *, layer: str | None, seed: int
) -> NDArray[np.float32]:
    """Embed as the model was asked to, but with weights drawn anew; the model stays as it is.

    `layer` is read where no record says which one it was.
    """
    untrained = copy.deepcopy(model).reset_parameters(seed=seed)
    params = made.get("params", {})
    reading = Reading(
        params.get("layer", layer) or None,
        params.get("gene_ids") or None,
        int(params.get("max_tokens", 2048)),
    )
    tokens = tokenise(adata, models.vocabulary(untrained), reading)
    if made.get("genes_sha256", now := genes_sha256(tokens.genes)) != now:
        raise InputError(
            "the embedding was computed from other genes than adata.var_names"
            + (f" or gene_ids={params['gene_ids']!r}" if params.get("gene_ids") else "")
            + " now name, so random weights cannot read the same",
            "embed these genes: gm.tl.embed(adata), with names in a column as gene_ids; or leave "
            'out that row: baselines=["pca", "hvg", "expression"]',
        )
    return embed_tokens(
        untrained, tokens.ranked, pooling=params.get("pooling", "mean"), runtime=choose_runtime()
    )


def _record_of_model(adata: AnnData, use_rep: Sequence[str]) -> dict[str, Any]:
    """Return the first record among these embeddings that names a model."""
    entries = [provenance(adata, key) for key in use_rep]
    return next((entry for entry in entries if "model" in entry), {})


def _load(made: dict[str, Any], model: ModelLike | None, use_rep: Sequence[str]) -> Any:
    fix = 'pass model=..., or leave out that row: baselines=["pca", "hvg", "expression"]'
    if model is None and "model" not in made:
        raise InputError(
            f"adata.uns does not say which model made {', '.join(map(repr, use_rep))}, "
            "so its architecture cannot be given random weights",
            fix,
        )
    try:
        return models.load(made["model"] if model is None else model)
    except CheckpointError as error:
        if model is not None:
            raise
        raise InputError(error.what, fix) from None
