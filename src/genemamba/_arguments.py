"""Arguments of the command line that several commands share, or that fill a screen."""

from __future__ import annotations

import argparse
from pathlib import Path

from genemamba._keys import ANNOTATION, MAP, OBSM_INTEGRATED


def add_annotate(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``gm.tl.annotate``."""
    add_files(parser, ANNOTATION, "prefix of the slots to write")
    parser.add_argument(
        "--reference", type=Path, metavar="REF.h5ad|FOLDER",
        help="labelled cells, or the folder of an earlier annotation; without it, the labels of "
        "IN.h5ad, or the classifier of the model",
    )  # fmt: skip
    parser.add_argument(
        "--label-key", metavar="COLUMN", help="column of obs with the labels to learn from"
    )
    parser.add_argument("--method", choices=["auto", "probe", "knn", "finetune"], default="auto")
    parser.add_argument(
        "--batch-key", metavar="COLUMN",
        help="column of obs with donors or batches of the labelled cells, to calibrate on",
    )  # fmt: skip
    parser.add_argument(
        "--level", type=_level, default="auto", metavar="LEVEL",
        help="without labels: auto, fine, broad, a depth such as 5, or cell types, separated by "
        "commas",
    )  # fmt: skip
    parser.add_argument("--tissue", help="without labels: expect cell types of this tissue")
    parser.add_argument(
        "--groupby", metavar="COLUMN", help="column of obs with clusters, to be labelled, too"
    )
    parser.add_argument(
        "--no-unknown", dest="unknown", action="store_false", help="label unfamiliar cells, too"
    )
    parser.add_argument(
        "--coverage", type=float, metavar="SHARE",
        help="also write sets that contain the true label with this probability",
    )  # fmt: skip
    parser.add_argument(
        "--reference-layer", metavar="LAYER", help="layer to read of REF.h5ad, if it is another one"
    )
    parser.add_argument("--folder", type=Path, help="save the classifier there, as a reference")
    add_running(parser)
    parser.add_argument("--rng", type=int, default=0, metavar="SEED")


def add_integrate(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``gm.tl.integrate``."""
    add_files(parser, OBSM_INTEGRATED)
    parser.add_argument(
        "--batch-key", required=True, metavar="COLUMN", help="column of obs with the batches"
    )
    parser.add_argument(
        "--label-key", metavar="COLUMN", help="column of obs with cell types to tune on"
    )
    add_running(parser)
    parser.add_argument("--rng", type=int, default=0, metavar="SEED")


def add_map(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``gm.tl.map``."""
    add_files(parser, MAP, "prefix of the slots to write")
    _add_reference_map(parser, 30)
    parser.add_argument(
        "--correct", action="store_true", help="shift the cells, as batches, towards the map"
    )
    parser.add_argument(
        "--batch-key", metavar="COLUMN", help="with --correct: column of obs with the batches"
    )
    add_running(parser)


def add_search(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``gm.tl.search``."""
    parser.add_argument("source", type=Path, metavar="IN.h5ad")
    parser.add_argument("--out", type=Path, metavar="OUT.csv", help="write the cells found")
    _add_reference_map(parser, 50)
    parser.add_argument(
        "--groupby", metavar="COLUMN", help="column of obs: search for the mean of each group"
    )
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="COLUMN=VALUE",
        help="leave out cells of the map; can be repeated",
    )  # fmt: skip
    add_reading(parser)
    add_running(parser)


def add_build_map(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``gm.tl.build_map``."""
    parser.add_argument("files", type=Path, nargs="+", metavar="IN.h5ad", help=".h5ad or .zarr")
    parser.add_argument("--out", type=Path, required=True, help="folder; resumes if it exists")
    parser.add_argument("--batch-key", metavar="COLUMN", help="column of obs with donors, batches")
    parser.add_argument("--label-key", metavar="COLUMN", help="column of obs with cell types")
    parser.add_argument(
        "--keep", nargs="+", default=(), metavar="COLUMN", help="further columns of obs to keep"
    )
    add_reading(parser)
    add_running(parser)
    parser.add_argument("--rng", type=int, default=0, metavar="SEED")


def add_adapt(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``gm.tl.adapt``."""
    parser.add_argument("source", type=Path, metavar="IN.h5ad", help=".h5ad or .zarr")
    parser.add_argument(
        "--out", type=Path, required=True, help="checkpoint folder; resumes if interrupted"
    )
    parser.add_argument("--batch-key", metavar="COLUMN", help="column of obs with libraries")
    parser.add_argument("--minutes", type=float, default=5, help="how long, about (5)")
    parser.add_argument("--steps", type=int, help="training steps, instead of minutes")
    add_reading(parser)
    add_running(parser)
    parser.add_argument("--rng", type=int, default=0, metavar="SEED")


def _add_reference_map(parser: argparse.ArgumentParser, k: int) -> None:
    parser.add_argument(
        "--map", dest="reference_map", default="genemamba-body", metavar="NAME|FOLDER",
        help="reference map (genemamba-body)",
    )  # fmt: skip
    parser.add_argument("--k", type=int, default=k, help=f"neighbours to find ({k})")


def add_files(
    parser: argparse.ArgumentParser,
    key: str,
    what: str = "slot of obsm to write",
    *,
    stored: bool = False,
) -> None:
    """Add input, output, what to read and where to write; `stored`: a zarr store will do, too."""
    parser.add_argument("source", type=Path, metavar="IN.h5ad")
    store = "or OUT.zarr, which is written block by block and resumes if it exists"
    parser.add_argument(
        "target", type=Path, metavar="OUT.h5ad", help=store if stored else "another file"
    )
    add_reading(parser)
    parser.add_argument("--key-added", default=key, help=what)


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Add model and what to read of the cells."""
    parser.add_argument("--model", default="genemamba-mini", help="name or checkpoint folder")
    parser.add_argument("--layer", help="layer to read instead of X; 'raw' reads adata.raw")
    parser.add_argument("--gene-ids", metavar="COLUMN", help="column of var with symbols or ids")
    parser.add_argument(
        "--organism",
        choices=["auto", "human", "mouse", "macaque", "pig"],
        default="auto",
        help="organism of the genes",
    )
    parser.add_argument("--max-tokens", type=int, default=2048, help="genes to read per cell")


def add_running(parser: argparse.ArgumentParser) -> None:
    """Add how to run the model on batches of cells."""
    parser.add_argument("--batch-size", type=_cells, default="auto", metavar="CELLS|auto")
    add_runtime(parser)


def add_runtime(parser: argparse.ArgumentParser) -> None:
    """Add how to run the model."""
    parser.add_argument("--device", default="auto", help="auto, cpu, mps, cuda or cuda:1")
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--backend", choices=["auto", "cuda", "torch", "numba"], default="auto")


def _cells(text: str) -> int | str:
    return text if text == "auto" else int(text)


def _level(text: str) -> int | str | list[str]:
    """Read a level; names of the Cell Ontology can contain a comma themselves."""
    from genemamba.ontology import Ontology

    if text.strip().isdecimal():
        return int(text)
    if text in ("auto", "fine", "broad"):
        return text
    ontology, parts, terms = Ontology.load(), text.split(","), list[str]()
    while parts:
        known = [n for n in range(len(parts), 0, -1) if ontology.find(",".join(parts[:n]).strip())]
        n = known[0] if known else 1
        terms.append(",".join(parts[:n]).strip())
        parts = parts[n:]
    return terms if len(terms) > 1 or ontology.find(terms[0]) else text
