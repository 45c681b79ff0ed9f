"""Load a checkpoint by name or path."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from genemamba.errors import CheckpointError, InputError, shown
from genemamba.models._registry import Entry, lookup, nearest, on_disk

if TYPE_CHECKING:
    from genemamba.network import GeneMamba, GeneMambaConfig
    from genemamba.network.checkpoint import Parts
    from genemamba.network.config import Merge
    from genemamba.tokens import Vocabulary

ModelLike: TypeAlias = "str | PathLike[str] | GeneMamba"


def load(model: ModelLike, *, merge: Merge | None = None) -> GeneMamba:
    """Load a GeneMamba checkpoint with its genes and their medians.

    Nothing is downloaded and no pickle is executed. All parts are checked first.

    Parameters
    ----------
    model
        One of

        - the name of a checkpoint that comes with the package (``"genemamba-mini"``) or was
          fetched with ``gm.models.fetch``;
        - a folder: this package's (``config.json``, ``genes.csv``, ``model.safetensors``), or one
          with a ``model.safetensors`` in the published layout and the gene tables of Geneformer V1
          (``token_dictionary.pkl``, ``gene_median_dictionary.pkl``, and ``gene_name_id_dict.pkl``
          for gene symbols) or a ``genes.csv``;
        - such a ``.safetensors`` file, with the gene tables in the same folder;
        - a loaded model, which is returned unchanged.
    merge
        How the two directions are merged, for files in the published layout, which do not say:
        ``"mean"`` (the default) or ``"sum"``; ``"gate"`` or ``"concat"`` for files with a tensor
        ``mamba_mixer.aggr.weight``, where it must be given. A ``config.json`` in the same folder
        may state it as ``mode``.

    Returns
    -------
    torch module in float32 on the CPU, with ``.config``, ``.vocab`` (genes, symbols, medians) and
    ``.provenance`` (``sha256`` of the weights, ``layout``, ``path``, and source, licence and
    training if known). Weights stored in float32 are mapped from the file, which never changes.
    Weights without a [CLS] token get one, the mean of all genes' rows (of embedding, output and
    bias), as the published code adds it.

    Raises
    ------
    CheckpointError
        If the name is unknown or not on disk, a file is missing or damaged, files do not belong
        together, or `merge` is not that of the checkpoint.

    Examples
    --------
    >>> import genemamba as gm
    >>> model = gm.models.load("genemamba-mini")
    >>> model.vocab.n_genes > 10_000
    True
    """
    from genemamba.network import GeneMamba

    if isinstance(model, GeneMamba):
        _check_merge(model.config, merge)
        return model
    return GeneMamba.from_parts(read(model, merge))


def vocabulary(model: ModelLike) -> Vocabulary:
    """Load only the genes of a checkpoint: all that ranking needs.

    Parameters
    ----------
    model
        As for :func:`~genemamba.models.load`.

    Returns
    -------
    :class:`genemamba.tokens.Vocabulary` with Ensembl ids, symbols and non-zero medians in counts
    per 10,000.

    Raises
    ------
    CheckpointError
        As :func:`~genemamba.models.load`; also if a loaded model carries no vocabulary.

    Examples
    --------
    >>> import genemamba as gm
    >>> "CD3E" in gm.models.vocabulary("genemamba-mini").name_to_gene
    True
    """
    from genemamba.network import GeneMamba
    from genemamba.network.checkpoint import is_checkpoint, read_vocabulary

    if isinstance(model, GeneMamba):
        if model.vocab is None:
            raise CheckpointError(
                "the model has no vocabulary, so its tokens mean nothing", "set model.vocab first"
            )
        return model.vocab
    path, _ = find(model)
    if is_checkpoint(path):
        return read_vocabulary(path)
    from genemamba.models._published import Published

    return Published(path).vocab


def read(model: str | PathLike[str], merge: Merge | None) -> Parts:
    """Read and check the checkpoint of a name or path, in either layout."""
    from genemamba.network.checkpoint import is_checkpoint, read_parts

    path, entry = find(model)
    if is_checkpoint(path):
        parts = read_parts(path)
        _check_merge(parts.config, merge)
        if entry and entry.bundled and entry.weights_sha256 != parts.provenance["sha256"]:
            raise CheckpointError(
                f"the weights of {entry.name} in the package do not match the release",
                "install genemamba again: pip install --force-reinstall --no-deps genemamba",
            )
    else:
        from genemamba.models._published import Published

        parts = Published(path).parts(merge)
    parts.provenance.update(entry.provenance if entry else {})
    return parts


def find(model: str | PathLike[str]) -> tuple[Path, Entry | None]:
    """Find the folder or file of a name or path, and its entry; a known name comes first."""
    if not isinstance(model, str | os.PathLike):
        raise InputError(
            f"model={shown(model)} is a {type(model).__name__}",
            "give the name of a checkpoint, its folder, or a loaded model",
        )
    name, path, entry = str(model), Path(model), lookup(str(model))
    if entry:
        path = entry.folder
        if not entry.bundled and on_disk(name) is None:
            raise CheckpointError(
                f"{name!r} is not on this machine", f'download it with gm.models.fetch("{name}")'
            )
    if os.path.isfile(path) and path.suffix != ".safetensors":
        raise CheckpointError(
            f"{path} is not a .safetensors file; other formats can run code when they are read",
            "save the weights with safetensors.torch.save_file",
        )
    if path.name == "model.safetensors" and os.path.exists(path.parent / "config.json"):
        path = path.parent  # the file of a folder means the folder
    if os.path.exists(path):  # pathlib's would raise on names that no system can have
        return path, entry
    raise CheckpointError(
        f"model={name[:200]!r} is neither a known checkpoint nor a folder or file",
        f"use {nearest(name)!r}, or give the path of a checkpoint",
    )


def _check_merge(config: GeneMambaConfig, merge: Merge | None) -> None:
    """Reject a merge that differs from the checkpoint's."""
    if merge not in (None, config.merge):
        raise CheckpointError(
            f"merge={merge!r}, but this checkpoint has {config.merge!r}", "leave out merge"
        )
