"""Genes deleted or overexpressed in silico."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from anndata import AnnData

from genemamba import models
from genemamba._docs import documented
from genemamba._keys import OBSM_PERTURB, PERTURB, UNS
from genemamba._progress import Progress, tell
from genemamba._rng import Rng, recorded_seed, seed_of
from genemamba._settings import check_whole
from genemamba.cells.labels import column
from genemamba.cells.open import cells_of
from genemamba.cells.read import Reading, genes_of, tokenise
from genemamba.cells.record import check_key, check_slots, entry_of, record
from genemamba.errors import GeneMambaWarning, InputError, shown
from genemamba.network.inference import check_pooling
from genemamba.network.runtime import choose_runtime
from genemamba.tl._edited import Editor, How
from genemamba.tl._perturbation import Perturbation, Run, State
from genemamba.tokens.lookup import find_genes, gene_names

if TYPE_CHECKING:
    from mudata import MuData

    from genemamba.models._load import ModelLike
    from genemamba.network.genemamba import Pooling
    from genemamba.network.runtime import Backend, BatchSize, Device, Precision
    from genemamba.tokens import Vocabulary
    from genemamba.tokens.organisms import Organism


@documented
def perturb(
    adata: AnnData | MuData,
    genes: str | Sequence[str | Sequence[str]],
    *,
    how: How = "delete",
    groupby: str | None = None,
    target: str | None = None,
    groups: Sequence[str] | None = None,
    n_controls: int = 100,
    control_cells: int = 25,
    model: ModelLike = "genemamba-mini",
    mod: str | None = None,
    layer: str | None = None,
    gene_ids: str | Sequence[str] | None = None,
    organism: Organism = "auto",
    max_tokens: int = 2048,
    pooling: Pooling = "mean",
    batch_size: BatchSize = "auto",
    device: Device = "auto",
    precision: Precision = "float32",
    backend: Backend = "auto",
    key_added: str = PERTURB,
    rng: Rng = 0,
    copy: bool = False,
) -> AnnData | MuData | None:
    """Delete or overexpress genes in silico, and measure how far and where to each cell moves.

    The ranked genes of a cell are edited, as in Geneformer [1]_: a deleted gene is taken out and
    all below it move up; an overexpressed one is put first. The edited cell is embedded again and
    compared with the same cell unedited, with the same settings. Only cells that change are
    embedded: those that express a deleted gene, and those in which an overexpressed one is not
    already first.

    Any edit moves a cell a little, and a gene near the top moves it more. So each perturbation is
    compared with controls: the same edit of other genes of similar rank and detection, in cells of
    the same group. Gene and controls are averaged over the same number of cells, and the same cells
    as far as they express both. The null hypothesis is that the gene is no different from other
    genes like it; its unit is the gene, not the cell. Shifts (as ratios) and scores are scaled by
    the median and interquartile range of a row, and the controls of all rows form one null
    distribution: p is ``(1 + controls as extreme) / (1 + controls)``. Whatever the number of rows,
    an FDR of .05 can be reached with 20 controls each, and with 40 for the two-sided score. A low
    p means that the model treats a gene as special, not that editing real cells would do the same.

    Parameters
    ----------
    adata
        Cells × genes, as for :func:`genemamba.tl.embed`.
    genes
        Symbols or Ensembl ids, as in the data (``"Cd3e"`` in mouse cells), each perturbed on its
        own. A tuple or list among them is perturbed jointly: ``["CD3D", ("CD3D", "CD3E")]``;
        overexpressed, its genes come first in this order.
    how
        ``"delete"`` or ``"overexpress"``.
    groupby
        Column of ``obs`` with the state (cell type, condition) of the cells; cells without one
        (NaN) are perturbed, but not part of the table. Without it, all cells are one group.
    target
        One of the states: do cells move towards it?
    groups
        States whose cells are edited; the others only have a centroid. All states by default.
    n_controls
        Control genes, or sets of genes, for each perturbation and group; 0 for no p-values. A first
        answer, of 20 of them, is printed on the way.
    control_cells
        Maximum number of cells of the group, drawn at random, in which a perturbation and its
        controls are compared. Controls take most of the time: perturbations × groups ×
        `n_controls` × `control_cells` cells are embedded.
    {model}
    {reading}
    pooling
        As for :func:`genemamba.tl.embed`.
    {running}
    key_added
        Prefix of the slots.
    rng
        Seed, or generator, of the controls and their cells. With a seed, the draws for one
        perturbation do not depend on the other perturbations; their p-values do.
    {copy}

    Returns
    -------
    ``None``, or the modified copy. Writes (with `key_added` in place of "genemamba_perturb")

    ``adata.obsm["genemamba_perturb_cosine"]``
        float32, ``n_obs × n_perturbations``, in the order of ``perturbations`` below ("CD3D",
        "CD3D+CD3E"): cosine distance between the cell before and after. Exactly 0 where its
        ranked genes did not change; NaN for cells outside `groups`, or without a vector before or
        after.
    ``adata.obsm["genemamba_perturb_euclidean"]``
        The same for Euclidean distance.
    ``adata.uns["genemamba"]["genemamba_perturb"]``
        Model and parameters, the names of the ``perturbations``, and two tables. ``table``, a row
        for each perturbation and group: ``cells`` of the group, ``changed`` cells; means over the
        changed cells: ``cosine``, ``euclidean``, with `target` ``towards`` and ``score``; the
        number of ``controls``; the number of cells ``tested`` and the means over them,
        ``cosine_tested`` and ``score_tested``; ``cosine_controls`` and ``score_controls``, the
        controls' means; ``p_shift`` (one-sided, cosine as large) and ``p_score`` (two-sided), with
        Benjamini–Hochberg ``fdr_shift`` and
        ``fdr_score`` over the rows. ``towards`` is the cosine between a cell's shift and the way
        from its group's centroid to the target's. ``score`` is how much nearer to the target's
        centroid and farther from its group's the cell came, as a fraction of their distance. For
        cells of the target itself, the way starts at the centroid of all other states, so that
        negative means away from the target. ``control_table``: the same means for each
        control, over as many cells as are ``tested``.

    Raises
    ------
    InputError
        If a gene is unknown (with names like it), a state is, or the values cannot be ranked; a
        slot is taken. Nothing has been written then.
    CheckpointError
        If the model is unknown or damaged.

    Warns
    -----
    GeneMambaWarning
        If a perturbation changes no cell: its shifts are 0, its p-values NaN.

    References
    ----------
    {geneformer}

    Examples
    --------
    >>> import scanpy as sc, genemamba as gm
    >>> adata = sc.datasets.pbmc68k_reduced()[:60].copy()
    >>> gm.tl.perturb(adata, ["CD79A", ("CD3D", "CD3E")], layer="raw", n_controls=9)
    >>> table = adata.uns["genemamba"]["genemamba_perturb"]["table"]
    >>> table["perturbation"].tolist()
    ['CD79A', 'CD3D+CD3E']
    """
    seed = recorded_seed(rng)
    check_key(key_added, PERTURB)
    _check_arguments(how, n_controls, control_cells)
    if 0 < n_controls < (enough := 20 if target is None else 40):
        few = f"{n_controls} controls are too few for one gene to reach an FDR of .05"
        tell(f"perturb: {few}; {enough} are enough")
    runtime = choose_runtime(device, precision, backend, batch_size)
    reading = Reading(layer, gene_ids, organism, max_tokens)
    to = f"uns[{UNS!r}][{key_added!r}]"
    with cells_of(adata, mod, copy, doing="perturb", to=to) as (cells, result):
        slots = tuple(key_added + s.removeprefix(PERTURB) for s in OBSM_PERTURB)
        check_slots(cells, key_added, PERTURB, obsm=slots)
        loaded = models.load(model)
        vocab = models.vocabulary(loaded)
        check_pooling(loaded, pooling)
        species = genes_of(cells, vocab, reading)[0].organism
        asked = _read_perturbations(genes, vocab, species)
        states = _read_states(cells, groupby, target, groups)
        # deeper, so that the genes that a deletion lets in are the right ones
        deeper = max_tokens + max(len(p.tokens) for p in asked)
        tokens = tokenise(cells, vocab, replace(reading, max_tokens=deeper))
        bar = Progress("perturb", 0, on=f" on {runtime.device}")
        editor = Editor(loaded, runtime, pooling, max_tokens, how, tokens.ranked, bar)
        found = Run(
            editor, asked, states, target, tokens.genes.tokens, n_controls, control_cells,
            seed_of(rng),
        ).all()  # fmt: skip
        for slot, shifts in zip(slots, found.shifts, strict=True):
            cells.obsm[slot] = shifts
        params = {
            "how": how,
            "groupby": groupby or "",
            "target": target or "",
            "groups": np.array([s.name for s in states if s.edited and s.name], dtype=str),
            "n_controls": n_controls,
            "control_cells": control_cells,
            "pooling": pooling,
            "rng": seed,
        }
        about = {
            **entry_of(loaded, reading, runtime, given=model, **params),
            **tokens.report(),
            "perturbations": np.array([p.name for p in asked], dtype=str),
            "table": found.table(),
            "control_table": found.control_table(gene_names(vocab, species)),
        }
        record(cells, key_added, about)
    if unchanged := found.unchanged():
        why = "no cell expresses it" if how == "delete" else "it comes first in every cell"
        warnings.warn(
            f"{', '.join(unchanged)}: {why} ({tokens.where}); to {how} it changes nothing",
            GeneMambaWarning,
            stacklevel=2,
        )
    return result


def _check_arguments(how: str, n_controls: int, control_cells: int) -> None:
    if how not in get_args(How):
        raise InputError(f"how={how!r} is unknown", "use 'delete' or 'overexpress'")
    for name, value, least in (
        ("n_controls", n_controls, 0),
        ("control_cells", control_cells, 1),
    ):
        check_whole(name, value, least)


def _read_perturbations(
    genes: str | Sequence[str | Sequence[str]], vocab: Vocabulary, organism: str
) -> list[Perturbation]:
    """Find the genes; one name is one perturbation, a list of names a joint one."""
    asked: list[Perturbation] = []
    for entry in _listed(genes):
        names = _listed(entry)
        if not all(isinstance(name, str) for name in names):
            raise InputError(
                f"genes={shown(genes)} is neither a gene nor a list of genes",
                "give names, such as 'CD3D', or ['CD79A', ('CD3D', 'CD3E')]",
            )
        if not names:
            raise InputError("genes holds an empty set of genes", "name at least one gene")
        tokens = tuple(find_genes(names, vocab, organism=organism).tolist())
        if tokens in [p.tokens for p in asked]:
            raise InputError(f"genes: {'+'.join(names)!r} is given twice", "give it once")
        asked.append(Perturbation("+".join(names), tokens))
    if not asked:
        raise InputError("genes is empty", "name at least one gene")
    return asked


def _listed(given: Any) -> list[Any]:
    """Return what was given as a list: a name, or what is not iterable, is its only entry."""
    return list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]


def _read_states(
    adata: AnnData, groupby: str | None, target: str | None, groups: Sequence[str] | None
) -> list[State]:
    """Group the cells; those of no state come last, without a name."""
    if groupby is None:
        if target is not None or groups is not None:
            raise InputError(
                f"target={target!r} and groups={groups!r} name states, but groupby is missing",
                "say which column of adata.obs holds the states: groupby=…",
            )
        return [State("all", np.arange(adata.n_obs), True)]
    values = column(adata, groupby, "groupby")
    names = values.astype(str).to_numpy(dtype=str)
    there = values.notna().to_numpy()
    known = np.unique(names[there]).tolist()
    wanted = known if groups is None else _listed(groups)
    if not wanted:
        raise InputError(f"groups={shown(groups)} names no state", "name states, or leave it out")
    for argument, state in [("groups", g) for g in wanted] + [("target", target)]:
        if state is not None and state not in known:
            raise InputError(
                f"{argument}: {state!r} is not in adata.obs[{groupby!r}]",
                f"use one of {', '.join(map(repr, known)) or 'none: all cells are NaN'}",
            )
    if target is not None and len(known) < 2:
        raise InputError(
            f"all cells in adata.obs[{groupby!r}] are already in the target state {target!r}",
            "add cells in other states, or leave out target",
        )
    states = [State(n, np.flatnonzero(there & (names == n)), n in wanted) for n in known]
    return [*states, State(None, np.flatnonzero(~there), groups is None)]
