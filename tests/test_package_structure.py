"""The grammar of the public functions, held over every one that is exported.

A new function in pp, tl or pl is found here by itself. One that cannot run on `adata` alone gets
the arguments it needs, made from `adata`, in ``ARGUMENTS``.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from anndata import AnnData

import genemamba as gm
from genemamba import _keys
from genemamba.maps.reference_map import ReferenceMap
from genemamba.network import GeneMamba, runtime

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "genemamba"
CELLS = {"tl.adapt": 200}  # of what needs more than a few
ARGUMENTS: dict[str, Callable[[AnnData], dict[str, Any]]] = {
    "tl.adapt": lambda _: {"out": f"{mkdtemp()}/adapted", "steps": 1},
    "annotate": lambda adata: {
        "reference": adata.copy(),
        "label_key": "bulk_labels",
        "coverage": 0.9,
    },
    "confusion": lambda adata: {"label_key": "bulk_labels"},
    "reliability": lambda adata: {"label_key": "bulk_labels"},
    "embedding_quality": lambda adata: {"label_key": "bulk_labels"},
    "gene_embedding": lambda _: {"kind": "context"},
    "integrate": lambda adata: {"batch_key": "batch"},
    "tl.perturb": lambda adata: {"genes": "CD3D", "n_controls": 2},
    "tl.build_map": lambda _: {"out": f"{mkdtemp()}/map", "label_key": "bulk_labels"},
}
# What works on vectors of genes (of cells, or tables), or on a corpus; its first parameter.
WITHOUT_CELLS = {
    "tl.enrich": "modules",
    "tl.gene_modules": "embedding",
    "tl.gene_network": "embeddings",
    "tl.gene_similarity": "pairs",
    "tl.nearest_genes": "embeddings",
    "tl.pretrain": "corpus",
    "pl.gene_network": "network",
    "pl.gene_pairs": "result",
    "pl.search": "result",
}

SLOTS = ("obs", "var", "obsm", "varm", "obsp", "varp", "layers", "uns")


class Public(NamedTuple):
    """One exported function and where it was found."""

    part: str
    name: str
    call: Callable[..., Any]

    @property
    def first(self) -> str:
        """What its first parameter has to be called."""
        return WITHOUT_CELLS.get(f"{self.part}.{self.name}", "adata")

    @property
    def parameters(self) -> list[inspect.Parameter]:
        return list(inspect.signature(self.call).parameters.values())

    @property
    def doc(self) -> dict[str, str]:
        """The numpydoc sections; what stands before the first is "Summary"."""
        text = inspect.getdoc(self.call) or ""
        parts = re.split(r"^(\w[\w ]*)\n-{3,}$", text, flags=re.MULTILINE)
        return dict(zip(["Summary", *parts[1::2]], parts[::2], strict=True))


def exported(*parts: str) -> list[Any]:
    modules = {p: importlib.import_module(f"genemamba.{p}") for p in parts if has(p)}
    return [
        pytest.param(Public(part, name, getattr(module, name)), id=f"{part}.{name}")
        for part, module in modules.items()
        for name in module.__all__
        if inspect.isfunction(getattr(module, name))
    ]


def has(part: str) -> bool:
    return (PACKAGE / part / "__init__.py").exists()


on_adata = pytest.mark.parametrize("f", exported("pp", "tl", "pl"))
on_cells = pytest.mark.parametrize(
    "f", [p for p in exported("pp", "tl", "pl") if p.id not in WITHOUT_CELLS]
)
on_others = pytest.mark.parametrize("f", [p for p in exported("tl", "pl") if p.id in WITHOUT_CELLS])
everywhere = pytest.mark.parametrize("f", exported("pp", "tl", "pl", "metrics", "models", "maps"))


def test_the_package_shows_its_parts() -> None:
    assert {"pp", "tl", "metrics", "models", "maps"} <= set(gm.__all__)
    for part in gm.__all__:
        assert getattr(gm, part) is not None
        assert part in dir(gm)


@on_adata
def test_adata_comes_first_and_little_is_positional(f: Public) -> None:
    positional = [p for p in f.parameters if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    assert f.parameters[0].name == f.first
    assert len(positional) <= 3
    assert not [p for p in f.parameters if p.kind is inspect.Parameter.VAR_KEYWORD]


READING = {
    "mod": None, "layer": None, "gene_ids": None, "organism": "auto", "max_tokens": 2048
}  # fmt: skip
RUNNING = {"batch_size": "auto", "device": "auto", "precision": "auto", "backend": "auto"}
SMALL_SHIFTS = "differences are smaller than bfloat16 resolves"
HOLES = {  # (tool, keyword) that is missing or has another default, and why
    **dict.fromkeys([("pp.rank_tokenize", k) for k in RUNNING], "does not run the model"),
    **dict.fromkeys([("pp.check", k) for k in RUNNING], "times what runs by default"),
    **dict.fromkeys([("pp.gene_medians", k) for k in RUNNING], "does not run the model"),
    ("pp.gene_medians", "gene_ids"): "genes of any species, by whatever name",
    ("pp.gene_medians", "organism"): "genes of any species, by whatever name",
    ("pp.gene_medians", "max_tokens"): "nothing is ranked",
    ("tl.perturb", "precision"): SMALL_SHIFTS,
    ("tl.attribute", "precision"): SMALL_SHIFTS,
}


def test_every_tool_reads_and_runs_by_the_same_keywords() -> None:
    """Prints the table of tools and keywords: ``pytest -s``."""
    tools = [p.values[0] for p in exported("pp", "tl") if p.id not in WITHOUT_CELLS]
    keywords, holes = READING | RUNNING, set()
    print("\n" + " " * 18 + "".join(f"{k:>12}" for k in keywords))
    for f in tools:
        name, own = f"{f.part}.{f.name}", {p.name: p for p in f.parameters}
        order = [k for k in own if k in keywords]
        assert order == [k for k in keywords if k in own], name
        row = []
        for keyword, default in keywords.items():
            there = keyword in own
            same = there and own[keyword].default == default
            if there:
                assert own[keyword].kind is inspect.Parameter.KEYWORD_ONLY
            if not same:
                holes.add((name, keyword))
            row.append("yes" if same else repr(own[keyword].default) if there else "-")
        print(f"{name:18}" + "".join(f"{cell:>12}" for cell in row))
    assert holes == set(HOLES), {h: HOLES.get(h, "unexplained") for h in holes ^ set(HOLES)}


TINY = {"tune": "head", "head_epochs": 2, "length": 20}
FURTHER: dict[str, dict[str, Any]] = {  # more that a tool does with the model
    "tl.annotate": {"method": "finetune", "recipe": TINY},
    "tl.gene_embedding": {"groupby": "bulk_labels"},
    "tl.reconstruct": {"n_cells": 5},
}
RUNS = [p for p in exported("tl") if "device" in inspect.signature(p.values[0].call).parameters]


def arguments_of(
    f: Public, adata: AnnData, model: GeneMamba, reference_map: ReferenceMap
) -> dict[str, Any]:
    """Return what a function needs beside cells: a map belongs to the model that made it."""
    own = ARGUMENTS.get(f"{f.part}.{f.name}", ARGUMENTS.get(f.name, lambda _: {}))(adata)
    shared = {"model": model, "reference_map": reference_map}
    return own | {p.name: shared[p.name] for p in f.parameters if p.name in shared}


@pytest.mark.parametrize("f", RUNS)
@pytest.mark.usefixtures("no_umap")
@pytest.mark.filterwarnings("ignore::genemamba.errors.GeneMambaWarning")
def test_running_keywords_reach_the_model(
    f: Public, pbmc: AnnData, small_model: GeneMamba, small_map: ReferenceMap,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """However many times a tool runs the model, it runs it as it was told to."""
    given = {"device": "cpu", "precision": "float32", "backend": "torch", "batch_size": 7}
    chosen: list[Any] = []
    original = runtime.choose_runtime

    def choose(*args: Any, **kwargs: Any) -> Any:
        chosen.append(original(*args, **kwargs))
        return chosen[-1]

    for name, module in list(sys.modules.items()):
        if name.startswith("genemamba.") and hasattr(module, "choose_runtime"):
            monkeypatch.setattr(module, "choose_runtime", choose)
    common = pbmc.obs["bulk_labels"].value_counts().index[:2]
    n = CELLS.get(f"{f.part}.{f.name}", 40)
    adata = pbmc[pbmc.obs["bulk_labels"].isin(common)][:n].copy()
    own = arguments_of(f, adata, small_model, small_map) | FURTHER.get(f"tl.{f.name}", {})
    given = {k: v for k, v in given.items() if k in inspect.signature(f.call).parameters}
    f.call(adata, **own, **given)
    assert chosen
    for found in chosen:
        assert {k: getattr(found, k) for k in given} == given


@on_cells
def test_a_modality_and_a_generator_are_taken_everywhere(f: Public) -> None:
    annotations = {p.name: str(p.annotation) for p in f.parameters}
    if f.part in ("pp", "tl"):
        assert "MuData" in annotations["adata"]
        assert "mod" in annotations
    assert annotations.get("rng", "Rng") == "Rng" or "Generator" in annotations["rng"]


@on_adata
def test_copy_is_by_keyword_and_off(f: Public) -> None:
    for parameter in f.parameters:
        if parameter.name == "copy":
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
            assert parameter.default is False


@pytest.mark.parametrize("f", exported("metrics"))
def test_metrics_take_plain_arrays(f: Public) -> None:
    """Of `adata`, none but `compare`; where they take its columns too, they do not name its type.

    That arrays and AnnData give the same is held by tests/metrics/test_from_anndata.py.
    """
    for parameter in f.parameters:
        assert parameter.name != "adata" or f.name == "compare"
        assert "AnnData" not in str(parameter.annotation)
    assert ("use_rep" in [p.name for p in f.parameters]) == (f.parameters[0].name in ("X", "adata"))


@everywhere
def test_groups_have_one_order_and_kind(f: Public) -> None:
    """Batches before labels; required ones are positional, optional ones are keyword-only."""
    order = ["batch", "batch_key", "labels", "label_key"]
    required = []
    for p in f.parameters:
        if p.name in order:
            if p.default is p.empty:
                required.append(p.name)
            assert (p.kind is p.KEYWORD_ONLY) == (p.default is not p.empty), p.name
    assert required == sorted(required, key=order.index)


@pytest.mark.parametrize("f", exported("pl", "metrics"))
def test_rng_is_a_seed_or_a_generator(f: Public) -> None:
    assert {str(p.annotation) for p in f.parameters if p.name == "rng"} <= {"Rng"}


@everywhere
def test_every_parameter_is_documented_and_typed_once(f: Public) -> None:
    heads = re.findall(r"^(\S.*)$", f.doc.get("Parameters", ""), flags=re.MULTILINE)
    documented = [name.strip("* ") for head in heads for name in head.split(",")]
    assert documented == [p.name for p in f.parameters]  # a head with a type is not a name
    assert not [p.name for p in f.parameters if p.annotation is inspect.Parameter.empty]
    assert inspect.signature(f.call).return_annotation is not inspect.Signature.empty


@everywhere
def test_the_docstring_is_whole(f: Public) -> None:
    first, *rest = f.doc["Summary"].splitlines()
    assert first.endswith(".")
    assert not rest or not rest[0]
    assert f.doc.get("Returns", "").strip()
    assert ">>>" in f.doc.get("Examples", "")


@on_others
def test_what_takes_no_cells_writes_no_slot(f: Public) -> None:
    """So it can write no slot; and the list above holds nothing that is gone."""
    assert not {"adata", "copy", "key_added"} & {p.name for p in f.parameters}
    annotations = [p.annotation for p in f.parameters]
    annotations.append(inspect.signature(f.call).return_annotation)
    assert not [a for a in annotations if "AnnData" in str(a)]
    assert "othing is written" in f.doc["Returns"]
    assert len(WITHOUT_CELLS) == len([p for p in exported("tl", "pl") if p.id in WITHOUT_CELLS])


@on_cells
@pytest.mark.usefixtures("no_umap")
def test_every_slot_written_is_documented(
    f: Public, pbmc: AnnData, small_model: GeneMamba, small_map: ReferenceMap
) -> None:
    adata = pbmc[: CELLS.get(f"{f.part}.{f.name}", 20)].copy()
    if f.part == "pl":
        make_ready(adata)
        gm.tl.map(adata, small_map, model=small_model)
    before = slots(adata)
    own = arguments_of(f, adata, small_model, small_map)
    process = state_of_the_process()
    f.call(adata, **own)
    assert state_of_the_process() == process
    plt.close("all")
    written = slots(adata) - before
    constants = {value for name, value in vars(_keys).items() if name.isupper()}
    assert bool(written) == ("rites nothing" not in f.doc["Returns"]) or f.part == "pl"
    of_map = "|".join(small_map.columns.names)  # columns that the docstring cannot know
    for slot, key in written:
        key = re.sub(f"^genemamba_map_({of_map})", "genemamba_map_<column>", key)
        assert re.search(rf"\b{slot}\[(\"{key}\"|'{key}'|key_added)\]", f.doc["Returns"]), (
            f"{slot}[{key!r}] is written, but Returns does not say so"
        )
        assert key in constants or "<column>" in key, f"{key!r} does not stand in genemamba._keys"


@on_adata
def test_a_public_name_finds_its_file_and_its_tests(f: Public) -> None:
    assert Path(inspect.getfile(f.call)) == PACKAGE / f.part / f"_{f.name}.py"
    assert (ROOT / "tests" / f.part / f"test_{f.name}.py").exists()


@everywhere
def test_a_public_name_is_in_the_documentation(f: Public) -> None:
    page = (ROOT / "docs" / "api" / f"{f.part}.md").read_text(encoding="utf-8")
    assert re.search(rf"^\s+{f.part}\.{f.name}$", page, flags=re.MULTILINE)


def make_ready(adata: AnnData) -> None:
    """Write what the plots draw."""
    gm.tl.perturb(adata, "CD3D", n_controls=0)
    gm.tl.attribute(adata, method="gradient_x_input")
    adata.obs["genemamba_label"] = adata.obs["bulk_labels"]
    adata.obs["genemamba_confidence"] = np.float32(0.9)
    adata.obsm["X_genemamba"] = np.log1p(adata.X[:, :50]).astype(np.float32)
    gm.metrics.compare(adata, "bulk_labels", baselines=[], verbose=False)
    gm.tl.reconstruct(adata, n_cells=5)


def state_of_the_process() -> dict[str, Any]:
    """Return what belongs to the caller's process and not to this package."""
    return {
        "numpy's random numbers": str(np.random.get_state()),  # noqa: NPY002
        "torch's random numbers": torch.random.get_rng_state().tolist(),
        "torch's threads": torch.get_num_threads(),
        "torch's dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "numpy's errors": np.geterr(),
        "logging": (logging.root.level, list(logging.root.handlers)),
    }


def slots(adata: AnnData) -> set[tuple[str, str]]:
    return {(slot, key) for slot in SLOTS for key in getattr(adata, slot)}
