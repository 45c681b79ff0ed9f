"""All that decides a pretraining besides the corpus, read from TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from genemamba.errors import CheckpointError, InputError, shown
from genemamba.network import GeneMambaConfig
from genemamba.train.settings import number, one_of, read_section, unknown, whole

READY = ("unlabelled", "genemamba-mini", "genemamba-small", "paper")
_NAMES = {"masked": "masked genes", "next": "next gene",
          "contrast": "cell contrast", "labels": "cell types and their ancestors",
          "profile": "expression of the other view",
          "pathway": "pathways"}  # fmt: skip


@dataclass(frozen=True)
class Objectives:
    """What the model is trained to do: the weight of each loss; 0 leaves it out."""

    masked: float = number(1.0)
    """Name hidden genes."""
    contrast: float = number(1.0)
    """Find the other view of a cell among the views of other cells."""
    labels: float = number(0.0)
    """Name the cell type and its ancestors in the Cell Ontology, where a cell has a label."""
    profile: float = number(0.0)
    """Say from the embedding of a view what the cell's other view expresses."""
    next: float = number(0.0)
    """Name the next gene (the paper's objective). A model that reads both ways has seen it."""
    pathway: float = number(0.0)
    """Bring genes of a pathway together (the paper's γ is 0.1)."""
    mask_fraction: float = number(0.15, 0.001, 1.0)
    """Share of the places at which a gene is to be named."""
    temperature: float = number(0.1, 0.001)
    """τ of contrast."""
    pathway_temperature: float = number(0.1, 0.001)
    """τ of pathway."""
    gene_sets: str = ""
    """GMT file of the pathways."""

    def weights(self) -> dict[str, float]:
        """Return the weights that are not 0."""
        return {name: getattr(self, name) for name in _NAMES if getattr(self, name)}

    def text(self) -> str:
        """Say what is trained, for provenance and cards."""
        return ", ".join(_NAMES[name] for name in self.weights())


@dataclass(frozen=True)
class Data:
    """What a step sees."""

    length: int = whole(192, 8)
    """Most tokens of a view."""
    cells: int = whole(64, 1)
    """Cells of a micro-batch, all of one library."""
    micro_batches: int = whole(1, 1)
    """Micro-batches of a step, over all processes."""
    views: Literal["parts", "whole"] = one_of("parts", "whole")
    """Two parts of a cell's counts, or the cell as it is."""
    shallowest: float = number(400, 1)
    """Fewest counts of a part; depths are spread evenly on a log scale."""
    deepest: float = number(4_000, 1)
    """Most counts of a part, and at most half of the cell's."""
    capture: float = number(0.0, 0.0, 3.0)
    """Spread of the chances to keep a gene's counts, drawn for each set of views."""
    panels: float = number(0.0, 0.0, 1.0)
    """Share of the micro-batches whose second views are cut to a panel of 150 to 1,500 genes."""
    pairs: float = number(0.0, 0.0, 0.9)
    """Share of the micro-batches that pair cells of one label from different libraries."""
    held_out: tuple[str, ...] = ()
    """Files or libraries (``file`` or ``file/sample``) that are never trained on."""
    held_out_share: float = number(0.03, 0.0, 0.5)
    """Share of the cells of the other libraries that are not, either."""


@dataclass(frozen=True)
class Optimiser:
    """AdamW, how its rate moves, and for how long."""

    learning_rate: float = number(1e-3, 1e-12)
    schedule: Literal["cosine", "linear"] = one_of("cosine", "linear")
    """How the rate falls to 0 after its rise."""
    warmup: float = number(0.05, 0.0, 1.0)
    """Share of the steps in which the rate rises."""
    weight_decay: float = number(0.01)
    """Of matrices only."""
    clip: float = number(1.0, 1e-6)
    """Largest norm of the gradient."""
    steps: int = whole(0)
    """Steps, or"""
    epochs: int = whole(0)
    """passes over all cells."""
    start_share: float = number(0.0, 0.0, 0.99)
    """Share of the weights that training began with in those that are judged and kept."""


@dataclass(frozen=True)
class Run:
    """How it is run."""

    seed: int = whole(0)
    precision: Literal["bf16-mixed", "32-true"] = one_of("bf16-mixed", "32-true")
    compile: bool = True
    """Compile the layers with torch.compile."""
    save_every: int = whole(50, 1)
    """Steps between two states that a run can go on from."""
    check_every: int = whole(250, 1)
    """Steps between two looks at the held-out cells."""


_FORMER = {
    ("optimiser", "ema"): "was removed in 0.2: start_share carries further",
    ("objectives", "two_direction"): "was removed in 0.2: it doubled the cost and gained nothing",
}
_SECTIONS = {"objectives": Objectives, "data": Data, "optimiser": Optimiser, "run": Run}


@dataclass(frozen=True)
class Recipe:
    """All that decides a pretraining besides the corpus.

    Raises
    ------
    InputError
        If settings contradict each other.
    """

    name: str = "pretrained"
    model: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ``GeneMambaConfig`` but ``vocab_size``; and ``start``: a
    checkpoint's folder, or "factors" (see ``gene_vectors``)."""
    objectives: Objectives = field(default_factory=Objectives)
    data: Data = field(default_factory=Data)
    optimiser: Optimiser = field(default_factory=Optimiser)
    run: Run = field(default_factory=Run)

    def __post_init__(self) -> None:
        """Check what the sections cannot check alone."""
        _check_model(self.model)
        weights = self.objectives.weights()
        if not weights:
            raise InputError("all weights of [objectives] are 0", "give one a weight, masked = 1")
        if "pathway" in weights and not self.objectives.gene_sets:
            raise InputError("[objectives] pathway has no gene sets", "set gene_sets to a GMT file")
        for name in {"contrast", "profile"} & set(weights):
            if self.data.views == "whole":
                raise InputError(
                    f"[data] views is 'whole', and {name} needs two views of a cell",
                    f"use views = 'parts', or {name} = 0",
                )
        if "contrast" in weights and self.data.cells < 2:
            raise InputError("[data] cells is 1, and contrast needs others", "give 2 or more")
        if bool(self.optimiser.steps) == bool(self.optimiser.epochs):
            raise InputError(
                f"[optimiser] steps is {self.optimiser.steps}, epochs is {self.optimiser.epochs}",
                "give one of the two",
            )
        if self.data.shallowest > self.data.deepest:
            raise InputError(
                f"[data] shallowest is {self.data.shallowest:g}, deepest {self.data.deepest:g}",
                "make deepest the larger",
            )
        if self.data.pairs and "contrast" not in weights:
            raise InputError(
                "[data] pairs is set without contrast", "set contrast = 1, or pairs = 0"
            )
        for name in ("name", "objectives.gene_sets"):
            section, _, key = name.rpartition(".")
            value = getattr(getattr(self, section), key) if section else self.name
            if not isinstance(value, str):
                raise InputError(f"{key} is {shown(value)}", "give text")
        if not isinstance(self.run.compile, bool):
            raise InputError(f"[run] compile is {shown(self.run.compile)}", "use true or false")
        held = self.data.held_out
        if not isinstance(held, tuple) or not all(isinstance(n, str) for n in held):
            raise InputError(f"[data] held_out is {shown(held)}", "give a list of names")

    def config(self, vocab_size: int) -> GeneMambaConfig:
        """Return the sizes of the model for a vocabulary."""
        sizes = {key: value for key, value in self.model.items() if key != "start"}
        return GeneMambaConfig(vocab_size=vocab_size, **sizes)

    def to_dict(self) -> dict[str, Any]:
        """Return plain types; :meth:`from_dict` makes the same recipe of them."""
        values = asdict(self)
        values["model"] = dict(self.model)
        values["data"]["held_out"] = list(self.data.held_out)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Read a mapping of sections, as a TOML file has them."""
        names = [f.name for f in fields(cls)]
        for key in values:
            if key not in names:
                raise unknown(key, names, "the recipe")
        for (section, key), why in _FORMER.items():
            found = values.get(section)
            if isinstance(found, Mapping) and key in found:
                raise InputError(f"[{section}] {key} {why}", f"leave {key} out")
        sections: dict[str, Any] = {
            name: read_section(kind, values.get(name, {}), f"[{name}]")
            for name, kind in _SECTIONS.items()
        }
        given = {key: values[key] for key in ("name", "model") if key in values}
        return cls(**given, **sections)

    @classmethod
    def read(cls, source: str | PathLike[str] | Mapping[str, Any]) -> Recipe:
        """Read a TOML file, one of the ready recipes by name, or a mapping.

        Raises
        ------
        InputError
            If there is no such recipe, or it cannot be read.
        """
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
    for key in values:
        if key not in [*known, "start"]:
            raise unknown(key, [*known, "start"], "[model]")
    if not isinstance(values.get("start", ""), str):
        raise InputError(f"[model] start is {shown(values['start'])}", "give a checkpoint's folder")
    try:
        GeneMambaConfig(vocab_size=1, **{k: v for k, v in values.items() if k != "start"})
    except CheckpointError as error:
        fix = "correct it" if "config.json" in error.fix else error.fix
        raise InputError(error.what.replace("config:", "[model]"), fix) from None
