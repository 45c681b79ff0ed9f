"""The folder of a fine-tuning: state during the run, the model at the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from genemamba._files import ResumableFolder, load_arrays, sha256, write_json
from genemamba.errors import InputError
from genemamba.network import GeneMamba
from genemamba.network.files import read_json
from genemamba.tokens import Ranked
from genemamba.train.label_model import LabelModel
from genemamba.train.steps import load_state, save_state

STATE, DONE, HELD = "state.pt", "finetuned.json", "validation.npz"
HeldOut = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
_HELD = ("validation", "validation_logits", "apart", "apart_logits")  # their names
_ALGORITHM = 2  # raised when the same call would give another result


class TuningFolder(ResumableFolder):
    """The folder of one fine-tuning; one of another call is rejected."""

    def __init__(self, path: Path, mark: str) -> None:
        super().__init__(path, "fine-tuning", STATE, DONE)
        self.mark = mark
        path.mkdir(parents=True, exist_ok=True)

    def finished(self) -> dict[str, Any] | None:
        """Return the result by name if the run is complete."""
        if not (self.path / DONE).exists():
            return None
        described = read_json(self.path / DONE)
        self._require_own(described.get("fingerprint"))
        held = dict(zip(_HELD, load_arrays(self.path / HELD, *_HELD), strict=True))
        kept = {name: described[name] for name in ("epoch", "history")}
        return {"model": LabelModel.load(self.path), **kept, **held}

    def state(self) -> dict[str, Any] | None:
        """Return the last saved state, if any."""
        if not (self.path / STATE).exists():
            return None
        state = load_state(self.path / STATE)
        self._require_own(state.get("fingerprint"))
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Replace the last state."""
        save_state(state | {"fingerprint": self.mark}, self.path / STATE)

    def finish(
        self, model: LabelModel, epoch: int, history: list[dict[str, Any]], held: HeldOut
    ) -> None:
        """Write the result; the state stays until the last file is written."""
        model.save(self.path)
        with (self.path / HELD).open("wb") as file:
            np.savez(file, allow_pickle=False, **dict(zip(_HELD, held, strict=True)))
        described = {"fingerprint": self.mark, "epoch": epoch, "history": history}
        write_json(self.path / DONE, described)
        (self.path / STATE).unlink(missing_ok=True)

    def _require_own(self, mark: Any) -> None:
        if mark != self.mark:
            raise InputError(
                f"{self.path} holds a fine-tuning with other cells, labels, model or settings",
                "give a new folder, or delete this one",
            )


def fingerprint(
    model: GeneMamba,
    ranked: Ranked,
    labels: np.ndarray,
    groups: np.ndarray | None,
    classes: Sequence[str],
    recipe: Any,
) -> str:
    """Hash everything that decides the result."""
    assert model.vocab is not None
    settings = {
        "algorithm": _ALGORITHM,
        "recipe": asdict(recipe),
        "classes": list(map(str, classes)),
        "vocabulary": model.vocab.sha256,
        "config": model.config.to_dict(),
        "grouped": groups is not None,
    }
    arrays = [ranked.tokens, ranked.indptr, labels, *([] if groups is None else [groups])]
    weights = (t.detach().float().cpu().numpy() for t in model.state_dict().values())
    return sha256(json.dumps(settings, sort_keys=True), *arrays, *weights)
