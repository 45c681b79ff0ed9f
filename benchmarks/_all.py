"""Run every benchmark of the page, one after the other, each in a process of its own.

    python benchmarks all --data DATA --keep           results and tables into docs/benchmarks
    python benchmarks all --data DATA --only quality,annotate

With `--keep` a command is skipped whose result is kept already of this commit and these weights, so
a run that was interrupted resumes when it is called again. One that fails does not stop the others.
`_commands.py` is the list.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path
from typing import Any

from _commands import COMMANDS, OPTIONS
from _kept import commit, keep, kept, run, weights, write_tables

OPTION = re.compile(rf"\b({'|'.join(OPTIONS)})\b")


def filled(command: str, given: dict[str, Any]) -> tuple[str, list[str], list[str]]:
    """Return a command as it is shown, its words as they are run, and the options that it lacks."""

    def lacking(text: str) -> list[str]:
        return [word for word in OPTION.findall(text) if not given.get(word)]

    form = re.sub(r" \[(.*?)\]", lambda part: "" if lacking(part[1]) else f" {part[1]}", command)
    missing = sorted(set(lacking(form)))
    if missing:
        return form, [], missing
    return form, [OPTION.sub(lambda w: str(given[w[0]]), word) for word in form.split()], []


def done(command: str, about: dict[str, Any]) -> bool:
    """Whether a result of this command, commit and weights is kept; never of changed code."""
    if about["commit"].endswith("-dirty"):
        return False
    wanted = {"command": f"python benchmarks {command}", **about}
    return any(wanted.items() <= entry.items() for entry in kept(command.split()[0]))


def parse_args(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python benchmarks all", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    for word, text in OPTIONS.items():
        parser.add_argument(f"--{word.lower()}", dest=word, metavar=word, type=Path, help=text)
    parser.add_argument("--keep", action="store_true", help="keep results and write the tables")
    parser.add_argument("--only", default="", help="names of benchmarks, comma-separated")
    args = parser.parse_args(arguments)
    names = {command.split()[0] for command in COMMANDS}
    args.only = set(filter(None, args.only.split(",")))
    if unknown := args.only - names:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(names)}")
    return args


def measure(form: str, words: list[str], *, keeping: bool) -> str:
    """Run one command and keep what it found; return how it ended, in words."""
    import torch

    name, options = words[0], words[1:]
    if "cuda" in options and not torch.cuda.is_available():
        return "skipped: no CUDA device"
    about = {"commit": commit(), "weights": weights(name, options)}
    if keeping and done(form, about):
        return "kept before"
    print(f"\n=== {form}", flush=True)
    begun = time.perf_counter()
    code, last = run(name, options)
    seconds = time.perf_counter() - begun
    took = f"{seconds / 60:.1f} min"
    if code:
        return f"FAILED after {took} (exit status {code})"
    if keeping:
        keep(form, seconds, about, json.loads(last))
        write_tables()
    return took


def run_all(arguments: list[str]) -> int:
    """Run the list, then say how each command ended; 1 if any failed."""
    args, ended = parse_args(arguments), {}
    for command in COMMANDS:
        if args.only and command.split()[0] not in args.only:
            continue
        form, words, missing = filled(command, vars(args))
        if missing:
            needed = ", ".join(f"--{word.lower()} ({OPTIONS[word]})" for word in missing)
            ended[form] = f"skipped: give {needed}"
        else:
            try:
                ended[form] = measure(form, words, keeping=args.keep)
            except Exception as error:  # the others are worth their hours
                ended[form] = f"FAILED: {type(error).__name__}: {error}"
    width = max(map(len, ended))
    print("\n" + "\n".join(f"{form:{width}}  {end}" for form, end in ended.items()))
    if args.keep and (old := write_tables()):
        print(f"\ntables not of the genemamba-mini in the package: {', '.join(old)}")
    return int(any(end.startswith("FAILED") for end in ended.values()))
