"""The arguments of each command, by the names and with the defaults of the functions."""

from __future__ import annotations

import argparse
from argparse import ArgumentParser
from pathlib import Path

from genemamba._keys import ANNOTATION, MAP, OBSM_EMBEDDING, OBSM_INTEGRATED, OBSM_TOKENS, PERTURB

_STORE = "or OUT.zarr, which is written block by block and resumes if it exists"


def demo(parser: ArgumentParser) -> None:
    """Add the argument of the demonstration."""
    parser.add_argument(
        "--out", type=Path, default=Path("figures"), help="folder for the figure, which is replaced"
    )


def doctor(parser: ArgumentParser) -> None:
    """Add the arguments of ``gm.doctor``."""
    parser.add_argument("--model", default="genemamba-mini", help="name or checkpoint folder")
    _runtime(parser)


def check(parser: ArgumentParser) -> None:
    """Add the arguments of ``gm.pp.check``."""
    _source(parser)
    _reading(parser)


def embed(parser: ArgumentParser) -> None:
    """Add the arguments of ``gm.tl.embed``."""
    _source(parser)
    _target(parser, _STORE)
    _reading(parser)
    _pooling(parser)
    _key(parser, OBSM_EMBEDDING)
    _running(parser)


def tokenize(parser: ArgumentParser) -> None:
    """Add the arguments of ``gm.pp.rank_tokenize``."""
    _source(parser)
    _target(parser, _STORE)
    _reading(parser)
    _key(parser, OBSM_TOKENS)


def integrate(parser: ArgumentParser) -> None:
    """Add the arguments of ``gm.tl.integrate``."""
    _source(parser)
    _target(parser)
    parser.add_argument(
        "--batch-key", required=True, metavar="COLUMN", help="column of obs with the batches"
    )
    parser.add_argument(
        "--label-key", metavar="COLUMN", help="column of obs with cell types to tune on"
    )
    _reading(parser)
    _key(parser, OBSM_INTEGRATED)
    _running(parser)
    _seed(parser)


def annotate(parser: ArgumentParser) -> None:
    """Add the arguments of ``gm.tl.annotate``."""
    _source(parser)
    _target(parser)
    parser.add_argument(
        "--reference", type=Path, metavar="REF.h5ad|FOLDER",
        help="labelled cells, or the folder of an earlier annotation; without it, the labels of "
        "IN.h5ad, or the classifier of the model",
    )  # fmt: skip
    parser.add_argument(
        "--label-key", metavar="COLUMN", help="column of obs with the labels to learn from"
    )
    parser.add_argument(
        "--method", choices=["auto", "probe", "knn", "finetune"], default="auto",
        help="with labels: the classifier to fit",
    )  # fmt: skip
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
    _reading(parser)
    _key(parser, ANNOTATION, "prefix of the slots to write")
    _running(parser)
    _seed(parser)


def perturb(parser: ArgumentParser) -> None:
    """Add the arguments of ``gm.tl.perturb``."""
    _source(parser)
    parser.add_argument(
        "outputs", type=Path, nargs="+", metavar="OUT.csv|OUT.h5ad",
        help="OUT.csv for the table, OUT.h5ad for the cells with their shifts, or both",
    )  # fmt: skip
    _force(parser)
    parser.add_argument(
        "--genes", nargs="+", required=True, metavar="GENE",
        help="symbols or Ensembl ids, each perturbed on its own; CD3D+CD3E together",
    )  # fmt: skip
    parser.add_argument(
        "--how", choices=["delete", "overexpress"], default="delete", help="what is done to them"
    )
    parser.add_argument(
        "--groupby", metavar="COLUMN", help="column of obs with the states of the cells"
    )
    parser.add_argument("--target", metavar="STATE", help="state that cells may move towards")
    parser.add_argument(
        "--groups", nargs="+", metavar="STATE", help="states whose cells are edited; all without it"
    )
    parser.add_argument(
        "--n-controls", type=int, default=100, metavar="N",
        help="control genes for each gene and state; 0 for no p-values",
    )  # fmt: skip
    parser.add_argument(
        "--control-cells", type=int, default=25, metavar="N",
        help="cells in which a gene and its controls are compared",
    )  # fmt: skip
    _reading(parser)
    _pooling(parser)
    _key(parser, PERTURB, "prefix of the slots to write")
    _running(parser)
    parser.set_defaults(precision="float32")  # shifts are smaller than bfloat16 resolves
    _seed(parser)


def map(parser: ArgumentParser) -> None:
    """Add the arguments of ``gm.tl.map``."""
    _source(parser)
    _target(parser)
    _reference_map(parser, 30)
    parser.add_argument(
        "--correct", action="store_true", help="shift the cells, as batches, towards the map"
    )
    parser.add_argument(
        "--batch-key", metavar="COLUMN", help="with --correct: column of obs with the batches"
    )
    _reading(parser)
    _key(parser, MAP, "prefix of the slots to write")
    _running(parser)


def search(parser: ArgumentParser) -> None:
    """Add the arguments of ``gm.tl.search``."""
    _source(parser)
    parser.add_argument("--out", type=Path, metavar="OUT.csv", help="write the cells found")
    _force(parser)
    _reference_map(parser, 50)
    parser.add_argument(
        "--groupby", metavar="COLUMN", help="column of obs: search for the mean of each group"
    )
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="COLUMN=VALUE",
        help="leave out cells of the map; can be repeated",
    )  # fmt: skip
    _reading(parser)
    _running(parser)


def build_map(parser: ArgumentParser) -> None:
    """Add the arguments of ``gm.tl.build_map``."""
    _source(parser, several=True)
    _folder(parser)
    parser.add_argument("--batch-key", metavar="COLUMN", help="column of obs with donors, batches")
    parser.add_argument("--label-key", metavar="COLUMN", help="column of obs with cell types")
    parser.add_argument(
        "--keep", nargs="+", default=(), metavar="COLUMN", help="further columns of obs to keep"
    )
    _reading(parser)
    _running(parser)
    _seed(parser)


def adapt(parser: ArgumentParser) -> None:
    """Add the arguments of ``gm.tl.adapt``."""
    _source(parser)
    _folder(parser)
    parser.add_argument("--batch-key", metavar="COLUMN", help="column of obs with libraries")
    parser.add_argument("--minutes", type=float, default=5, help="how long, about")
    parser.add_argument("--steps", type=int, help="training steps, instead of minutes")
    _reading(parser)
    _running(parser)
    _seed(parser)


def build_corpus(parser: ArgumentParser) -> None:
    """Add the arguments of ``gm.datasets.build_corpus``."""
    _source(parser, several=True)
    _folder(parser)
    parser.add_argument(
        "--gene-names", type=Path, required=True, metavar="GENES.csv",
        help="without header: Ensembl id, symbol, optionally biotype and former symbols",
    )  # fmt: skip
    parser.add_argument(
        "--profiles", type=Path, nargs="+", default=(), metavar="IN.h5ad",
        help="average profiles to draw cells from",
    )  # fmt: skip
    parser.add_argument(
        "--labels", type=Path, metavar="LABELS.csv", help="file, label, cl_id: Cell Ontology terms"
    )
    parser.add_argument(
        "--biotypes", nargs="+", default=(), metavar="NAME",
        help="keep only genes of these biotypes; all without it",
    )  # fmt: skip
    parser.add_argument("--min-genes", type=int, default=200, help="minimum genes per cell")
    parser.add_argument("--min-cells", type=int, default=50, help="minimum cells per gene")


def pretrain(parser: ArgumentParser) -> None:
    """Add the arguments of ``gm.tl.pretrain``."""
    parser.add_argument(
        "config",
        metavar="CONFIG.toml",
        help="or unlabelled, genemamba-mini, genemamba-small, paper",
    )
    parser.add_argument(
        "--corpus", type=Path, required=True, metavar="FOLDER", help="what build-corpus wrote"
    )
    _folder(parser)
    parser.add_argument("--devices", type=int, default=1, help="processes, or GPUs")
    parser.add_argument(
        "--strategy", choices=["auto", "ddp", "fsdp"], default="auto",
        help="how processes share the work",
    )  # fmt: skip
    parser.add_argument(
        "--accelerator", choices=["auto", "cpu", "cuda", "mps"], default="auto",
        help="what each process runs on",
    )  # fmt: skip
    parser.add_argument(
        "--stop-after", type=float, metavar="SECONDS", help="save and stop; run again to resume"
    )


def _source(parser: ArgumentParser, *, several: bool = False) -> None:
    if several:
        parser.add_argument("files", type=Path, nargs="+", metavar="IN.h5ad", help=".h5ad or .zarr")
    else:
        parser.add_argument("source", type=Path, metavar="IN.h5ad", help=".h5ad or .zarr")


def _target(parser: ArgumentParser, what: str = "a new file") -> None:
    parser.add_argument("target", type=Path, metavar="OUT.h5ad", help=what)
    _force(parser)


def _force(parser: ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="replace an existing file (no store)")


def _folder(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER",
        help="to write to; an interrupted command resumes there",
    )  # fmt: skip


def _key(parser: ArgumentParser, key: str, what: str = "slot of obsm to write") -> None:
    parser.add_argument("--key-added", default=key, metavar="NAME", help=what)


def _reference_map(parser: ArgumentParser, k: int) -> None:
    parser.add_argument(
        "--map", dest="reference_map", default="genemamba-body", metavar="NAME|FOLDER",
        help="reference map",
    )  # fmt: skip
    parser.add_argument("--k", type=int, default=k, metavar="N", help="neighbours to find")


def _pooling(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--pooling", choices=["mean", "cls"], default="mean",
        help="the mean over the genes of a cell, or its [CLS] token",
    )  # fmt: skip


def _seed(parser: ArgumentParser) -> None:
    parser.add_argument("--rng", type=int, default=0, metavar="SEED", help="seed of random numbers")


def _reading(parser: ArgumentParser) -> None:
    """Add the model, and what to read of the cells."""
    parser.add_argument(
        "--model", default="genemamba-mini", metavar="NAME|FOLDER", help="checkpoint"
    )
    parser.add_argument("--layer", help="layer to read instead of X; 'raw' reads adata.raw")
    parser.add_argument(
        "--gene-ids", metavar="COLUMN",
        help="column of var with symbols or Ensembl ids, instead of the names of the genes",
    )  # fmt: skip
    parser.add_argument(
        "--organism", choices=["auto", "human", "mouse", "macaque", "pig"], default="auto",
        help="organism of the genes",
    )  # fmt: skip
    parser.add_argument(
        "--max-tokens", type=int, default=2048, metavar="N", help="genes to read per cell"
    )


def _running(parser: ArgumentParser) -> None:
    """Add how to run the model on batches of cells."""
    parser.add_argument(
        "--batch-size", type=_cells, default="auto", metavar="CELLS|auto",
        help="cells to run at once; affects speed and memory only",
    )  # fmt: skip
    _runtime(parser)


def _runtime(parser: ArgumentParser) -> None:
    """Add how to run the model."""
    parser.add_argument("--device", default="auto", help="auto, cpu, mps, cuda or cuda:1")
    parser.add_argument(
        "--precision", choices=["auto", "float32", "bfloat16"], default="auto",
        help="numbers to compute in",
    )  # fmt: skip
    parser.add_argument(
        "--backend", choices=["auto", "cuda", "torch", "numba"], default="auto",
        help="code to run; genemamba doctor lists what works here",
    )  # fmt: skip


def _cells(text: str) -> int | str:
    if text != "auto" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor auto")
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
