"""Files in the published layout, through `load`."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from anndata import AnnData
from safetensors.torch import load_file, save_file

import genemamba as gm
from genemamba.errors import CheckpointError
from genemamba.models._unpickle import read_table
from genemamba.network import GeneMamba


def change(folder: Path, **changed: torch.Tensor | None) -> None:
    tensors = load_file(folder / "model.safetensors") | changed
    kept = {name: t for name, t in tensors.items() if t is not None}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def repickle(file: Path, change: Callable[[dict], object]) -> None:
    table = dict(read_table(file))
    change(table)
    file.write_bytes(pickle.dumps(table))


def test_sizes_weights_and_genes_are_found(published: Path, small_model: GeneMamba) -> None:
    model = gm.models.load(published)
    assert model.config.to_dict() == small_model.config.to_dict() | {
        "vocab_size": len(small_model.vocab) - 1,  # no [MASK]
        "chunk_size": 64,
    }
    vocab, theirs = model.vocab, small_model.vocab
    for column in ("ensembl_id", "symbol", "median"):
        assert (getattr(vocab, column) == getattr(theirs, column)).all()
    assert vocab.extra == ("[CLS]",)
    assert gm.models.vocabulary(published).sha256 == vocab.sha256
    rows = vocab.n_genes + 2
    for name, weight in model.state_dict().items():
        expected = small_model.state_dict()[name]
        if len(expected) == len(small_model.vocab):
            assert torch.equal(weight[rows], expected[:rows].double().mean(0).float()), name
            weight, expected = weight[:rows], expected[:rows]
        assert torch.equal(weight, expected), name
    assert model.provenance["layout"] == "published"
    assert len(model.provenance["sha256"]) == 64
    assert "do not pass" in model.provenance["licence"]
    assert not model.training


def test_it_embeds(published: Path, small_model: GeneMamba, pbmc: AnnData) -> None:
    pbmc = pbmc[:20].copy()
    gm.tl.embed(pbmc, model=small_model, key_added="trained")
    gm.tl.embed(pbmc, model=str(published), key_added="published")
    np.testing.assert_allclose(
        pbmc.obsm["published"], pbmc.obsm["trained"], rtol=1e-5, atol=1e-6
    )  # the chunk size differs
    gm.tl.embed(pbmc, model=published / "model.safetensors", pooling="cls", key_added="cls")
    assert np.isfinite(pbmc.obsm["cls"]).all()


def test_a_trained_cls_row_is_kept(publish: Callable[..., Path], small_model: GeneMamba) -> None:
    rows = len(small_model.vocab) - 1
    state = small_model.state_dict()
    more = {k: v[:rows].clone() for k, v in state.items() if len(v) == len(small_model.vocab)}
    model = gm.models.load(publish(small_model, **more))
    assert torch.equal(model.embeddings.weight, state["embeddings.weight"][:rows])
    assert model.vocab.special("[CLS]") == rows - 1


def test_merge(published: Path, small_model: GeneMamba, tmp_path: Path) -> None:
    assert gm.models.load(published).config.merge == "mean"
    assert gm.models.load(published, merge="sum").config.merge == "sum"
    with pytest.raises(CheckpointError, match=r"merge='gate' does not fit(?s:.)*Fix: use .*'sum'"):
        gm.models.load(published, merge="gate")
    (published / "config.json").write_text('{"mode": "sum", "model_type": "genemamba"}')
    assert gm.models.load(published).config.merge == "sum"
    assert gm.models.load(published / "model.safetensors").config.merge == "sum"
    assert gm.models.load(published, merge="mean").config.merge == "mean"
    small_model.save_pretrained(tmp_path / "ours")
    assert gm.models.load(tmp_path / "ours", merge="mean").config.merge == "mean"
    for model in (tmp_path / "ours", small_model):
        with pytest.raises(CheckpointError, match="this checkpoint has 'mean'"):
            gm.models.load(model, merge="sum")


@pytest.mark.parametrize("merge", ["gate", "concat"])
def test_one_aggr_for_all_layers(publish: Callable, small_model: GeneMamba, merge: str) -> None:
    shared = {
        "mamba_mixer.aggr.weight": torch.randn(32, 64),
        "mamba_mixer.aggr.bias": torch.randn(32),
    }
    folder = publish(small_model, **shared)
    with pytest.raises(
        CheckpointError, match=r"merge=None does not fit(?s:.)*use merge='gate' or 'concat'"
    ):
        gm.models.load(folder)
    with pytest.raises(CheckpointError, match="does not fit"):
        gm.models.load(folder, merge="mean")
    model = gm.models.load(folder, merge=merge)
    assert model.config.merge == merge
    merges = [layer.merge for layer in model.mamba_mixer.layers]
    for layer in merges:
        assert torch.equal(layer.weight, shared["mamba_mixer.aggr.weight"])
        assert torch.equal(layer.bias, shared["mamba_mixer.aggr.bias"])
    assert merges[0].weight.data_ptr() != merges[1].weight.data_ptr()  # can be trained apart


def test_the_message_names_the_wrong_tensor(published: Path) -> None:
    layer = "mamba_mixer.layers.0.mamba"
    bad = {
        "embeddings.weight": (None, "embeddings.weight"),
        "lm_head.weight": (None, "lm_head.weight is missing"),
        "norm_f.weight": (torch.ones(31), r"norm_f.weight has shape \[31\], not \[32\]"),
        f"{layer}.D": (None, rf"{layer}.D is missing"),
        f"{layer}.dt_bias": (torch.ones(5), rf"{layer}.dt_bias has shape"),
        f"{layer}.in_proj.weight": (torch.ones(3, 32), rf"{layer}.in_proj.weight has shape"),
        f"{layer}.A_log": (torch.ones(4, dtype=torch.int32), rf"{layer}.A_log has dtype I32"),
        "lm_head.bias": (torch.full((767,), torch.nan), "lm_head.bias holds NaN"),
        "mamba_mixer.layers.3.mamba.D": (torch.ones(4), "layers.2.mamba.dt_bias is missing"),
        "mamba_mixer.layers.9999.mamba.D": (torch.ones(4), "layers.2.mamba.dt_bias is missing"),
        "../../etc/passwd": (torch.ones(1), r"tensor '../../etc/passwd' has no place"),
        "classifier.weight": (torch.ones(1), "tensor 'classifier.weight' has no place"),
        "mamba_mixer.aggr.bias": (torch.ones(32), "mamba_mixer.aggr.weight is missing"),
    }
    whole = (published / "model.safetensors").read_bytes()
    for name, (tensor, said) in bad.items():
        (published / "model.safetensors").write_bytes(whole)
        change(published, **{name: tensor})
        with pytest.raises(CheckpointError, match=said):
            gm.models.load(published)


def test_the_number_of_genes(published: Path) -> None:
    for rows in (766, 769):
        names = {
            "embeddings.weight": (rows, 32),
            "lm_head.weight": (rows, 32),
            "lm_head.bias": (rows,),
        }
        change(published, **{name: torch.zeros(shape) for name, shape in names.items()})
        with pytest.raises(CheckpointError, match=f"has {rows} rows, but the genes in its folder"):
            gm.models.load(published)


@pytest.mark.parametrize(
    ("file", "what", "said"),
    [
        ("token_dictionary", lambda t: t.update(ENSG00000000004=99), "00004 has token 99"),
        ("token_dictionary", lambda t: t.update(ENSG00000000004="6"), "has token '6'"),
        ("token_dictionary", lambda t: t.pop("<mask>"), "no two special tokens"),
        ("token_dictionary", lambda t: t.pop("ENSG00000000764"), "no token of ENSG00000000764"),
        ("token_dictionary", lambda t: t.clear(), "no genes|no two special"),
        ("gene_median_dictionary", lambda t: t.pop("ENSG00000000009"), "no median of ENSG0"),
        ("gene_median_dictionary", lambda t: t.update(ENSG00000000009=0.0), "not a positive"),
        ("gene_median_dictionary", lambda t: t.update(ENSG00000000009="1"), "median of text"),
    ],
)  # fmt: skip
def test_tables_that_do_not_belong(published: Path, file: str, what: Callable, said: str) -> None:
    repickle(published / f"{file}.pkl", what)
    for call in (gm.models.load, gm.models.vocabulary):
        with pytest.raises(CheckpointError, match=said):
            call(published)


def test_a_gene_table_that_lost_a_line(published: Path, tmp_path: Path) -> None:
    """Its last gene's row must not be taken for that of [CLS]."""
    gm.models.convert(published, tmp_path / "ours")
    back = gm.models.convert(tmp_path / "ours", tmp_path / "back")
    lines = (back / "genes.csv").read_text().splitlines(keepends=True)
    (back / "genes.csv").write_text("".join(lines[:-1]))
    with pytest.raises(CheckpointError, match=r"are not those that config\.json states"):
        gm.models.load(back)


def test_tables_that_are_missing(published: Path) -> None:
    (published / "gene_name_id_dict.pkl").unlink()
    assert set(gm.models.vocabulary(published).symbol) == {""}
    (published / "token_dictionary.pkl").unlink()
    with pytest.raises(CheckpointError, match=r"neither genes.csv nor token_dictionary.pkl"):
        gm.models.load(published)
    (published / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"holds no model.safetensors"):
        gm.models.load(published)


def test_the_tables_of_geneformer(shared_data: Path) -> None:
    """The layout's tokens are ours, gene by gene."""
    from genemamba.models._published import read_vocabulary

    folder = shared_data / "geneformer-v1"
    tokens = pickle.loads((folder / "token_dictionary.pkl").read_bytes())
    vocab = read_vocabulary(folder)
    assert len(vocab) == 25_427
    assert vocab.special("[CLS]") == 25_426
    assert [tokens[gene] for gene in vocab.ensembl_id] == list(range(2, 25_426))
    assert vocab.name_to_gene["CD3E"] == vocab.name_to_gene["ENSG00000198851"] >= 0
