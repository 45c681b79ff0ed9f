"""The pretraining loop, on Lightning Fabric: one or many processes, exactly resumable."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import time
from contextlib import nullcontext
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from genemamba._progress import say, tell, tqdm
from genemamba._version import __version__
from genemamba.datasets import Corpus
from genemamba.errors import InputError
from genemamba.network import GeneMamba
from genemamba.network.runtime import Precision, choose_runtime
from genemamba.train.card import write_card
from genemamba.train.data import Stream, split
from genemamba.train.guard import Guard
from genemamba.train.mix import Mix
from genemamba.train.packing import ViewBatch
from genemamba.train.recipe import Recipe
from genemamba.train.run_folder import STATE, Metrics, RunFolder
from genemamba.train.start import new_model
from genemamba.train.steps import decay_groups, load_state, warm_cosine, warm_linear
from genemamba.train.task import Task
from genemamba.train.validation import Validation

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Strategy = Literal["auto", "ddp", "fsdp"]
_LOG_EVERY = 10  # steps between two rows of training losses
_EARLY = 1, 10  # steps to save after, however seldom else
_MANY = 5_000_000  # tokens of a run from which compiling the layers takes less than it saves
_PRECISIONS: dict[str, Precision] = {"bf16-mixed": "bfloat16", "32-true": "float32"}
_SCHEDULES = {"cosine": warm_cosine, "linear": warm_linear}


def pretrain(
    corpus: Corpus,
    recipe: Recipe,
    out: Path,
    *,
    devices: int = 1,
    strategy: Strategy = "auto",
    accelerator: str = "auto",
    stop_after: float | None = None,
    doing: str = "pretrain",
) -> GeneMamba:
    """Train from the start or from the last state in `out`; return the model at its current step.

    Parameters
    ----------
    out
        Folder for state and logs; a checkpoint at the end.
    devices, strategy, accelerator
        As in Fabric; "fsdp" shards weights and optimiser, layer by layer.
    stop_after
        Seconds after which to save and return; the same call resumes.
    doing
        What the progress bar says.

    Raises
    ------
    InputError
        If an argument is invalid, or the disk is full.
    FloatingPointError
        If training diverges.
    """
    begun = time.monotonic()
    fabric = _fabric(recipe, devices, strategy, accelerator)
    folder = RunFolder(out, corpus, recipe)
    if folder.finished:
        return GeneMamba.from_pretrained(out)
    cells = split(corpus, recipe)
    model = new_model(corpus, recipe, cells.training)
    Stream(corpus, recipe, cells.training, world=fabric.world_size)  # checks the settings
    fabric.launch()
    if fabric.is_global_zero and not folder.state:
        out.mkdir(parents=True, exist_ok=True)
        folder.describe(finished=False, step=0)
    stream = Stream(corpus, recipe, cells.training, fabric.global_rank, fabric.world_size)
    until = None if stop_after is None else begun + stop_after
    validation = Validation(corpus, recipe, cells)
    seeded = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices=seeded):  # keeps the caller's random state
        run = _Run(fabric, folder, model, corpus, recipe, stream, validation)
        run.doing = doing
        return run.result(run.go(until))


class _Run:
    """The part of a run in one process."""

    doing = "pretrain"

    def __init__(
        self,
        fabric: Fabric,
        folder: RunFolder,
        model: GeneMamba,
        corpus: Corpus,
        recipe: Recipe,
        stream: Stream,
        validation: Validation,
    ) -> None:
        self.fabric, self.folder, self.corpus, self.recipe = fabric, folder, corpus, recipe
        self.stream, self.validation = stream, validation
        torch.manual_seed(recipe.run.seed)
        share = recipe.optimiser.start_share
        self.mix = Mix(model, share) if share else None
        self.inner = Task(model, recipe, corpus.labels)
        precision = _PRECISIONS[recipe.run.precision]
        if fabric.device.type == "cuda":
            model.use(choose_runtime("cuda", precision).backend)
        if recipe.run.compile and model.backend == "torch" and _tokens(recipe, stream) >= _MANY:
            tell(f"{self.doing}: the layers are compiled first, which takes a minute or two")
            self.inner.compile()
        self.task = fabric.setup_module(self.inner)
        optimiser = torch.optim.AdamW(
            decay_groups(self.inner.trained(), recipe.optimiser.weight_decay),
            lr=recipe.optimiser.learning_rate,
            betas=(0.9, 0.98),
            fused=True,
        )
        self.optimiser: Any = fabric.setup_optimizers(optimiser)
        self.guard = Guard(round(recipe.optimiser.warmup * stream.steps))
        self.seen = {"step": 0, "cells": 0, "tokens": 0, "seconds": 0.0}
        self.window = {"steps": 0, "norm": 0.0} | dict.fromkeys(self.inner.names, 0.0)
        self.scores: dict[str, float] = {}
        self._resume()

    def go(self, until: float | None) -> bool:
        """Run to the end or until a time; return whether the run is complete."""
        metrics = self._metrics() if self.fabric.is_global_zero else None
        first, last = int(self.seen["step"]), self.stream.steps
        before = self.seen["seconds"] - time.monotonic()
        with self._bar() as bar:
            for step, batches in self.stream.from_step(first):
                late = self._step(step, batches, until)
                n_cells = sum(cells.size for cells in self.stream.cells(step))
                self.seen["cells"] += n_cells
                self.seen["step"] = step + 1
                self.seen["seconds"] = before + time.monotonic()
                if step == first:  # it compiles, and says nothing of the others
                    bar.unpause()
                bar.update(n_cells)
                self._log(metrics, step + 1)
                if late or step + 1 == last or self._saves_at(step + 1):
                    self._save()
                if late:
                    break
        if metrics is not None:
            metrics.board.close()
        return self.seen["step"] == last

    def _saves_at(self, done: int) -> bool:
        """Whether to save after a step: now and then, and soon after the start as well."""
        return done % self.recipe.run.save_every == 0 or done in _EARLY

    def _step(self, step: int, batches: list[ViewBatch], until: float | None) -> bool:
        """Take one step; return whether the time is up."""
        settings, n = self.recipe.optimiser, len(batches)
        rate = _SCHEDULES[settings.schedule](step, self.stream.steps, settings.warmup)
        for group in self.optimiser.param_groups:
            group["lr"] = settings.learning_rate * rate
        losses, tokens = torch.zeros(len(self.inner.names), device=self.fabric.device), 0
        for k, batch in enumerate(batches):
            with self.fabric.no_backward_sync(self.task, enabled=k + 1 < n):
                found = self.task(self.fabric.to_device(batch))
                self.fabric.backward(self.inner.total(found) / n)
            losses += found.detach() / n
            tokens += int((batch.segment >= 0).sum())
        late = until is not None and time.monotonic() > until
        means: Any = self.fabric.all_reduce(torch.cat([losses, losses.new_tensor([tokens, late])]))
        *each, tokens_each, late_share = means.tolist()
        norm = self._clip(settings.clip)
        why = self.guard.refuses(self.inner.total(torch.tensor(each)).item(), norm)
        if why:
            say(f"step {step + 1} is skipped: {why}")
        else:
            self.optimiser.step()
            for name, value in zip(self.window, (1, norm, *each), strict=True):
                self.window[name] += value
        self.optimiser.zero_grad()
        self.seen["tokens"] += round(tokens_each * self.fabric.world_size)
        return late_share > 0

    def _clip(self, most: float) -> float:
        norm = self.fabric.clip_gradients(
            self.task, self.optimiser, max_norm=most, error_if_nonfinite=False
        )
        assert norm is not None
        return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)

    def _log(self, metrics: Metrics | None, done: int) -> None:
        """Write the mean losses since the last row, and at checks the held-out scores."""
        check = done % self.recipe.run.check_every == 0 or done == self.stream.steps
        if check:
            self.task.eval()
            self.scores = self.validation.scores(
                self.task, self.inner.names, self.fabric.to_device,
                None if self.mix is None else self.mix.used(),
            )  # fmt: skip
            self.task.train()
        if not check and done % _LOG_EVERY:
            return
        n = max(1.0, self.window["steps"])
        row = {
            "epoch": done * self.recipe.data.micro_batches / len(self.stream.epoch(0)),
            "cells": self.seen["cells"],
            "tokens": self.seen["tokens"],
            "hours": self.seen["seconds"] / 3600,
            "cells_per_second": self.seen["cells"] / max(self.seen["seconds"], 1e-9),
            "learning_rate": self.optimiser.param_groups[0]["lr"],
            "gradient_norm": self.window["norm"] / n,
            "skipped": self.guard.skipped,
        }
        row |= {name: self.window[name] / n for name in self.inner.names}
        self.window = dict.fromkeys(self.window, 0.0)
        if metrics is not None:
            metrics.row(done, row | (self.scores if check else {}))

    def _metrics(self) -> Metrics:
        columns = ["epoch", "cells", "tokens", "hours", "cells_per_second", "learning_rate",
                   "gradient_norm", "skipped", *self.inner.names,
                   *self.validation.columns(self.inner.names)]  # fmt: skip
        return Metrics(self.folder.path, columns, int(self.seen["step"]))

    def _bar(self) -> Any:
        if not self.fabric.is_global_zero:
            return tqdm(disable=True)
        epochs = self.stream.steps * self.recipe.data.micro_batches / len(self.stream.epoch(0))
        total, done = round(epochs * len(self.stream.training)), int(self.seen["cells"])
        return tqdm(total=total, initial=done, unit="cell", desc=self.doing)

    def _state(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "optimiser": self.optimiser,
            "guard": self.guard.state_dict(),
            "seen": self.seen,
            "window": self.window,
            "scores": self.scores,
        }

    def _save(self) -> None:
        saves = self.fabric.is_global_zero
        with self.folder.new_state() if saves else nullcontext(self.folder.path / STATE) as file:
            self.fabric.save(file, self._state())
        if saves:
            self.folder.describe(finished=False, **self._stats())

    def _resume(self) -> None:
        if self.folder.state is None:
            return
        load_state(self.folder.state, mapped=True)  # rejects a damaged one
        state = self._state()
        self.fabric.load(self.folder.state, state, weights_only=True)
        self.seen, self.window, self.scores = state["seen"], state["window"], state["scores"]
        self.guard.load_state_dict(state["guard"])

    def _stats(self) -> dict[str, Any]:
        packages = ("torch", "lightning-fabric", "numpy")
        return {
            "step": self.seen["step"],
            "steps": self.stream.steps,
            "processes": self.fabric.world_size,
            "cells": self.seen["cells"],
            "tokens": self.seen["tokens"],
            "hours": round(self.seen["seconds"] / 3600, 4),
            "held_out": {name: round(value, 5) for name, value in self.scores.items()},
            "versions": {"genemamba": __version__, "python": platform.python_version()}
            | {name: version(name) for name in packages},
        }

    def result(self, done: bool) -> GeneMamba:
        """Return the model of the saved state; write a checkpoint if the run is `done`."""
        model = GeneMamba(self.inner.model.config)
        model.vocab, model.ranking = self.corpus.vocab, self.corpus.ranking
        state, inside = load_state(self.folder.path / STATE, mapped=True)["task"], "model."
        weights = {k.removeprefix(inside): v for k, v in state.items() if k.startswith(inside)}
        if self.mix is not None:
            weights = self.mix.of(weights)
        if model.config.tie_embeddings:  # the average has it under its first name only
            weights["lm_head.weight"] = weights["embeddings.weight"]
        model.load_state_dict(weights)
        del state, weights  # mapped from a file that is removed below, which Windows would refuse
        model.provenance = self._provenance()
        self.fabric.barrier()
        if done and self.fabric.is_global_zero:
            model.sketch = self.corpus.sketch(self.stream.training, self.inner.model.sketch)
            model.save_pretrained(self.folder.path, half=True)
            self.folder.describe(finished=True, **self._stats())
            write_card(self.folder.path)
            (self.folder.path / STATE).unlink()
        self.fabric.barrier()
        return GeneMamba.from_pretrained(self.folder.path) if done else model.eval()

    def _provenance(self) -> dict[str, Any]:
        stats = self._stats()
        files = {source["file"]: source["kept"] for source in self.corpus.manifest["sources"]}
        return {
            "name": self.recipe.name,
            "objective": self.recipe.objectives.text(),
            "cells": int((self.corpus.profile < 0).sum()),
            "profiles": len(np.unique(self.corpus.profile[self.corpus.profile >= 0])),
            "labelled": int((self.corpus.label >= 0).sum()),
            "libraries": len(self.corpus.groups),
            "genes": self.corpus.vocab.n_genes,
            "recipe": self.recipe.to_dict(),
            "corpus": {"files": files, "sha256": self.folder.corpus},
            "cells_seen": stats["cells"],
            "tokens_seen": stats["tokens"],
            **{key: stats[key] for key in ("steps", "hours", "held_out", "versions")},
        }


def require_packages() -> None:
    """Raise if the packages that training needs are not installed."""
    if find_spec("lightning_fabric") is None or find_spec("tensorboard") is None:
        raise InputError(
            "training needs Lightning Fabric and TensorBoard", "pip install 'genemamba[train]'"
        )


def _tokens(recipe: Recipe, stream: Stream) -> int:
    """Return how many tokens a run reads at most: two views of each cell."""
    data = recipe.data
    return stream.steps * data.micro_batches * data.cells * 2 * data.length


def _fabric(recipe: Recipe, devices: int, strategy: Strategy, accelerator: str) -> Fabric:
    """Set up Fabric, an optional dependency."""
    require_packages()
    if strategy not in ("auto", "ddp", "fsdp"):
        raise InputError(f"strategy={strategy!r} is unknown", "use 'auto', 'ddp' or 'fsdp'")
    if isinstance(devices, bool) or not isinstance(devices, int) or devices < 1:
        raise InputError(f"devices={devices!r}", "give the number of processes, 1 or more")
    if strategy == "fsdp" and recipe.optimiser.start_share:
        raise InputError(
            "[optimiser] start_share needs all weights in one place", "use strategy='ddp'"
        )
    compilers = (os.environ.get("CXX", ""), "g++", "clang++", "cl")
    if recipe.run.compile and not any(map(shutil.which, compilers)):
        raise InputError(
            "[run] compile needs a C++ compiler, and none is installed",
            "install g++ or clang++, or set compile = false",
        )
    from lightning_fabric import Fabric

    from genemamba.train.parallel import make_strategy

    # it tells that bfloat16 is used, which every record has
    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)
    return Fabric(
        accelerator=accelerator,
        devices=devices,
        strategy=make_strategy(strategy, devices),
        precision=recipe.run.precision,
    )
