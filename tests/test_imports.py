"""Who may import whom, and what `import genemamba` does not do."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
PACKAGE = SRC / "genemamba"
FILES = sorted(PACKAGE.rglob("*.py"))

ANNDATA = {"anndata", "scanpy", "mudata"}
KERNELS = {"mamba_ssm", "causal_conv1d"}
CLUSTER = {"dask", "distributed", "cloudpickle"}  # the last comes with distributed
EXTRA = (
    KERNELS | CLUSTER | {"lightning_fabric", "scvi", "tdigest"}
)  # what is not installed with the package
SHELL = {f"genemamba.{part}" for part in ("cli", "pp", "tl", "pl", "compare", "cells")}

# What each layer never names, not even inside a function or for typing.
FORBIDDEN = {
    "ontology": ANNDATA
    | SHELL
    | {"pandas", "scipy", "torch", "genemamba.tokens", "genemamba.genes", "genemamba.heads"}
    | {"genemamba.network", "genemamba.models", "genemamba.train"}
    | {"genemamba.metrics", "genemamba.datasets"},
    "tokens": ANNDATA
    | SHELL
    | {"pandas", "torch", "genemamba.network", "genemamba.models", "genemamba.train"}
    | {"genemamba.metrics", "genemamba.datasets"},
    "network": ANNDATA
    | SHELL
    | {"pandas", "genemamba.models", "genemamba.train", "genemamba.metrics", "genemamba.datasets"},
    "models": ANNDATA | SHELL | {"genemamba.train", "genemamba.metrics", "genemamba.datasets"},
    "train": SHELL | {"genemamba.metrics"},
    "integration": ANNDATA | SHELL | {"genemamba.models", "genemamba.train", "genemamba.metrics"},
    "maps": ANNDATA | SHELL | {"genemamba.train", "genemamba.metrics", "genemamba.datasets"},
    "genes": ANNDATA
    | SHELL
    | {"torch", "genemamba.network", "genemamba.models", "genemamba.train", "genemamba.metrics"},
    "metrics": SHELL | {"torch", "genemamba.network", "genemamba.models", "genemamba.train"},
    "compare": {"genemamba.train", "genemamba.pp", "genemamba.tl", "genemamba.pl", "genemamba.cli"},
    "pl": {"torch", "genemamba.network", "genemamba.models", "genemamba.train"},
    "pp": {"genemamba.tl", "genemamba.pl", "genemamba.cli"},
    "tl": {"genemamba.pl", "genemamba.cli"},
}
# The only places, relative to the package, that may name these.
ONLY_IN = {
    "AnnData": (
        ANNDATA,
        (
            "pp/",
            "tl/",
            "pl/",
            "datasets/",
            "cells/",
            "compare/",
            "_demo.py",
            "cli/",
        ),
    ),
    "kernels": (KERNELS, ("network/kernels.py",)),
    "cluster": (CLUSTER, ("cells/cluster.py",)),
    "scVI": ({"scvi"}, ("compare/trained.py",)),
    "sketches": ({"tdigest"}, ("tokens/tdigests.py",)),
    "fabric": ({"lightning_fabric"}, ("train/engine.py", "train/parallel.py")),
    "train": ({"genemamba.train"}, ("train/", "tl/", "__main__.py")),
}


class Import(NamedTuple):
    """One imported name, made absolute, and whether the import waits inside a function."""

    name: str
    line: int
    lazy: bool


def imports(file: Path) -> list[Import]:
    found: list[Import] = []
    package = ".".join(file.relative_to(SRC).parent.parts)

    def visit(node: ast.AST, lazy: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, node.lineno, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(filter(None, [above, node.module]))
            found.extend(Import(f"{base}.{alias.name}", node.lineno, lazy) for alias in node.names)
        lazy |= isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        lazy |= isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.iter_child_nodes(node):
            visit(child, lazy)

    visit(ast.parse(file.read_text(encoding="utf-8")), False)
    return found


def within(name: str, modules: set[str]) -> bool:
    return any(name == m or name.startswith(f"{m}.") for m in modules)


def where(file: Path, item: Import) -> str:
    return f"{file.relative_to(ROOT)}:{item.line} imports {item.name}"


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_layer_knows_only_what_lies_below(layer: str) -> None:
    files = sorted((PACKAGE / layer).rglob("*.py"))
    assert not [where(f, i) for f in files for i in imports(f) if within(i.name, FORBIDDEN[layer])]


@pytest.mark.parametrize("layer", ["network", "models"])
def test_imports_go_round_in_no_circle(layer: str) -> None:
    """Those inside functions and for typing count as well."""
    files = {f"genemamba.{layer}.{f.stem}": f for f in (PACKAGE / layer).glob("*.py")}
    named = {name: [i.name for i in imports(f)] for name, f in files.items()}
    below = {
        name: {other for other in files if any(within(i, {other}) for i in named[name])}
        for name in files
        if not name.endswith("__init__")
    }
    while lowest := [name for name, others in below.items() if not others & below.keys()]:
        for name in lowest:
            del below[name]
    assert not below


@pytest.mark.parametrize("what", ONLY_IN)
def test_named_in_its_own_places_only(what: str) -> None:
    modules, places = ONLY_IN[what]
    outside = [f for f in FILES if not f.relative_to(PACKAGE).as_posix().startswith(places)]
    assert not [where(f, i) for f in outside for i in imports(f) if within(i.name, modules)]


def test_array_files_are_read_in_one_place() -> None:
    """Its lock holds only for those who take it."""
    readers = [f.name for f in FILES if re.search(r"\bnp\.load\(", f.read_text(encoding="utf-8"))]
    assert readers == ["_files.py"]


def test_extras_are_imported_inside_functions() -> None:
    extra = EXTRA | {"torch.utils.tensorboard"}
    early = [(f, i) for f in FILES for i in imports(f) if within(i.name, extra) and not i.lazy]
    assert not [where(f, i) for f, i in early]


def test_every_import_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {normal(re.split(r"[\[<>=!; ]", d)[0]) for d in project["dependencies"]}
    known = packages_distributions()
    undeclared = [
        where(file, item)
        for file in FILES
        for item in imports(file)
        for top in [item.name.split(".")[0]]
        if top not in sys.stdlib_module_names | EXTRA | {"genemamba"}
        and not declared & {normal(d) for d in known.get(top, [])}
    ]
    assert not undeclared


def normal(distribution: str) -> str:
    return distribution.lower().replace("_", "-")


POSIX_ONLY = """
import anndata, concurrent.futures, dask, lightning_fabric, logging, mudata, random, scanpy, torch
import numba, pooch, sklearn, tqdm.auto  # theirs is their own affair
import errno, os, pkgutil, importlib, signal, sys
for name in ("register_at_fork", "fork", "getuid", "sysconf", "sched_getaffinity", "uname", "nice",
             "getloadavg", "kill", "killpg", "setsid", "statvfs", "chown", "mkfifo", "pread"):
    delattr(os, name)
del signal.SIGKILL, signal.SIGALRM
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
import genemamba
for module in pkgutil.walk_packages(genemamba.__path__, "genemamba."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from genemamba import _machine
assert _machine.cores() > 0 and _machine.processor()
assert _machine.memory() != _machine.memory() and _machine.peak_memory() != _machine.peak_memory()
import numpy as np
adata = anndata.AnnData(np.random.default_rng(0).poisson(2.0, (9, 4)).astype("int32"))
adata.var_names = ["CD3D", "CD3E", "LYZ", "NKG7"]
genemamba.tl.embed(adata)
assert np.isfinite(adata.obsm["X_genemamba"]).all()
"""


def test_no_module_needs_what_only_posix_has() -> None:
    done = subprocess.run([sys.executable, "-c", POSIX_ONLY], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


QUIET = """
import logging, sys, time, warnings
filters = list(warnings.filters)
start = time.perf_counter()
import genemamba
seconds = time.perf_counter() - start
heavy = {"torch", "scanpy", "anndata", "numba", "matplotlib", "genemamba.tl"} & set(sys.modules)
assert not heavy, f"import genemamba also imports {sorted(heavy)}"
for logger in (logging.getLogger(), logging.getLogger("genemamba")):
    assert not logger.handlers, f"{logger} has handlers"
assert logging.getLogger().level == logging.WARNING
assert logging.getLogger("genemamba").level == logging.NOTSET
assert warnings.filters == filters
assert seconds < 1.5, f"import genemamba took {seconds:.2f} s"
"""


def test_import_is_quick_and_has_no_side_effects() -> None:
    done = subprocess.run([sys.executable, "-c", QUIET], capture_output=True, text=True)
    assert not done.stdout + done.stderr
    assert done.returncode == 0


def test_scripts_name_tests_that_exist() -> None:
    scripts = [*(ROOT / ".ci").iterdir(), *(ROOT / ".github" / "workflows").iterdir()]
    named = {path for s in scripts for path in re.findall(r"\btests/[\w/.]+\w", s.read_text())}
    assert named
    assert not [path for path in sorted(named) if not (ROOT / path).exists()]
