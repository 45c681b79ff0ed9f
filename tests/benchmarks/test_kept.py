"""The tables of the page are what the kept results give, and every table is on the page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
TABLES = DOCS / "benchmarks" / "tables"
PAGE = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
INCLUDED = re.findall(r"```\{include\} benchmarks/tables/(\S+)\.md\n```", PAGE)
MACHINE = {"processor": "AMD EPYC", "cores": 2, "memory_gb": 25.3, "gpu": "NVIDIA H100"}
Scripts = dict[str, ModuleType]
Results = dict[str, dict[str, Any]]


def write(folder: Path, command: str, result: dict[str, Any], **about: Any) -> None:
    weights = {"genemamba-mini": "0123456789ab", "former release": "fedcba987654"}
    entry = {"command": f"python benchmarks {command}", "commit": "abcdef123456",
             "weights": weights, "machine": MACHINE, "seconds": 90, "result": result}  # fmt: skip
    with (folder / f"{command.split()[0]}.jsonl").open("a") as file:
        file.write(json.dumps(entry | about) + "\n")


@pytest.fixture
def made(scripts: Scripts, results: Results, tmp_path: Path) -> dict[str, str]:
    """Every table, of made-up results."""
    for command, result in results.items():
        write(tmp_path, sorted(scripts["_kept"].variants(command))[0], result)
    return scripts["_kept"].tables(tmp_path)


def test_every_table_is_on_the_page_once_and_there_is_no_other(made: dict[str, str]) -> None:
    assert sorted(INCLUDED) == sorted(made) == sorted(file.stem for file in TABLES.glob("*.md"))


def test_a_table_says_how_it_came_about_and_is_whole(made: dict[str, str]) -> None:
    for name, text in made.items():
        said = text.split("\n\n")[1]
        assert re.search(r"`python benchmarks \w+.*`, commit `abcdef123456`;", said), name
        assert "genemamba-mini (sha256 `01234567…`), former release (sha256 `fedcba98…`)" in said
        assert "AMD EPYC, 2 cores, 25 GB" in said
        assert "None" not in text and "nan" not in text, name
        for table in re.findall(r"(?:^\|.*\|\n?)+", text, flags=re.MULTILINE):
            assert len({line.count(" | ") for line in table.splitlines()}) == 1, (name, table)


def test_the_committed_tables_are_what_the_committed_results_give(scripts: Scripts) -> None:
    kept = scripts["_kept"]
    made = kept.tables()
    assert made
    for file in TABLES.glob("*.md"):
        text = file.read_text(encoding="utf-8")
        if file.stem in made:
            assert text == made[file.stem], "run `python benchmarks tables`"
        else:  # by hand, until the command is run
            assert kept.MARK not in text


def test_the_page_shows_every_command_that_is_run(scripts: Scripts) -> None:
    page = re.sub(r" \\\n +", " ", PAGE)
    for command in scripts["_commands"].COMMANDS:
        assert f"    python benchmarks {command}\n" in page


def test_nothing_kept_makes_no_table(scripts: Scripts, tmp_path: Path) -> None:
    assert scripts["_kept"].tables(tmp_path) == {}


def test_the_newest_result_of_a_listed_command_counts(
    scripts: Scripts, results: Results, tmp_path: Path
) -> None:
    result = results["table5"]
    for commit in ("one", "two"):
        write(tmp_path, "table5", result, commit=commit)
    write(tmp_path, "table5 --tiny", result, commit="not listed")
    assert "commit `two`" in scripts["_kept"].tables(tmp_path)["table5"]


def test_a_result_of_unknown_weights_makes_no_table(
    scripts: Scripts, results: Results, tmp_path: Path
) -> None:
    write(tmp_path, "table5", results["table5"])
    file = tmp_path / "table5.jsonl"
    entry = json.loads(file.read_text())
    del entry["weights"]
    file.write_text(json.dumps(entry) + "\n")
    assert scripts["_kept"].tables(tmp_path) == {}


def test_the_summary_counts_where_the_model_reaches_pca(made: dict[str, str]) -> None:
    said = made["quality-summary"]
    assert "| zheng | 0.810 | 0.790 | 0.800 |" in said
    assert "| pbmc3k | 0.710 | 0.700 | 0.800 |" in said
    assert "macro-F1 on 1 of 2 sets, AvgBIO on 2, both on 1 (zheng)" in said


def test_no_path_of_a_machine_is_kept(scripts: Scripts, tmp_path: Path) -> None:
    options = ["--data", str(tmp_path), "--gene-names", "a/b.csv", "--models", "x=/a/x,y=/a/y"]
    shown = scripts["_kept"].shown("corpus", [*options, "--cells", "10"])
    assert shown == "corpus --data DATA --gene-names NAMES --models MODELS --cells 10"


def test_weights_are_known_by_their_bytes(scripts: Scripts) -> None:
    import genemamba as gm

    sha = gm.models.load("genemamba-mini").provenance["sha256"]
    weights = scripts["_kept"].weights
    assert weights("quality", ["--data", "DATA"]) == {"genemamba-mini": sha}
    both = {"genemamba-mini": sha, "former release": sha}
    assert weights("quality", ["--former", "genemamba-mini"]) == both
    assert weights("length", []) == {}
