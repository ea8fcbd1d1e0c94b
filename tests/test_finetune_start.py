"""ptools finetune: from a run, from published weights, from nothing; what becomes of the last layer."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ptools.errors import FileError, UsageError
from ptools.models import Blueprint
from ptools.testing import Run
from ptools_plugins.finetune import Finetuned, finetune

pytestmark = pytest.mark.usefixtures("place")


def best(folder: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(Path(folder) / "best.pth", weights_only=True)
    return found


def start(**options: Any) -> dict[str, Any]:
    """Train a run `old` of the digits, one epoch; return its best.pth."""
    from ptools_plugins.train import train

    train(model="cnn", epochs=1, seed=9, out=Path("old"), **options)
    return best("old")


def state(done: Finetuned) -> dict[str, Tensor]:
    found: dict[str, Tensor] = best(done.run.folder)["state_dict"]
    return found


# -- from a run --------------------------------------------------------------------------------------


def test_a_run_goes_on_with_its_own_classes_size_and_normalisation() -> None:
    """Two images cannot tell another mean and std: the run's are kept. Its head is loaded."""
    old = start()
    done = finetune(run=Path("old"), epochs=1, limit=100)
    new = best(done.run.folder)
    assert done.loaded is not None
    assert done.loaded.new == []
    assert (new["mean"], new["std"]) == (old["mean"], old["std"])
    assert Blueprint.of(new["blueprint"]).build().load_state_dict(new["state_dict"])


def test_other_classes_get_a_new_last_layer(tiny_images: Path) -> None:
    """Colour pictures become grey ones of the run's size; the backbone is the run's, to the bit."""
    old = start()
    done = finetune(run=Path("old/best.pth"), data=str(tiny_images), freeze=["backbone"], epochs=1)
    new = best(done.run.folder)
    assert new["classes"] == ["dark", "light"]
    assert new["shape"] == [1, 8, 8]
    assert done.loaded is not None
    assert len(done.loaded.new) == 2
    head = {name.partition(".")[0] for name in done.loaded.new}
    for name, value in new["state_dict"].items():
        if name.partition(".")[0] not in head:
            assert value.equal(old["state_dict"][name])
    assert Blueprint.of(new["blueprint"]) == Blueprint("cnn", 2, (1, 8, 8), head="replace")


def test_as_many_classes_of_another_kind_do_not_inherit_their_weights(tiny_images: Path) -> None:
    first = finetune(model="cnn", weights="none", data=str(tiny_images), epochs=1, size=(8, 8))
    (tiny_images / "dark").rename(tiny_images / "cat")
    (tiny_images / "light").rename(tiny_images / "dog")
    run = Path(first.run.folder)
    other = finetune(run=run, data=str(tiny_images), epochs=1)
    assert other.loaded is not None
    assert len(other.loaded.new) == 2
    same = finetune(run=Path(other.run.folder), data=str(tiny_images), epochs=1)
    assert same.loaded is not None
    assert same.loaded.new == []
    asked = finetune(run=Path(other.run.folder), data=str(tiny_images), epochs=1, head="replace")
    assert asked.loaded is not None
    assert asked.loaded.new == other.loaded.new


def test_a_layer_after_the_last_one(tiny_images: Path) -> None:
    """What was the last layer is loaded and, frozen, stays; the run can be started from again."""
    old = start()["state_dict"]
    done = finetune(
        run=Path("old"), data=str(tiny_images), head="append", freeze=["backbone"], epochs=1
    )
    new = state(done)
    assert set(new) - set(old) == {"add_linear.weight", "add_linear.bias"}
    assert new["add_linear.weight"].shape == (2, 10)
    assert all(new[name].equal(old[name]) for name in old)
    assert done.frozen is not None
    assert done.frozen.warnings == []
    plan = Blueprint.of(best(done.run.folder)["blueprint"])
    assert plan == Blueprint("cnn(classes=10)", 2, (1, 8, 8), head="append")
    again = finetune(run=Path(done.run.folder), data=str(tiny_images), epochs=1)
    assert set(state(again)) == set(new)
    with pytest.raises(UsageError, match="use --head replace"):
        finetune(run=Path(done.run.folder), data=str(tiny_images), head="append")


@pytest.mark.slow
def test_a_layer_after_an_attribute_finds_its_weights(tmp_path: Path) -> None:
    """fc is fc.0 in the longer network; the file knows it as fc."""
    from torchvision import models

    model = models.resnet18(num_classes=7)
    torch.save(model.state_dict(), "seven.pth")
    done = finetune(model="resnet18(num_classes=7)", weights="seven.pth", head="append", channels=3,
                    size=(32, 32), freeze=["backbone"], epochs=1, limit=64)  # fmt: skip
    new = state(done)
    assert new["fc.0.weight"].equal(model.fc.weight)
    assert new["fc.1.weight"].shape == (10, 7)
    assert done.frozen is not None
    assert done.frozen.warnings == []


def test_files_that_are_no_run(tmp_path: Path) -> None:
    Path("empty").mkdir()
    torch.save({"state_dict": {}}, "plain.pt")
    with pytest.raises(FileError, match=r"no best\.pt"):
        finetune(run=Path("empty"))
    with pytest.raises(FileError, match=r"use --model M --weights plain\.pt"):
        finetune(run=Path("plain.pt"))


# -- from published weights --------------------------------------------------------------------------


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch.hub's cache with weights of resnet18, and a proxy that nobody answers at."""
    from torchvision import models

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    for name in ("http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    folder = tmp_path / "home" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(models.resnet18().state_dict(), folder / "resnet18-f37072fd.pth")
    return folder


@pytest.mark.slow
def test_weights_of_imagenet_on_grey_digits(published: Path, ptools: Run) -> None:
    """They become colour images, normalised as ImageNet's; --size is as small as wanted."""
    done = ptools("finetune", "--model", "resnet18", "--weights", "DEFAULT", "--freeze", "backbone",
                  "--size", "32x32", "--limit", "64", "--epochs", "1", "--json")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert done.stderr.splitlines()[0] == (
        "loaded 120/122 tensors (99.9 % of the parameters) from "
        f"{published / 'resnet18-f37072fd.pth'}; new: fc"
    )
    run = done.document
    config = tomllib.loads(Path(run["folder"], "config.toml").read_text())
    assert config["mean"] == [0.485, 0.456, 0.406]
    assert config["blueprint"]["shape"] == [3, 32, 32]
    assert run["finetune"]["tail"] == ["fc"]
    assert run["finetune"]["views"] == 1


def test_the_size_is_that_of_the_weights() -> None:
    from ptools_plugins.finetune import start as starts
    from ptools_plugins.finetune import work

    found = starts.where(None, "inception_v3", "DEFAULT", None)
    assert (found.model, found.shape) == ("inception_v3(transform_input=True)", (3, 299, 299))
    assert work.parsed({"size": None, "epochs": 2}, found)[1].size == (299, 299)
    assert work.parsed({"size": (96, 96)}, found)[1].size == (96, 96)


def test_without_a_network_nothing_is_written(published: Path, ptools: Run) -> None:
    shutil.rmtree(published)
    done = ptools("finetune", "--model", "resnet18", "--weights", "IMAGENET1K_V1")
    assert (done.exit_code, done.stdout) == (1, "")
    told, error = done.stderr.splitlines()
    assert told.startswith("downloading https://download.pytorch.org/models/resnet18-f37072fd.pth")
    assert f"put resnet18-f37072fd.pth into {published}" in error
    assert list(Path.cwd().iterdir()) == []
