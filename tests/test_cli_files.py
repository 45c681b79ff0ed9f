"""What commands read and write: nothing is replaced, lost or half written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import genemamba as gm
from genemamba import cli
from genemamba.errors import InputError


def assert_refused(error: str, said: str) -> None:
    assert said in error
    assert "Fix: " in error
    assert "Traceback" not in error


@pytest.fixture
def refuse(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[list[str], str], None]:
    """Run a command in the folder of files that has to be refused."""
    monkeypatch.chdir(files)

    def call(arguments: list[str], said: str) -> None:
        assert cli.main(arguments) == 1
        assert_refused(capsys.readouterr().err, said)

    return call


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no.h5ad", "out.h5ad"], "no file"),
        (["in.h5ad", "in.h5ad"], "the input itself"),
        (["in.h5ad", "nowhere/out.h5ad"], "no folder"),
        (
            ["in.h5ad", "out.csv"],
            "out.csv ends in .csv\n  Fix: give a name that ends in .h5ad or .zarr",
        ),
        (["in.h5ad", "out"], "out has no suffix\n  Fix: give a name that ends in .h5ad or .zarr"),
        (["in.h5ad", "model"], "model has no suffix"),
        (["in.h5ad", "old.h5ad"], "old.h5ad exists\n  Fix: write to another file, or add --force"),
        (["in.h5ad", "folder.h5ad"], "folder.h5ad is a folder"),
        (["model/config.json", "out.h5ad"], "cannot be read as an AnnData file"),
        (["in.h5ad", "out.h5ad", "--model", "maxi"], "maxi"),
        (["in.h5ad", "out.h5ad", "--model", "model", "--layer", "counts"], "--layer 'counts'"),
    ],
)
def test_errors_are_two_lines_and_nothing_is_written(
    files: Path, arguments: list[str], said: str, refuse: Callable[[list[str], str], None]
) -> None:
    (files / "old.h5ad").write_text("mine")
    (files / "folder.h5ad").mkdir()
    refuse(["embed", *arguments], said)
    assert not (files / "out.h5ad").exists()
    assert (files / "old.h5ad").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["annotate", "in.h5ad", "in.h5ad"], "the input itself"),
        (["annotate", "in.h5ad", "ref.h5ad", "--reference", "ref.h5ad"], "the reference itself"),
        (["annotate", "in.h5ad", "out.h5ad", "--reference", "no.h5ad"], "no reference no.h5ad"),
        (["annotate", "in.h5ad", "out.h5ad", "--reference", "ref.h5ad"], "without label_key"),
        (["annotate", "in.h5ad", "out.h5ad", "--reference", "model"], "nor the folder of an"),
        (["annotate", "in.h5ad", "out.h5ad", "--label-key", "type"], "--label-key 'type'"),
        (["annotate", "in.h5ad", "out.zarr"], "only embed and tokenize write"),
        (["integrate", "in.h5ad", "in.h5ad", "--batch-key", "batch"], "the input itself"),
        (["integrate", "in.h5ad", "out.h5ad", "--batch-key", "donor"], "--batch-key 'donor'"),
    ],
)
def test_errors_of_annotate_and_integrate(
    files: Path, arguments: list[str], said: str, refuse: Callable[[list[str], str], None]
) -> None:
    (files / "ref.h5ad").write_bytes((files / "in.h5ad").read_bytes())
    before = {path: path.stat().st_mtime_ns for path in files.iterdir()}
    refuse([*arguments, "--model", "model"], said)
    assert {path: path.stat().st_mtime_ns for path in files.iterdir()} == before


WRITES = {  # each command that writes a file, up to its name
    "embed": ["embed", "in.h5ad", "old.h5ad"],
    "tokenize": ["tokenize", "in.h5ad", "old.h5ad"],
    "annotate": ["annotate", "in.h5ad", "old.h5ad"],
    "integrate": ["integrate", "in.h5ad", "old.h5ad", "--batch-key", "batch"],
    "map": ["map", "in.h5ad", "old.h5ad"],
    "perturb": ["perturb", "in.h5ad", "old.h5ad", "--genes", "CD3D"],
    "perturb, table": ["perturb", "in.h5ad", "new.h5ad", "old.csv", "--genes", "CD3D"],
    "search": ["search", "in.h5ad", "--out", "old.csv"],
}


@pytest.mark.parametrize("command", WRITES)
def test_no_file_is_replaced_unasked(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("in.h5ad", "old.h5ad", "old.csv"):
        Path(name).write_text("mine")
    assert cli.main(WRITES[command]) == 1
    assert_refused(capsys.readouterr().err, "exists")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(
        ("in.h5ad", "old.h5ad", "old.csv"), "mine"
    )
    assert cli.main([*WRITES[command], "--force"]) == 1  # now it is read
    assert "in.h5ad cannot be read" in capsys.readouterr().err


def test_perturb_writes_the_table_the_cells_or_both(
    files: Path, pbmc: AnnData, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    pbmc = pbmc[:40].copy()
    pbmc.write_h5ad("few.h5ad")
    command = ["perturb", "few.h5ad", "table.csv", "out.h5ad", "--genes", "CD3D", "CD3D+CD3E"]
    how = ["--groupby", "batch", "--target", "b", "--n-controls", "3", "--model", "model"]
    assert cli.main([*command, *how]) == 0
    gm.tl.perturb(
        pbmc, ["CD3D", ("CD3D", "CD3E")], groupby="batch", target="b", n_controls=3, model="model"
    )
    expected = pbmc.uns["genemamba"]["genemamba_perturb"]["table"]
    pd.testing.assert_frame_equal(pd.read_csv("table.csv"), expected, check_dtype=False)
    out = ad.read_h5ad("out.h5ad")
    key = "genemamba_perturb_cosine"
    np.testing.assert_array_equal(out.obsm[key], pbmc.obsm[key])
    said = capsys.readouterr().out
    assert "CD3D+CD3E" in said and "fdr_score" in said
    assert "table.csv: 4 perturbations and groups, one a row" in said
    assert "out.h5ad: 40 cells, uns['genemamba']['genemamba_perturb']" in said
    assert cli.main(["perturb", "few.h5ad", "t.csv", "--genes", "CD3", "--model", "model"]) == 1
    assert_refused(capsys.readouterr().err, "'CD3'")
    assert not Path("t.csv").exists()


def test_what_is_missing_is_reported_before_anything_is_imported(tmp_path: Path) -> None:
    missing = [
        (["annotate", "no.h5ad", "out.h5ad"], "no file no.h5ad"),
        (["annotate", "in.h5ad", "out.h5ad", "--reference", "no.h5ad"], "no reference no.h5ad"),
        (["embed", "in.h5ad", "out.h5ad", "--model", "./no-model"], "no-model"),
        (["map", "in.h5ad", "out.h5ad", "--map", "no-map"], "no map and no folder 'no-map'"),
        (["search", "in.h5ad", "--out", "out.txt"], "out.txt ends in .txt"),
        (["perturb", "in.h5ad", "out.txt", "--genes", "CD3D"], "ends in .csv or .h5ad"),
        (["build-map", "in.h5ad", "no.h5ad", "--out", "map"], "no file no.h5ad"),
        (["adapt", "no.h5ad", "--out", "adapted"], "no file no.h5ad"),
        (["build-corpus", "in.h5ad", "--out", "c", "--gene-names", "no.csv"], "no file no.csv"),
        (["pretrain", "no.toml", "--corpus", ".", "--out", "model"], "no file no.toml"),
        (["pretrain", "paper", "--corpus", "no", "--out", "model"], "no folder no"),
        (["check", "no.h5ad"], "no file no.h5ad"),
        (["doctor", "--model", "no-model"], "no-model"),
    ]
    script = f"""
import sys, time
from genemamba.cli import main
for command, _ in {missing!r}:
    start = time.process_time()
    assert main(command) == 1, command
    assert time.process_time() - start < 0.5, command
heavy = {{"torch", "scanpy", "anndata", "numba", "pandas", "sklearn"}} & set(sys.modules)
assert not heavy, heavy
"""
    (tmp_path / "in.h5ad").touch()
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for _, said in missing:
        assert said in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.h5ad"]


def test_a_suffix_in_capitals_is_the_same_format(
    files: Path, pbmc: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    pbmc[:20].write_h5ad("few.h5ad")
    model = ["--model", "model"]
    command = ["perturb", "few.h5ad", "T.CSV", "--genes", "CD3D", "--n-controls", "0"]
    assert cli.main([*command, *model]) == 0
    assert "perturbation" in pd.read_csv("T.CSV")
    cli.main(["tokenize", "few.h5ad", "T.ZARR", *model])
    assert not Path("T.ZARR").is_file()  # a store, or an error


def test_only_the_target_is_written_and_a_link_is_followed(
    files: Path, pbmc: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    pbmc[:20].write_h5ad("out.h5ad.new")
    before = Path("out.h5ad.new").read_bytes()
    Path("out.h5ad").symlink_to("real.h5ad")
    assert cli.main(["tokenize", "out.h5ad.new", "out.h5ad", "--model", "model"]) == 0
    assert Path("out.h5ad.new").read_bytes() == before
    assert Path("out.h5ad").is_symlink() and len(ad.read_h5ad("real.h5ad")) == 20
    assert not list(files.glob(".genemamba-*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device")
def test_what_was_computed_is_written_before_it_is_printed(files: Path, pbmc: AnnData) -> None:
    pbmc[:20].write_h5ad(files / "few.h5ad")
    command = "perturb few.h5ad t.csv --genes CD3D --n-controls 0 --model model > /dev/full"
    main = f'{sys.executable} -c "from genemamba.cli import main; main()"'
    subprocess.run(f"{main} {command}", shell=True, cwd=files, check=False)
    assert "perturbation" in pd.read_csv(files / "t.csv")


def test_messages_name_options_but_not_within_calls(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "batch_key='donor' and correct=True; gm.tl.map(adata, 'm', correct=True); unknown=3"
    monkeypatch.setattr(gm.tl, "map", lambda *_, **__: raise_input_error(said))
    monkeypatch.chdir(files)
    assert cli.main(["map", "in.h5ad", "out.h5ad", "--model", "model"]) == 1
    own = "--batch-key 'donor' and --correct; gm.tl.map(adata, 'm', correct=True); unknown=3"
    assert capsys.readouterr().err == f"genemamba: {own}\n"


def raise_input_error(what: str) -> None:
    raise InputError(what)


@pytest.mark.parametrize("place", [0, 1], ids=["input", "output"])
def test_a_name_that_is_too_long(
    files: Path, place: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(files)
    names = ["in.h5ad", "out.h5ad"]
    names[place] = "a" * 300 + ".h5ad"
    assert cli.main(["embed", *names, "--model", "model"]) == 1
    assert capsys.readouterr().err == f"genemamba: {names[place]}: File name too long\n"


def test_a_store_is_not_replaced(refuse: Callable[[list[str], str], None]) -> None:
    Path("out.zarr").mkdir()
    refuse(
        ["embed", "in.h5ad", "out.zarr", "--force"],
        "out.zarr exists, and --force replaces no store",
    )
