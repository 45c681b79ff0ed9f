"""The settings of a pretraining, read from TOML: everything that decides it except the corpus."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from genemamba._settings import (
    integer,
    names,
    number,
    one_of,
    read_section,
    require_known,
    string,
    switch,
)
from genemamba.errors import CheckpointError, InputError, shown
from genemamba.network import GeneMambaConfig

READY = ("unlabelled", "genemamba-mini", "genemamba-small", "paper")
_NAMES = {"masked": "masked genes", "next": "next gene",
          "contrast": "cell contrast", "labels": "cell types and their ancestors",
          "profile": "expression of the other view",
          "pathway": "pathways"}  # fmt: skip


@dataclass(frozen=True)
class Objectives:
    """The weight of each loss; 0 leaves it out."""

    masked: float = number(1.0)
    """Predict hidden genes."""
    contrast: float = number(1.0)
    """Find the other view of a cell among views of other cells."""
    labels: float = number(0.0)
    """Predict the cell type and its ancestors in the Cell Ontology, for labelled cells."""
    profile: float = number(0.0)
    """Predict the expression in the other view of a cell from the embedding of one view."""
    next: float = number(0.0)
    """Predict the next gene (the paper's objective). A bidirectional model has already seen it."""
    pathway: float = number(0.0)
    """Pull genes of a pathway together (the paper's γ is 0.1)."""
    mask_fraction: float = number(0.15, 0.001, 1.0)
    """Fraction of positions at which a gene is predicted."""
    temperature: float = number(0.1, 0.001)
    """τ of contrast."""
    pathway_temperature: float = number(0.1, 0.001)
    """τ of pathway."""
    gene_sets: str = string()
    """GMT file of the pathways."""

    def weights(self) -> dict[str, float]:
        """Return the weights that are not 0."""
        return {name: getattr(self, name) for name in _NAMES if getattr(self, name)}

    def text(self) -> str:
        """List the objectives, for provenance and model cards."""
        return ", ".join(_NAMES[name] for name in self.weights())


@dataclass(frozen=True)
class Data:
    """The cells and views of a step."""

    length: int = integer(192, 8)
    """Maximum tokens per view."""
    cells: int = integer(64, 1)
    """Cells per micro-batch, all from one library."""
    micro_batches: int = integer(1, 1)
    """Micro-batches per step, over all processes."""
    views: Literal["parts", "whole"] = one_of("parts", "whole")
    """Two parts of a cell's counts, or the whole cell once."""
    shallowest: float = number(400, 1)
    """Minimum counts of a part; depths are log-uniform."""
    deepest: float = number(4_000, 1)
    """Maximum counts of a part, and at most half of the cell's."""
    capture: float = number(0.0, 0.0, 3.0)
    """Spread of the probabilities of keeping a gene's counts, drawn for each set of views."""
    panels: float = number(0.0, 0.0, 1.0)
    """Fraction of micro-batches whose second views are cut to a panel of 150 to 1,500 genes."""
    pairs: float = number(0.0, 0.0, 0.9)
    """Fraction of micro-batches that pair cells of one label from different libraries."""
    held_out: tuple[str, ...] = names()
    """Files or libraries (``file`` or ``file/sample``) that are excluded from training."""
    held_out_share: float = number(0.03, 0.0, 0.5)
    """Fraction of the cells of all other libraries that is also held out."""


@dataclass(frozen=True)
class Optimiser:
    """AdamW, its learning rate schedule and the length of the run."""

    learning_rate: float = number(1e-3, 1e-12)
    schedule: Literal["cosine", "linear"] = one_of("cosine", "linear")
    """How the rate falls to 0 after the warm-up."""
    warmup: float = number(0.05, 0.0, 1.0)
    """Fraction of the steps in which the rate rises."""
    weight_decay: float = number(0.01)
    """Applied to matrices only."""
    clip: float = number(1.0, 1e-6)
    """Maximum norm of the gradient."""
    steps: int = integer(0)
    """Number of steps; give this or `epochs`."""
    epochs: int = integer(0)
    """Passes over all cells; give this or `steps`."""
    start_share: float = number(0.0, 0.0, 0.99)
    """Weight of the initial weights in the average that is evaluated and saved."""


@dataclass(frozen=True)
class Run:
    """Seed, precision, and how often to save and evaluate."""

    seed: int = integer(0)
    precision: Literal["bf16-mixed", "32-true"] = one_of("bf16-mixed", "32-true")
    compile: bool = switch(True)
    """Compile the layers with torch.compile, if the run is long enough (5 million tokens)."""
    save_every: int = integer(50, 1)
    """Steps between two saved states."""
    check_every: int = integer(250, 1)
    """Steps between two evaluations on held-out cells."""


_FORMER = {
    ("optimiser", "ema"): "was removed in 0.2: start_share carries further",
    ("objectives", "two_direction"): "was removed in 0.2: it doubled the cost and gained nothing",
}
_SECTIONS = {"objectives": Objectives, "data": Data, "optimiser": Optimiser, "run": Run}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a pretraining except the corpus.

    Raises
    ------
    InputError
        If settings contradict each other.
    """

    name: str = "pretrained"
    model: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ``GeneMambaConfig`` except ``vocab_size``; and ``start``: the folder of a
    checkpoint, or "factors" (see ``gene_vectors``)."""
    objectives: Objectives = field(default_factory=Objectives)
    data: Data = field(default_factory=Data)
    optimiser: Optimiser = field(default_factory=Optimiser)
    run: Run = field(default_factory=Run)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise InputError(f"name is {shown(self.name)}", "give text")
        _check_model(self.model)
        weights, data, optimiser = self.objectives.weights(), self.data, self.optimiser
        for wrong, error in (
            (
                not weights,
                InputError("all weights of [objectives] are 0", "give one a weight, masked = 1"),
            ),
            (
                "pathway" in weights and not self.objectives.gene_sets,
                InputError("[objectives] pathway has no gene sets", "set gene_sets to a GMT file"),
            ),
            *(
                (
                    data.views == "whole" and name in weights,
                    InputError(
                        f"[data] views is 'whole', and {name} needs two views of a cell",
                        f"use views = 'parts', or {name} = 0",
                    ),
                )
                for name in ("contrast", "profile")
            ),
            (
                "contrast" in weights and data.cells < 2,
                InputError("[data] cells is 1, and contrast needs other cells", "give 2 or more"),
            ),
            (
                bool(optimiser.steps) == bool(optimiser.epochs),
                InputError(
                    f"[optimiser] steps is {optimiser.steps}, epochs is {optimiser.epochs}",
                    "give one of the two",
                ),
            ),
            (
                data.shallowest > data.deepest,
                InputError(
                    f"[data] shallowest is {data.shallowest:g}, deepest {data.deepest:g}",
                    "make deepest the larger",
                ),
            ),
            (
                data.pairs and "contrast" not in weights,
                InputError(
                    "[data] pairs is set without contrast", "set contrast = 1, or pairs = 0"
                ),
            ),
        ):
            if wrong:
                raise error

    def config(self, vocab_size: int) -> GeneMambaConfig:
        """Return the sizes of the model for a vocabulary."""
        sizes = {key: value for key, value in self.model.items() if key != "start"}
        return GeneMambaConfig(vocab_size=vocab_size, **sizes)

    def to_dict(self) -> dict[str, Any]:
        """Return plain types, from which :meth:`from_dict` makes the same recipe."""
        values = asdict(self)
        values["model"] = dict(self.model)
        values["data"]["held_out"] = list(self.data.held_out)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Read a mapping of sections, as a TOML file has them."""
        require_known(values, [f.name for f in fields(cls)], "the recipe")
        for (section, key), why in _FORMER.items():
            found = values.get(section)
            if isinstance(found, Mapping) and key in found:
                raise InputError(f"[{section}] {key} {why}", f"leave {key} out")
        sections: dict[str, Any] = {
            name: read_section(kind, values.get(name, {}), f"[{name}]")
            for name, kind in _SECTIONS.items()
        }
        given: dict[str, Any] = {key: values[key] for key in ("name", "model") if key in values}
        return cls(**given | sections)

    @classmethod
    def read(cls, source: str | PathLike[str] | Mapping[str, Any]) -> Recipe:
        """Read a TOML file, one of the ready recipes by name, or a mapping."""
        if isinstance(source, Mapping):
            return cls.from_dict(source)
        path = Path(source).expanduser()
        if str(source) in READY:
            text = (resources.files(__package__) / "recipes" / f"{source}.toml").read_text("utf-8")
        elif path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
        else:
            raise InputError(
                f"there is no recipe {str(source)!r}",
                f"give a TOML file, or one of {', '.join(READY)}",
            )
        try:
            values = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # also of numbers and lists without end
            raise InputError(f"{source} is not TOML ({error})", "correct it") from None
        return cls.from_dict({"name": path.stem} | values)


def _check_model(values: Any) -> None:
    if not isinstance(values, Mapping):
        raise InputError(f"[model] is {shown(values)}", "make it a section of its own, with keys")
    known = [f.name for f in fields(GeneMambaConfig) if f.name != "vocab_size"]
    require_known(values, [*known, "start"], "[model]")
    if not isinstance(values.get("start", ""), str):
        raise InputError(f"[model] start is {shown(values['start'])}", "give a checkpoint's folder")
    try:
        GeneMambaConfig(vocab_size=1, **{k: v for k, v in values.items() if k != "start"})
    except CheckpointError as error:
        raise InputError(error.what.replace("config:", "[model]"), error.fix) from None
