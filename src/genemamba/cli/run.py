"""Read the command line, and run one command."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from genemamba._progress import say
from genemamba._version import __version__
from genemamba.cli import arguments, commands
from genemamba.cli.files import require_inputs
from genemamba.errors import GeneMambaError, GeneMambaWarning

COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], Callable[..., Any]]] = {
    "demo": (
        "embed and cluster cells that ship with scanpy", arguments.demo, commands.demo
    ),
    "doctor": (
        "check device, backend, correctness and speed (gm.doctor)",
        arguments.doctor, commands.doctor,
    ),
    "check": ("check a file before a run (gm.pp.check)", arguments.check, commands.check),
    "embed": ("write one vector per cell (gm.tl.embed)", arguments.embed, commands.embed),
    "adapt": ("adapt a model to your cells (gm.tl.adapt)", arguments.adapt, commands.adapt),
    "annotate": ("label cell types (gm.tl.annotate)", arguments.annotate, commands.annotate),
    "integrate": ("mix batches (gm.tl.integrate)", arguments.integrate, commands.integrate),
    "perturb": (
        "delete or overexpress genes in silico (gm.tl.perturb)",
        arguments.perturb, commands.perturb,
    ),
    "map": ("lay cells on a reference map (gm.tl.map)", arguments.map, commands.map),
    "search": (
        "find the most similar cells of a reference map (gm.tl.search)",
        arguments.search, commands.search,
    ),
    "build-map": (
        "make a reference map (gm.tl.build_map)", arguments.build_map, commands.build_map
    ),
    "tokenize": (
        "write ranked genes (gm.pp.rank_tokenize)", arguments.tokenize, commands.tokenize
    ),
    "build-corpus": (
        "build a corpus for pretraining (gm.datasets.build_corpus)",
        arguments.build_corpus, commands.build_corpus,
    ),
    "pretrain": (
        "train a model on a corpus (gm.tl.pretrain)", arguments.pretrain, commands.pretrain
    ),
}  # fmt: skip
"""Of each command: what it does, its arguments, and the function that runs it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None if closed
            stream.reconfigure(errors="replace")  # "×" where the encoding has none
    reader = parser()
    found, unread = reader.parse_known_args(argv)
    given = vars(found)
    if (command := given.pop("command")) is None:
        reader.print_help(sys.stderr)
        return 2
    own = given.pop("own")
    if unread:  # argparse would show the usage of all commands
        own.error(f"unrecognized arguments: {' '.join(unread)}")
    _, _, run = COMMANDS[command]
    warnings.showwarning = _show(own, warnings.showwarning)
    try:
        require_inputs(given)
        return run(**given) or 0
    except (GeneMambaError, FloatingPointError) as error:
        say(f"genemamba: {_with_options(str(error), own)}", "stderr")
    except commands.UnheardError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end
    except OSError as error:  # of the system: a name that is too long, a folder nobody may read
        known = error.filename and error.strerror
        say(f"genemamba: {f'{error.filename}: {error.strerror}' if known else error}", "stderr")
    return 1


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    found = argparse.ArgumentParser(
        prog="genemamba", description="Embed single cells with GeneMamba."
    )
    found.add_argument("--version", action="version", version=f"genemamba {__version__}")
    of_command = found.add_subparsers(metavar="COMMAND", dest="command")
    for name, (does, add, _) in COMMANDS.items():
        own = of_command.add_parser(
            name, help=does, description=f"{does[0].upper()}{does[1:]}.", formatter_class=_Help
        )
        add(own)
        own.usage = _usage(own)
        own.set_defaults(own=own)
    return found


class _Help(argparse.HelpFormatter):
    """Help that ends with the default, if there is one to type."""

    def _get_help_string(self, action: argparse.Action) -> str:
        typed = action.option_strings and action.nargs != 0
        told = typed and action.default not in (None, (), [], argparse.SUPPRESS)
        return f"{action.help}{' (default: %(default)s)' if told else ''}"


def _usage(own: argparse.ArgumentParser) -> str:
    """Name what has to be given, files first: an option of several words would take them."""
    words = []
    for action in sorted(own._actions, key=lambda action: bool(action.option_strings)):
        if action.required:
            value = str(action.metavar or action.dest.upper())
            value += f" [{value} ...]" * (action.nargs == "+")
            words.append(" ".join([*action.option_strings[:1], value]))
    return " ".join([own.prog, *words, "[options]"])


def _with_options(message: str, own: argparse.ArgumentParser) -> str:
    """Name options where a message names arguments with values, except in calls of Python."""
    options = {a.dest: a.option_strings[0] for a in own._actions if a.option_strings}
    of_python = re.compile(rf"(gm\.[\w.]+\(.*?\))|\b({'|'.join(options)})=(True\b)?")

    def typed(found: re.Match[str]) -> str:
        call, argument, switch = found.groups()
        return call or options[argument] + ("" if switch else " ")

    return of_python.sub(typed, message)


def _show(own: argparse.ArgumentParser, otherwise: Callable[..., Any]) -> Callable[..., Any]:
    """Print this package's warnings as one plain line."""

    def show(message: Any, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, GeneMambaWarning):
            say(f"genemamba: note: {_with_options(str(message), own)}", "stderr")
        else:
            otherwise(message, category, *rest, **more)

    return show
