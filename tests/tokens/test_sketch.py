from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from genemamba.errors import CheckpointError
from genemamba.tokens import Seen, Sketch, Vocabulary
from genemamba.tokens.sketch import FEWEST, KEPT, PANEL, hash_cells

N_GENES = 150
PANEL_GENES = np.arange(20, 20 + PANEL)
GENE = np.arange(N_GENES)


def cells(n: int, seed: int = 0) -> sparse.csr_matrix:
    return sparse.csr_matrix(np.random.default_rng(seed).poisson(1.5, (n, N_GENES)))


def test_hashes_are_those_of_python_integers() -> None:
    counts, most = cells(3).astype(np.int64), 2**64
    for row, found in zip(counts, hash_cells(counts, GENE, PANEL_GENES), strict=True):
        total = 0
        for gene, count in zip(row.indices.tolist(), row.data.tolist(), strict=True):
            if gene in PANEL_GENES:
                x = ((gene - 20) << 16) | count
                x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % most
                x = (x ^ (x >> 27)) * 0x94D049BB133111EB % most
                total += x ^ (x >> 31)
        assert int(found) == total % most


def test_half_of_the_cells_were_trained_on() -> None:
    trained = cells(20_000)
    sketch = Sketch.of([trained[:7_000], trained[7_000:]], PANEL_GENES)
    assert (sketch.n_cells, len(sketch.hashes)) == (20_000, KEPT)
    asked = sparse.vstack([trained[:2_000], cells(2_000, seed=1)]).tocsr()
    looked_up, found = sketch.look_up(asked, GENE)
    assert looked_up == pytest.approx(4_000 * KEPT / 20_000, rel=0.1)
    assert found == pytest.approx(looked_up / 2, rel=0.1)
    assert sketch.look_up(cells(2_000, seed=1), GENE).found == 0


def test_other_genes_and_their_order_change_nothing() -> None:
    trained = cells(50)
    sketch = Sketch.of([trained], PANEL_GENES)
    order = np.random.default_rng(0).permutation(N_GENES)
    assert sketch.look_up(trained[:, order], order) == Seen(50, 50)
    few = order[np.isin(order, PANEL_GENES)]
    assert sketch.look_up(trained[:, few], few) == Seen(50, 50)
    unknown = np.where(np.isin(GENE, PANEL_GENES), GENE, -1)
    assert sketch.look_up(trained, unknown) == Seen(50, 50)
    assert sketch.missing(unknown) == 0
    assert sketch.missing(GENE[25:]) == 5


def test_one_count_makes_another_cell_and_order_of_cells_none() -> None:
    trained = cells(50)
    sketch = Sketch.of([trained], PANEL_GENES)
    changed = trained.copy()
    changed[0, 30] += 1
    assert sketch.look_up(changed[::-1], GENE) == Seen(50, 49)


def test_cells_with_few_of_the_genes_are_not_looked_up() -> None:
    poor = sparse.csr_matrix(np.eye(1, N_GENES, 30) * 5)
    sketch = Sketch.of([poor], PANEL_GENES)
    assert sketch.look_up(poor, GENE) == Seen(0, 0)
    enough = np.isin(GENE, PANEL_GENES[:FEWEST]).astype(int)
    rich = sparse.csr_matrix(enough)
    assert Sketch.of([rich], PANEL_GENES).look_up(rich, GENE) == Seen(1, 1)


def test_joined_as_made_at_once() -> None:
    all_cells = cells(9_000)
    parts = [Sketch.of([part], PANEL_GENES) for part in (all_cells[:4_000], all_cells[4_000:])]
    np.testing.assert_array_equal(
        parts[0].joined(parts[1]).hashes, Sketch.of([all_cells], PANEL_GENES).hashes
    )


@pytest.fixture
def vocab() -> Vocabulary:
    ids = [f"ENSG{i:011d}" for i in range(N_GENES)]
    return Vocabulary(ids, [""] * N_GENES, np.ones(N_GENES), [""] * N_GENES)


def test_there_and_back(vocab: Vocabulary) -> None:
    sketch = Sketch.of([cells(100)], PANEL_GENES)
    again = Sketch.from_dict(sketch.to_dict(vocab), vocab)
    np.testing.assert_array_equal(again.hashes, sketch.hashes)
    np.testing.assert_array_equal(again.genes, sketch.genes)
    assert again.n_cells == 100


@pytest.mark.parametrize(
    "change",
    [
        {"genes": ["ENSG99999999999"]},
        {"genes": 5},
        {"hashes": "no base64"},
        {"hashes": "AAAA"},
        {"hashes": None},
        {"hashes": "AAAAAAAAAAAAAAAAAAAAAA=="},
        {"cells": 1},
        {"cells": "100"},
    ],
)
def test_a_damaged_one_is_refused(vocab: Vocabulary, change: dict[str, object]) -> None:
    whole = Sketch.of([cells(100)], PANEL_GENES).to_dict(vocab)
    with pytest.raises(CheckpointError, match="sketch of the training cells is damaged"):
        Sketch.from_dict(whole | change, vocab)
    without = {key: value for key, value in whole.items() if key not in change}
    with pytest.raises(CheckpointError):
        Sketch.from_dict(without, vocab)
