"""How fast does the model read cells, beside what a user would otherwise run?

    python benchmarks inference --data ../shared/data

Everything of a part is timed in one process, by turns, after a run that warms up; the median of
`--runs`. Weights are random but for genemamba-mini: they do not change the time. `--backend triton`
is an experiment, _triton_read.py.

model   24 layers × 512, 2,048 tokens, 1 and 8 cells a batch. On a CPU beside the Mamba-2 of
        transformers, on CUDA beside that of mamba-ssm, each called once per direction with flips
        (the published way); beside the matrix products of this model alone.
cells   genemamba-mini on real cells beside a BERT of Geneformer-V1-10M's shape: the same tokens,
        batches of nearly equal length; and beside itself with every cell padded to 2,048.
length  genemamba-mini on eight or more cells of 512 to 32,768 tokens each, and of 60,000: time per
        token, memory.
bert    24 × 512 beside a BERT of as many parameters, 2,048, 4,096 and 8,192 tokens (for a GPU).
The last line printed is the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _data import SETS
from _peers import GENEFORMER_V1_10M, Bert, mamba_ssm_mamba2, products, transformers_mamba2

import genemamba as gm
from genemamba._machine import peak_memory, processor
from genemamba.network import GeneMamba, GeneMambaConfig, compiled
from genemamba.network.inference import embed_tokens, placed
from genemamba.network.packed import PackedCells
from genemamba.network.runtime import Runtime, choose_runtime
from genemamba.tokens import FIRST_GENE, Ranked, length_batches, pad

PAPER = GeneMambaConfig(vocab_size=25_430)  # 24 × 512, gate
MOST = 2_048


def turns(rows: dict[str, Callable[[], Any]], runs: int) -> dict[str, float]:
    """Return the median seconds of each row, run by turns."""
    taken: dict[str, list[float]] = {name: [] for name in rows}
    for turn in range(runs + 1):
        for name, run in rows.items():
            begun = _now()
            run()
            if turn:
                taken[name].append(_now() - begun)
    return {name: statistics.median(own) for name, own in taken.items()}


def network_of(args: argparse.Namespace, model: GeneMamba) -> GeneMamba:
    """Return a model to be timed, on the Triton experiment if this is what is timed."""
    if args.backend != "triton":
        return model
    from _triton_read import use  # imports Triton

    return use(model)


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def part_model(args: argparse.Namespace, runtime: Runtime) -> list[dict[str, Any]]:
    dtype, device = getattr(torch, runtime.precision), runtime.device
    ours = placed(network_of(args, GeneMamba(PAPER).reset_parameters(0).eval()), runtime)
    peer = mamba_ssm_mamba2 if device == "cuda" else transformers_mamba2
    theirs = peer(PAPER).eval().to(device, dtype)
    found = []
    compiled.keep_buffers()  # as embedding does
    for batch in args.batches:
        ids = torch.randint(FIRST_GENE, 25_000, (batch, MOST), device=device)
        rows: dict[str, Callable[[], Any]] = {"ours": partial(ours, ids)}
        if device == "cpu":
            rows["products"] = products(PAPER, batch, MOST, dtype)
        seconds = turns(rows, args.runs)
        # one turn of the peer takes a minute, and its times hardly vary
        seconds |= turns({"peer": partial(theirs, ids)}, args.runs if device == "cuda" else 1)
        ratios = {f"{k}_over_ours": seconds[k] / seconds["ours"] for k in seconds if k != "ours"}
        found.append({"batch": batch, "cells_per_s": batch / seconds["ours"], **ratios, **seconds})
    return found


def part_cells(args: argparse.Namespace, runtime: Runtime) -> list[dict[str, Any]]:
    adata = SETS[args.set].load(args.data, args.cells)
    gm.pp.rank_tokenize(adata, max_tokens=MOST)
    tokens = adata.obsm["genemamba_tokens"]
    ones = np.ones(adata.n_obs)
    ranked = Ranked(tokens.data.astype(np.int32), tokens.indptr.astype(np.int64), ones, ones)
    ours = network_of(args, gm.models.load("genemamba-mini"))
    dtype = getattr(torch, runtime.precision)
    bert = Bert(**GENEFORMER_V1_10M).eval().to(runtime.device, dtype)
    network = placed(ours, runtime)
    most = 16_384 if runtime.device == "cpu" else 131_072

    def read_bert() -> None:
        for cells in length_batches(ranked.lengths, max_tokens_per_batch=most, multiple=1):
            rows, n = map(torch.from_numpy, pad(ranked, cells, multiple=1))
            real = torch.arange(rows.shape[1]) < n[:, None]
            states = bert(rows.to(runtime.device), real.to(runtime.device))
            (states * real[..., None].to(states)).sum(1).float().cpu()

    def read_padded() -> None:
        for first in range(0, ranked.n_cells, 8):
            cells = np.arange(first, min(first + 8, ranked.n_cells))
            rows, n = map(torch.from_numpy, pad(ranked, cells, multiple=MOST))
            network.embed(PackedCells.padded(rows, n).to(runtime.device)).cpu()

    seconds = turns(
        {
            "ours": lambda: embed_tokens(ours, ranked, runtime=runtime),
            "bert": read_bert,
            "padded": read_padded,
        },
        args.runs,
    )
    per_second = {name: ranked.n_cells / taken for name, taken in seconds.items()}
    ratios = {f"ours_over_{k}": per_second["ours"] / per_second[k] for k in ("bert", "padded")}
    tokens_per_cell = float(ranked.lengths.mean())
    return [{"set": args.set, "cells": ranked.n_cells, "tokens_per_cell": tokens_per_cell,
             "cells_per_s": per_second, **ratios}]  # fmt: skip


def part_length(args: argparse.Namespace, runtime: Runtime) -> list[dict[str, Any]]:
    draw, found = np.random.default_rng(0), []
    model = placed(network_of(args, gm.models.load("genemamba-mini")), runtime)
    for length in (512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768, 60_000):
        n = max(8, 16_384 // length)
        ids = draw.integers(FIRST_GENE, model.config.vocab_size, n * length, dtype=np.int32)
        cells = Ranked(ids, length * np.arange(n + 1), np.ones(n), np.ones(n))
        run = partial(embed_tokens, model, cells, runtime=runtime)
        seconds = turns({"ours": run}, args.runs)["ours"] / n
        row = {"tokens": length, "seconds": seconds, "us_per_token": 1e6 * seconds / length}
        row["peak_memory_gb"] = (
            torch.cuda.max_memory_allocated() / 1e9 if runtime.device == "cuda" else peak_memory()
        )
        found.append(row)
    return found


def part_bert(args: argparse.Namespace, runtime: Runtime) -> list[dict[str, Any]]:
    ours = placed(network_of(args, GeneMamba(PAPER).reset_parameters(0).eval()), runtime)
    count = sum(p.numel() for p in ours.mamba_mixer.parameters())
    inner = (count // 24 - 4 * 512 * 512) // (2 * 512)
    bert = Bert(25_430, 512, 24, 8, inner).eval().to(runtime.device, ours.embeddings.weight.dtype)
    found = []
    for length in (2_048, 4_096, 8_192):
        ids = torch.randint(FIRST_GENE, 25_000, (max(1, args.tokens // length), length))
        ids = ids.to(runtime.device)
        seconds = turns({"ours": partial(ours, ids), "bert": partial(bert, ids)}, args.runs)
        found.append({"tokens": length, "rows": len(ids), **seconds,
                      "bert_over_ours": seconds["bert"] / seconds["ours"]})  # fmt: skip
    return found


PARTS = {"model": part_model, "cells": part_cells, "length": part_length, "bert": part_bert}


def main() -> None:
    """Measure the parts, print rows, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--parts", default="model,cells,length", help=f"some of {','.join(PARTS)}")
    parser.add_argument("--data", type=Path, help="folder of the .h5ad files, for `cells`")
    parser.add_argument("--set", default="pbmc3k")
    parser.add_argument("--cells", type=int, default=256, help="drawn from the set")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--tokens", type=int, default=65_536, help="of a batch, for `bert`")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--backend", default="auto", choices=["auto", "cuda", "torch", "triton"])
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    experiment = args.backend == "triton"  # the package has no such backend
    runtime = choose_runtime(args.device, args.precision, "torch" if experiment else args.backend)
    result: dict[str, Any] = {
        "benchmark": "inference", "processor": processor(), "threads": torch.get_num_threads(),
        "torch": torch.__version__, "device": runtime.device, "precision": runtime.precision,
        "backend": "triton" if experiment else runtime.backend,
    }  # fmt: skip
    if runtime.device == "cuda":
        result["gpu"] = torch.cuda.get_device_name()
    print(result)
    with torch.inference_mode():
        for part in args.parts.split(","):
            result[part] = PARTS[part](args, runtime)
            for row in result[part]:
                print(part, row, flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
