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
