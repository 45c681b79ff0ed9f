"""Whatever a tool refuses, the AnnData is what it was: hashed in one place, for all exported tools.

A new tool is found by itself; one that needs more than `adata` gets it in ``ARGUMENTS``.
"""

from __future__ import annotations

import hashlib
import inspect
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import genemamba as gm
from genemamba.errors import GeneMambaError, InputError
from genemamba.maps.reference_map import ReferenceMap
from genemamba.network import GeneMamba

TOOLS = {
    f"{part}.{name}": tool
    for part in ("pp", "tl", "pl")
    for name in getattr(gm, part).__all__
    if inspect.isfunction(tool := getattr(getattr(gm, part), name))
    and next(iter(inspect.signature(tool).parameters)) == "adata"
} | {"metrics.compare": gm.metrics.compare}


def signature(tool: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(tool).parameters)


ARGUMENTS: dict[str, dict[str, Any]] = {
    "tl.adapt": {"steps": 1},
    "tl.annotate": {"label_key": "bulk_labels"},
    "tl.gene_embedding": {"kind": "context", "min_cells": 1},
    "tl.integrate": {"batch_key": "batch"},
    "tl.perturb": {"genes": "CD3D", "n_controls": 0},
    "tl.reconstruct": {"n_cells": 5},
    "tl.build_map": {"label_key": "bulk_labels"},
    "pl.confusion": {"label_key": "bulk_labels"},
    "pl.reliability": {"label_key": "bulk_labels"},
    "pl.embedding_quality": {"label_key": "bulk_labels"},
    "metrics.compare": {"label_key": "bulk_labels", "baselines": [], "verbose": False},
}
ARGUMENTS = {name: ARGUMENTS.get(name, {}) for name in TOOLS}
Spoil = Callable[[AnnData], Any]


def entry(value: float) -> Spoil:
    return lambda adata: adata.X.__setitem__((3, 5), value)


def taken(adata: AnnData) -> None:
    """Hold what is not ours wherever a tool with the key "mine" would write."""
    table = np.zeros((adata.n_obs, 2))
    for end in ("label", "nld"):
        adata.obs[f"mine_{end}"] = "mine"
    for end in ("", "_cosine"):
        adata.obsm[f"mine{end}"] = table
    adata.var["mine"] = 1
    adata.varm["mine"] = np.zeros((adata.n_vars, 2))
    adata.layers["mine"] = adata.X.copy()


REFUSED: dict[str, tuple[Spoil, dict[str, Any]]] = {
    "negative values": (entry(-1.0), {}),
    "NaN": (entry(np.nan), {}),
    "no X": (lambda adata: setattr(adata, "X", None), {}),
    "mouse": (lambda a: setattr(a, "var_names", [f"Gm{i}x" for i in range(a.n_vars)]), {}),
    "antibodies": (lambda a: a.var.__setitem__("feature_types", "Antibody Capture"), {}),
    "no such layer": (lambda _: None, {"layer": "nowhere"}),
    "no such column of genes": (lambda _: None, {"gene_ids": "nowhere"}),
    "names of other genes": (lambda _: None, {"gene_ids": ["CD3D"]}),
    "no tokens": (lambda _: None, {"max_tokens": 0}),
    "no such model": (lambda _: None, {"model": "maxi"}),
    "no such device": (lambda _: None, {"device": "abacus"}),
    "no such labels": (lambda _: None, {"label_key": "nowhere"}),
    "no such batches": (lambda _: None, {"batch_key": "nowhere"}),
    "no such map": (lambda _: None, {"reference_map": "genemamba-bdy"}),
    "no such groups": (lambda _: None, {"groupby": "nowhere"}),
    "endless labels": (lambda a: a.obs.__setitem__("bulk_labels", "L" * 100_000), {}),
    "slots of others": (taken, {"key_added": "mine"}),
    "records of others": (lambda adata: adata.uns.__setitem__("genemamba", "mine"), {}),
    "no records": (lambda _: None, {}),
}


def digest(value: Any) -> str:
    """Hash what an AnnData may hold, with its types and its order."""
    if isinstance(value, AnnData):
        slots = ("layers", "obsm", "varm", "obsp", "varp", "uns")
        parts = [value.X, value.obs, value.var, *(dict(getattr(value, s)) for s in slots)]
        if value.raw is not None:
            parts += [value.raw.X, value.raw.var, dict(value.raw.varm)]
        return digest(parts)
    if isinstance(value, Mapping):
        return digest([[key, item] for key, item in value.items()])
    if isinstance(value, list | tuple):
        said = "".join(map(digest, value)).encode()
    elif sparse.issparse(value):
        return digest([type(value), value.shape, value.indptr, value.indices, value.data])
    elif isinstance(value, pd.DataFrame):
        columns = [[c, str(value[c].dtype), value[c].to_numpy()] for c in value.columns]
        return digest([value.index.to_numpy(), str(value.index.name), columns])
    elif isinstance(value, np.ndarray) and value.dtype != object:
        said = f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes()
    else:
        said = repr(value.tolist() if isinstance(value, np.ndarray) else value).encode()
    return hashlib.sha256(said).hexdigest()


@pytest.fixture
def cells(pbmc: AnnData) -> AnnData:
    adata = pbmc[:24].copy()
    adata.X = sparse.csr_matrix(adata.X.astype(np.float32)).toarray()
    adata.raw = adata.copy()
    adata.layers["counts"] = adata.X.copy()
    adata.obsm["X_pca"] = adata.X[:, :3].copy()
    adata.varm["PCs"] = np.ones((adata.n_vars, 3))
    adata.uns["mine"] = {"list": np.arange(3), "text": "mine"}
    adata.obs.loc[adata.obs_names[:3], "bulk_labels"] = np.nan
    return adata


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("no_umap")
@pytest.mark.parametrize("name", TOOLS)
def test_a_refusal_changes_nothing(
    name: str, cells: AnnData, small_model: GeneMamba, small_map: ReferenceMap, tmp_path: Path
) -> None:
    tool = TOOLS[name]
    takes = signature(tool)
    shared = {"model": small_model, "reference_map": small_map}
    refused = []
    for why, (spoil, how) in REFUSED.items():
        if not set(how) <= takes:
            continue
        adata = cells.copy()
        spoil(adata)
        own = {key: value for key, value in shared.items() if key in takes}
        if name in ("tl.adapt", "tl.build_map"):
            own["out"] = tmp_path / why
        before = digest(adata)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                report = tool(adata, **{**own, **ARGUMENTS[name], **how})
        except GeneMambaError as error:
            assert error.what and error.fix, why
            refused.append(why)
        else:
            if getattr(report, "ok", True):
                continue  # it can do with these
            refused.append(why)
        finally:
            plt.close("all")
        assert digest(adata) == before, f"{name} changed adata before it refused {why!r}"
        assert not list(tmp_path.glob(f"{why}*")), why
    assert len(refused) >= (3 if name.startswith(("tl", "pp")) else 1), refused


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [n for n, t in TOOLS.items() if "copy" in signature(t)])
@pytest.mark.parametrize("how", ["a view", "a copy", "a copy of a view"])
def test_what_lies_in_a_file_is_refused_before_it_is_read(
    name: str, how: str, cells: AnnData, small_model: GeneMamba, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """It can be neither copied nor written to in part."""
    cells.write_h5ad(tmp_path / "cells.h5ad")
    backed = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    monkeypatch.setattr("genemamba.cells.counts.some_of", None)
    own = {"model": small_model} if "model" in signature(TOOLS[name]) else {}
    copy = {"copy": "copy" in how}
    with pytest.raises(InputError, match="backed") as refused:
        TOOLS[name](backed[:9] if "view" in how else backed, **own, **copy, **ARGUMENTS[name])
    assert "adata.to_memory()" in refused.value.fix
    backed.file.close()


def test_the_hash_sees_every_slot(cells: AnnData) -> None:
    seen = {digest(cells), digest(cells.copy())}
    assert len(seen) == 1
    for change in (
        lambda a: a.X.__setitem__((0, 0), 9),
        lambda a: a.layers["counts"].__setitem__((0, 0), 9),
        lambda a: a.obs.__setitem__("batch", "x"),
        lambda a: a.obs.__setitem__("more", 1),
        lambda a: a.var.__setitem__("more", 1),
        lambda a: setattr(a, "var_names", [f"{n}x" for n in a.var_names]),
        lambda a: a.obsm["X_pca"].__setitem__((0, 0), 9),
        lambda a: a.varm["PCs"].__setitem__((0, 0), 9),
        lambda a: a.uns["mine"].__setitem__("text", "yours"),
        lambda a: setattr(a, "raw", None),
        lambda a: setattr(a, "X", sparse.csr_matrix(a.X)),
    ):
        changed = cells.copy()
        change(changed)
        seen.add(digest(changed))
    assert len(seen) == 12
