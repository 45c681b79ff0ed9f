"""The folder of an adaptation: work next to it while it runs, a checkpoint at the end."""

from __future__ import annotations

import json
import math
import shutil
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genemamba._files import ResumableFolder, alone, sha256, write_json
from genemamba._progress import duration, tell
from genemamba._settings import check_whole
from genemamba._version import __version__
from genemamba.cells.record import identity
from genemamba.datasets._of_counts import OwnCells, corpus_of
from genemamba.errors import InputError, shown
from genemamba.models import vocabulary
from genemamba.network import GeneMamba
from genemamba.tl._embedding import known_by

if TYPE_CHECKING:
    from genemamba.cells.read import Reading
    from genemamba.models._load import ModelLike
    from genemamba.network.runtime import Runtime

SETTINGS = "adapted.json"
CELLS, RESULT = "cells", "adapted"
_ROOM = 32  # bytes for each weight: states, start, end and result


def check_length(minutes: float, steps: int | None) -> None:
    """Raise unless `minutes`, or `steps` if given, can be the length of a training."""
    if steps is not None:
        check_whole("steps", steps)
    given: Any = minutes  # whatever a user gives
    number = isinstance(given, Real) and not isinstance(given, bool)
    if not number or not 0 < float(given) < math.inf:
        raise InputError(f"minutes={shown(minutes)} is not a time", "give a number, minutes=5")


class AdaptFolder:
    """The folder `path`, for these cells, model and settings."""

    def __init__(
        self, path: Path, model: GeneMamba, cells: OwnCells, reading: Reading, seed: int
    ) -> None:
        self.path, self.model, self.cells = path, model, cells
        self.max_tokens, self.seed = reading.max_tokens, seed
        matrix = cells.counts
        parts = [matrix.indptr, matrix.indices, matrix.data, cells.library, *cells.names]
        self.settings = {
            "model_sha256": known_by(model),
            "cells_sha256": sha256(*parts, cells.measured),
            "max_tokens": int(reading.max_tokens),
            "rng": seed,
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
        self._require_same(self.path / SETTINGS, self.path)
        return GeneMamba.from_pretrained(self.path)

    def run(
        self, minutes: float, steps: int | None, runtime: Runtime, given: ModelLike
    ) -> GeneMamba:
        """Train, choose and write the checkpoint."""
        from genemamba.train import engine
        from genemamba.train.adapting import Adapting, adapt, steps_within

        engine.require_packages()
        partial = self.path.with_name(self.path.name + ".partial")
        self._require_room(partial)
        work = ResumableFolder(partial, "adaptation", SETTINGS)
        length = {"minutes": float(minutes)} if steps is None else {"steps": int(steps)}
        with work.writing(), alone(partial):
            if (done := self.finished()) is not None:  # by another process, just now
                return done
            before = self._begun(partial, length) if work.begun else None
            corpus = corpus_of(self.cells, vocabulary(self.model), partial / CELLS)
            how = Adapting(steps or 1, self.seed, runtime, self.max_tokens)
            if before is not None:
                steps = before
            elif steps is None:
                steps = steps_within(60 * minutes, corpus, self.model, how)
                if not steps:
                    shutil.rmtree(partial)
                    raise InputError(
                        f"minutes={minutes:g} is too short for one training step on this machine",
                        "give minutes=5, or steps=100",
                    )
            write_json(
                partial / SETTINGS, {"settings": self.settings, "length": length, "steps": steps}
            )
            self._announce(steps, minutes if "minutes" in length else None, runtime)
            how = Adapting(steps, self.seed, runtime, self.max_tokens)
            kept, found = adapt(self.model, corpus, partial, how)
            self._write(kept, found, given, partial)
        shutil.rmtree(partial, ignore_errors=True)
        return GeneMamba.from_pretrained(self.path)

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
        text = json.loads((partial / SETTINGS).read_text(encoding="utf-8"))
        write_json(result / SETTINGS, text)
        if self.path.exists():
            self.path.rmdir()  # empty, or `finished` had raised
        result.replace(self.path)
        tell(summary(adapted))

    def _begun(self, partial: Path, length: dict[str, Any]) -> int | None:
        """Return the steps of the work that is resumed, which the first call has fixed."""
        found = self._require_same(partial / SETTINGS, partial)
        if found["length"] != length:
            raise InputError(
                f"{partial} holds an adaptation of other length: {found['length']}",
                "give the same minutes or steps, or delete it first",
            )
        return int(found["steps"])

    def _require_same(self, file: Path, folder: Path) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
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

    def _announce(self, steps: int, minutes: float | None, runtime: Runtime) -> None:
        took = "" if minutes is None else f", about {duration(60 * minutes)}"
        n, libraries = len(self.cells.library), len(self.cells.names)
        tell(
            f"adapt: {n:,} cells in {libraries} "
            f"{'library' if libraries == 1 else 'libraries'}, {steps} steps on {runtime.device}"
            + took
        )
