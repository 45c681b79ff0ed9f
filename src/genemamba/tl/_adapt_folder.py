"""The folder of an adaptation: work next to it while it runs, a checkpoint at the end."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genemamba._files import ResumableFolder, alone, sha256, write_json
from genemamba._progress import duration, tell
from genemamba._settings import check_positive, check_whole
from genemamba._version import __version__
from genemamba.cells.record import identity
from genemamba.datasets._of_counts import OwnCells, corpus_of
from genemamba.errors import InputError
from genemamba.models import vocabulary
from genemamba.network import GeneMamba
from genemamba.network.files import read_json
from genemamba.tl._embedding import known_by

if TYPE_CHECKING:
    from genemamba.cells.read import Reading
    from genemamba.datasets import Corpus
    from genemamba.models._load import ModelLike
    from genemamba.network.runtime import Runtime
    from genemamba.train.adapting import Adapting

SETTINGS = "adapted.json"
CELLS, RESULT = "cells", "adapted"
_ROOM = 32  # bytes for each weight: states, start, end and result


def check_length(minutes: float, steps: int | None) -> None:
    """Raise unless `minutes`, or `steps` if given, can be the length of a training."""
    if steps is not None:
        check_whole("steps", steps)
    check_positive("minutes", minutes, say=5)


class AdaptFolder:
    """The folder `path`, for these cells, model and settings; `minutes` count without `steps`."""

    def __init__(
        self,
        path: Path,
        model: GeneMamba,
        cells: OwnCells,
        reading: Reading,
        seed: int,
        *,
        minutes: float,
        steps: int | None,
    ) -> None:
        self.minutes, self.steps = float(minutes), None if steps is None else int(steps)
        self.path, self.model, self.cells = path, model, cells
        self.max_tokens, self.seed = reading.max_tokens, seed
        matrix = cells.counts
        parts = [matrix.indptr, matrix.indices, matrix.data, cells.library, *cells.names]
        self.settings = {
            "model_sha256": known_by(model),
            "cells_sha256": sha256(*parts, cells.measured),
            "max_tokens": int(reading.max_tokens),
            "rng": seed,
            "length": f"{minutes:g} minutes" if steps is None else f"{steps} steps",
        }

    def finished(self) -> GeneMamba | None:
        """Return the model of an equal call that is done."""
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return None
        if not (self.path / SETTINGS).is_file():
            raise InputError(
                f"out={str(self.path)!r} exists and is not an adapted model",
                "give another out, or delete it first",
            )
        self._require_same(self.path)
        return GeneMamba.from_pretrained(self.path)

    def run(self, runtime: Runtime, given: ModelLike) -> GeneMamba:
        """Train, choose and write the checkpoint."""
        from genemamba.train import engine
        from genemamba.train.adapting import Adapting, adapt

        engine.require_packages()
        partial = self.path.with_name(self.path.name + ".partial")
        self._require_room(partial)
        work = ResumableFolder(partial, "adaptation", SETTINGS)
        with work.writing(), alone(partial):
            if (done := self.finished()) is not None:  # by another process, just now
                return done
            found = self._require_same(partial) if work.begun else self._note(partial, self.steps)
            corpus = corpus_of(self.cells, vocabulary(self.model), partial / CELLS)
            how = Adapting(found["steps"] or 1, self.seed, runtime, self.max_tokens)
            if found["steps"] is None:
                how = replace(how, steps=self._fitting(corpus, how, partial))
                self._note(partial, how.steps)
            self._announce(how)
            self._write(*adapt(self.model, corpus, partial, how), given, partial)
        shutil.rmtree(partial, ignore_errors=True)
        return GeneMamba.from_pretrained(self.path)

    def _note(self, folder: Path, steps: int | None) -> dict[str, Any]:
        """Keep the settings, and the number of steps once it is fixed."""
        found = {"settings": self.settings, "steps": steps}
        write_json(folder / SETTINGS, found)
        return found

    def _fitting(self, corpus: Corpus, how: Adapting, partial: Path) -> int:
        """Return how many steps fit into the minutes; nothing is left behind if none does."""
        from genemamba.train.adapting import steps_within

        steps = steps_within(60 * self.minutes, corpus, self.model, how)
        if steps:
            return steps
        shutil.rmtree(partial)
        raise InputError(
            f"minutes={self.minutes:g} is too short for one training step on this machine",
            "give minutes=5, or steps=100",
        )

    def _write(
        self, kept: GeneMamba, found: dict[str, Any], given: ModelLike, partial: Path
    ) -> None:
        """Write the checkpoint and its card, whole or not at all."""
        from genemamba.train.adapted_card import card, summary

        before = self.model.provenance
        of = identity(self.model, given)
        libraries = {
            name: int(n)
            for name, n in zip(self.cells.names, self.cells.sizes.tolist(), strict=True)
        }
        adapted: dict[str, Any] = {"from": of["model"], "from_sha256": of["model_sha256"]}
        adapted |= {"cells": len(self.cells.library), "libraries": libraries, **found}
        adapted |= {"version": __version__}
        if "adapted" in before:
            adapted["before"] = before["adapted"]
        kept.provenance = before | {"name": f"{of['model']}, adapted", "adapted": adapted}
        result = partial / RESULT
        shutil.rmtree(result, ignore_errors=True)
        kept.save_pretrained(result, half=found["kept"] != "unchanged")
        (result / "README.md").write_text(card(kept), encoding="utf-8")
        self._note(result, found["steps"])
        if self.path.exists():
            self.path.rmdir()  # empty, or `finished` had raised
        result.replace(self.path)
        tell(summary(adapted))

    def _require_same(self, folder: Path) -> dict[str, Any]:
        found: dict[str, Any] = read_json(folder / SETTINGS)
        before = found.get("settings", {})
        names = {"model_sha256": "model", "cells_sha256": "cells, genes or libraries"}
        if differs := [names.get(k, k) for k, v in self.settings.items() if before.get(k) != v]:
            raise InputError(
                f"{folder} was adapted with other {', '.join(differs)}",
                "give another out, or delete it first",
            )
        return found

    def _require_room(self, partial: Path) -> None:
        """Raise if the folder cannot be made, or if there is no space for the work."""
        where = next(p for p in partial.absolute().parents if p.exists())
        if not where.is_dir():
            raise InputError(f"{where} is a file, and out needs a folder", "give another out")
        weights = sum(weight.numel() for weight in self.model.parameters())
        needed = _ROOM * weights + 8 * self.cells.counts.nnz
        free = shutil.disk_usage(where).free
        if free < needed:
            raise InputError(
                f"the disk of out has {free / 1e9:.1f} GB left, and adapting needs "
                f"{needed / 1e9:.1f} GB",
                "free some space, or give an out on another disk",
            )

    def _announce(self, how: Adapting) -> None:
        took = f", about {duration(60 * self.minutes)}" if self.steps is None else ""
        n, libraries = len(self.cells.library), len(self.cells.names)
        tell(
            f"adapt: {n:,} cells in {libraries} "
            f"{'library' if libraries == 1 else 'libraries'}, {how.steps} steps on "
            f"{how.runtime.device}{took}"
        )
