"""Is the cost of a training step linear in the length of a cell?

    python benchmarks length

One step (forward, backward) on one cell of 2,048, 4,096 and 8,192 tokens, beside a transformer of
as many parameters (norm first, GELU, torch's fused attention) in the same run, by turns: the
paper's Table 6 as ratios. `proportional` is the time of a step over what the shortest one says a
step of this length should take; 1 is linear. The last line printed is the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from genemamba.network import GeneMamba, GeneMambaConfig

VOCABULARY = 16_000


class Transformer(nn.Module):
    """Of the same width, depth, vocabulary and, by its inner width, number of parameters."""

    def __init__(self, config: GeneMambaConfig, parameters: int) -> None:
        super().__init__()
        d, n = config.d_model, config.n_layers
        self.embeddings = nn.Embedding(config.vocab_size, d)
        attention = 4 * d * d + 9 * d  # with biases and both norms
        room = (parameters - config.vocab_size * d) // n - attention
        layer = nn.TransformerEncoderLayer(
            d, d // 64, room // (2 * d + 1), dropout=0.0, activation="gelu",
            batch_first=True, norm_first=True,
        )  # fmt: skip
        self.layers = nn.TransformerEncoder(layer, n, enable_nested_tensor=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the final state of every token."""
        return self.layers(self.embeddings(ids))


def step(model: nn.Module, ids: Tensor) -> None:
    """Forward and backward; a mean of squares stands for the loss, which is not what is timed."""
    model.zero_grad()
    model(ids).float().square().mean().backward()


def seconds(run: Callable[[], None]) -> float:
    """Time one run."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    begun = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def measure(args: argparse.Namespace) -> dict[str, list[float]]:
    """Return the median seconds of a step, by model and length."""
    config = GeneMambaConfig(
        vocab_size=VOCABULARY, d_model=args.width, n_layers=args.layers, merge="mean",
        pre_norm=True, tie_embeddings=True,
    )  # fmt: skip
    device = "cuda" if torch.cuda.is_available() else "cpu"
    mamba = GeneMamba(config).reset_parameters(0)
    count = sum(p.numel() for n, p in mamba.named_parameters() if n != "lm_head.bias")
    models = {"genemamba": mamba, "transformer": Transformer(config, count)}
    for name, model in models.items():
        n = sum(p.numel() for n, p in model.named_parameters() if n != "lm_head.bias")
        print(f"{name}: {n:,} parameters")
        model.to(device)
    if args.compile:
        models = {name: torch.compile(model) for name, model in models.items()}
    times: dict[str, list[list[float]]] = {name: [[] for _ in args.lengths] for name in models}
    for turn in range(args.runs + 1):  # the first warms up
        for i, length in enumerate(args.lengths):
            ids = torch.randint(VOCABULARY, (1, length), device=device)
            for name, model in models.items():
                taken = seconds(lambda model=model, ids=ids: step(model, ids))
                if turn:
                    times[name][i].append(taken)
    return {name: [statistics.median(own) for own in rows] for name, rows in times.items()}


def main() -> None:
    """Measure, print a table, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[2048, 4096, 8192])
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    found = measure(args)
    rows = []
    for i, length in enumerate(args.lengths):
        row: dict[str, float] = {"tokens": length}
        for name, times in found.items():
            row[f"{name}_seconds"] = round(times[i], 3)
            due = times[0] * length / args.lengths[0]
            row[f"{name}_proportional"] = round(times[i] / due, 3)
        row["transformer_over_genemamba"] = round(
            found["transformer"][i] / found["genemamba"][i], 2
        )
        rows.append(row)
        print(row, flush=True)
    print(json.dumps({"benchmark": "length", "threads": torch.get_num_threads(), "rows": rows}))


if __name__ == "__main__":
    main()
