"""Draw the figures of ``gallery.md``: ``python docs/gallery.py``.

The calls are those of the page, in its order: a code block after an image makes that image. The
cells come with scanpy and the model with the package, so nothing is downloaded. It takes some
minutes; the figures are committed, so that building the documentation does not.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from PIL import Image

HERE = Path(__file__).parent
BLOCK = re.compile(r"^```(?:\{image\} (?P<image>\S+)\n.*?|python\n(?P<code>.*?))^```$", re.M | re.S)


def blocks(page: str) -> list[tuple[str | None, str]]:
    """Return the code of the page, block by block, each with the image that it makes, if any."""
    found, image = [], None
    for match in BLOCK.finditer(page):
        if match["image"]:
            image = match["image"]
        else:
            found.append((image, match["code"]))
            image = None
    return found


def keep(figure: plt.Figure, path: Path) -> None:
    """Write a small file: 256 colours, rare ones among them, since a legend has few points."""
    figure.savefig(path, dpi=75)
    with Image.open(path) as drawn:
        few = drawn.convert("RGB").quantize(
            256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
    few.save(path, optimize=True)


def draw() -> None:
    """Run the page and keep its figures."""
    names: dict[str, Any] = {}
    for image, code in blocks((HERE / "gallery.md").read_text(encoding="utf-8")):
        exec(compile(code, "gallery.md", "exec"), names)
        if image:
            path = HERE / image
            path.parent.mkdir(exist_ok=True)
            keep(plt.gcf(), path)
        plt.close("all")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    draw()
