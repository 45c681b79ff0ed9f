"""Cells as vectors on a map: what ``gm.tl.map``, ``search`` and ``build_map`` share."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from genemamba._files import load_array
from genemamba.cells.expression import variable_genes
from genemamba.cells.read import no_genes
from genemamba.errors import GeneMambaWarning, MapError
from genemamba.heads import Components
from genemamba.maps.held_out import Expected, hold_out
from genemamba.maps.reference_map import ReferenceMap
from genemamba.maps.space import N_COMPONENTS, Space
from genemamba.tl._embedding import Embedding, known_by
from genemamba.tl._expressed import components_of
from genemamba.tokens import MUCH_LOST

if TYPE_CHECKING:
    from genemamba.network import GeneMamba
    from genemamba.tl._map_sources import Sources


_FITTED_TO = 20_000  # cells


def fit_space(
    sources: Sources, codes: np.ndarray, batch: np.ndarray | None, rng: np.random.Generator
) -> tuple[Space, Expected, dict[str, Any]]:
    """Fit what makes the vectors of a map to up to 20,000 of its cells, and judge it.

    `codes` are the classes of all cells, -1 for none.
    """
    chosen = np.flatnonzero(sources.known)
    if len(chosen) > _FITTED_TO:
        chosen = np.sort(rng.choice(chosen, _FITTED_TO, replace=False))
    basis, start = sources.basis(), 0
    vectors, logged = [], []
    for embedding, expression in sources.blocks(basis):
        own = chosen[(chosen >= start) & (chosen < start + len(embedding))] - start
        vectors.append(embedding[own])
        if expression is not None:
            logged.append(expression[own])
        start += len(embedding)
    X = np.concatenate(vectors)
    components = expressed = None
    if basis is not None:
        few = sparse.vstack(logged, format="csr")
        components = Components.fit(few, basis, variable_genes(few)).first(N_COMPONENTS)
        expressed = components.of(few, np.ones(len(basis), dtype=bool))
    batch = None if batch is None else batch[chosen]
    judged = hold_out(X, expressed, codes[chosen], batch, rng)
    return Space.fit(X, expressed, codes[chosen], components), *judged


def write_vectors(sources: Sources, space: Space, file: Path) -> np.ndarray:
    """Compute the vectors of all known cells into a file; return them, mapped from it."""
    components = space.components
    basis = None if components is None else components.basis
    shape = (int(sources.known.sum()), space.n_axes)
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with file.open("wb") as out:  # into a memory map of a full disk, a write would end the process
        np.lib.format.write_array_header_1_0(out, header)
        for embedding, logged in sources.blocks(basis):
            known = np.isfinite(embedding).all(axis=1)
            expressed = None
            if components is not None:
                expressed = components.of(logged, np.ones(len(components.basis), dtype=bool))[known]
            out.write(space.place(embedding[known], expressed).astype("<f4").tobytes())
    return load_array(file, mmap_mode="r")


def place(space: Space, cells: Embedding) -> np.ndarray:
    """Return the vectors of cells on a map, ``(n_obs, width)`` float32; NaN if not embedded.

    Raises
    ------
    InputError
        If the map reads expression and `adata` has only an embedding, or no gene is known.
    """
    if not np.isfinite(cells.vectors).all(axis=1).any():
        raise no_genes()
    expressed = None if space.components is None else components_of(cells, space.components)
    return space.place(cells.vectors, expressed)


def require_same_model(reference: ReferenceMap, loaded: GeneMamba) -> None:
    """Raise if another model made the map."""
    made, this = reference.about["model"], known_by(loaded)
    if made["model_sha256"] != this:
        unsaved = made["model_sha256"].startswith("unsaved")
        how = "the model that made it" if unsaved else f"model={made['model']!r}"
        raise MapError(
            f"the map {reference.name!r} was made with the model {made['model']} "
            f"({made['model_sha256'][:16]}), not with this one ({this[:16]})",
            f"give {how}, or build the map again",
        )


def warn_of_genes(reference: ReferenceMap, cells: Embedding) -> float:
    """Return the share of the map's counts on genes that cells do not measure; warn if it is large.

    The embedding of a panel lies elsewhere than that of a whole transcriptome.
    """
    missing = reference.measured.elsewhere(cells.genes.tokens)
    if missing > MUCH_LOST:
        warnings.warn(
            f"{missing:.0%} of the counts of the map's cells are on genes that adata does not "
            "measure: its cells lie elsewhere on the map, and labels are less reliable; "
            "correct=True shifts them towards it",
            GeneMambaWarning,
            stacklevel=3,
        )
    return missing
