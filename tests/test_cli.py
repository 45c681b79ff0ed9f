from __future__ import annotations

import argparse
import inspect
import os
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
from genemamba.cli import commands
from genemamba.cli.arguments import _level
from genemamba.cli.run import COMMANDS
from genemamba.network import GeneMamba


@pytest.fixture
def files(tmp_path: Path, pbmc: AnnData, small_model: GeneMamba) -> Path:
    small_model.save_pretrained(tmp_path / "model")
    pbmc.write_h5ad(tmp_path / "in.h5ad")
    return tmp_path


def test_embed_and_tokenize_do_what_the_functions_do(files: Path, pbmc: AnnData) -> None:
    model = str(files / "model")
    for command, function, key in (
        ("embed", gm.tl.embed, "X_genemamba"),
        ("tokenize", gm.pp.rank_tokenize, "genemamba_tokens"),
    ):
        out = files / f"{command}.h5ad"
        assert cli.main([command, str(files / "in.h5ad"), str(out), "--model", model]) == 0
        function(pbmc, model=model)
        found, expected = ad.read_h5ad(out).obsm[key], pbmc.obsm[key]
        assert np.array_equal(*(x if isinstance(x, np.ndarray) else x.toarray()
                                for x in (found, expected)))  # fmt: skip


def test_integrate_does_what_the_function_does(files: Path, pbmc: AnnData) -> None:
    paths, model = [str(files / "few.h5ad"), str(files / "out.h5ad")], str(files / "model")
    pbmc = pbmc[:150].copy()
    pbmc.write_h5ad(paths[0])
    assert cli.main(["integrate", *paths, "--batch-key", "batch", "--model", model]) == 0
    gm.tl.integrate(pbmc, "batch", model=model)
    key = "X_genemamba_integrated"
    np.testing.assert_array_equal(ad.read_h5ad(paths[1]).obsm[key], pbmc.obsm[key])


@pytest.mark.filterwarnings("ignore::genemamba.errors.GeneMambaWarning")
def test_annotate_by_a_file_and_by_the_folder_of_an_earlier_annotation(
    files: Path, pbmc: AnnData, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    monkeypatch.setattr(commands, "MOST_LABELS", 2)
    pbmc[::2].write_h5ad("ref.h5ad")
    command = ["annotate", "in.h5ad", "out.h5ad", "--model", "model", "--key-added", "mine"]
    fit = ["--reference", "ref.h5ad", "--label-key", "bulk_labels", "--folder", "fitted"]
    assert cli.main([*command, *fit, "--method", "knn", "--coverage", ".9"]) == 0
    gm.tl.annotate(
        pbmc, reference=pbmc[::2].copy(), label_key="bulk_labels", method="knn", coverage=0.9,
        model="model", key_added="mine",
    )  # fmt: skip
    out, counts = ad.read_h5ad("out.h5ad"), pbmc.obs["mine_label"].value_counts()
    pd.testing.assert_frame_equal(out.obs, pbmc.obs)
    np.testing.assert_array_equal(out.obsm["mine_sets"], pbmc.obsm["mine_sets"])
    first, second = capsys.readouterr().out.splitlines()
    assert first == "out.h5ad: 700 cells, obs['mine_label']"
    named = counts.drop("unknown")
    assert second.startswith(f"{named.index[0]}: {named.iloc[0]}, {named.index[1]}: ")
    assert second.endswith(f" {named.iloc[2:].sum()}, unknown: {counts['unknown']}")

    again = [*command, "--reference", "fitted", "--no-unknown"]
    assert cli.main(again) == 1
    assert "out.h5ad exists\n  Fix: write to another file, or add --force" in (
        capsys.readouterr().err
    )
    assert cli.main([*again, "--force"]) == 0
    assert "unknown: 0" in capsys.readouterr().out
    labels = ad.read_h5ad("out.h5ad").obs["mine_label"].astype(str)
    known = pbmc.obs["mine_label"] != "unknown"
    assert (labels == pbmc.obs["mine_label"].astype(str))[known].all()


def test_annotate_without_labels_takes_level_tissue_and_groupby(
    files: Path, pbmc: AnnData, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    pbmc = pbmc[:60].copy()
    pbmc.write_h5ad("few.h5ad")
    options = ["--level", "T cell, CL:0000236,monocyte", "--tissue", "blood", "--groupby", "batch"]
    assert cli.main(["annotate", "few.h5ad", "out.h5ad", *options]) == 0
    gm.tl.annotate(
        pbmc, level=["T cell", "B cell", "monocyte"], tissue="blood", groupby="batch"
    )  # fmt: skip
    out = ad.read_h5ad("out.h5ad")
    pd.testing.assert_frame_equal(out.obs, pbmc.obs)
    assert "genemamba_group_label" in out.obs
    assert cli.main(["annotate", "few.h5ad", "not.h5ad", "--tissue", "blod"]) == 1
    assert "did you mean 'Blood'" in capsys.readouterr().err
    assert not Path("not.h5ad").exists()


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("auto", "auto"),
        ("5", 5),
        ("coarse", "coarse"),
        ("T cell", ["T cell"]),
        ("T cell,B cell", ["T cell", "B cell"]),
        ("CD4-positive, alpha-beta T cell", ["CD4-positive, alpha-beta T cell"]),
        (
            "B cell, CD4-positive, alpha-beta T cell, CL:0000576",
            ["B cell", "CD4-positive, alpha-beta T cell", "CL:0000576"],
        ),
        ("T cell,B cel", ["T cell", "B cel"]),
    ],
)
def test_a_level_is_a_word_a_depth_or_cell_types(text: str, level: object) -> None:
    assert _level(text) == level


def test_labels_are_counted() -> None:
    labels = pd.Series(["B"] * 2 + ["T"] * 1000 + [None], dtype="category").cat.add_categories("C")
    assert commands.summary(labels) == "T: 1,000, B: 2, no label: 1, unknown: 0"


def test_a_zarr_store_is_streamed_into(
    files: Path, pbmc: AnnData, capsys: pytest.CaptureFixture[str]
) -> None:
    for command, key in (("embed", "X_genemamba"), ("tokenize", "genemamba_tokens")):
        paths = [str(files / "in.h5ad"), str(files / f"{command}.zarr")]
        assert cli.main([command, *paths, "--model", str(files / "model")]) == 0
        assert len(ad.read_zarr(paths[1]).obsm[key]) == pbmc.n_obs
        assert f"obsm['{key}']" in capsys.readouterr().out


def test_check_says_whether_cells_can_be_used(
    files: Path, pbmc: AnnData, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["check", str(files / "in.h5ad"), "--model", str(files / "model")]
    assert cli.main(command) == 0
    assert "counts: every entry is a whole number" in capsys.readouterr().out
    pbmc.X = pbmc.X - 1
    pbmc.write_h5ad(files / "in.h5ad")
    assert cli.main(command) == 1
    assert "negative" in capsys.readouterr().out


def test_doctor_prints_what_the_function_returns(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genemamba._doctor._SECONDS", 0.01)
    assert cli.main(["doctor", "--model", str(files / "model"), "--precision", "float32"]) == 0
    assert "self-test  passed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "function"),
    [
        ("embed", gm.tl.embed),
        ("annotate", gm.tl.annotate),
        ("integrate", gm.tl.integrate),
        ("tokenize", gm.pp.rank_tokenize),
        ("check", gm.pp.check),
        ("perturb", gm.tl.perturb),
        ("map", gm.tl.map),
        ("search", gm.tl.search),
        ("adapt", gm.tl.adapt),
        ("build-map", gm.tl.build_map),
        ("build-corpus", gm.datasets.build_corpus),
        ("pretrain", gm.tl.pretrain),
        ("doctor", gm.doctor),
    ],
)
def test_names_and_defaults_are_those_of_the_function(
    command: str, function: Callable[..., object]
) -> None:
    own = actions(command)
    given = {a.dest: a.default or None for a in own if not a.required}
    takes = {p.name: p.default for p in inspect.signature(function).parameters.values()}
    of_python = ("adata", "mod", "copy", "out", "recipe")
    asked = {name for name in takes if takes[name] is inspect.Parameter.empty}
    expected = {n: takes[n] or None for n in takes if n not in asked and n not in of_python}
    for name in ("force", "help", "out"):
        given.pop(name, None)
    if command == "integrate":
        assert "batch_key" in asked
    assert given == expected
    assert asked - {"adata"} <= {a.dest for a in own if a.required}


def actions(command: str) -> list[argparse.Action]:
    own = argparse.ArgumentParser()
    COMMANDS[command][1](own)
    return own._actions


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_each_option_with_its_default(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main([command, "--help"])
    usage, *lines = capsys.readouterr().out.splitlines()
    text = " ".join(" ".join(lines).split())
    for action in actions(command):
        assert action.help, action.dest
        values = {True: [], False: [action.default]}[action.default in (None, (), [])]
        if action.option_strings and action.nargs != 0:
            assert [v for v in values if f"(default: {v})" not in text] == []
        if action.required:
            assert (action.metavar or action.dest) in usage
    assert "None" not in text and "()" not in text and "[])" not in text and "==" not in text


def test_an_unknown_option_shows_the_usage_of_its_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["embed", "in.h5ad", "out.h5ad", "--modl", "x"])
    usage, error = capsys.readouterr().err.splitlines()
    assert usage == "usage: genemamba embed IN.h5ad OUT.h5ad [options]"
    assert error.endswith("unrecognized arguments: --modl x")


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    said = capsys.readouterr().err
    assert all(command in said for command in COMMANDS)


def assert_refused(error: str, said: str) -> None:
    assert said in error
    assert "Fix: " in error
    assert "Traceback" not in error


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
        (["in.h5ad", "out.h5ad", "--model", "model", "--layer", "counts"], "layer='counts'"),
    ],
)
def test_errors_are_two_lines_and_nothing_is_written(
    files: Path,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(files)
    (files / "old.h5ad").write_text("mine")
    (files / "folder.h5ad").mkdir()
    assert cli.main(["embed", *arguments]) == 1
    assert_refused(capsys.readouterr().err, said)
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
        (["annotate", "in.h5ad", "out.h5ad", "--label-key", "type"], "label_key='type'"),
        (["annotate", "in.h5ad", "out.zarr"], "only embed and tokenize write"),
        (["integrate", "in.h5ad", "in.h5ad", "--batch-key", "batch"], "the input itself"),
        (["integrate", "in.h5ad", "out.h5ad", "--batch-key", "donor"], "batch_key='donor'"),
    ],
)
def test_errors_of_annotate_and_integrate(
    files: Path,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(files)
    (files / "ref.h5ad").write_bytes((files / "in.h5ad").read_bytes())
    before = {path: path.stat().st_mtime_ns for path in files.iterdir()}
    assert cli.main([*arguments, "--model", "model"]) == 1
    assert_refused(capsys.readouterr().err, said)
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


def test_demo_prints_a_table_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--out", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert "genemamba, zero-shot" in table
    assert (tmp_path / "demo_umap.png").stat().st_size > 20_000


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert gm.__version__ in capsys.readouterr().out


MAIN = "import sys; from genemamba.cli import main; sys.exit(main())"


@pytest.mark.parametrize("encoding", ["ascii", "cp1251"])
def test_any_encoding_of_the_terminal_will_do(files: Path, encoding: str) -> None:
    command = [sys.executable, "-c", MAIN, "check", "in.h5ad", "--model", "model"]
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, cwd=files, env=env, capture_output=True)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert b"700" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="another shell")
@pytest.mark.parametrize(
    ("redirect", "status"), [(">&-", 0), ("2>&-", 0), (">/dev/full", 1), ("| true", 0)]
)
def test_whatever_becomes_of_what_is_printed(files: Path, redirect: str, status: int) -> None:
    call = f"'{sys.executable}' -c '{MAIN}' check in.h5ad --model model {redirect}"
    done = subprocess.run(["sh", "-c", call], cwd=files, capture_output=True)
    assert done.returncode == status
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


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
