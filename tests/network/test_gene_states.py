from __future__ import annotations

import numpy as np
import pytest
import torch
from anndata import AnnData

from genemamba.network import GeneMamba
from genemamba.network.gene_states import gene_states
from genemamba.network.runtime import Runtime
from genemamba.tokens import Ranked, match, rank_csr

RUNTIME = Runtime("cpu", "float32")


@pytest.fixture
def ranked(pbmc: AnnData, small_model: GeneMamba) -> Ranked:
    """Forty cells; the fourth has no gene."""
    from scipy.sparse import csr_matrix

    counts = pbmc.X[:40].copy()
    counts[3] = 0
    counts = csr_matrix(counts)
    genes = match(pbmc.var_names, small_model.vocab)
    return rank_csr(counts.indptr, counts.indices, counts.data, genes.token, genes.median, 300)


def slowly(model: GeneMamba, ranked: Ranked, groups: np.ndarray) -> dict[tuple[int, int], list]:
    """Read one cell at a time and keep every state."""
    states: dict[tuple[int, int], list] = {}
    for cell in range(ranked.n_cells):
        tokens = ranked.tokens[ranked.indptr[cell] : ranked.indptr[cell + 1]]
        if len(tokens):
            with torch.inference_mode():
                read = model(torch.from_numpy(tokens[None].astype(np.int64)))[0].numpy()
            for token, state in zip(tokens.tolist(), read, strict=True):
                states.setdefault((groups[cell], token), []).append(state)
    return states


@pytest.mark.parametrize("batch_size", ["auto", 1, 7])
def test_equal_to_a_loop_over_cells(
    ranked: Ranked, small_model: GeneMamba, batch_size: int | str
) -> None:
    groups = np.arange(ranked.n_cells) % 3
    runtime = Runtime("cpu", "float32", batch_size=batch_size)
    found = gene_states(small_model, ranked, groups, runtime=runtime)
    expected = slowly(small_model, ranked, groups)
    assert found.tokens.tolist() == sorted({token for _, token in expected})
    assert found.means.shape == (3, len(found.tokens), 32)
    assert found.means.dtype == np.float32
    for group in range(3):
        for row, token in enumerate(found.tokens.tolist()):
            states = expected.get((group, token), [])
            assert found.n_cells[group, row] == len(states)
            if states:
                mean = np.mean(states, axis=0)
                np.testing.assert_allclose(found.means[group, row], mean, atol=2e-5)
            else:
                assert np.isnan(found.means[group, row]).all()


def test_groups_add_up(ranked: Ranked, small_model: GeneMamba) -> None:
    groups = np.arange(ranked.n_cells) % 2
    parts = gene_states(small_model, ranked, groups, runtime=RUNTIME)
    whole = gene_states(small_model, ranked, runtime=RUNTIME)
    assert np.array_equal(parts.n_cells.sum(axis=0), whole.n_cells[0])
    sums = np.nan_to_num(parts.means) * parts.n_cells[..., None]
    np.testing.assert_allclose(
        sums.sum(axis=0) / whole.n_cells[0][:, None], whole.means[0], atol=1e-5
    )


def test_the_model_stays_as_it_was(ranked: Ranked, small_model: GeneMamba) -> None:
    small_model.train()
    gene_states(small_model, ranked, runtime=RUNTIME)
    assert small_model.training
    assert small_model.embeddings.weight.dtype == torch.float32
