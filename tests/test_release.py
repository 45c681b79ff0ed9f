"""What is said outside of the code agrees with it: version, requirements, links for assistants."""

from __future__ import annotations

import importlib
import json
import re
import tomllib
from datetime import date
from pathlib import Path

import genemamba as gm

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA = {"igraph": "python-igraph", "matplotlib": "matplotlib-base", "torch": "pytorch"}
"""Names on PyPI, and on conda-forge where these differ."""


def text(*parts: str) -> str:
    return ROOT.joinpath(*parts).read_text(encoding="utf-8")


def test_one_version_everywhere() -> None:
    found = {
        "CITATION.cff": re.findall(r"^version: (.+)$", text("CITATION.cff"), re.M),
        ".zenodo.json": [json.loads(text(".zenodo.json"))["version"]],
        "meta.yaml": re.findall(r"^version: (.+)$", text(".github", "meta.yaml"), re.M),
        "recipe.yaml": re.findall(r'^  version: "(.+)"$', text("conda", "recipe.yaml"), re.M),
        "CHANGELOG.md": re.findall(r"^## (\d\S+) \(", text("CHANGELOG.md"), re.M)[:1],
    }
    assert found == {place: [gm.__version__] for place in found}


def test_one_date() -> None:
    released = re.search(rf"^## {gm.__version__} \((.+)\)", text("CHANGELOG.md"), re.M)
    cited = re.search(r'^date-released: "(.+)"', text("CITATION.cff"), re.M)
    assert released and cited and released[1] == cited[1]
    assert date.fromisoformat(released[1])


def test_conda_needs_what_pip_needs() -> None:
    wanted = {}
    for requirement in PROJECT["dependencies"]:
        name, limits = re.fullmatch(r"([a-z0-9-]+)(?:\[.+\])?(.*)", requirement).groups()
        wanted[CONDA.get(name, name)] = limits
    run = text("conda", "recipe.yaml").split("  run:\n")[1].split("\ntests:")[0]
    given = dict(re.findall(r"^    - ([a-z0-9-]+) ?([^#\n]*?)(?: #.*)?$", run, re.M))
    assert given.pop("python") == ">=${{ python_min }}"
    assert given.pop("leidenalg") == ""  # an extra of scanpy's
    assert given == wanted
    least = re.search(r'python_min: "(.+)"', text("conda", "recipe.yaml"))
    assert least and PROJECT["requires-python"] == f">={least[1]}"


def test_the_supported_versions_are_those_of_the_package() -> None:
    page = text("docs", "install.md")
    least = PROJECT["requires-python"].removeprefix(">=")
    assert f"| Python | {least} and newer |" in page
    numpy = next(r for r in PROJECT["dependencies"] if r.startswith("numpy"))
    assert f"| NumPy | {numpy.removeprefix('numpy>=')} and newer |" in page
    tested = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert f"| {', '.join(tested[:-1])} and {tested[-1]} |" in page


def test_links_for_assistants_lead_to_pages() -> None:
    lines = text("docs", "llms.txt").splitlines()
    assert lines[0] == "# genemamba" and lines[2].startswith("> ")
    base = "https://genemamba.readthedocs.io/en/latest/"
    links = [link.removeprefix(base) for link in re.findall(r"\]\((\S+)\)", "\n".join(lines))]
    assert len(links) > 20
    for link in links:
        if name := re.fullmatch(r"api/generated/genemamba\.(\w+)\.(\w+)\.html", link):
            assert hasattr(importlib.import_module(f"genemamba.{name[1]}"), name[2]), link
        else:
            page = re.sub(r"^_sources/|\.txt$", "", link).replace(".html", ".md")
            assert (ROOT / "docs" / page).is_file(), link
