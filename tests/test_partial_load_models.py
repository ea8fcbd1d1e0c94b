"""ptools partial-load with models: --model, --freeze, --verify."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ptools import models
from ptools.checkpoints.freezing import apply_freeze, trainable
from ptools.testing import Result, Run

NETS = """
import torch
from torch import nn


def block(i, o, stride=1):
    return nn.Sequential(nn.Conv2d(i, o, 3, stride, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


class Old(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.features = nn.Sequential(block(3, 8), block(8, 16, 2), block(16, 16))
        self.fc = nn.Linear(16, classes)

    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3)))


class New(Old):
    def __init__(self, classes=4):
        super().__init__(classes)


class Wrong(Old):
    '''The same weights, another stride.'''

    def __init__(self):
        super().__init__()
        self.features[1][0].stride = (1, 1)


class Swapped(Old):
    def forward(self, x):
        x = self.features[2](self.features[1](self.features[0](x)) * 2)
        return self.fc(x.mean((2, 3)))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(20, 8)
        self.head = nn.Linear(8, 20, bias=False)
        self.head.weight = self.words.weight

    def forward(self, tokens):
        return self.head(self.words(tokens))


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.LazyLinear(3)


class Empty(nn.Module):
    pass


print("a model may print")
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with nets.py and the weights of its Old, as DataParallel saves them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    Path("nets.py").write_text(NETS)
    save("old.pth", "Old", 1)
    return tmp_path


def save(path: str, name: str, seed: int) -> None:
    """Save a model whose BatchNorms have statistics of their own."""
    torch.manual_seed(seed)
    net = models.build(f"nets.py:{name}")
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 2)
    torch.save(net.state_dict(), path)


def run(ptools: Run, *args: str, model: str = "nets.py:New") -> Result:
    return ptools("partial-load", "old.pth", "start.pth", "--force", "--model", model, *args)


def load(path: str) -> dict[str, Tensor]:
    return torch.load(path, weights_only=True)  # type: ignore[no-any-return]


def test_the_model_says_what_is_wanted(place: Path, ptools: Run) -> None:
    done = run(ptools, "--seed", "5")
    assert done.exit_code == 0, done.stderr
    assert "a model may print" not in done.stdout
    assert "into  nets.py:New, 20 tensors" in done.stdout
    found, old = load("start.pth"), load("old.pth")
    models.build("nets.py:New").load_state_dict(found)
    assert all(torch.equal(v, old[k]) for k, v in found.items() if k.startswith("features"))
    torch.manual_seed(5)
    torch.testing.assert_close(
        found["fc.weight"], models.build("nets.py:New").state_dict()["fc.weight"]
    )
    assert not torch.equal(load_again(ptools, "--seed", "6")["fc.weight"], found["fc.weight"])


def load_again(ptools: Run, *args: str) -> dict[str, Tensor]:
    assert run(ptools, *args).exit_code == 0
    return load("start.pth")


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("nets.py:Lazy", "the shape of fc.weight is not known before it runs"),
        ("nets.py:Empty", "has no tensors"),
        ("nets.py:Nothing", "cannot be imported"),
        ("nets.py:Old(classes='x')", "cannot be built"),
    ],
)
def test_a_model_that_cannot_be(model: str, says: str, place: Path, ptools: Run) -> None:
    done = run(ptools, model=model)
    assert done.exit_code == 2
    assert says in done.stderr.splitlines()[-1]
    assert not Path("start.pth").exists()


def test_a_model_of_torchvision(place: Path, ptools: Run) -> None:
    torch.manual_seed(1)
    torch.save(models.build("resnet18").state_dict(), "old.pth")
    done = run(ptools, "--freeze", "loaded", "--seed", "3", model="resnet18(num_classes=7)")
    assert done.exit_code == 0, done.stderr
    assert "layer{1..4}.{0..1}.conv{1..2}" in done.stdout
    assert done.stdout.splitlines()[-1].startswith(
        "matched 120/122 tensors, 99.9 % of the target's"
    )
    manifest = json.loads(Path("start.freeze.json").read_text())
    assert len(manifest["eval"]) == 20
    assert manifest["counts"] == {
        "tensors": 60, "parameters": 11_176_512, "trainable": 3_591, "eval": 20
    }  # fmt: skip


def test_a_tied_model(place: Path, ptools: Run) -> None:
    torch.manual_seed(4)
    torch.save({"words.weight": torch.randn(20, 8)}, "old.pth")
    done = run(ptools, "--freeze", "loaded", "--json", model="nets.py:Tied")
    assert done.exit_code == 0, done.stderr
    found = load("start.pth")
    assert torch.equal(found["words.weight"], load("old.pth")["words.weight"])
    assert found["head.weight"].data_ptr() == found["words.weight"].data_ptr()
    assert done.document["reasons"]["head.weight"] == "tied to words.weight"
    counts = done.document["freeze"]["counts"]
    assert (counts["parameters"], counts["trainable"]) == (160, 0)


# -- freezing ----------------------------------------------------------------------------------------


def frozen(ptools: Run, *patterns: str) -> tuple[dict[str, Any], Result]:
    done = run(ptools, *(part for pattern in patterns for part in ("--freeze", pattern)))
    assert done.exit_code == 0, done.stderr
    return json.loads(Path("start.freeze.json").read_text()), done


def test_what_was_loaded_is_frozen_and_the_head_learns(place: Path, ptools: Run) -> None:
    manifest, done = frozen(ptools, "loaded")
    assert manifest["eval"] == [f"features.{i}.1" for i in range(3)]
    assert "fc.weight" not in manifest["parameters"]
    assert "Wrote start.freeze.json" in done.stderr
    assert "frozen  9 tensors" in done.stdout
    model = models.build("nets.py:New")
    model.load_state_dict(load("start.pth"))
    apply_freeze(model, Path("start.freeze.json"))
    optimizer = torch.optim.SGD(trainable(model), 0.1)
    model.train()
    model(torch.randn(4, 3, 16, 16)).square().sum().backward()
    optimizer.step()
    before, after = load("start.pth"), model.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"fc.weight", "fc.bias"}


def test_patterns_are_frozen(place: Path, ptools: Run) -> None:
    manifest, done = frozen(ptools, "features.0", "features.1.0.*")
    assert manifest["parameters"] == [
        "features.0.0.weight", "features.0.1.weight", "features.0.1.bias", "features.1.0.weight"
    ]  # fmt: skip
    assert manifest["eval"] == ["features.0.1"]
    assert "Warning" not in done.stderr


def test_an_unloaded_layer_that_is_frozen_is_warned_of(place: Path, ptools: Run) -> None:
    manifest, done = frozen(ptools, "fc")
    assert manifest["parameters"] == ["fc.weight", "fc.bias"]
    assert "Warning: fc: frozen, though not loaded" in done.stderr


def test_a_batchnorm_without_its_statistics_is_warned_of(place: Path, ptools: Run) -> None:
    done = run(ptools, "--freeze", "loaded", "--skip", "*running_mean")
    assert done.exit_code == 0, done.stderr
    manifest = json.loads(Path("start.freeze.json").read_text())
    assert manifest["eval"] == []
    assert "Warning: features.0.1: its weight is frozen, but its statistics were" in done.stderr
    manifest, done = frozen(ptools, "features.?.1.weight")
    assert "Warning: features.0.1: only a part of its weights is frozen" in done.stderr


def test_a_file_says_what_is_a_batchnorm_too(place: Path, ptools: Run) -> None:
    save("new.pth", "New", 2)
    done = ptools("partial-load", "old.pth", "new.pth", "--freeze", "loaded")
    assert done.exit_code == 0, done.stderr
    manifest = json.loads(Path("new.loaded.freeze.json").read_text())
    expected, _ = frozen(ptools, "loaded")
    assert {**manifest, "weights": ""} == {**expected, "weights": ""}


# -- verifying ---------------------------------------------------------------------------------------


def verify(ptools: Run, *args: str, model: str = "nets.py:New") -> Result:
    return run(ptools, "--verify", "--old-model", "nets.py:Old", *args, model=model)


@pytest.mark.parametrize("prefix", ["", "module.", "model.net."])
def test_every_loaded_layer_gives_what_it_gave(prefix: str, place: Path, ptools: Run) -> None:
    torch.save({prefix + key: value for key, value in load("old.pth").items()}, "old.pth")
    args = ["--strip", prefix] if prefix else []
    done = verify(ptools, *args, "--in", "3x16x16")
    assert done.exit_code == 0, done.stderr
    assert "verified  6 layers give what they gave in OLD, bit-identical" in done.stdout
    assert verify(ptools, *args, "--json").document["verified"]["input"] == "3x224x224"


def test_the_first_layer_that_differs_is_named_and_nothing_is_written(
    place: Path, ptools: Run
) -> None:
    done = verify(ptools, model="nets.py:Wrong")
    assert (done.exit_code, Path("start.pth").exists()) == (1, False)
    assert "features.1.0 differs from features.1.0 in OLD" in done.stderr
    assert "Nothing was written" in done.stderr
    done = verify(ptools, model="nets.py:Swapped")
    assert "features.2.0 differs from features.2.0 in OLD by" in done.stderr
    assert "already gets another input" in done.stderr


def test_a_wrong_map_is_found(place: Path, ptools: Run) -> None:
    swap = ["--map=features.2.1.weight=features.1.1.weight"]
    done = verify(ptools, *swap)
    assert done.exit_code == 1
    assert " differs from features.2.1 in OLD" in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["--in", "7"], 1, "does not run with --in 7"),
        (["--in", "5x16x16"], 1, "the network of OLD does not run with --in 5x16x16"),
        (["--old-model", "cnn(shape=(3, 32, 32))"], 2, "is not the network of OLD"),
    ],
)
def test_what_cannot_be_verified(
    args: list[str], code: int, says: str, place: Path, ptools: Run
) -> None:
    done = verify(ptools, *args)
    assert done.exit_code == code
    assert says in done.stderr
    assert not Path("start.pth").exists()


def test_words_go_in_where_words_are_wanted(place: Path, ptools: Run) -> None:
    torch.manual_seed(4)
    torch.save(models.build("nets.py:Tied").state_dict(), "old.pth")
    done = run(ptools, "--verify", "--old-model", "nets.py:Tied", model="nets.py:Tied")
    assert done.exit_code == 0, done.stderr
    assert "verified  2 layers" in done.stdout
