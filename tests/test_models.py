"""Models by name, by file, by module; arguments are literals and never run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from ptools import models
from ptools.errors import FileError, PtoolsError, UsageError
from ptools.models import Blueprint
from ptools.testing import Install

NET = """
from dataclasses import dataclass
from torch import nn

@dataclass
class Config:
    width: int = 4

class Net(nn.Module):
    def __init__(self, width=4, bias=True):
        super().__init__()
        self.layer = nn.Linear(width, 2, bias=bias)

class Fails(nn.Module):
    def __init__(self):
        raise AttributeError("no such thing")

def number():
    return 7
"""


def build(spec: str, classes: int = 2, shape: tuple[int, int, int] = (1, 8, 8)) -> object:
    return models.build(spec, classes=classes, shape=shape)


NAMES = ["cnn", "cnn-bn", "convnet", "lenet", "mlp", "mobilenet-v1"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 5, 7), (2, 1, 1), (1, 28, 40)])
def test_registered_models_are_sized_for_any_input(name: str, shape: tuple[int, int, int]) -> None:
    import torch

    model = models.build(name, classes=7, shape=shape)
    assert model(torch.zeros(2, *shape)).shape == (2, 7)


def test_cnn_is_the_network_of_the_tutorials() -> None:
    """Conv 3-32-32-64, Linear 64, Linear 10 on CIFAR-10: 145,578 parameters."""
    model = models.build("cnn", classes=10, shape=(3, 32, 32))
    assert sum(p.numel() for p in model.parameters()) == 145_578


@pytest.mark.parametrize(
    ("name", "classes", "shape", "parameters"),
    [
        ("lenet", 10, (1, 28, 28), 61_706),
        ("lenet", 10, (1, 32, 32), 61_706),
        ("convnet", 10, (1, 28, 28), 832 + 51_264 + 1024 * 256 + 256 + 2570),
        ("mobilenet-v1", 1000, (3, 224, 224), 4_231_976),
        ("mlp", 10, (1, 28, 28), 784 * 512 + 512 + 131_328 + 32_896 + 8256 + 650),
    ],
)
def test_sizes_of_the_published_networks(
    name: str, classes: int, shape: tuple[int, int, int], parameters: int
) -> None:
    model = models.build(name, classes=classes, shape=shape)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_mobilenet_takes_the_checkpoint_of_its_authors(tmp_path: Path) -> None:
    """137 tensors as examples/mobilenet.py saves them: only `module.` is not in our names."""
    import runpy

    import torch

    script = Path(__file__).parents[1] / "examples" / "mobilenet.py"
    runpy.run_path(str(script))["save"](tmp_path / "mobilenet.tar")
    state = torch.load(tmp_path / "mobilenet.tar", weights_only=True)["state_dict"]
    assert len(state) == 137
    assert "module.model.0.0.weight" in state
    model = models.build("mobilenet-v1", classes=1000, shape=(3, 224, 224))
    own = {key.removeprefix("module."): value for key, value in state.items()}
    found = model.load_state_dict(own, strict=False)
    assert found.unexpected_keys == []
    assert all(key.endswith("num_batches_tracked") for key in found.missing_keys)


def test_registered_models_can_be_pickled_whole(tmp_path: Path) -> None:
    import torch

    for name in NAMES:
        torch.save(models.build(name, classes=2, shape=(1, 8, 8)), tmp_path / "whole.pt")
        assert (tmp_path / "whole.pt").stat().st_size


@pytest.mark.parametrize("side", [32, 64])
def test_a_transformer_is_sized_for_its_images(side: int) -> None:
    model = models.build("vit_b_32", classes=3, shape=(3, side, side))
    assert model.image_size == side


# -- initialisation and dropout ----------------------------------------------------------------------


def layers() -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.Flatten(), nn.Linear(64, 32), nn.Dropout(0.1),
        nn.Dropout2d(0.2),
    )  # fmt: skip


@pytest.mark.parametrize("how", ["xavier", "kaiming", "orthogonal"])
def test_weights_are_drawn_as_their_papers_say(how: str) -> None:
    import torch

    torch.manual_seed(0)
    model = layers()
    model[1].weight.data.fill_(3)
    before = model[0].weight.clone()
    models.initialise(model, how)
    for layer, inside, out in ((model[0], 27, 16 * 9), (model[3], 64, 32)):
        weight = layer.weight.detach()
        if how == "orthogonal":
            rows = weight.flatten(1)
            assert torch.allclose(rows @ rows.T, torch.eye(len(rows)), atol=1e-5)
        else:
            variance = 2 / (inside + out) if how == "xavier" else 2 / out
            assert abs(weight.var().item() / variance - 1) < 0.25
        assert not layer.bias.any()
    assert (model[1].weight == 3).all()
    assert not model[0].weight.equal(before)


def test_the_initialisation_is_of_the_seed_and_default_keeps_the_models_own() -> None:
    import torch

    first, second = (layers() for _ in range(2))
    for model in (first, second):
        torch.manual_seed(5)
        models.initialise(model, "kaiming")
    assert first[0].weight.equal(second[0].weight)
    before = first[3].weight.clone()
    models.initialise(first, "default")
    assert first[3].weight.equal(before)


def test_what_cannot_be_initialised() -> None:
    from torch import nn

    with pytest.raises(UsageError, match="no initialisation is called 'he'"):
        models.initialise(layers(), "he")
    with pytest.raises(UsageError, match="no linear or convolution layer"):
        models.initialise(nn.BatchNorm2d(3), "xavier")


# -- a network built again ---------------------------------------------------------------------------


def test_a_blueprint_is_a_document_and_back() -> None:
    import json

    plan = Blueprint("cnn", 3, (1, 8, 8), head="append", dropout=0.5)
    assert Blueprint.of(json.loads(json.dumps(plan.document()))) == plan
    minimal = {"model": "cnn", "classes": 3, "shape": [1, 8, 8], "later": "ignored"}
    assert Blueprint.of(minimal) == Blueprint("cnn", 3, (1, 8, 8))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"classes": 0}, "no valid classes"),
        ({"classes": True}, "no valid classes"),
        ({"shape": [1, 8]}, "no valid shape"),
        ({"shape": [1, 8, "8"]}, "no valid shape"),
        ({"model": None}, "no valid model"),
        ({"head": "remove"}, "no valid head"),
        ({"head": []}, "no valid head"),
        ({"dropout": 1}, "no valid dropout"),
    ],
)
def test_nonsense_is_no_blueprint(change: dict[str, Any], says: str) -> None:
    document = {"model": "cnn", "classes": 3, "shape": [1, 8, 8]}
    with pytest.raises(FileError, match=says):
        Blueprint.of(document | change)


@pytest.mark.parametrize("document", [None, [], {"model": "cnn"}])
def test_a_file_without_a_blueprint(document: object) -> None:
    with pytest.raises(FileError, match="was it written by ptools"):
        Blueprint.of(document)


def test_dropout_is_set_everywhere_or_refused() -> None:
    model = Blueprint("convnet", 3, (1, 8, 8), dropout=0.3).build()
    assert [m.p for m in model.modules() if type(m).__name__ == "Dropout"] == [0.3]
    with pytest.raises(UsageError, match="no Dropout"):
        Blueprint("cnn", 3, (1, 8, 8), dropout=0.3).build()


def test_lazy_layers_have_their_weights(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def lazy(): return nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(2))\n"
    )
    model = Blueprint(f"{tmp_path}/net.py:lazy", 2, (1, 8, 8)).build()
    assert [tuple(p.shape) for p in model.parameters()] == [(4, 1, 3, 3), (4,), (2, 144), (2,)]
    with pytest.raises(UsageError, match="does not take images of 1x2x2"):
        Blueprint(f"{tmp_path}/net.py:lazy", 2, (1, 2, 2)).build()


def test_a_class_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.py").write_text(NET)
    assert type(build(f"{tmp_path}/net.py:Net")).__name__ == "Net"
    model = models.build(f"{tmp_path}/net.py:Net(8, bias=False)", classes=2, shape=(1, 8, 8))
    assert [tuple(p.shape) for p in model.parameters()] == [(2, 8)]
    monkeypatch.chdir(tmp_path)
    assert type(build("net.py:Net")).__name__ == "Net"


def test_the_neighbours_of_a_file_and_packages_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", sys.path[:])
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "layers_of_mine.py").write_text(NET)
    (tmp_path / "one" / "net2.py").write_text("from layers_of_mine import Net\n")
    (tmp_path / "package_of_mine").mkdir()
    (tmp_path / "package_of_mine" / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    assert type(build("one/net2.py:Net")).__name__ == "Net"
    assert type(build("package_of_mine.net:Net")).__name__ == "Net"


def test_a_class_in_a_module() -> None:
    assert type(build("torch.nn:Linear(64, 2)")).__name__ == "Linear"


def test_a_third_partys_model(install: Install) -> None:
    source = "def tiny(classes, shape):\n    from torch import nn\n    return nn.Linear(shape[2], classes)\n"
    install("tiny", source, "ptools_tiny:tiny", group="ptools.models")
    assert str(build("tiny")).startswith("Linear(in_features=8, out_features=2")


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("cnm", "Did you mean 'cnn'?"),
        ("nothing", "ptools list models"),
        ("nowhere.py:Net", "does not exist"),
        ("net.py:Nett", "no attribute 'Nett'"),
        ("broken.py:Net", "SyntaxError"),
        ("no.such.module:Net", "No module named"),
        ("net.py:number", "is a int, not a torch.nn.Module"),
        ("net.py:Net(wide=3)", "unexpected keyword"),
        ("net.py:Net(__import__('os').getpid())", "must be literals"),
        ("net.py:Net(*[1])", "must be literals"),
        ("net.py:Net(**{'width': 1})", "must be literals"),
        ("exits.py:Net", "SystemExit: 3"),
        ("net.py:Fails", "AttributeError: no such thing"),
        ("net.py:Net(1", "no model is called"),
        ("net.py:Net()()", "must be literals"),
        ("", "ptools list models"),
    ],
)
def test_errors(spec: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)
    Path("broken.py").write_text("def (")
    Path("exits.py").write_text("import sys; sys.exit(3)")
    with pytest.raises(UsageError) as caught:
        build(spec)
    assert says in str(caught.value)


def test_two_third_parties_with_one_model(install: Install) -> None:
    install("twin", "", distribution="first", group="ptools.models")
    install("twin", "", distribution="second", group="ptools.models")
    with pytest.raises(PtoolsError, match="PTOOLS_DISABLE"):
        build("twin")
