"""One entry point for all benchmarks.

    python benchmarks                       what there is, one question each
    python benchmarks NAME [OPTIONS …]      run NAME.py; the JSON of its result is the last line
    python benchmarks --keep NAME …         and add a line to docs/benchmarks/NAME.jsonl
    python benchmarks all --data DATA --keep    run all of _commands.py and write the page's tables
    python benchmarks tables                write the page's tables from what is kept

A kept line says what was run, on which commit, weights, versions and machine; the newest is the
last. Tables are made from listed commands (_commands.py).
"""

from __future__ import annotations

import ast
import json
import sys
import time

from _all import run_all
from _kept import HERE, commit, keep, run, shown, weights, write_tables

MAKERS = (
    "body_head",
    "cut_corpus",
    "gene_names",
    "orthologues",
    "reconstruct_models",
)  # make what others measure


def names() -> dict[str, str]:
    """Return each benchmark and the question it asks, the first line of its script."""
    scripts = sorted(HERE.glob("[!_]*.py"))
    first = {s.stem: str(ast.get_docstring(ast.parse(s.read_text()))) for s in scripts}
    return {name: text.split("\n", 1)[0] for name, text in first.items() if name not in MAKERS}


def main() -> int:
    """Run one benchmark or all, or list them."""
    arguments, there = sys.argv[1:], names()
    kept = arguments[:1] == ["--keep"]
    name, *options = arguments[kept:] or [""]
    if name == "all":
        return run_all(options + ["--keep"] * kept)
    if name == "tables":
        print("not of the genemamba-mini in the package:", ", ".join(write_tables()) or "none")
        return 0
    if name not in there:
        if name:
            print(f"no benchmark is called {name!r}; there are:", file=sys.stderr)
        print("\n".join(f"{known:16}{question}" for known, question in there.items()))
        return 2 if name else 0
    about = {"commit": commit(), "weights": weights(name, options)} if kept else {}
    begun = time.perf_counter()
    code, last = run(name, options)
    if kept and code == 0:
        seconds = time.perf_counter() - begun
        print("kept in", keep(shown(name, options), seconds, about, json.loads(last)))
        write_tables()
    return code


if __name__ == "__main__":
    sys.exit(main())
