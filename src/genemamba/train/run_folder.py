"""The folder of a pretraining: state and logs during the run, a checkpoint at the end."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genemamba._files import ResumableFolder, replacing, sha256, write_json
from genemamba.datasets import Corpus
from genemamba.errors import InputError
from genemamba.network.files import read_json
from genemamba.train.recipe import Recipe

STATE, RUN, METRICS, BOARD = "state.pt", "run.json", "metrics.csv", "tensorboard"


class RunFolder(ResumableFolder):
    """The folder of one pretraining; one of another recipe or corpus is rejected."""

    def __init__(self, path: Path, corpus: Corpus, recipe: Recipe) -> None:
        super().__init__(path, "pretraining", RUN)
        self.recipe, self.corpus = recipe.to_dict(), corpus_sha256(corpus)
        self.run: dict[str, Any] = read_json(path / RUN) if self.begun else {}
        if self.begun:
            if self.run.get("corpus_sha256") != self.corpus:
                raise InputError(f"{path} holds a run on another corpus", "give a new folder")
            self.require_same(self.recipe, self.run.get("recipe", {}))

    @property
    def finished(self) -> bool:
        """Whether the run is complete, and the folder a checkpoint."""
        return bool(self.run.get("finished"))

    @property
    def state(self) -> Path | None:
        """The saved state to resume from, if any."""
        return self.path / STATE if (self.path / STATE).exists() else None

    def describe(self, **stats: Any) -> None:
        """Write ``run.json``."""
        self.run = {"recipe": self.recipe, "corpus_sha256": self.corpus} | stats
        write_json(self.path / RUN, self.run)

    @contextmanager
    def new_state(self) -> Iterator[Path]:
        """Give a file to write a state to, which then replaces the last one."""
        with self.writing(), replacing(self.path / STATE) as new:
            yield new


class Metrics:
    """Writes ``metrics.csv`` and TensorBoard's files; rows after `step` are dropped first."""

    def __init__(self, folder: Path, columns: list[str], step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.file, self.columns = folder / METRICS, ["step", *columns]
        rows: list[dict[str, str]] = []
        if self.file.exists():
            with self.file.open(newline="", encoding="utf-8") as file:
                complete = (row for row in csv.DictReader(file) if None not in row.values())
                rows = [row for row in complete if int(row["step"]) <= step]
        with replacing(self.file) as new, new.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        self.board = SummaryWriter(str(folder / BOARD), purge_step=step + 1)

    def row(self, step: int, values: dict[str, float]) -> None:
        """Append the values of a step."""
        row = {name: f"{value:.8g}" for name, value in values.items()}
        with self.file.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns, lineterminator="\n").writerow({"step": step} | row)
        for name, value in values.items():
            self.board.add_scalar(name, value, step)


def corpus_sha256(corpus: Corpus) -> str:
    """Hash the genes of a corpus and its cells in their order."""
    shards = (shard["sha256"] for shard in corpus.shards)
    return sha256("\n".join([corpus.manifest["vocabulary_sha256"], *shards]))
