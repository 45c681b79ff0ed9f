"""The steps of a fine-tuning: the head on frozen states, then the model under it."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genemamba.errors import InputError
from genemamba.heads.probe import STRENGTHS, Probe
from genemamba.network import GeneMamba
from genemamba.network.runtime import Runtime
from genemamba.tokens import PAD, Ranked
from genemamba.train.label_model import LabelModel
from genemamba.train.lora import add_adapters, merge_adapters
from genemamba.train.steps import decay_groups, warm_cosine
from genemamba.train.views import thin

if TYPE_CHECKING:
    from genemamba.train.tuning_folder import TuningFolder

Tune = Literal["all", "head", "lora"]
_SAVE_SECONDS = 30.0
_HEAD_CELLS = 128
_NEVER = -30.0  # bias of a class without a training cell: its probability is nothing
_POOL = 16  # batches among which cells are sorted by length


@dataclass(frozen=True)
class FineTuneRecipe:
    """Everything that decides a fine-tuning besides the model and the cells.

    Raises
    ------
    InputError
        If a value is out of range.
    """

    tune: Tune = "all"
    """Train all weights; only the head; or the head, [CLS] and low-rank adapters."""
    epochs: int = 5
    """Most passes over the cells that train the body."""
    head_epochs: int = 40
    """Passes of the head over the frozen states; they cost next to nothing."""
    cells: int = 32
    """Cells of a step."""
    length: int = 96
    """Tokens of a cell in a step: more genes are thinned anew each time; judging reads all."""
    learning_rate: float = 3e-4
    """Of body, [CLS] or adapters."""
    head_learning_rate: float = 1e-3
    warmup: float = 0.1
    """Share of the steps in which rates rise; then they fall as a cosine."""
    weight_decay: float = 0.01
    clip: float = 1.0
    patience: int = 2
    """Epochs without a better score before tuning stops."""
    validation_fraction: float = 0.15
    rank: int = 8
    """Rank of the adapters of ``tune="lora"``."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.tune not in ("all", "head", "lora"):
            raise InputError(f"tune={self.tune!r} is unknown", "use 'all', 'head' or 'lora'")
        for name in ("epochs", "head_epochs", "cells", "length", "patience", "rank"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise InputError(f"{name}={value!r}", "give a whole number above 0")
        if type(self.seed) is not int or self.seed < 0:
            raise InputError(f"seed={self.seed!r}", "give a whole number, 0 or more")
        for name in ("learning_rate", "head_learning_rate", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name}={getattr(self, name)!r}", "give a number above 0")
        if not 0 <= self.weight_decay < math.inf or not 0 <= self.warmup <= 1:
            raise InputError("weight_decay or warmup is out of range", "leave the default")
        if not 0 < self.validation_fraction <= 0.5:
            raise InputError(
                f"validation_fraction={self.validation_fraction!r}", "give a share up to 0.5"
            )


class Tuning:
    """One fine-tuning: the net, where it stands, and the best it has been.

    Every step draws its data from ``(seed, part, epoch, step)`` alone, and nothing else is random,
    so a resumed run is the unbroken one.
    """

    def __init__(
        self,
        model: GeneMamba,
        classes: Sequence[str],
        ranked: Ranked,
        labels: np.ndarray,
        training: np.ndarray,
        validation: np.ndarray,
        recipe: FineTuneRecipe,
        runtime: Runtime,
    ) -> None:
        self.ranked, self.labels = ranked, torch.from_numpy(labels)
        self.training, self.validation = training, validation
        self.recipe, self.runtime = recipe, runtime
        self.judged = ranked.take(validation)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.net = LabelModel(copy.deepcopy(model), classes)
        self.net.eval().requires_grad_(False).to(runtime.device)
        # what has no gradients steps aside: compiled passes by themselves, the Triton kernel here
        self.net.body.use("torch" if runtime.backend == "triton" else runtime.backend)
        counts = np.bincount(labels[training], minlength=len(classes)).clip(min=1)
        self.weight = torch.from_numpy(1 / np.sqrt(counts)).float().to(runtime.device)
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {"score": (-math.inf, -math.inf)}
        self.saved = time.monotonic()

    def run(self, folder: TuningFolder | None) -> None:
        """Run all that is left to run; `net` is then the best net, its adapters merged."""
        state = folder.state() if folder else None
        if state is None or state["part"] == "head":
            self._tune_head(state, folder)
            state = None
        if self.recipe.tune != "head":
            self._tune_body(state, folder)
        self.net.requires_grad_(True).cpu()
        self.net.body.use("torch")

    def best_logits(self) -> np.ndarray:
        """Logits of the validation cells by the best net."""
        return self.best["logits"].numpy()

    def _tune_head(self, state: dict[str, Any] | None, folder: TuningFolder | None) -> None:
        """Fit the head to states of the frozen body, which reads every cell once, and whole."""
        net, runtime = self.net, self.runtime
        judged = net.embed(self.judged, runtime=runtime)
        seen = net.embed(self.ranked.take(self.training), runtime=runtime)
        states = torch.zeros(self.ranked.n_cells, seen.shape[1])
        states[self.training] = torch.from_numpy(seen)
        states = states.to(runtime.device)
        net.standardise(states[self.training])
        if state is None:
            self._start_from_regression(seen, judged)
        net.head.requires_grad_(True)
        self._fit(
            _Part("head", self.recipe.head_epochs, self.recipe.head_epochs, _HEAD_CELLS),
            lambda cells, rng: states[cells],
            lambda: net.logits_of(judged),
            state,
            folder,
        )

    def _start_from_regression(self, seen: np.ndarray, judged: np.ndarray) -> None:
        """Set the head to the logistic regression that the validation cells like best."""
        y, linear = self.labels[self.training].numpy(), self.net.head.linear
        for strength in STRENGTHS:
            probe = Probe.fit(seen, y, len(self.net.classes), strength=strength)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(probe.weight))
                linear.bias.copy_(torch.from_numpy(np.maximum(probe.bias, _NEVER)))
                logits = self.net.logits_of(seen)
                loss = F.cross_entropy(
                    torch.from_numpy(logits), torch.from_numpy(y), self.weight.cpu()
                )
            self._judge(_REGRESSION, 0, loss.item(), self.net.logits_of(judged))
        self._set_weights(self.best["weights"])

    def _tune_body(self, state: dict[str, Any] | None, folder: TuningFolder | None) -> None:
        """Train the model on thinned cells; the head goes on learning."""
        net, recipe, runtime = self.net, self.recipe, self.runtime
        if recipe.tune == "lora":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(recipe.seed)
                add_adapters(net.body, recipe.rank)
        else:
            net.body.requires_grad_(True)
            net.body.lm_head.bias.requires_grad_(False)  # it names genes, not cells
            if not net.body.config.tie_embeddings:
                net.body.lm_head.weight.requires_grad_(False)
        net.head.requires_grad_(True)
        net.cls.requires_grad_(True)

        def read(cells: np.ndarray, rng: np.random.Generator) -> Tensor:
            ids, lengths = _thinned(self.ranked, cells, recipe.length, rng)
            half = runtime.precision == "bfloat16"
            with torch.autocast(runtime.kind, torch.bfloat16, enabled=half):
                return net.states(ids.to(runtime.device), lengths.to(runtime.device))

        self._fit(
            _Part(recipe.tune, recipe.epochs, recipe.patience, recipe.cells),
            read,
            lambda: net.logits(self.judged, runtime=runtime),
            state,
            folder,
        )
        if recipe.tune == "lora":
            merge_adapters(net.body)

    def _fit(
        self,
        part: _Part,
        read: Callable[[np.ndarray, np.random.Generator], Tensor],
        judge: Callable[[], np.ndarray],
        state: dict[str, Any] | None,
        folder: TuningFolder | None,
    ) -> None:
        """Train what may move, epoch by epoch, and leave the net at its best."""
        optimiser = self._optimiser()
        epoch = step = 0
        if state is None:  # the best so far holds only what could move so far
            self.best |= {"epoch": 0, "weights": self._weights()}
        else:
            epoch, step = state["epoch"], state["step"]
            self.history, self.best = state["history"], state["best"]
            self._set_weights(state["weights"])
            optimiser.load_state_dict(state["optimiser"])
        losses: list[float] = [] if state is None else state["losses"]

        def save() -> None:
            if folder is not None:
                folder.save(
                    {
                        "part": part.name,
                        "epoch": epoch,
                        "step": step,
                        "losses": losses,
                        "history": self.history,
                        "best": self.best,
                        "weights": self._weights(),
                        "optimiser": optimiser.state_dict(),
                    }
                )
                self.saved = time.monotonic()

        while epoch < part.epochs and epoch - self.best["epoch"] < part.patience:
            batches = self._batches(part, epoch)
            total = part.epochs * len(batches)
            while step < len(batches):
                rate = warm_cosine(epoch * len(batches) + step, total, self.recipe.warmup)
                rng = np.random.default_rng((self.recipe.seed, part.code, epoch, step))
                losses.append(self._step(optimiser, rate, read, batches[step], rng))
                step += 1
                if time.monotonic() - self.saved > _SAVE_SECONDS:
                    save()
            epoch, step = epoch + 1, 0
            self._judge(part, epoch, float(np.mean(losses)), judge())
            losses.clear()
            if part.saved or epoch == part.epochs:
                save()
        self._set_weights(self.best["weights"])

    def _step(
        self,
        optimiser: torch.optim.Optimizer,
        rate: float,
        read: Callable[[np.ndarray, np.random.Generator], Tensor],
        cells: np.ndarray,
        rng: np.random.Generator,
    ) -> float:
        for group in optimiser.param_groups:
            group["lr"] = rate * group["peak"]
        logits = self.net.classify(read(cells, rng))
        wanted = self.labels[cells].to(logits.device)
        loss = F.cross_entropy(logits, wanted, self.weight)
        optimiser.zero_grad()
        loss.backward()
        moving = [p for group in optimiser.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(moving, self.recipe.clip)
        if not math.isfinite(norm.item()):
            raise FloatingPointError("the gradient is not finite; lower learning_rate")
        optimiser.step()
        return loss.item()

    def _judge(self, part: _Part, epoch: int, loss: float, logits: np.ndarray) -> None:
        """Score the validation cells; keep weights that name them best (ties: by their loss)."""
        wanted = self.labels[self.validation]
        rows = torch.from_numpy(logits)
        judged = F.cross_entropy(rows, wanted, self.weight.cpu()).item()
        f1, accuracy = _scores(wanted.numpy(), logits.argmax(1))
        self.history.append(
            {
                "part": part.name,
                "epoch": epoch,
                "loss": loss,
                "validation_loss": judged,
                "macro_f1": f1,
                "accuracy": accuracy,
            }
        )
        if (f1, -judged) > tuple(self.best["score"]):
            self.best = {
                "epoch": epoch,
                "score": (f1, -judged),
                "weights": self._weights(),
                "logits": rows,
            }

    def _batches(self, part: _Part, epoch: int) -> list[np.ndarray]:
        """All training cells in random order; cells of nearly equal length share a batch."""
        rng = np.random.default_rng((self.recipe.seed, part.code, epoch))
        order = rng.permutation(self.training)
        lengths = np.minimum(self.ranked.lengths, self.recipe.length)
        batches = []
        for start in range(0, len(order), _POOL * part.cells):
            pool = order[start : start + _POOL * part.cells]
            pool = pool[np.argsort(lengths[pool], kind="stable")]
            batches += [pool[i : i + part.cells] for i in range(0, len(pool), part.cells)]
        return [batches[i] for i in rng.permutation(len(batches))]

    def _optimiser(self) -> torch.optim.Optimizer:
        moving = [(n, p) for n, p in self.net.named_parameters() if p.requires_grad]
        groups = []
        for head in (True, False):
            own = [(n, p) for n, p in moving if n.startswith("head.") == head]
            peak = self.recipe.head_learning_rate if head else self.recipe.learning_rate
            groups += [
                group | {"peak": peak}
                for group in decay_groups(own, self.recipe.weight_decay)
                if group["params"]
            ]
        return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), fused=True)

    def _weights(self) -> dict[str, Tensor]:
        """Copy what moves, the head and its unit."""
        moving = {
            n for n, p in self.net.named_parameters() if p.requires_grad or n.startswith("head.")
        }
        moving |= {"centre", "scale"}
        return {
            n: t.detach().to("cpu", copy=True)
            for n, t in self.net.state_dict().items()
            if n in moving
        }

    def _set_weights(self, weights: dict[str, Tensor]) -> None:
        self.net.load_state_dict(self.net.state_dict() | weights)


@dataclass(frozen=True)
class _Part:
    """What is trained, how long, and how patiently."""

    name: str
    epochs: int
    patience: int
    cells: int

    @property
    def code(self) -> int:
        """Keeps the random numbers of the parts apart."""
        return int(self.name != "head")

    @property
    def saved(self) -> bool:
        """Whether an epoch is worth a file; one of the head takes less time than that."""
        return self.name != "head"


_REGRESSION = _Part("regression", 0, 0, 0)


def _thinned(
    ranked: Ranked, cells: np.ndarray, length: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    rows = [
        thin(ranked.tokens[ranked.indptr[cell] : ranked.indptr[cell + 1]], length, rng)
        for cell in cells
    ]
    lengths = np.array([len(row) for row in rows])
    ids = np.full((len(rows), lengths.max()), PAD, dtype=np.int64)
    ids[np.arange(ids.shape[1]) < lengths[:, None]] = np.concatenate(rows)
    return torch.from_numpy(ids), torch.from_numpy(lengths)


def _scores(wanted: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    """Macro-F1 over the classes that are there, and accuracy."""
    f1 = []
    for label in np.unique(wanted):
        hits = np.sum((wanted == label) & (found == label))
        f1.append(2 * hits / (np.sum(wanted == label) + np.sum(found == label)))
    return float(np.mean(f1)), float(np.mean(wanted == found))
