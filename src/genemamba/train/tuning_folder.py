"""The folder of a fine-tuning: state while it runs, the model when it is done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genemamba.errors import InputError
from genemamba.network import GeneMamba
from genemamba.network.files import read_json
from genemamba.tokens import Ranked
from genemamba.train.label_model import LabelModel
from genemamba.train.steps import save_whole

STATE, DONE, HELD = "state.pt", "finetuned.json", "validation.npz"
Held = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
_HELD = ("validation", "validation_logits", "apart", "apart_logits")  # their names
"""Validation cells and their logits, cells set apart and theirs."""
_ALGORITHM = 2  # raised when the same call would give another result


class TuningFolder:
    """Keeps one fine-tuning, and refuses another.

    Raises
    ------
    InputError
        If the folder holds something else, or belongs to another call.
    """

    def __init__(self, path: Path, mark: str) -> None:
        self.path, self.mark = path, mark
        found = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
        if found - {Path(STATE).with_suffix(".new").name} and not found & {STATE, DONE}:
            raise InputError(f"{path} is not empty and holds no fine-tuning", "give a new folder")
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file", "give a new folder")
        path.mkdir(parents=True, exist_ok=True)

    def finished(self) -> dict[str, Any] | None:
        """Return the result by name if the run is done."""
        if not (self.path / DONE).exists():
            return None
        described = read_json(self.path / DONE)
        self._require_own(described.get("fingerprint"))
        with np.load(self.path / HELD) as arrays:
            held = {name: arrays[name] for name in _HELD}
        kept = {name: described[name] for name in ("epoch", "history")}
        return {"model": LabelModel.load(self.path), **kept, **held}

    def state(self) -> dict[str, Any] | None:
        """Return the last saved state, if there is one."""
        if not (self.path / STATE).exists():
            return None
        try:
            state = torch.load(self.path / STATE, weights_only=True, map_location="cpu")
            mark = state["fingerprint"]
        except Exception as error:  # what rubbish raises there is anybody's guess
            raise InputError(
                f"{self.path / STATE} is damaged ({error})", "delete the folder and start again"
            ) from None
        self._require_own(mark)
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Keep a state instead of the last one."""
        save_whole(state | {"fingerprint": self.mark}, self.path / STATE)

    def finish(
        self,
        model: LabelModel,
        epoch: int,
        history: list[dict[str, Any]],
        held: Held,
    ) -> None:
        """Write the result; until the last file is there, the state stays."""
        model.save(self.path)
        with (self.path / HELD).open("wb") as file:
            np.savez(file, allow_pickle=False, **dict(zip(_HELD, held, strict=True)))
        described = {"fingerprint": self.mark, "epoch": epoch, "history": history}
        part = self.path / f".{DONE}"
        part.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
        part.replace(self.path / DONE)
        (self.path / STATE).unlink(missing_ok=True)

    def _require_own(self, mark: Any) -> None:
        if mark != self.mark:
            raise InputError(
                f"{self.path} belongs to a fine-tuning with other cells, labels, model or settings",
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
    """Hash all that decides the result."""
    assert model.vocab is not None
    said = {
        "algorithm": _ALGORITHM,
        "recipe": asdict(recipe),
        "classes": list(map(str, classes)),
        "vocabulary": model.vocab.sha256,
        "config": model.config.to_dict(),
        "grouped": groups is not None,
    }
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    arrays = [ranked.tokens, ranked.indptr, labels, *([] if groups is None else [groups])]
    arrays += [t.detach().float().cpu().numpy() for t in model.state_dict().values()]
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
