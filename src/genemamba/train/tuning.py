"""The steps of a fine-tuning: first the head on frozen states, then the model as well."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genemamba._settings import integer, number, one_of, problem
from genemamba.errors import InputError
from genemamba.heads.probe import STRENGTHS, Probe
from genemamba.network import GeneMamba
from genemamba.network.runtime import Runtime
from genemamba.tokens import Ranked, pad
from genemamba.train.label_model import LabelModel
from genemamba.train.lora import add_adapters, merge_adapters
from genemamba.train.steps import decay_groups, warm_cosine
from genemamba.train.views import thin

if TYPE_CHECKING:
    from genemamba.train.tuning_folder import TuningFolder

Tune = Literal["all", "head", "lora"]
_SAVE_SECONDS = 30.0
_HEAD_CELLS = 128
_NEVER = -30.0  # bias of a class without a training cell: its probability is 0
_POOL = 16  # batches within which cells are sorted by length


@dataclass(frozen=True)
class FineTuneRecipe:
    """Everything that decides a fine-tuning except the model and the cells."""

    tune: Tune = one_of("all", "head", "lora")  # noqa: RUF009
    """Train all weights; only the head; or the head, [CLS] and low-rank adapters."""
    epochs: int = integer(5, 1)
    """Maximum passes over the cells that train the body."""
    head_epochs: int = integer(40, 1)
    """Passes of the head over the frozen states, which are cheap."""
    cells: int = integer(32, 1)
    """Cells per step."""
    length: int = integer(96, 1)
    """Tokens per cell in a step; longer cells are thinned anew each time, but validated whole."""
    learning_rate: float = number(3e-4, 1e-12)
    """Of body, [CLS] or adapters."""
    head_learning_rate: float = number(1e-3, 1e-12)
    warmup: float = number(0.1, 0.0, 1.0)
    """Fraction of the steps in which rates rise; then they fall as a cosine."""
    weight_decay: float = number(0.01)
    clip: float = number(1.0, 1e-12)
    patience: int = integer(2, 1)
    """Epochs without a better score before training stops."""
    validation_fraction: float = number(0.15, 1e-6, 0.5)
    rank: int = integer(8, 1)
    """Rank of the adapters of ``tune="lora"``."""
    seed: int = integer(0)

    def __post_init__(self) -> None:
        what, fix = problem(self)
        if what:
            raise InputError(what, fix)


class Tuning:
    """One fine-tuning: the net, its progress, and the best weights so far.

    The only random numbers of a step are drawn from ``(seed, part, epoch, step)``, so a resumed run
    equals an uninterrupted one.
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
        self.net.body.use(runtime.backend)  # compiled passes give way where gradients are needed
        counts = np.bincount(labels[training], minlength=len(classes)).clip(min=1)
        self.weight = torch.from_numpy(1 / np.sqrt(counts)).float().to(runtime.device)
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {"score": (-math.inf, -math.inf)}
        self.folder: TuningFolder | None = None
        self.saved = time.monotonic()

    def run(self, folder: TuningFolder | None) -> None:
        """Run what is left; afterwards `net` has the best weights, with adapters merged."""
        self.folder = folder
        state = folder.state() if folder else None
        if state is None or state["part"] == "head":
            self._tune_head(state)
            state = None
        if self.recipe.tune != "head":
            self._tune_body(state)
        self.net.requires_grad_(True).cpu()
        self.net.body.use("torch")

    def _tune_head(self, state: dict[str, Any] | None) -> None:
        """Train the head on states of the frozen body, which reads every whole cell once."""
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
        )

    def _start_from_regression(self, seen: np.ndarray, judged: np.ndarray) -> None:
        """Set the head to the logistic regression that is best on the validation cells."""
        y, linear = self.labels[self.training].numpy(), self.net.head.linear
        for strength in STRENGTHS:
            probe = Probe.fit(seen, y, len(self.net.classes), strength=strength)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(probe.weight))
                linear.bias.copy_(torch.from_numpy(np.maximum(probe.bias, _NEVER)))
                logits = self.net.logits_of(seen)
                truth = torch.from_numpy(y)
                loss = F.cross_entropy(torch.from_numpy(logits), truth, self.weight.cpu())
            self._judge(_REGRESSION, 0, loss.item(), self.net.logits_of(judged))
        self._set_weights(self.best["weights"])

    def _tune_body(self, state: dict[str, Any] | None) -> None:
        """Train model and head on thinned cells."""
        net, recipe, runtime = self.net, self.recipe, self.runtime
        if recipe.tune == "lora":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(recipe.seed)
                add_adapters(net.body, recipe.rank)
        else:
            net.body.requires_grad_(True)
            net.body.lm_head.bias.requires_grad_(False)  # it predicts genes, not cells
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
        )
        if recipe.tune == "lora":
            merge_adapters(net.body)

    def _fit(
        self,
        part: _Part,
        read: Callable[[np.ndarray, np.random.Generator], Tensor],
        judge: Callable[[], np.ndarray],
        state: dict[str, Any] | None,
    ) -> None:
        """Train what requires gradients, epoch by epoch, and restore the best weights."""
        optimiser = self._optimiser()
        epoch = step = 0
        if state is None:  # the best weights so far lack what is trained from now on
            self.best |= {"epoch": 0, "weights": self._weights()}
        else:
            epoch, step = state["epoch"], state["step"]
            self.history, self.best = state["history"], state["best"]
            self._set_weights(state["weights"])
            optimiser.load_state_dict(state["optimiser"])
        losses: list[float] = [] if state is None else state["losses"]

        def save() -> None:
            if self.folder is None:
                return
            progress = {"part": part.name, "epoch": epoch, "step": step, "losses": losses}
            progress |= {"history": self.history, "best": self.best, "weights": self._weights()}
            self.folder.save(progress | {"optimiser": optimiser.state_dict()})
            self.saved = time.monotonic()

        while epoch < part.epochs and epoch - self.best["epoch"] < part.patience:
            batches = self._batches(part, epoch)
            total = part.epochs * len(batches)
            while step < len(batches):
                rate = warm_cosine(epoch * len(batches) + step, total, self.recipe.warmup)
                rng = np.random.default_rng((self.recipe.seed, int(part.of_body), epoch, step))
                losses.append(self._step(optimiser, rate, read, batches[step], rng))
                step += 1
                if time.monotonic() - self.saved > _SAVE_SECONDS:
                    save()
            epoch, step = epoch + 1, 0
            self._judge(part, epoch, float(np.mean(losses)), judge())
            losses.clear()
            if part.of_body or epoch == part.epochs:
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
        """Score the validation cells; keep the weights with the best macro-F1 (ties: by loss)."""
        wanted = self.labels[self.validation]
        rows = torch.from_numpy(logits)
        judged = F.cross_entropy(rows, wanted, self.weight.cpu()).item()
        f1, accuracy = _scores(wanted.numpy(), logits.argmax(1))
        found = {"loss": loss, "validation_loss": judged, "macro_f1": f1, "accuracy": accuracy}
        self.history.append({"part": part.name, "epoch": epoch, **found})
        score = f1, -judged
        if score > tuple(self.best["score"]):
            weights = self._weights()
            self.best = {"epoch": epoch, "score": score, "weights": weights, "logits": rows}

    def _batches(self, part: _Part, epoch: int) -> list[np.ndarray]:
        """Return all training cells in random order, batched with cells of similar length."""
        rng = np.random.default_rng((self.recipe.seed, int(part.of_body), epoch))
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
        """Copy what is trained, the head and its standardisation."""
        trained = {n for n, p in self.net.named_parameters() if p.requires_grad}
        return {
            n: t.detach().to("cpu", copy=True)
            for n, t in self.net.state_dict().items()
            if n in trained or n.startswith("head.") or n in ("centre", "scale")
        }

    def _set_weights(self, weights: dict[str, Tensor]) -> None:
        self.net.load_state_dict(self.net.state_dict() | weights)


class _Part(NamedTuple):
    """What is trained, for how many epochs, and with which patience and cells per step."""

    name: str
    epochs: int
    patience: int
    cells: int

    @property
    def of_body(self) -> bool:
        """Whether the body is trained; only then is an epoch long enough to save it."""
        return self.name != "head"


_REGRESSION = _Part("regression", 0, 0, 0)


def _thinned(
    ranked: Ranked, cells: np.ndarray, length: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    rows = [thin(ranked.of_cell(cell), length, rng) for cell in cells]
    ids, lengths = pad(Ranked.of(rows), np.arange(len(rows)))
    return torch.from_numpy(ids), torch.from_numpy(lengths)


def _scores(wanted: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    """Return macro-F1 over the classes that occur, and accuracy."""
    f1 = []
    for label in np.unique(wanted):
        hits = np.sum((wanted == label) & (found == label))
        f1.append(2 * hits / (np.sum(wanted == label) + np.sum(found == label)))
    return float(np.mean(f1)), float(np.mean(wanted == found))
