"""Models by name, by file, by module; arguments are literals and never run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ptools import models
from ptools.errors import PtoolsError, UsageError
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


@pytest.mark.parametrize("name", ["cnn", "cnn-bn", "mlp"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 5, 7), (2, 1, 1), (1, 28, 40)])
def test_registered_models_are_sized_for_any_input(name: str, shape: tuple[int, int, int]) -> None:
    import torch

    model = models.build(name, classes=7, shape=shape)
    assert model(torch.zeros(2, *shape)).shape == (2, 7)


def test_cnn_is_the_network_of_the_tutorials() -> None:
    """Conv 3-32-32-64, Linear 64, Linear 10 on CIFAR-10: 145,578 parameters."""
    model = models.build("cnn", classes=10, shape=(3, 32, 32))
    assert sum(p.numel() for p in model.parameters()) == 145_578


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
