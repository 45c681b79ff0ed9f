"""Whatever happened to a half-filled store, going on ends in the right rows or is refused."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from genemamba.cells.store import filling
from genemamba.errors import GeneMambaError

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
FOLDER = Path(tempfile.mkdtemp())
ROWS = np.random.default_rng(0).random((10, 3)).astype(np.float32)
NAMES = pd.Index([f"c{i}" for i in range(10)])
SETTINGS = {"block": 4, "model": "any"}
JOURNAL = [
    *("{}", "5", "[]", '{"start":', '{"start": 0}', '{"start": -4}', '{"start": null}'),
    *(
        '{"start": "a", "sha256": 1}',
        '{"start": 1e300, "sha256": ""}',
        '{"start": 8, "sha256": []}',
    ),
]
EDITS = st.lists(
    st.tuples(st.integers(0, 20), st.sampled_from(["put", "over", "end"]), st.integers(0, 999),
              st.binary(max_size=8)),
    max_size=3,
)  # fmt: skip


def fill(out: Path, blocks: int) -> None:
    with filling(out, NAMES, "X", 3, np.float32, SETTINGS) as store:
        for start in range(0, 4 * blocks, 4):
            if start not in store.done:
                store.write(start, ROWS[start : start + 4], {})
        if blocks == 3:
            store.finish({"genemamba": {"X": {}}})


fill(FOLDER / "begun.zarr", 2)
PARTIAL = FOLDER / "begun.zarr.partial"


@patient
@given(EDITS, st.lists(st.sampled_from(JOURNAL) | st.text(max_size=9), max_size=3))
@example([], JOURNAL)
@example([(16, "put", 332, b"\x80")], [])  # a chunk that says it has a negative size
def test_a_damaged_store_is_filled_rightly_or_refused(edits: Any, journal: list[str]) -> None:
    out, partial = FOLDER / "out.zarr", FOLDER / "out.zarr.partial"
    for folder in (out, partial):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(PARTIAL, partial)
    files = sorted(path for path in partial.rglob("*") if path.is_file())
    for which, how, where, new in edits:
        file = files[which % len(files)]
        data = file.read_bytes()
        at = where % (len(data) + 1)
        rest = {"put": data[at:], "over": data[at + len(new) :], "end": b""}[how]
        file.write_bytes(data[:at] + new + rest)
    with (partial / "journal.jsonl").open("a", encoding="utf-8", errors="replace") as lines:
        lines.writelines(f"{line}\n" for line in journal)
    try:
        fill(out, 3)
    except GeneMambaError as error:
        assert error.fix
        return
    np.testing.assert_array_equal(ad.read_zarr(out).obsm["X"], ROWS)
