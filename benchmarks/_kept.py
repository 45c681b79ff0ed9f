"""Results that are kept, docs/benchmarks/NAME.jsonl, and the tables made from the newest."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any

import _map_tables
import _tables
import _timings
from _commands import COMMANDS

HERE = Path(__file__).resolve().parent
HISTORY = HERE.parent / "docs" / "benchmarks"
TABLES = "tables"  # a folder beside the results
MARK = "<!-- written by `python benchmarks tables` -->"
PACKAGES = ("genemamba", "torch", "numpy", "numba", "anndata", "scanpy", "transformers")
PACKAGES += ("scgraph-eval",)
MINI = "genemamba-mini"
WITHOUT_WEIGHTS = ("ablation", "corpus", "length", "pretrain", "table5")


def run(name: str, options: list[str]) -> tuple[int, str]:
    """Run a script, show what it prints, and return how it ended and its last line."""
    command, last = [sys.executable, str(HERE / f"{name}.py"), *options], ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    return process.returncode, last


def commit() -> str:
    """Return the last commit that changed what figures depend on; marked if it changed since."""

    def git(*command: str) -> str:
        paths = ["--", "src", "benchmarks", "constraints.txt"]
        call = ["git", "-C", str(HERE.parent), *command, *paths]
        return subprocess.run(call, capture_output=True, text=True, check=False).stdout.strip()

    found = git("log", "-1", "--format=%h", "--abbrev=12")
    return found + ("-dirty" if git("status", "--porcelain") else "")


def machine() -> dict[str, Any]:
    """Say what the figures depend on besides the code."""
    import torch

    from genemamba._machine import cores, memory, processor

    found = {"processor": processor(), "cores": cores(), "memory_gb": round(memory(), 1)}
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found | {"threads": torch.get_num_threads()}


def weights(name: str, options: list[str]) -> dict[str, str]:
    """Return the sha256 of the weights of every checkpoint that a run reads."""
    import genemamba as gm

    paths, option = {}, ""
    for word in options:
        if word.startswith("--"):
            option = word
        elif option == "--model":
            paths[Path(word).name] = word
        elif option == "--former":
            paths["former release"] = word
        elif option == "--models":
            paths |= dict(pair.split("=", 1) for pair in word.split(","))
    # without --model, and where there is no such option, it is the one in the package
    if "--model" not in options and name not in WITHOUT_WEIGHTS:
        paths = {MINI: MINI} | paths
    return {title: gm.models.load(path).provenance["sha256"] for title, path in paths.items()}


def shown(name: str, options: list[str]) -> str:
    """Return the command without paths, which are different on every machine."""
    words, option = [name], ""
    for word in options:
        path = not word.startswith("-") and ("/" in word or Path(word).exists())
        words.append(_word(name, option) if path else word)
        option = word if word.startswith("--") else option
    return " ".join(words)


def _word(name: str, option: str) -> str:
    """Return what the list of commands writes for the path of an option."""
    listed = (re.search(rf"{option} ([A-Z]+)\b", c) for c in COMMANDS if c.split()[0] == name)
    words = [found[1] for found in listed if found]
    return words[0] if words else option.strip("-").replace("-", "_").upper()


def kept(name: str, history: Path = HISTORY) -> list[dict[str, Any]]:
    """Return what is kept of a benchmark, the newest last."""
    file = history / f"{name}.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [json.loads(line) for line in lines]


def keep(command: str, seconds: float, about: dict[str, Any], result: dict[str, Any]) -> Path:
    """Add a result to the history; `about` holds its commit and weights."""
    entry = {
        "command": f"python benchmarks {command}",
        **about,
        "versions": versions(),
        "machine": machine(),
        "seconds": round(seconds),
        "result": result,
    }
    file = HISTORY / f"{command.split()[0]}.jsonl"
    with file.open("a", encoding="utf-8") as history:
        history.write(json.dumps(entry) + "\n")
    return file


def versions() -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def variants(command: str) -> set[str]:
    """Return a command with and without each of its parts in brackets."""
    parts = re.split(r" \[(.*?)\]", command)
    choices = [(part,) if i % 2 == 0 else ("", f" {part}") for i, part in enumerate(parts)]
    return {"".join(choice) for choice in product(*choices)}


def tables(history: Path = HISTORY) -> dict[str, str]:
    """Make every table from the newest kept result of a listed command that has it."""
    listed = {f"python benchmarks {form}" for command in COMMANDS for form in variants(command)}
    found: dict[str, str] = {}
    for name in dict.fromkeys(command.split()[0] for command in COMMANDS):
        render = {**vars(_tables), **vars(_timings), **vars(_map_tables)}[name]
        for entry in kept(name, history):
            # what was measured before weights were recorded could be of any
            if entry["command"] in listed and "weights" in entry:
                head = origin(entry)
                made = render(entry["result"])
                found |= {title: f"{MARK}\n\n{head}\n\n{text}\n" for title, text in made.items()}
    return found


def origin(entry: dict[str, Any]) -> str:
    """Say where a table is from: command, commit, weights, machine."""
    on = entry["machine"]
    read = [f"{name} (sha256 `{sha[:8]}…`)" for name, sha in entry["weights"].items()]
    gpu = f", {on['gpu']}" if entry["result"].get("device") == "cuda" else ""
    took = f"; {entry['seconds'] / 60:.0f} min" if "seconds" in entry else ""
    return (
        f"`{entry['command']}`, commit `{entry['commit']}`; {', '.join(read) or 'no checkpoint'}; "
        f"{on['processor']}, {on['cores']} cores, {on['memory_gb']:.0f} GB{gpu}{took}"
    )


def write_tables(history: Path = HISTORY) -> list[str]:
    """Write every table that can be made, and return those that are of other weights than mini's.

    A table of which nothing is kept stays as it is.
    """
    (history / TABLES).mkdir(exist_ok=True)
    for title, text in tables(history).items():
        (history / TABLES / f"{title}.md").write_text(text, encoding="utf-8")
    return outdated(history)


def outdated(history: Path = HISTORY) -> list[str]:
    """Return the tables that are of an earlier genemamba-mini, or do not say of which."""
    now = weights("", [])[MINI][:8]
    found = []
    for file in sorted((history / TABLES).glob("*.md")):
        text = file.read_text(encoding="utf-8")
        if MARK not in text or (f"{MINI} (" in text and f"{MINI} (sha256 `{now}…`)" not in text):
            found.append(file.stem)
    return found
