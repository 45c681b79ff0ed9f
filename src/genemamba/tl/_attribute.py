"""Which genes made a cell what it is to the model."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from anndata import AnnData
from scipy import sparse

from genemamba import models
from genemamba._docs import documented
from genemamba._keys import ATTRIBUTION
from genemamba._rng import Rng, recorded_seed
from genemamba.cells.labels import column, read_labelled
from genemamba.cells.names import own_tokens
from genemamba.cells.open import cells_of
from genemamba.cells.read import Reading, Tokens
from genemamba.cells.record import check_slots, entry_of, record
from genemamba.errors import InputError
from genemamba.network.attribution import Attributed, Method, attribute_tokens
from genemamba.ontology import Ontology
from genemamba.tl._classifier import fit_classifier, terms_with
from genemamba.tl._embedding import Embedding, Running

if TYPE_CHECKING:
    from mudata import MuData

    from genemamba.heads import Probe
    from genemamba.models._load import ModelLike
    from genemamba.network.runtime import Backend, BatchSize, Device, Precision
    from genemamba.tokens.organisms import Organism

_MOST_NAMED = 30  # labels that a message lists


@documented
def attribute(
    adata: AnnData | MuData,
    *,
    target: str = "embedding",
    method: Method = "integrated_gradients",
    groupby: str | None = None,
    label_key: str | None = None,
    steps: int = 16,
    model: ModelLike = "genemamba-mini",
    mod: str | None = None,
    layer: str | None = None,
    gene_ids: str | Sequence[str] | None = None,
    organism: Organism = "auto",
    max_tokens: int = 2048,
    batch_size: BatchSize = "auto",
    device: Device = "auto",
    precision: Precision = "float32",
    backend: Backend = "auto",
    key_added: str = ATTRIBUTION,
    rng: Rng = 0,
    copy: bool = False,
) -> AnnData | MuData | None:
    """Find the genes that determine a cell's embedding, or its label.

    A number computed by the model is divided among the genes of the cell by its gradient with
    respect to their input vectors. The number is

    - for the embedding, how far the cell lies from the mean of all cells, along the unit vector
      towards the mean of its group (`groupby`), or towards itself without groups. Positive genes
      set the group apart from the other cells of `adata`;
    - for a label, its logit in a linear classifier of the embedding.

    Both are compared with a baseline: a cell of as many genes, each of which is the mean of all
    genes. A gene gets the difference between its vector and that mean, times the gradient averaged
    over the straight path from baseline to cell (``"integrated_gradients"`` [1]_); the genes of a
    cell then sum to the difference between cell and baseline. The gradient of the cell alone
    (``"gradient_x_input"``) is faster, but no substitute: with ``genemamba-mini`` most known
    markers come out below zero (``benchmarks/perturb.py``). The baseline is not a neutral cell, and
    the attributions of a label explain the difference from it.

    Attribution shows what the model used, which need not be the biology of the cell. Padding and
    other cells of the same batch have no influence.

    Parameters
    ----------
    adata
        Cells × genes, as for :func:`genemamba.tl.embed`.
    target
        ``"embedding"``; ``"label"``, each cell's own most probable label; or one of the labels,
        for every cell.
    method
        ``"integrated_gradients"`` takes as long as three embeddings a step,
        ``"gradient_x_input"`` as one step.
    groupby
        Column of ``obs`` with groups of cells (cell types), for directions and means. Cells
        without one (NaN) get their own direction. Without it, all cells are one group for means.
    label_key
        Column of ``obs`` with labels to fit a linear classifier to. Without it, labels are the cell
        types that the classifier of the checkpoint was trained on: names of the Cell Ontology, 203
        for ``genemamba-mini``.
    steps
        Points on the path of integrated gradients.
    {model}
    {reading}
    {running}
    key_added
        Slots to write to.
    rng
        Seed, or generator, of the folds in fitting to `label_key`.
    {copy}

    Returns
    -------
    ``None``, or the modified copy. Writes

    ``adata.layers["genemamba_attribution"]`` (or `key_added`)
        CSR matrix of float32, ``n_obs × n_vars``: what each expressed gene added, in units of the
        embedding or of the logit; 0 for genes that the cell does not express or the model does not
        know. Cells without known genes have none.
    ``adata.varm["genemamba_attribution"]`` (or `key_added`)
        float32, ``n_vars × groups``: the mean over the cells of each group, with 0 where a cell
        does not express the gene.
    ``adata.uns["genemamba"]["genemamba_attribution"]`` (or `key_added`)
        Model, parameters, labels, ``groups``; for integrated gradients ``completeness_error``, the
        median over cells of the part of the difference between cell and baseline that the sum
        misses (more `steps` make it smaller).

    Raises
    ------
    InputError
        If target, method or a column is unknown, the values cannot be ranked, or a slot is taken;
        nothing has been written then.
    CheckpointError
        If the model is unknown or damaged.

    References
    ----------
    .. [1] Sundararajan, Taly and Yan, *Axiomatic Attribution for Deep Networks*, ICML 2017.

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()[:20].copy()
    >>> gm.tl.attribute(adata, target="label", groupby="bulk_labels", layer="raw")
    >>> adata.layers["genemamba_attribution"].shape
    (20, 765)
    >>> groups = adata.uns["genemamba"]["genemamba_attribution"]["groups"].tolist()
    >>> b_cells = adata.varm["genemamba_attribution"][:, groups.index("CD19+ B")]
    >>> top = adata.var_names[b_cells.argsort()[::-1][:5]]
    """
    seed = recorded_seed(rng)
    reading = Reading(layer, gene_ids, organism, max_tokens)
    running = Running(device, precision, backend, batch_size)
    to = f"layers[{key_added!r}]"
    with cells_of(adata, mod, copy, doing="attribute", to=to) as (own, result):
        check_slots(own, key_added, ATTRIBUTION, layers=(key_added,), varm=(key_added,))
        loaded = models.load(model)
        groups = _read_groups(own, groupby)
        cells = Embedding(own, loaded, reading, running)
        aim = _aim(cells, target, label_key, groups, rng)
        tokens = cells.tokens
        found = attribute_tokens(
            loaded, tokens.ranked, aim.weights, method=method, steps=steps, runtime=cells.runtime
        )
        token = own_tokens(own, tokens.genes, tokens.where, models.vocabulary(loaded))
        matrix = _by_gene(own.shape, token, tokens, found.values)
        names = np.unique(groups[groups != ""])
        means = [matrix[np.flatnonzero(groups == name)].mean(axis=0) for name in names]
        own.layers[key_added] = matrix
        own.varm[key_added] = np.asarray(np.vstack(means), dtype=np.float32).T
        params = {
            "target": target,
            "method": method,
            "groupby": groupby or "",
            "label_key": label_key or "",
            "steps": steps,
            "rng": seed,
        }
        about = {
            **entry_of(loaded, reading, cells.runtime, given=model, **params),
            "labels": np.array(aim.labels, dtype=str),
            "groups": names,
            **_completeness(tokens, found, method),
            **tokens.report(),
        }
        record(own, key_added, about)
    return result


class _Aim(NamedTuple):
    """The linear function of each cell's embedding, and the labels to choose from."""

    weights: np.ndarray
    labels: tuple[str, ...] = ()


def _read_groups(adata: AnnData, groupby: str | None) -> np.ndarray:
    """Return the group of every cell as str, "" where it has none."""
    if groupby is None:
        return np.full(adata.n_obs, "all")
    values = column(adata, groupby, "groupby")
    if values.isna().all():
        raise InputError(
            f"adata.obs[{groupby!r}] names no group: it is missing (NaN) for every cell",
            "give another column as groupby, or leave it out",
        )
    return np.where(values.notna(), values.astype(str), "").astype(str)


def _aim(
    cells: Embedding, target: str, label_key: str | None, groups: np.ndarray, rng: Rng
) -> _Aim:
    if target == "embedding":
        if label_key is not None:
            raise InputError(
                f"label_key={label_key!r} has no effect with target='embedding'",
                "set target='label', or groupby to attribute the embedding group by group",
            )
        return _Aim(_directions(cells.vectors, groups))
    classes, probe = _probe(cells, label_key, rng)
    if target != "label" and target not in classes:
        near = difflib.get_close_matches(target, classes, n=3, cutoff=0.3) or classes[:3]
        few = len(classes) <= _MOST_NAMED
        raise InputError(
            f"target={target!r} is neither 'embedding' nor 'label' nor one of the labels",
            f"the labels are {', '.join(map(repr, classes))}"
            if few
            else f"use one of {len(classes)} cell types, such as {', '.join(map(repr, near))}",
        )
    logits = np.nan_to_num(probe.logits(cells.vectors))
    chosen = logits.argmax(axis=1) if target == "label" else classes.index(target)
    weights = probe.weight / probe.scale
    return _Aim(weights[np.broadcast_to(chosen, len(logits))], classes)


def _directions(X: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return unit vectors from the mean of all cells to that of each cell's group, or to itself."""
    X = X.astype(np.float64)
    there = np.isfinite(X).all(axis=1)
    away = X - X[there].mean(axis=0)
    for name in np.unique(groups[groups != ""]):
        own = groups == name
        if not own.all() and (own & there).any():
            away[own] = away[own & there].mean(axis=0)
    lengths = np.linalg.norm(away, axis=1, keepdims=True)
    return np.nan_to_num(away / np.where(lengths > 0, lengths, 1))


def _probe(cells: Embedding, label_key: str | None, rng: Rng) -> tuple[tuple[str, ...], Probe]:
    """Return labels and the linear classifier of them."""
    if label_key is not None:
        labelled = read_labelled(cells.adata, label_key, None, unknown=False)
        labelled = labelled.embedded(cells.vectors)
        head = fit_classifier(cells, labelled, "probe", None, None, rng).head
        assert head.probe is not None
        return head.classes, head.probe
    terms = terms_with(cells.loaded)
    if terms is None:
        raise InputError(
            "this checkpoint comes without a classifier",
            "say which labels to fit a classifier to: label_key=…",
        )
    ontology = Ontology.load()
    return tuple(ontology.name(label) for label in terms.labels), terms.probe


def _by_gene(
    shape: tuple[int, int], token: np.ndarray, tokens: Tokens, values: np.ndarray
) -> sparse.csr_matrix:
    """Lay out the values of tokens as cells × genes, whose `token` each is."""
    known = np.flatnonzero(token >= 0)
    if token is tokens.genes.token:
        # of several columns of a gene the one that names it best comes last, and stays
        known = known[np.argsort(tokens.genes.status[known] != "duplicate", kind="stable")]
    place = np.full(tokens.genes.token.max() + 1, -1)
    place[token[known]] = known
    column_of = place[tokens.ranked.tokens]
    cell = np.repeat(np.arange(shape[0]), tokens.ranked.lengths)
    there = column_of >= 0
    matrix = sparse.csr_matrix(
        (values[there], (cell[there], column_of[there])), shape=shape, dtype=np.float32
    )
    matrix.sort_indices()
    return matrix


def _completeness(tokens: Tokens, found: Attributed, method: Method) -> dict[str, float]:
    if method != "integrated_gradients":
        return {}
    of = np.repeat(np.arange(tokens.ranked.n_cells), tokens.ranked.lengths)
    sums = np.bincount(of, found.values, minlength=tokens.ranked.n_cells)
    difference = found.at_cell - found.at_baseline
    there = np.isfinite(difference) & (difference != 0)
    missed = np.abs(sums - difference)[there] / np.abs(difference[there])
    return {"completeness_error": float(np.median(missed))}
