"""The command line: the same names and defaults as the functions."""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genemamba._arguments import (
    add_adapt,
    add_annotate,
    add_build_map,
    add_files,
    add_integrate,
    add_map,
    add_reading,
    add_running,
    add_runtime,
    add_search,
)
from genemamba._progress import say
from genemamba._version import __version__
from genemamba.errors import GeneMambaError, GeneMambaWarning, InputError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

MOST_LABELS = 12  # counted after an annotation
MOST_FOUND = 3  # values of a column shown after a search


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None if closed
            stream.reconfigure(errors="replace")  # "×" where the encoding has none
    arguments = vars(_parser().parse_args(argv))
    command = arguments.pop("command")
    warnings.showwarning = _show(warnings.showwarning)
    try:
        return command(**arguments) or 0
    except (GeneMambaError, FloatingPointError) as error:
        say(f"genemamba: {error}", "stderr")
    except _UnheardError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end
    return 1


class _UnheardError(Exception):
    """Output cannot be written: a closed pipe, or a full disk."""


def _print(text: object) -> None:
    try:
        print(text, flush=True)
    except OSError:
        raise _UnheardError from None


def _demo(out: Path) -> None:
    from genemamba._demo import demo

    demo(out)


def _doctor(**options: Any) -> None:
    import genemamba

    _print(genemamba.doctor(**options))


def _embed(source: Path, target: Path, **options: Any) -> None:
    from genemamba import tl

    _through(tl.embed, source, target, options)


def _tokenize(source: Path, target: Path, **options: Any) -> None:
    from genemamba import pp

    _through(pp.rank_tokenize, source, target, options)


def _integrate(source: Path, target: Path, **options: Any) -> None:
    from genemamba import tl

    _rewrite(tl.integrate, source, target, options)


def _annotate(source: Path, target: Path, reference: Path | None, **options: Any) -> None:
    from genemamba import tl
    from genemamba._keys import annotation_keys

    _check_paths(source, target, reference)
    given = _read(reference) if reference and reference.is_file() else reference
    adata = _read(source)
    tl.annotate(adata, reference=given, **options)
    adata.write_h5ad(target)
    key = annotation_keys(options["key_added"]).label
    _print(f"{target}: {adata.n_obs:,} cells, obs[{key!r}]\n{_summary(adata.obs[key])}")


def _adapt(source: Path, out: Path, **options: Any) -> None:
    from genemamba import tl

    found = tl.adapt(source, out=out, **options).provenance["adapted"]
    _print(f"{out}: {found['cells']:,} cells, {found['steps']} steps, kept: {found['kept']}")


def _build_map(files: list[Path], out: Path, **options: Any) -> None:
    from genemamba import tl

    several: Any = files if len(files) > 1 else files[0]
    _print(repr(tl.build_map(several, out=out, **options)))


def _map(source: Path, target: Path, **options: Any) -> None:
    from genemamba import tl
    from genemamba._keys import map_keys

    _check_paths(source, target)
    adata = _read(source)
    tl.map(adata, **options)
    adata.write_h5ad(target)
    keys = map_keys(options["key_added"])
    said = ""
    if keys.label in adata.obs:
        said = f", obs[{keys.label!r}]\n{_summary(adata.obs[keys.label])}"
    _print(f"{target}: {adata.n_obs:,} cells, obsm[{keys.umap!r}]{said}")


def _search(source: Path, out: Path | None, exclude: list[str], **options: Any) -> None:
    from genemamba import tl

    chosen: dict[str, list[str]] = {}
    for pair in exclude:
        column, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"--exclude {pair} has no '='", "write it as COLUMN=VALUE")
        chosen.setdefault(column, []).append(value)
    if out is not None and not out.parent.is_dir():
        raise InputError(f"there is no folder {out.parent}", "create it first")
    if not source.is_file():
        raise InputError(f"there is no file {source}", "give the path of an .h5ad file")
    found = tl.search(_read(source), exclude=chosen, **options)
    shown = ["query", "column", "value", "found", "share", "background", "fold"]
    top = found.enrichment.groupby(["query", "column"], sort=False).head(MOST_FOUND)
    _print(top[shown].to_string(index=False, float_format="{:.3g}".format))
    if out is not None:
        found.cells.to_csv(out, index=False)
        _print(f"{out}: {len(found.cells):,} cells found, one a row")


def _summary(labels: pd.Series) -> str:
    """Count the cells of each label, the most frequent first."""
    counts = labels.value_counts()
    named = counts[(counts > 0) & (counts.index != "unknown")]
    parts = [f"{label}: {n:,}" for label, n in named.head(MOST_LABELS).items()]
    if left := named.iloc[MOST_LABELS:].sum():
        parts.append(f"{len(named) - MOST_LABELS} other labels: {left:,}")
    if missing := labels.isna().sum():
        parts.append(f"no label: {missing:,}")
    return ", ".join([*parts, f"unknown: {counts.get('unknown', 0):,}"])


def _build_corpus(files: list[Path], out: Path, **options: Any) -> None:
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


def _pretrain(config: str, **options: Any) -> None:
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


def _through(function: Callable[..., Any], source: Path, target: Path, options: Any) -> None:
    """Apply a function to a file of cells and write another, or stream into a zarr store."""
    if target.suffix == ".zarr":
        function(source, **options, out=target)
        _print(f"{target}: obsm[{options['key_added']!r}]")
    else:
        _rewrite(function, source, target, options)


def _rewrite(function: Callable[..., Any], source: Path, target: Path, options: Any) -> None:
    """Apply a function to a file of cells and write another."""
    _check_paths(source, target)
    adata = _read(source)
    function(adata, **options)
    adata.write_h5ad(target)
    _print(f"{target}: {adata.n_obs} cells, obsm[{options['key_added']!r}]")


def _check_paths(source: Path, target: Path, reference: Path | None = None) -> None:
    if not source.is_file():
        raise InputError(f"there is no file {source}", "give the path of an .h5ad file")
    if reference is not None and not reference.exists():
        raise InputError(
            f"there is no reference {reference}",
            "give an .h5ad file with labels, or the folder of an earlier annotation",
        )
    for path, what in ((source, "input"), (reference, "reference")):
        if path is not None and target.exists() and target.samefile(path):
            raise InputError(f"{target} is the {what} itself", "write to another file")
    if target.suffix == ".zarr":
        raise InputError(
            f"{target} is a zarr store, which only embed and tokenize write",
            "write to an .h5ad file",
        )
    if not target.parent.is_dir():
        raise InputError(f"there is no folder {target.parent}", "create it first")


def _read(path: Path) -> AnnData:
    """Read a file of cells into memory."""
    import anndata

    from genemamba.cells.files import opened

    with opened(path):  # raises if it is another kind of file
        pass
    try:
        return anndata.read_h5ad(path)
    except Exception as error:  # a file can be broken in any way
        raise InputError(
            f"{path} is not an h5ad file ({error})",
            "give an .h5ad file; embed and tokenize read others if they write to an OUT.zarr",
        ) from None


def _check(source: Path, **options: Any) -> int:
    from genemamba import pp

    report = pp.check(source, **options)
    _print(report)
    return 0 if report.ok else 1


def _parser() -> argparse.ArgumentParser:
    from genemamba._keys import OBSM_EMBEDDING, OBSM_TOKENS

    parser = argparse.ArgumentParser(
        prog="genemamba", description="Embed single cells with GeneMamba."
    )
    parser.add_argument("--version", action="version", version=f"genemamba {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="embed and cluster cells that ship with scanpy")
    demo.add_argument("--out", type=Path, default=Path("figures"), help="folder for the figure")
    demo.set_defaults(command=_demo)

    doctor = commands.add_parser(
        "doctor", help="check device, backend, correctness and speed (gm.doctor)"
    )
    doctor.add_argument("--model", default="genemamba-mini", help="name or checkpoint folder")
    add_runtime(doctor)
    doctor.set_defaults(command=_doctor)

    check = commands.add_parser("check", help="check a file before a run (gm.pp.check)")
    check.add_argument("source", type=Path, metavar="IN.h5ad", help=".h5ad or .zarr")
    add_reading(check)
    check.set_defaults(command=_check)

    embed = commands.add_parser("embed", help="write one vector per cell (gm.tl.embed)")
    add_files(embed, OBSM_EMBEDDING, stored=True)
    embed.add_argument("--pooling", choices=["mean", "cls"], default="mean")
    add_running(embed)
    embed.set_defaults(command=_embed)

    adapt = commands.add_parser("adapt", help="adapt a model to your cells (gm.tl.adapt)")
    add_adapt(adapt)
    adapt.set_defaults(command=_adapt)

    annotate = commands.add_parser("annotate", help="label cell types (gm.tl.annotate)")
    add_annotate(annotate)
    annotate.set_defaults(command=_annotate)

    integrate = commands.add_parser("integrate", help="mix batches (gm.tl.integrate)")
    add_integrate(integrate)
    integrate.set_defaults(command=_integrate)

    place = commands.add_parser("map", help="lay cells on a reference map (gm.tl.map)")
    add_map(place)
    place.set_defaults(command=_map)

    search = commands.add_parser(
        "search", help="find the most similar cells of a reference map (gm.tl.search)"
    )
    add_search(search)
    search.set_defaults(command=_search)

    build_map = commands.add_parser("build-map", help="make a reference map (gm.tl.build_map)")
    add_build_map(build_map)
    build_map.set_defaults(command=_build_map)

    tokenize = commands.add_parser("tokenize", help="write ranked genes (gm.pp.rank_tokenize)")
    add_files(tokenize, OBSM_TOKENS, stored=True)
    tokenize.set_defaults(command=_tokenize)

    build = commands.add_parser(
        "build-corpus", help="build a corpus for pretraining (gm.datasets.build_corpus)"
    )
    build.add_argument("files", type=Path, nargs="+", metavar="IN.h5ad", help=".h5ad or .zarr")
    build.add_argument(
        "--out", type=Path, required=True, help="output folder; resumes if it exists"
    )
    build.add_argument(
        "--gene-names", type=Path, required=True, metavar="CSV",
        help="without header: Ensembl id, symbol, optionally biotype and former symbols",
    )  # fmt: skip
    build.add_argument(
        "--profiles", type=Path, nargs="+", default=(), metavar="IN.h5ad",
        help="average profiles to draw cells from",
    )  # fmt: skip
    build.add_argument(
        "--labels", type=Path, metavar="CSV", help="file, label, cl_id: Cell Ontology terms"
    )
    build.add_argument(
        "--biotypes",
        nargs="+",
        default=(),
        metavar="NAME",
        help="keep only genes of these biotypes",
    )
    build.add_argument("--min-genes", type=int, default=200, help="minimum genes per cell")
    build.add_argument("--min-cells", type=int, default=50, help="minimum cells per gene")
    build.set_defaults(command=_build_corpus)

    pretrain = commands.add_parser("pretrain", help="train a model on a corpus (gm.tl.pretrain)")
    pretrain.add_argument(
        "config",
        metavar="CONFIG.toml",
        help="or unlabelled, genemamba-mini, genemamba-small, paper",
    )
    pretrain.add_argument(
        "--corpus", type=Path, required=True, help="folder written by build-corpus"
    )
    pretrain.add_argument(
        "--out", type=Path, required=True, help="output folder; resumes if it exists"
    )
    pretrain.add_argument("--devices", type=int, default=1, help="processes, or GPUs")
    pretrain.add_argument("--strategy", choices=["auto", "ddp", "fsdp"], default="auto")
    pretrain.add_argument("--accelerator", choices=["auto", "cpu", "cuda", "mps"], default="auto")
    pretrain.add_argument(
        "--stop-after", type=float, metavar="SECONDS", help="save and stop; run again to resume"
    )
    pretrain.set_defaults(command=_pretrain)
    return parser


def _show(otherwise: Callable[..., Any]) -> Callable[..., Any]:
    """Print this package's warnings as one plain line."""

    def show(message: Any, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, GeneMambaWarning):
            say(f"genemamba: note: {message}", "stderr")
        else:
            otherwise(message, category, *rest, **more)

    return show
