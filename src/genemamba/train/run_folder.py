"""The folder of a pretraining: state and logs while it runs, a checkpoint when it is done."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from genemamba.datasets import Corpus
from genemamba.errors import InputError
from genemamba.network.files import read_json
from genemamba.train.recipe import Recipe

STATE, RUN, METRICS, BOARD = "state.pt", "run.json", "metrics.csv", "tensorboard"


class RunFolder:
    """Keeps one pretraining, and refuses another.

    Raises
    ------
    InputError
        If the folder holds something else, or a run of another recipe or corpus.
    """

    def __init__(self, path: Path, corpus: Corpus, recipe: Recipe) -> None:
        self.path = path
        self.recipe, self.corpus = recipe.to_dict(), corpus_sha256(corpus)
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file", "give a new folder")
        found = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
        if found and RUN not in found:
            raise InputError(f"{path} is not empty and holds no pretraining", "give a new folder")
        self.run: dict[str, Any] = read_json(path / RUN) if found else {}
        if found:
            self._require_own()

    @property
    def finished(self) -> bool:
        """Whether the run is done, and the folder a checkpoint."""
        return bool(self.run.get("finished"))

    @property
    def state(self) -> Path | None:
        """The state to go on from, if there is one."""
        return self.path / STATE if (self.path / STATE).exists() else None

    def describe(self, **said: Any) -> None:
        """Write what is known of the run."""
        self.run = {"recipe": self.recipe, "corpus_sha256": self.corpus} | said
        new = self.path / f".{RUN}"
        new.write_text(json.dumps(self.run, indent=2) + "\n", encoding="utf-8")
        new.replace(self.path / RUN)

    @contextmanager
    def replacing_state(self, keeps: bool) -> Iterator[Path]:
        """Give a file to write the state to, and put it in the place of the last one if `keeps`.

        Raises
        ------
        InputError
            If the disk is full; the last state stays.
        """
        new = self.path / "state.new"
        try:
            yield new
            if keeps:
                new.replace(self.path / STATE)
        except OSError as error:
            new.unlink(missing_ok=True)
            if error.errno != errno.ENOSPC:
                raise
            raise InputError(
                f"the disk is full, {self.path / STATE} is the last state that was kept",
                "make room and call this again: it goes on from there",
            ) from None

    def _require_own(self) -> None:
        if self.run.get("corpus_sha256") != self.corpus:
            raise InputError(f"{self.path} is a run on another corpus", "give a new folder")
        differs = list(_differences(self.recipe, self.run.get("recipe", {})))
        if differs:
            raise InputError(
                f"{self.path} is a run of another recipe: {', '.join(differs)}",
                "give a new folder, or the recipe in its run.json",
            )


class Metrics:
    """Writes ``metrics.csv`` and TensorBoard's files; rows after the step to go on from are cut."""

    def __init__(self, folder: Path, columns: list[str], step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.file, self.columns = folder / METRICS, ["step", *columns]
        rows: list[dict[str, str]] = []
        if self.file.exists():
            with self.file.open(newline="", encoding="utf-8") as file:
                whole = (row for row in csv.DictReader(file) if None not in row.values())
                rows = [row for row in whole if int(row["step"]) <= step]
        new = self.file.with_suffix(".new")
        with new.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        new.replace(self.file)
        self.board = SummaryWriter(str(folder / BOARD), purge_step=step + 1)

    def row(self, step: int, values: dict[str, float]) -> None:
        """Write what is known after a step."""
        said = {name: f"{value:.8g}" for name, value in values.items()}
        with self.file.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns, lineterminator="\n").writerow({"step": step} | said)
        for name, value in values.items():
            self.board.add_scalar(name, value, step)

    def close(self) -> None:
        """Finish the files."""
        self.board.close()


def corpus_sha256(corpus: Corpus) -> str:
    """Hash what a corpus holds: its genes and its cells in their order."""
    said = [corpus.manifest["vocabulary_sha256"], *(shard["sha256"] for shard in corpus.shards)]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()


def load_state(file: Path) -> dict[str, Any]:
    """Read a state, on the CPU.

    Raises
    ------
    InputError
        If it is damaged.
    """
    try:
        return torch.load(file, weights_only=True, map_location="cpu", mmap=True)
    except Exception as error:  # what rubbish raises there is anybody's guess
        raise InputError(
            f"{file} is damaged ({error})", "delete the folder and start again"
        ) from None


def _differences(now: Any, before: Any, where: str = "") -> Iterator[str]:
    if isinstance(now, dict) and isinstance(before, dict):
        for key in now.keys() | before.keys():
            inner = f"{where} {key}".strip()
            yield from _differences(now.get(key), before.get(key), inner)
    elif now != before:
        yield f"{where} was {before!r}, is {now!r}"
