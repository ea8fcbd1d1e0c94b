"""ptools predict: files of all kinds, and what in them is not believed."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ptools.data import Geometry
from ptools.errors import FileError, PtoolsError, UsageError
from ptools.models import Blueprint
from ptools.testing import Run
from ptools_plugins.predict import predict
from tests.test_predict import content, outputs, pictures, saved

pytestmark = pytest.mark.usefixtures("place")

NET = """
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(48, 3)
    def forward(self, x):
        return self.fc(x.flatten(1))
"""


def test_a_file_of_the_first_versions() -> None:
    """Without blueprint, geometry and loss, as they were first written."""
    run, paths = saved(), pictures()
    wanted = outputs(run, paths).softmax(1).max(1)
    kept = torch.load(run, weights_only=True)
    old = {k: kept[k] for k in ("state_dict", "model", "classes", "shape", "mean", "std")}
    torch.save(old, "old.pt")
    done = predict(Path("old.pt"), [Path("photos")])
    assert torch.allclose(done.values[:, 0], wanted.values, atol=1e-6)


def test_a_file_that_was_written_on_a_gpu() -> None:
    """The storages say cuda:0, as torch.save writes it there."""
    run = saved()
    wanted = predict(run, pictures()).values
    with zipfile.ZipFile(run) as old, zipfile.ZipFile("gpu.pt", "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith("data.pkl"):
                assert b"X\x03\x00\x00\x00cpu" in data
                data = data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
            new.writestr(entry, data)
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA"):
            torch.load("gpu.pt")
    paths = sorted(Path("photos").rglob("*.png"))
    assert predict(Path("gpu.pt"), paths, device="cpu").values.equal(wanted)


def test_a_network_of_your_own_needs_your_word(ptools: Run) -> None:
    """A file names code; only --model or --trust lets it be imported."""
    Path("net.py").write_text(NET)
    saved(model="net.py:Net")
    one = str(pictures()[0])
    Path("net.py").write_text("open('ran', 'w')\n" + NET)
    refused = ptools("predict", "run", one)
    assert refused.exit_code == 2
    assert "add --model 'net.py:Net' if it is yours" in refused.stderr
    assert not Path("ran").exists()
    wanted = outputs(Path("run/best.pth"), [Path(one)]).softmax(1).max()
    for way in (["--model", "net.py:Net"], ["--trust"]):
        top = ptools("predict", "run", one, *way, "--json").document["images"][0]["top"]
        assert top[0]["probability"] == pytest.approx(float(wanted), abs=1e-6)


def test_a_spec_never_calls_what_a_file_names(ptools: Run) -> None:
    saved(
        model="mlp", blueprint={"model": "os:system('touch ran')", "classes": 3, "shape": [3, 4, 4]}
    )
    assert ptools("predict", "run", str(pictures()[0])).exit_code == 2
    assert not Path("ran").exists()


class Whole(nn.Sequential):
    """A module that is pickled whole."""


def test_what_runs_code_is_read_under_trust(ptools: Run) -> None:
    one = str(pictures()[0])
    net = Whole(nn.Flatten(), nn.Linear(48, 3))
    Path("net.py").write_text(
        "from torch import nn\ndef net(): return nn.Sequential(nn.Flatten(), nn.Linear(48, 3))"
    )
    torch.save(
        {**content(Blueprint("mlp", 3, (3, 4, 4))), "state_dict": net, "blueprint": None}, "w.pt"
    )
    refused = ptools("predict", "w.pt", one, "--model", "net.py:net")
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (1, 1)
    assert "add --trust if you trust it" in refused.stderr
    done = ptools("predict", "w.pt", one, "--model", "net.py:net", "--trust", "--json")
    assert done.exit_code == 0, done.stderr
    image = torch.from_numpy(np.array(Image.open(one))).permute(2, 0, 1)[None] / 255
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])
    wanted = net((image - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)).softmax(1).max().detach()
    assert done.document["images"][0]["top"][0]["probability"] == pytest.approx(
        float(wanted), abs=1e-6
    )


def test_weights_that_say_nothing_else(ptools: Run) -> None:
    torch.save(content(Blueprint("mlp", 3, (3, 4, 4)))["state_dict"], "plain.pth")
    done = ptools("predict", "plain.pth", str(pictures()[0]), "--model", "mlp")
    assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "plain.pth does not say which classes it tells apart" in done.stderr
    assert "ptools finetune --weights plain.pth --model M --data FOLDER" in done.stderr


def test_the_file_beside_the_best(ptools: Run) -> None:
    saved()
    torch.save({"state_dict": {"a": torch.ones(1)}, "epoch": 2}, "run/last.ckpt")
    done = ptools("predict", "run/last.ckpt", str(pictures()[0]))
    assert done.stderr == (
        "Error: run/last.ckpt does not say which classes it tells apart; take run/best.pth.\n"
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"classes": ["ant", "bee"]}, "names 2 classes for 3 outputs"),
        ({"classes": 3}, "does not say which classes"),
        ({"mean": [0.5]}, "has no mean for 3 channels"),
        ({"std": [0.1, 0.0, 0.1]}, "has no usable std"),
        ({"std": [0.1, float("nan"), 0.1]}, "has no usable std"),
        ({"geometry": {"height": 4}}, "does not say how pictures become tensors"),
        ({"geometry": Geometry(1, 4, 4).document()}, "two things about the size"),
        ({"blueprint": {"model": "mlp", "classes": -3, "shape": [3, 4, 4]}}, "no valid classes"),
        ({"blueprint": {"model": "mlp", "classes": 3, "shape": [3, 5, 5]}, "geometry": None},
         r"does not fit the model 'mlp' \(of another shape: 1.weight\)"),
    ],
)  # fmt: skip
def test_files_that_contradict_themselves(change: dict[str, Any], says: str) -> None:
    saved(**change)
    with pytest.raises(FileError, match=says):
        predict(Path("run"), [pictures()[0]])


def test_models_that_are_not_the_one(ptools: Run) -> None:
    saved()
    one = pictures()[0]
    Path("net.py").write_text(NET)
    with pytest.raises(FileError, match=r"missing: fc.weight, fc.bias; unknown: 1.weight, .* more"):
        predict(Path("run"), [one], model="net.py:Net")
    with pytest.raises(UsageError, match=r"best.pth: model 'net.py:Old' cannot be imported"):
        predict(Path("run"), [one], model="net.py:Old")
    with pytest.raises(PtoolsError, match="--device cuda:9 cannot be used here"):
        predict(Path("run"), [one], device="cuda:9")
    Path("run/best.pth").rename("elsewhere.pt")
    assert "run has no best.pth" in ptools("predict", "run", str(one)).stderr
