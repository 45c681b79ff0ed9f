"""Sphinx: Markdown pages (MyST), API pages from the docstrings."""

from __future__ import annotations

import sys
from pathlib import Path

from genemamba._version import __version__

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import catalogue  # noqa: E402
import rooms  # noqa: E402

for page in (catalogue, rooms):
    page.write(HERE / "api" / "generated")
for former in (HERE / "tutorials").glob("*.ipynb"):
    former.unlink()
for notebook in (HERE.parent / "tutorials").glob("*.ipynb"):
    text = notebook.read_text(encoding="utf-8").replace("](../docs/", "](../")  # one folder up
    (HERE / "tutorials" / notebook.name).write_text(text, encoding="utf-8")

project = "genemamba"
author = "genemamba developers"
copyright = f"2026, {author}"
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_design",
]
exclude_patterns = ["_build", "api/generated/catalogue.md", "benchmarks/tables/*"]

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # they come with their outputs; `make tutorials` renews these
nb_merge_streams = True
nitpicky = True
# Other packages' documentation is not linked: a build needs no network.
nitpick_ignore_regex = [
    (
        r"py:.*",
        r"(anndata|collections|mudata|np|numpy|pandas|pd|scipy|sparse|torch|matplotlib)\..*",
    ),
    (r"py:class", r"(os\.|pathlib\.)?(AnnData|ArrayLike|Axes|BatchSize|MuData|Path|PathLike)"),
    (r"py:class", r"genemamba\._labels\.CellTable"),  # an AnnData, for metrics
    (r"py:class", "Level"),  # of gm.tl.annotate, a union like BatchSize
    (r"py:class", "TypeAliasForwardRef"),  # of autodoc_type_aliases itself
]

autosummary_generate = True
autodoc_typehints = "signature"
maximum_signature_line_length = 88  # longer ones: a line for each parameter
autodoc_type_aliases = {
    "Diagnosis": "genemamba._doctor.Diagnosis",
    "GeneMamba": "genemamba.network.GeneMamba",
    "GeneNetwork": "genemamba.genes.results.GeneNetwork",
    "GenePairs": "genemamba.genes.results.GenePairs",
    "Report": "genemamba.pp._report.Report",
    "Seen": "genemamba.tokens.Seen",
    "Values": "genemamba.tokens.Values",
    "Vocabulary": "genemamba.tokens.Vocabulary",
}
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "sphinx_book_theme"
html_title = f"genemamba {version}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_extra_path = ["llms.txt"]
html_theme_options = {"show_navbar_depth": 1, "show_toc_level": 2, "navbar_persistent": []}
