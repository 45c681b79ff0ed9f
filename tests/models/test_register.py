from __future__ import annotations

from typing import Any

import pytest

import genemamba as gm
from genemamba.errors import InputError
from genemamba.models import _registry

AT, SHA = "https://lab.example.org/gut", "0123456789abcdef" * 4

pytestmark = pytest.mark.usefixtures("home")


def test_one_address_is_the_published_layout_with_its_gene_tables() -> None:
    gm.models.register("gut", f"{AT}/weights.bin?raw=1", SHA.upper(), parameters=7, licence="MIT")
    entry = _registry.require("gut")
    assert entry.layout == "published"
    assert entry.files[0].name == "model.safetensors"
    assert entry.files[0].sha256 == SHA
    assert entry.files[1:] == _registry.GENEFORMER_V1
    row = gm.models.available().loc["gut"]
    assert (row.parameters, row.licence, row.on_disk) == (7, "MIT", False)


@pytest.mark.parametrize(
    ("names", "layout", "n_files"),
    [
        (["model.safetensors", "config.json", "genes.csv"], "genemamba", 3),
        (["model.safetensors", "genes.csv"], "published", 2),
        (["model.safetensors", "token_dictionary.pkl"], "published", 4),
        (["model.safetensors", "config.json"], "published", 5),
    ],
)
def test_several_files(names: list[str], layout: str, n_files: int) -> None:
    gm.models.register("gut", {name: (f"{AT}/{name}", SHA) for name in names})
    entry = _registry.require("gut")
    assert entry.layout == layout
    assert len(entry.files) == len({file.name for file in entry.files}) == n_files


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../up", "/etc", "a/b", "a\\b", "C:", "a b", "a\n", "ü", "x" * 101, "a."],
)
def test_names_lead_nowhere(name: str) -> None:
    with pytest.raises(InputError, match="is not a plain name"):
        gm.models.register(name, AT, SHA)
    with pytest.raises(InputError, match="is not a plain name"):
        gm.models.register("gut", {"model.safetensors": (AT, SHA), name: (AT, SHA)})
    assert _registry.lookup("gut") is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("genemamba-mini", AT, SHA), "'genemamba-mini' is taken"),
        (("GeneMamba-24L-512d", AT, SHA), "is taken"),  # one folder on some systems
        (("gut", AT), "sha256='' of model.safetensors is not 64 hexadecimal"),
        (("gut", AT, SHA[1:]), "is not 64 hexadecimal digits"),
        (("gut", AT, "g" * 64), "is not 64 hexadecimal digits"),
        (("gut", "file:///etc/passwd", SHA), "not an http or https address"),
        (("gut", "https://", SHA), "not an http or https address"),
        (("gut", {}), "url has no model.safetensors"),
        (("gut", {"genes.csv": (AT, SHA)}), "url has no model.safetensors"),
        (("gut", {"model.safetensors": (AT, SHA)}, SHA), "sha256 is given with a mapping"),
        (("gut", {"model.safetensors": AT}), "is not \\(address, sha256\\)"),
    ],
)
def test_what_is_refused(arguments: tuple[Any, ...], said: str) -> None:
    before = dict(_registry._ENTRIES)
    with pytest.raises(InputError, match=said):
        gm.models.register(*arguments)
    assert before == _registry._ENTRIES
