"""The list is run one after the other; what fails, lacks an option or is kept stops nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Scripts = dict[str, ModuleType]


def test_words_in_capitals_are_options(scripts: Scripts) -> None:
    filled = scripts["_all"].filled
    command = "quality --data DATA [--former FORMER]"
    assert filled(command, {}) == ("quality --data DATA", [], ["DATA"])
    said = filled(command, {"DATA": Path("a b")})
    assert said == ("quality --data DATA", ["quality", "--data", "a b"], [])
    form, words, _ = filled(command, {"DATA": Path("x"), "FORMER": Path("y")})
    assert form == "quality --data DATA --former FORMER"
    assert words == ["quality", "--data", "x", "--former", "y"]


def test_every_option_is_explained_and_every_command_has_a_script(scripts: Scripts) -> None:
    commands, everything = scripts["_commands"], scripts["_all"]
    used = {word for c in commands.COMMANDS for word in everything.OPTION.findall(c)}
    assert used == set(commands.OPTIONS)
    folder = Path(everything.__file__).parent
    assert all((folder / f"{c.split()[0]}.py").exists() for c in commands.COMMANDS)


@pytest.fixture
def ran(
    scripts: Scripts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results: dict[str, Any]
) -> Callable[..., tuple[int, list[str]]]:
    """Run `all` with scripts that print what they should, but for the one called `broken`."""
    kept, everything = scripts["_kept"], scripts["_all"]
    monkeypatch.setattr(kept, "HISTORY", tmp_path)
    monkeypatch.setattr(everything, "kept", lambda name: kept.kept(name, tmp_path))
    monkeypatch.setattr(everything, "write_tables", lambda: kept.write_tables(tmp_path))
    monkeypatch.setattr(everything, "commit", lambda: "abcdef123456")

    def run_all(*arguments: str, broken: str = "") -> tuple[int, list[str]]:
        begun: list[str] = []

        def run(name: str, options: list[str]) -> tuple[int, str]:
            begun.append(name)
            found = {c.split()[0]: r for c, r in results.items()}[name]
            return int(name == broken), json.dumps(found)

        monkeypatch.setattr(everything, "run", run)
        return everything.run_all(list(arguments)), begun

    return run_all


def test_one_that_fails_is_reported_and_stops_nothing(
    ran: Callable[..., tuple[int, list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    code, begun = ran("--only", "length,table5,pretrain", broken="length")
    assert code == 1
    assert begun == ["length", "table5"]
    said = capsys.readouterr().out
    assert "length --runs 3" in said and "FAILED" in said
    assert "skipped: give --corpus" in said


def test_what_is_kept_of_this_commit_and_weights_is_skipped(
    ran: Callable[..., tuple[int, list[str]]], scripts: Scripts, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    once = ("--only", "length,table5", "--keep")
    assert ran(*once, broken="length") == (1, ["length", "table5"])
    assert (tmp_path / "tables" / "table5.md").exists()
    assert ran(*once) == (0, ["length"])
    assert ran(*once) == (0, [])
    monkeypatch.setattr(scripts["_all"], "weights", lambda *_: {"genemamba-mini": "other"})
    assert ran(*once) == (0, ["length", "table5"])
    monkeypatch.setattr(scripts["_all"], "commit", lambda: "abcdef123456-dirty")
    assert ran(*once) == (0, ["length", "table5"])
    assert ran(*once) == (0, ["length", "table5"])


def test_an_unknown_name_is_refused(ran: Callable[..., tuple[int, list[str]]]) -> None:
    with pytest.raises(SystemExit):
        ran("--only", "qualty")
