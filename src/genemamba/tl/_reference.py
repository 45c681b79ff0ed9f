"""The labelled cells of another AnnData."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from anndata import AnnData

from genemamba._keys import OBSM_EMBEDDING
from genemamba.cells.open import modality
from genemamba.cells.read import Reading, lost
from genemamba.cells.record import recorded
from genemamba.errors import GeneMambaWarning, InputError
from genemamba.tl._embedding import Embedding

if TYPE_CHECKING:
    from genemamba.network import GeneMamba


def read_reference(
    reference: Any, mod: str | None, cells: Embedding, layer: str | None
) -> Embedding:
    """Return the cells of the reference, read as `adata` is unless it says otherwise."""
    adata = modality(reference, mod if hasattr(reference, "mod") else None)
    theirs = cells.reading
    own_layer = {None: theirs.layer, "X": None}.get(layer, layer)
    column = theirs.gene_ids if isinstance(theirs.gene_ids, str) else None
    gene_ids = column if column in adata.var else None
    refuse_other_model(adata, cells.loaded, "reference")
    found = Embedding(
        adata,
        cells.loaded,
        Reading(own_layer, gene_ids, max_tokens=theirs.max_tokens),
        cells.running,
        of="reference",
    )
    ours, others = set(cells.genes.tokens), set(found.genes.tokens)
    if not ours & others:
        raise InputError(
            f"adata ({len(ours):,} known genes) and reference ({len(others):,}) "
            "have no gene in common",
            "give a reference measured on the same genes",
        )
    return found


def warn_of_lost(reference: Embedding) -> None:
    """Warn if the model does not know many genes of the reference."""
    if reference.reused or reference.reading.only is not None:
        return
    if text := lost(reference.entry["counts_lost"]):
        warnings.warn(f"of reference: {text}", GeneMambaWarning, stacklevel=4)


def refuse_other_model(adata: AnnData, loaded: GeneMamba, of: str) -> None:
    """Raise if another model computed the embedding that an AnnData holds."""
    if OBSM_EMBEDDING not in adata.obsm:
        return
    entry = recorded(adata, OBSM_EMBEDDING)
    slot = f"{of}.obsm[{OBSM_EMBEDDING!r}]"
    wrote, wanted = entry.get("model_sha256", "?"), loaded.provenance.get("sha256", "unsaved")
    if wrote != wanted:
        raise InputError(
            f"{slot} was computed by {entry.get('model', 'an unknown model')} ({str(wrote)[:8]}), "
            f"not by this model ({str(wanted)[:8]})",
            f"give model= the one that computed it, or delete it: del {slot}",
        )
