"""Vectors of related genes against those of unrelated ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
import pandas as pd

from genemamba._rng import Rng, seed_of
from genemamba._settings import check_whole
from genemamba.errors import InputError
from genemamba.genes.pairs import (
    MEASURES,
    Ranking,
    auroc_interval,
    degree_product,
    distances,
    hub_scores,
    rewired,
    similarities,
)
from genemamba.genes.results import GenePairs
from genemamba.tl._gene_tables import GeneVectors, is_cells, read_vectors
from genemamba.tl._nearest_genes import nearest_genes

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData

_SHAPE = "give a table with three columns: gene, gene, and 1 (related) or 0 (not)"


@overload
def gene_similarity(
    pairs: AnnData | MuData, embeddings: str | Sequence[str], *, n_boot: int = 200, rng: Rng = 0
) -> pd.DataFrame: ...
@overload
def gene_similarity(
    pairs: pd.DataFrame | np.ndarray | Sequence[tuple[str, str, int]],
    embeddings: GeneVectors | Mapping[str, pd.DataFrame],
    *,
    n_boot: int = 200,
    rng: Rng = 0,
) -> GenePairs: ...
def gene_similarity(
    pairs: GeneVectors | np.ndarray | Sequence[tuple[str, str, int]],
    embeddings: GeneVectors | Mapping[str, pd.DataFrame] | str | Sequence[str],
    *,
    n_boot: int = 200,
    rng: Rng = 0,
) -> GenePairs | pd.DataFrame:
    """Ask whether related genes have more similar vectors than unrelated ones.

    With cells and a gene, ``gene_similarity(adata, "MS4A1")``, it lists the genes that are most
    similar to that one: :func:`nearest_genes`. The rest of this page is about pairs.

    Every embedding is scored on the same pairs: those whose genes have a vector in all of them.
    Controls are listed for comparison: random embeddings (Gaussian vectors of the same shape), the
    same scores under shuffled labels, and ``hubs``, a score that knows genes and not pairs.

    Mind the last: in most lists some genes have many positive pairs, and an embedding in which
    these genes are close to everything, as frequent genes often are, tells positive from negative
    pairs without knowing anything about a pair. ``hubs`` is the product of the numbers of positive
    pairs that the two genes have in the other one of two random halves of the list. Where it
    goes far beyond 0.5, trust ``auroc_matched``: the positive pairs against pairs of the same
    genes in another combination.

    Parameters
    ----------
    pairs
        Gene, gene, label in the first three columns; label 1 for related genes, 0 for others.
        Names as in the embeddings; with cells, former symbols and Ensembl ids as well.
    embeddings
        Cells × genes, a table of genes × dimensions, or several by name, as for
        :func:`genemamba.tl.gene_network`. Rows that are constant or hold NaN count as missing.
    n_boot
        Bootstrap samples behind the intervals.
    rng
        Seed, or generator, of random embeddings, shuffling and bootstrap.

    Returns
    -------
    A frozen dataclass (of a gene, the table of :func:`nearest_genes`); nothing is written.

    ``table``
        A row per embedding and measure (``cosine``, ``pearson``: between the two vectors), then
        the controls, with ``kind`` ``"given"`` or ``"control"``;

        - ``known``: pairs that this embedding has vectors for; ``positive`` and ``negative``: the
          pairs used, the same in every row;
        - ``mean_positive``, ``mean_negative``: mean similarity;
        - ``euclidean``, ``kl``, ``js``: distance of the two distributions of similarity [1]_ as
          histograms over 50 bins, the quantiles of all similarities together, with half a pair
          added to each bin: Euclidean between the bin probabilities, Kullback–Leibler of positive
          from negative and Jensen–Shannon divergence in bits;
        - ``auroc``: chance that a positive pair is more similar than a negative one, and
          ``auroc_low``, ``auroc_high``, its 95 % interval from a bootstrap over genes (pairs
          that share a gene are not independent);
        - ``auroc_matched`` with ``_low`` and ``_high``: the same against the genes of the positive
          pairs, recombined at random into pairs that are not positive in the list. A gene occurs
          on both sides equally often, and what ``hubs`` still has there is due to its partners;
        - ``euclidean_shuffled``, ``kl_shuffled``, ``js_shuffled``, ``auroc_shuffled``: the same
          after labels were shuffled, which is what chance leaves of each.
    ``scores``
        The pairs used: ``gene_a``, ``gene_b``, ``label`` and similarity, a column per row of
        ``table`` named by (embedding, measure).
    ``lost``
        Number of pairs not used because a gene has no vector in every embedding (``no vector``),
        both genes are the same (``same gene``), the pair was given before (``repeated``) or with
        the other label (``both labels``).

    Raises
    ------
    InputError
        If pairs or embeddings have another shape, labels are not 0 and 1, or the pairs left are
        of one kind.

    References
    ----------
    .. [1] Qi et al., *GeneMamba: Efficient and Effective Foundation Model on Single Cell Data*,
       section 4.5. Its bins are not published; its random control are random similarities.

    Examples
    --------
    >>> import genemamba as gm
    >>> pairs = [("CD3D", "CD3E", 1), ("MS4A1", "CD79A", 1)]
    >>> pairs += [("CD3D", "LYZ", 0), ("MS4A1", "NKG7", 0)]
    >>> found = gm.tl.gene_similarity(pairs, gm.tl.gene_embedding(), n_boot=20)
    >>> float(found.table.loc[("embedding", "cosine"), "auroc"])
    1.0
    >>> import scanpy as sc
    >>> gm.tl.gene_similarity(sc.datasets.pbmc68k_reduced(), "MS4A1")["gene"][0]
    'CD79A'
    """
    if is_cells(pairs):
        return nearest_genes(pairs, cast("str", embeddings))
    source = read_vectors(embeddings)
    check_whole("n_boot", n_boot)
    seed = seed_of(rng)
    given = _read_pairs(pairs)
    for side in ("gene_a", "gene_b"):
        given[side] = source.rows(given[side])
    tables, genes = source.tables, source.common
    used, lost = _usable(given, _both_in(given, genes))
    places = np.column_stack([genes.get_indexer(used[side]) for side in ("gene_a", "gene_b")])
    task = _Task.draw(places, used["label"].to_numpy() == 1, n_boot, seed)
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    scored: dict[tuple[str, str], np.ndarray] = {}
    vectors = {name: table.loc[genes].to_numpy() for name, table in tables.items()}
    for name, x in (vectors | _random(vectors, seed)).items():
        kind, known = "control", len(used)
        if name in tables:
            kind, known = "given", int(_both_in(given, tables[name].index).sum())
        for measure in MEASURES:
            scores = scored[name, measure] = similarities(x, places, measure)
            row = task.row(scores, similarities(x, task.matched, measure))
            rows[name, measure] = {"kind": kind, "known": known} | row
    scores = scored["hubs", "degree"] = task.hubs
    row = task.row(scores, degree_product(task.matched, task.matched[task.is_real]))
    rows["hubs", "degree"] = {"kind": "control", "known": len(used)} | row
    table = pd.DataFrame(rows).T.infer_objects()
    table.index.names = ["embedding", "measure"]
    names = pd.Index(list(scored), tupleize_cols=False)
    columns = pd.DataFrame(np.column_stack(list(scored.values())), columns=names)
    return GenePairs(table, pd.concat([used, columns], axis=1), lost)


@dataclass(frozen=True, eq=False)
class _Task:
    """Pairs, their labels and what chance makes of them; the same for every embedding."""

    places: np.ndarray
    positive: np.ndarray
    shuffled: np.ndarray
    matched: np.ndarray
    """Positive pairs, then their genes recombined."""
    is_real: np.ndarray
    hubs: np.ndarray
    n_boot: int
    seed: int

    @classmethod
    def draw(cls, places: np.ndarray, positive: np.ndarray, n_boot: int, seed: int) -> _Task:
        rng = np.random.default_rng(seed)
        kept, new = rewired(places, positive, rng)
        matched = np.concatenate([places[kept], new])
        is_real = np.arange(len(matched)) < len(kept)
        hubs = hub_scores(places, positive, rng)
        return cls(
            places, positive, rng.permutation(positive), matched, is_real, hubs, n_boot, seed
        )

    def row(self, scores: np.ndarray, matched: np.ndarray) -> dict[str, Any]:
        """Return a row of the table; `matched` are scores of the matched pairs."""
        positive, shuffled = self.positive, self.shuffled
        chance = asdict(distances(scores, shuffled))
        return {
            "positive": int(positive.sum()),
            "negative": int((~positive).sum()),
            "mean_positive": float(scores[positive].mean()),
            "mean_negative": float(scores[~positive].mean()),
            **asdict(distances(scores, positive)),
            **self._auroc("auroc", scores, positive, self.places),
            **self._auroc("auroc_matched", matched, self.is_real, self.matched),
            **{f"{name}_shuffled": value for name, value in chance.items()},
            "auroc_shuffled": Ranking(scores, shuffled).auroc(),
        }

    def _auroc(
        self, name: str, scores: np.ndarray, positive: np.ndarray, pairs: np.ndarray
    ) -> dict[str, float]:
        # the same draws of genes for every embedding, so that rows compare
        draws = np.random.default_rng(self.seed)
        area, low, high = auroc_interval(scores, positive, pairs, self.n_boot, draws)
        return {name: area, f"{name}_low": low, f"{name}_high": high}


def _random(vectors: Mapping[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Draw one Gaussian embedding for each width there is."""
    generator = np.random.default_rng(seed)
    shapes = list(dict.fromkeys(x.shape for x in vectors.values()))
    names = ["random"] if len(shapes) == 1 else [f"random, {shape[1]} wide" for shape in shapes]
    for name in names:
        if name in vectors:
            raise InputError(f"an embedding is called {name!r}, as a control is", "rename it")
    return {
        name: generator.standard_normal(shape, dtype=np.float32)
        for name, shape in zip(names, shapes, strict=True)
    }


def _read_pairs(pairs: Any) -> pd.DataFrame:
    """Return the pairs as ``gene_a``, ``gene_b`` (str) and ``label`` (int8)."""
    try:
        table = pd.DataFrame(pairs)
    except (TypeError, ValueError):
        raise InputError(f"pairs is a {type(pairs).__name__}, not a table", _SHAPE) from None
    if table.shape[1] < 3:
        raise InputError(f"pairs has {table.shape[1]} columns", _SHAPE)
    labels = pd.to_numeric(table.iloc[:, 2], errors="coerce")
    bad = ~labels.isin([0, 1])
    if bad.any():
        raise InputError(f"labels of pairs hold {str(table.iloc[:, 2][bad].iloc[0])!r}", _SHAPE)
    columns = [table.iloc[:, 0].astype(str), table.iloc[:, 1].astype(str), labels.astype(np.int8)]
    given = pd.concat(columns, axis=1, ignore_index=True).reset_index(drop=True)
    return given.set_axis(["gene_a", "gene_b", "label"], axis=1)


def _both_in(pairs: pd.DataFrame, genes: pd.Index) -> pd.Series:
    return pairs["gene_a"].isin(genes) & pairs["gene_b"].isin(genes)


def _usable(pairs: pd.DataFrame, known: pd.Series) -> tuple[pd.DataFrame, dict[str, int]]:
    """Leave out pairs that cannot be scored or say nothing, and count them by reason."""
    swap = pairs["gene_a"] > pairs["gene_b"]
    first = pairs["gene_a"].where(~swap, pairs["gene_b"])
    second = pairs["gene_b"].where(~swap, pairs["gene_a"])
    both = pairs.groupby([first, second])["label"].transform("nunique") > 1
    repeated = pd.DataFrame({"a": first, "b": second}).duplicated()
    lost, left = {}, np.ones(len(pairs), dtype=bool)
    for reason, hit in (
        ("no vector", ~known),
        ("same gene", first == second),
        ("both labels", both),
        ("repeated", repeated),
    ):
        lost[reason] = int((left & hit).sum())
        left &= ~hit
    used = pairs[left].reset_index(drop=True)
    if used["label"].nunique() < 2:
        raise InputError(
            f"of {len(pairs)} pairs {len(used)} can be used, and they are not of both kinds "
            f"({', '.join(f'{reason}: {n}' for reason, n in lost.items())})",
            "give pairs with labels 0 and 1, whose genes are named as in the embeddings",
        )
    return used, lost
