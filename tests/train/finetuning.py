"""A small model and cells to fine-tune it with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from genemamba.network import GeneMamba, GeneMambaConfig
from genemamba.tokens import FIRST_GENE, Ranked, Vocabulary
from genemamba.train.finetune import FineTuned, FineTuneRecipe, finetune

N_GENES = 80
CLASSES = ("a", "b", "c")
RECIPE = FineTuneRecipe(
    epochs=6, head_epochs=15, cells=16, length=16, learning_rate=2e-2, head_learning_rate=5e-3,
    patience=6,
)  # fmt: skip


def make_model(extra: tuple[str, ...] = ("[MASK]",), **settings: Any) -> GeneMamba:
    vocab = Vocabulary(
        ensembl_id=np.array([f"ENSG{i:011d}" for i in range(N_GENES)]),
        symbol=np.full(N_GENES, ""),
        median=np.ones(N_GENES),
        alias=np.full(N_GENES, ""),
        extra=extra,
    )
    sizes = {"d_model": 16, "n_layers": 1, "d_state": 8, "headdim": 16, "chunk_size": 16,
             "merge": "mean", "pre_norm": True, "tie_embeddings": True} | settings  # fmt: skip
    model = GeneMamba(GeneMambaConfig(vocab_size=len(vocab), **sizes)).reset_parameters(0)
    model.vocab = vocab
    return model.eval()


def make_cells(n: int = 300, seed: int = 0) -> tuple[Ranked, np.ndarray, np.ndarray]:
    """Cells of 11 to 22 genes; the class shows in two markers that are often there, donor in one.

    Genes 0-1 mark class 0, 2-3 class 1, 4-5 class 2.
    """
    rng = np.random.default_rng(seed)
    labels, donors = np.arange(n) % 3, np.arange(n) // 3 % 5
    rows = []
    for label, donor in zip(labels, donors, strict=True):
        row = rng.choice(np.arange(12, N_GENES), rng.integers(10, 20), replace=False)
        row = np.insert(row, rng.integers(len(row)), 6 + donor)
        for gene in (2 * label, 2 * label + 1):
            if rng.random() < 0.85:
                row = np.insert(row, rng.integers(len(row)), gene)
        rows.append(row + FIRST_GENE)
    return pack(rows), labels, donors


def pack(rows: list[np.ndarray]) -> Ranked:
    indptr = np.append(0, np.cumsum([len(r) for r in rows])).astype(np.int64)
    n = np.ones(len(rows))
    return Ranked(np.concatenate(rows).astype(np.int32), indptr, n, n)


def tune(model: GeneMamba | None = None, **settings: Any) -> FineTuned:
    cells, labels, donors = make_cells()
    return finetune(
        model or make_model(), cells, labels, CLASSES, groups=donors,
        recipe=replace(RECIPE, **settings),
    )  # fmt: skip


def accuracy(tuned: FineTuned) -> float:
    cells, labels, _ = make_cells(150, seed=1)
    return float(np.mean(tuned.logits(cells).argmax(1) == labels))


def small_run(folder: Path) -> None:
    cells, labels, donors = make_cells(60)
    finetune(make_model(), cells, labels, CLASSES, groups=donors, folder=folder,
             recipe=replace(RECIPE, epochs=4, head_epochs=3))  # fmt: skip
