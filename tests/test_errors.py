"""Errors say what was wrong and what to do; the catalogue has them all."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from genemamba.errors import GeneMambaError

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("catalogue", ROOT / "docs" / "catalogue.py")
assert SPEC is not None
assert SPEC.loader is not None
catalogue = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(catalogue)


def test_every_error_has_a_remedy() -> None:
    found = list(catalogue.entries())
    assert len(found) > 200
    without = [f"{e.module}:{e.line} {e.what}" for e in found if not e.fix.strip()]
    assert not without


def test_the_catalogue_says_what_the_code_says() -> None:
    page = catalogue.markdown()
    assert "| layer={layer} is not in adata.layers |" in page
    for error in (line for line in page.splitlines() if line.startswith("| ")):
        assert error.count("|") == 3, error


def test_a_message_and_its_remedy() -> None:
    error = GeneMambaError("it is wrong", "make it right")
    assert str(error) == "it is wrong\n  Fix: make it right"
