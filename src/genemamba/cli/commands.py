"""What each command does: check its files, call the function, print a few lines."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genemamba.cli.files import (
    CSV,
    H5AD,
    ZARR,
    read_cells,
    require_target,
    suffix_of,
    write_cells,
    write_table,
)
from genemamba.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

MOST_LABELS = 12  # counted after an annotation
MOST_FOUND = 3  # values of a column shown after a search
MOST_ROWS = 20  # shown of a table


class UnheardError(Exception):
    """Output cannot be written: a closed pipe, or a full disk."""


def demo(out: Path) -> None:
    """Run the demonstration."""
    from genemamba._demo import demo

    demo(out)


def doctor(**options: Any) -> None:
    """Print what ``gm.doctor`` reports."""
    import genemamba

    _print(genemamba.doctor(**options))


def check(source: Path, **options: Any) -> int:
    """Print what ``gm.pp.check`` reports; return 1 if the file cannot be used."""
    from genemamba import pp

    report = pp.check(source, **options)
    _print(report)
    return 0 if report.ok else 1


def embed(source: Path, target: Path, force: bool, **options: Any) -> None:
    """Embed a file."""
    require_target(target, H5AD, ZARR, force=force, input=source)
    from genemamba import tl

    _through(tl.embed, source, target, options)


def tokenize(source: Path, target: Path, force: bool, **options: Any) -> None:
    """Rank the genes of a file."""
    require_target(target, H5AD, ZARR, force=force, input=source)
    from genemamba import pp

    _through(pp.rank_tokenize, source, target, options)


def integrate(source: Path, target: Path, force: bool, **options: Any) -> None:
    """Mix the batches of a file."""
    require_target(target, H5AD, force=force, input=source)
    from genemamba import tl

    _rewrite(tl.integrate, source, target, options)


def annotate(
    source: Path, target: Path, reference: Path | None, force: bool, **options: Any
) -> None:
    """Label the cells of a file."""
    require_target(target, H5AD, force=force, input=source, reference=reference)
    from genemamba import tl
    from genemamba._keys import annotation_keys

    given = read_cells(reference) if reference and reference.is_file() else reference
    adata = read_cells(source)
    tl.annotate(adata, reference=given, **options)
    write_cells(adata, target)
    key = annotation_keys(options["key_added"]).label
    _print(f"{target}: {adata.n_obs:,} cells, obs[{key!r}]\n{summary(adata.obs[key])}")


def perturb(
    source: Path, outputs: list[Path], genes: list[str], force: bool, **options: Any
) -> None:
    """Perturb genes in the cells of a file; write the table, the cells with it, or both."""
    for output in outputs:
        require_target(output, CSV, H5AD, force=force, input=source)
    from genemamba import tl
    from genemamba._keys import UNS

    adata = read_cells(source)
    tl.perturb(adata, [gene.split("+") for gene in genes], **options)
    table, said = adata.uns[UNS][options["key_added"]]["table"], []
    for output in outputs:
        if suffix_of(output) == CSV:
            write_table(table, output)
            said.append(f"{output}: {len(table):,} perturbations and groups, one a row")
        else:
            write_cells(adata, output)
            said.append(f"{output}: {adata.n_obs:,} cells, uns[{UNS!r}][{options['key_added']!r}]")
    told = ("perturbation", "group", "changed", "cosine", "score", "fdr_shift", "fdr_score")
    _print_table(table[[column for column in told if column in table]])
    _print("\n".join(said))


def map(source: Path, target: Path, force: bool, **options: Any) -> None:
    """Lay the cells of a file on a reference map."""
    require_target(target, H5AD, force=force, input=source)
    from genemamba import tl
    from genemamba._keys import map_keys

    adata = read_cells(source)
    tl.map(adata, **options)
    write_cells(adata, target)
    keys = map_keys(options["key_added"])
    said = ""
    if keys.label in adata.obs:
        said = f", obs[{keys.label!r}]\n{summary(adata.obs[keys.label])}"
    _print(f"{target}: {adata.n_obs:,} cells, obsm[{keys.umap!r}]{said}")


def search(source: Path, out: Path | None, exclude: list[str], force: bool, **options: Any) -> None:
    """Find the cells of a map that are most like those of a file."""
    chosen: dict[str, list[str]] = {}
    for pair in exclude:
        column, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"--exclude {pair} has no '='", "write it as COLUMN=VALUE")
        chosen.setdefault(column, []).append(value)
    if out is not None:
        require_target(out, CSV, force=force, input=source)
    from genemamba import tl

    found = tl.search(read_cells(source), exclude=chosen, **options)
    shown = ["query", "column", "value", "found", "share", "background", "fold"]
    more = found.enrichment[found.enrichment["fold"] > 1]
    top = more.groupby(["query", "column"], sort=False).head(MOST_FOUND)
    if out is not None:
        write_table(found.cells, out)
    _print_table(top[shown])
    if out is not None:
        _print(f"{out}: {len(found.cells):,} cells found, one a row")


def adapt(source: Path, out: Path, **options: Any) -> None:
    """Adapt a model to the cells of a file."""
    from genemamba import tl

    found = tl.adapt(source, out=out, **options).provenance["adapted"]
    _print(f"{out}: {found['cells']:,} cells, {found['steps']} steps, kept: {found['kept']}")


def build_map(files: list[Path], out: Path, **options: Any) -> None:
    """Make a reference map of files."""
    from genemamba import tl

    several: Any = files if len(files) > 1 else files[0]
    _print(repr(tl.build_map(several, out=out, **options)))


def build_corpus(files: list[Path], out: Path, **options: Any) -> None:
    """Build a corpus of files."""
    from genemamba import datasets

    corpus = datasets.build_corpus(files, out, **options)
    for source in corpus.manifest["sources"]:
        left_out = ", ".join(
            f"{source[key]:,} {reason}"
            for key, reason in (
                ("not_counts", "not counts"),
                ("few_genes", "with few genes"),
                ("duplicates", "seen before"),
            )
            if source[key]
        )
        kept = f"{source['file']}: {source['kept']:,} of {source['read']:,} cells"
        _print(kept + (f" ({left_out})" if left_out else ""))
    unmapped = corpus.manifest["unmapped"]
    if unmapped:
        _print(f"unlabelled, without a Cell Ontology term: {'; '.join(unmapped)}")
    _print(f"{out}: {len(corpus):,} cells, {corpus.vocab.n_genes:,} genes")


def pretrain(config: str, **options: Any) -> None:
    """Train a model on a corpus."""
    from genemamba import tl

    model = tl.pretrain(recipe=config, **options)
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return  # only one process reports
    out, stats = options["out"], model.provenance
    done = "path" in stats
    _print(
        f"{out}: {stats['cells_seen']:,} cells and {stats['hours']:.2f} hours"
        + (", done" if done else "; run the same command again to resume")
    )


def summary(labels: pd.Series) -> str:
    """Count the cells of each label, the most frequent first."""
    counts = labels.value_counts()
    named = counts[(counts > 0) & (counts.index != "unknown")]
    parts = [f"{label}: {n:,}" for label, n in named.head(MOST_LABELS).items()]
    if left := named.iloc[MOST_LABELS:].sum():
        parts.append(f"{len(named) - MOST_LABELS} other labels: {left:,}")
    if missing := labels.isna().sum():
        parts.append(f"no label: {missing:,}")
    return ", ".join([*parts, f"unknown: {counts.get('unknown', 0):,}"])


def _through(function: Callable[..., Any], source: Path, target: Path, options: Any) -> None:
    """Apply a function to a file of cells and write another, or stream into a zarr store."""
    if suffix_of(target) == ZARR:
        function(source, **options, out=target)
        _print(f"{target}: obsm[{options['key_added']!r}]")
    else:
        _rewrite(function, source, target, options)


def _rewrite(function: Callable[..., Any], source: Path, target: Path, options: Any) -> None:
    """Apply a function to a file of cells and write another."""
    adata = read_cells(source)
    function(adata, **options)
    write_cells(adata, target)
    _print(f"{target}: {adata.n_obs:,} cells, obsm[{options['key_added']!r}]")


def _print_table(table: pd.DataFrame) -> None:
    _print(table.head(MOST_ROWS).to_string(index=False, float_format="{:.3g}".format))
    if len(table) > MOST_ROWS:
        _print(f"and {len(table) - MOST_ROWS:,} more rows")


def _print(text: object) -> None:
    try:
        print(text, flush=True)
    except OSError:
        raise UnheardError from None
