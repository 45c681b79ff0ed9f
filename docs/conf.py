"""Sphinx: Markdown pages (MyST), API pages from the docstrings."""

from __future__ import annotations

import sys
from pathlib import Path

from genemamba._version import __version__

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import catalogue  # noqa: E402

catalogue.write(HERE / "api" / "generated")

project = "genemamba"
author = "genemamba developers"
copyright = f"2026, {author}"
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build", "api/generated/catalogue.md"]

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"

autosummary_generate = True
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "sphinx_book_theme"
html_title = f"genemamba {version}"
