"""The gallery of the documentation shows every plot, and the calls that make it."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from pathlib import Path

from PIL import Image

import genemamba as gm

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "gallery.md").read_text(encoding="utf-8")


def blocks() -> list[tuple[str | None, str]]:
    spec = importlib.util.spec_from_file_location("gallery", DOCS / "gallery.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.blocks(PAGE)


def calls(code: str, part: str) -> list[tuple[str, list[str]]]:
    """Return the functions of a part of the package that are called, and their keywords."""
    nodes = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    named = [(ast.unparse(node.func), [k.arg for k in node.keywords]) for node in nodes]
    return [(name.removeprefix(part), keys) for name, keys in named if name.startswith(part)]


def test_every_plot_is_there_with_its_call() -> None:
    drawn = [(image, *calls(code, "gm.pl.")) for image, code in blocks()]
    assert all((image is None) == (not found) for image, *found in drawn)
    assert {call[0] for _, *found in drawn for call in found} == {*gm.pl.__all__}
    for _, *found in drawn:
        for name, keywords in found:
            assert {*keywords} <= {*inspect.signature(getattr(gm.pl, name)).parameters}


def test_figures_are_small_and_none_is_left_over() -> None:
    named = {DOCS / image for image, _ in blocks() if image}
    assert named == {*(DOCS / "_static" / "gallery").glob("*.png")}
    assert sum(file.stat().st_size for file in named) < 600_000
    for file in named:
        with Image.open(file) as image:
            assert min(image.size) > 150


def test_every_figure_is_described() -> None:
    alt = re.findall(r"^```\{image\} \S+\n:alt: (.{30,})\n```$", PAGE, flags=re.M)
    assert len(alt) == len([image for image, _ in blocks() if image])
