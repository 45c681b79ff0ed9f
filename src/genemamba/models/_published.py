"""The layout of the published checkpoints, recognised by names and shapes of its tensors.

The tensors have our names. What differs: V = 2 + genes, for ``[CLS]`` was added only when a model
was fine-tuned (then V = 3 + genes); ``gate`` and ``concat`` have one ``mamba_mixer.aggr`` for all
layers; and the genes of the rows come from Geneformer V1's tables in the same folder.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from genemamba.errors import CheckpointError
from genemamba.models._unpickle import read_table
from genemamba.network.checkpoint import CONFIG, GENES, WEIGHTS, Parts
from genemamba.network.config import GeneMambaConfig, Merge
from genemamba.network.files import AGAIN, read_json, require_small
from genemamba.network.weights import Slot, WeightFile, tensor_shapes
from genemamba.tokens import FIRST_GENE, Vocabulary

LAYOUT = "published"
TOKENS, MEDIANS, NAMES = (
    "token_dictionary.pkl", "gene_median_dictionary.pkl", "gene_name_id_dict.pkl",
)  # fmt: skip
GROWN = frozenset({"embeddings.weight", "lm_head.weight", "lm_head.bias"})
_AGGR = "mamba_mixer.aggr"
_LAYER = re.compile(r"mamba_mixer\.layers\.(\d{1,4})\.")


class Published:
    """A file in the published layout and its vocabulary, checked; weights are read later.

    `path` is the file, or a folder with ``model.safetensors``. The folder also holds Geneformer
    V1's tables (those of symbols are optional), or our own ``genes.csv``.

    Raises
    ------
    CheckpointError
        If the file is not of this layout, or the vocabulary is missing or of another size.
    """

    def __init__(self, path: Path) -> None:
        file = path / WEIGHTS if path.is_dir() else path
        self.folder = file.parent
        self.weights = WeightFile(file)
        self.config = _sizes(file, self.weights.slots)
        self.weights.require(_published_shapes(self.config))
        self.vocab = read_vocabulary(self.folder)
        described = self.folder / CONFIG
        self._described = read_json(described) if described.exists() else {}
        if self._described.get("vocabulary_sha256", self.vocab.sha256) != self.vocab.sha256:
            raise CheckpointError(
                f"the genes in {self.folder} are not those that {CONFIG} states", AGAIN
            )
        rows = self.config.vocab_size
        if rows not in (len(self.vocab) - 1, len(self.vocab)):
            raise CheckpointError(
                f"{file}: tensor embeddings.weight has {rows} rows, but the genes in its folder "
                f"make {len(self.vocab) - 1} (or {len(self.vocab)} with [CLS])",
                "copy the gene tables of these weights into the folder",
            )
        self.without_cls = rows < len(self.vocab)

    def with_merge(self, merge: Merge | None) -> GeneMambaConfig:
        """Settle how directions are merged: by the caller, by config.json's `mode`, or the mean."""
        learned = self.config.merge == "gate"
        fits: tuple[Merge, Merge] = ("gate", "concat") if learned else ("mean", "sum")
        stated = self._described.get("mode")
        merge = merge or (stated if stated in get_args(Merge) else None if learned else "mean")
        if merge not in fits:
            raise CheckpointError(
                f"merge={merge!r} does not fit {self.weights.path}, which has "
                f"{'a' if learned else 'no'} tensor {_AGGR}.weight",
                f"use merge={fits[0]!r} or {fits[1]!r}",
            )
        values = self.config.to_dict() | {"merge": merge, "vocab_size": len(self.vocab)}
        return GeneMambaConfig.from_dict(values)

    def parts(self, merge: Merge | None) -> Parts:
        """Read the weights as stored, under our names and with a row for [CLS]."""
        config = self.with_merge(merge)
        tensors = self.weights.tensors(grow=GROWN if self.without_cls else frozenset())
        for part in ("weight", "bias"):
            shared = tensors.pop(f"{_AGGR}.{part}", None)
            if shared is not None:
                for i in range(config.n_layers):
                    tensors[f"mamba_mixer.layers.{i}.merge.{part}"] = shared.clone()
        provenance = {
            "name": self.folder.name,
            "source": str(self.weights.path),
            "licence": "none stated in the file; without one, do not pass these weights on",
            "layout": LAYOUT,
            "path": str(self.weights.path),
            "sha256": self.weights.sha256(),
        }
        return Parts(config, self.vocab, tensors, self.weights.metadata, provenance)


def read_vocabulary(folder: Path) -> Vocabulary:
    """Build the vocabulary from the gene tables in `folder`.

    Tokens have to be those of the layout: two special ones, then all genes in the order of their
    ids.
    """
    if (folder / GENES).is_file():
        require_small(folder / GENES)
        return Vocabulary.from_csv(folder / GENES, extra=("[CLS]",))
    for name in (TOKENS, MEDIANS):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder} holds neither {GENES} nor {name}, so the tokens mean nothing",
                f"copy Geneformer V1's {TOKENS}, {MEDIANS} and {NAMES} into the folder",
            )
    tokens, medians = read_table(folder / TOKENS), read_table(folder / MEDIANS)
    names = read_table(folder / NAMES) if (folder / NAMES).is_file() else {}
    genes = sorted(name for name, token in tokens.items() if token not in range(FIRST_GENE))
    for token, gene in enumerate(genes, start=FIRST_GENE):
        if tokens[gene] != token:
            raise CheckpointError(
                f"{folder / TOKENS}: {gene} has token {tokens[gene]!r}, not {token}", AGAIN
            )
        if gene not in medians:
            raise CheckpointError(f"{folder / MEDIANS} has no median of {gene}", AGAIN)
        if isinstance(medians[gene], str):
            raise CheckpointError(f"{folder / MEDIANS}: {gene} has a median of text", AGAIN)
    if len(tokens) != FIRST_GENE + len(genes):
        raise CheckpointError(f"{folder / TOKENS} has no two special tokens, 0 and 1", AGAIN)
    if len(medians) != len(genes):
        stray = next(gene for gene in medians if tokens.get(gene, 0) in range(FIRST_GENE))
        raise CheckpointError(f"{folder / TOKENS} has no token of {stray}", AGAIN)
    symbols = {gene: symbol for symbol, gene in reversed(names.items())}  # the first counts
    try:
        return Vocabulary(
            ensembl_id=genes,  # type: ignore[arg-type]
            symbol=[symbols.get(gene, "") for gene in genes],  # type: ignore[arg-type]
            median=[medians[gene] for gene in genes],  # type: ignore[arg-type]
            alias=[""] * len(genes),  # type: ignore[arg-type]
            extra=("[CLS]",),
        )
    except CheckpointError as error:
        raise CheckpointError(f"{folder / MEDIANS}: {error.what}", error.fix) from None


def _published_shapes(config: GeneMambaConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, shape in tensor_shapes(config):
        if ".merge." not in name:
            yield name, shape
    if config.merge == "gate":
        yield f"{_AGGR}.weight", (config.d_model, 2 * config.d_model)
        yield f"{_AGGR}.bias", (config.d_model,)


def _sizes(path: Path, slots: dict[str, Slot]) -> GeneMambaConfig:
    """Read the sizes off the shapes: those of most layers, so that an odd one is named later."""

    def usual(pattern: str, axis: int) -> int:
        sizes = Counter(
            slot.shape[axis]
            for name, slot in slots.items()
            if re.fullmatch(pattern, name) and len(slot.shape) > axis
        )
        if not sizes:
            raise CheckpointError(
                f"{path} has no tensor {pattern.replace(chr(92), '')}: it is no GeneMamba "
                "checkpoint, or damaged",
                "give one in this package's or the published layout",
            )
        return sizes.most_common(1)[0][0]

    vocab_size = usual(r"embeddings\.weight|lm_head\.(weight|bias)", 0)
    mamba = r"mamba_mixer\.layers\.\d{1,4}\.mamba\."
    d_model = usual(mamba + r"out_proj\.weight", 0)
    d_inner = usual(mamba + r"norm\.weight", 0)
    heads = usual(mamba + "D", 0)
    channels = usual(mamba + r"conv1d\.bias", 0)
    states = channels - d_inner
    if min(d_model, d_inner, heads) == 0 or d_inner % d_model or d_inner % heads or states % 2:
        raise CheckpointError(
            f"{path}: D={d_model}, E={d_inner}, H={heads} and {channels} channels (of out_proj, "
            "norm, D and conv1d) do not make a Mamba-2 layer",
            AGAIN,
        )
    return GeneMambaConfig(
        vocab_size=vocab_size,
        d_model=d_model,
        n_layers=1 + max(int(found[1]) for name in slots if (found := _LAYER.match(name))),
        d_state=states // 2,
        d_conv=usual(mamba + r"conv1d\.weight", 2),
        expand=d_inner // d_model,
        headdim=d_inner // heads,
        merge="gate" if any(name.startswith(f"{_AGGR}.") for name in slots) else "mean",
    )
