"""When ptools train ends, what it measures then, and what it says where something goes wrong."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ptools import data
from ptools.errors import PtoolsError, UsageError
from ptools.testing import Run
from ptools.training import Epoch, Settings, Training, check
from ptools.training.history import ended, tired
from ptools.training.settings import warnings
from ptools_plugins.train import train

pytestmark = pytest.mark.usefixtures("place")


def net() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


# -- when it ends ----------------------------------------------------------------------------------


def epochs(*accuracies: float) -> list[Epoch]:
    return [Epoch(n + 1, 1.0, 0.5, 1.0, a, 0.1, 1.0) for n, a in enumerate(accuracies)]


def test_patience() -> None:
    patient = Settings(patience=2)
    assert not tired(epochs(0.5, 0.6, 0.6), patient)
    assert tired(epochs(0.5, 0.6, 0.6, 0.6), patient)
    saved = {"ended": "patience", "seconds": 9.0,
             "history": [vars(e) for e in epochs(0.5, 0.4, 0.4)]}  # fmt: skip
    assert ended(saved, patient) == "patience"
    assert ended(saved, Settings(patience=3)) is None


def test_a_run_that_is_not_getting_better_ends(ptools: Run) -> None:
    done = ptools("train", "--model", "mlp", "--lr", "1e-9", "--epochs", "50", "--patience", "2",
                  "--schedule", "none", "--json")  # fmt: skip
    assert done.document["ended"] == "patience"
    assert len(done.document["epochs"]) - done.document["best_epoch"] == 2
    assert "Warning" not in done.stderr


def test_the_time_is_over(ptools: Run) -> None:
    """The epoch that was cut is measured; with more time the run goes on within it."""
    done = ptools("train", "--model", "mlp", "--epochs", "100000", "--time-budget", "0.5s", "--out",
                  "run", "--json")  # fmt: skip
    assert done.document["ended"] == "time"
    assert done.document["accuracy"] is not None
    assert 0.3 < done.document["seconds"] < 5
    assert "one cycle reaches its accuracy at its end" in done.stderr
    count = len(done.document["epochs"])
    again = ptools("train", "--resume", "run")
    assert f"run is finished, with {count} epochs" in again.stderr
    more = train(resume=Path("run"), time_budget=done.document["seconds"] + 0.5)
    assert len(more.epochs) > count
    assert [e.epoch for e in more.epochs] == list(range(1, len(more.epochs) + 1))
    again = ptools("train", "--resume", "run")  # its config.toml has all the digits of that budget
    assert f"run is finished, with {len(more.epochs)} epochs" in again.stderr


def test_warnings_of_what_is_not_meant() -> None:
    assert warnings(Settings()) == []
    assert "--patience may stop too early" in warnings(Settings(patience=3))[0]
    assert warnings(Settings(patience=3, schedule="cosine")) == []


# -- data ------------------------------------------------------------------------------------------


def flags(install: Any, parts: str) -> None:
    source = f'''
def flags():
    """Two colours."""
    import torch
    from ptools.data import ImageSet, Split
    labels = torch.arange(40) % 2
    images = (labels.view(-1, 1, 1, 1) * 200).expand(40, 1, 8, 8).to(torch.uint8)
    some = Split(images, labels)
    return ImageSet("flags", ("dark", "light"), {parts})
'''
    install("flags", source, "ptools_flags:flags", group="ptools.datasets")


def test_without_validation_images_the_last_weights_are_kept(install: Any, ptools: Run) -> None:
    flags(install, "some, None, some")
    done = ptools("train", "--data", "flags", "--val", "0", "--model", "mlp", "--epochs",
                  "3", "--json")  # fmt: skip
    assert "no validation images: the weights of the last epoch are kept" in done.stderr
    assert (done.document["best_epoch"], done.document["epochs"][0]["val_loss"]) == (3, None)
    assert ptools("train", "--data", "flags", "--val", "0", "--patience", "2").exit_code == 2


def test_without_test_images_the_validation_accuracy_has_its_name(
    install: Any, ptools: Run
) -> None:
    flags(install, "some, some")
    done = ptools("train", "--data", "flags", "--model", "mlp", "--epochs", "30", "--out", "run")
    assert done.stdout.splitlines()[0].startswith("val accuracy")
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert "test_accuracy" not in metrics
    assert metrics["measured_on"] == "val"
    assert metrics["confusion"] == [[20, 0], [0, 20]]
    assert [row["accuracy"] for row in metrics["per_class"]] == [1.0, 1.0]


def test_few_images(ptools: Run) -> None:
    done = ptools("train", "--limit", "100", "--epochs", "1", "--model", "mlp", "--batch-size", "33",
                  "--out", "run", "--json")  # fmt: skip
    assert tomllib.loads(Path("run/config.toml").read_text())["images"]["train"] == 100
    assert done.document["confusion"] is not None
    assert sum(map(sum, done.document["confusion"])) == done.document["test_images"]


def test_dropout_and_init(ptools: Run) -> None:
    train(model="convnet", dropout=0.2, init="orthogonal", epochs=1, out=Path("run"), limit=64)
    kept = torch.load("run/best.pth", weights_only=True)
    assert kept["blueprint"]["dropout"] == 0.2
    assert tomllib.loads(Path("run/config.toml").read_text())["init"] == "orthogonal"
    done = ptools("train", "--model", "mlp", "--dropout", "0.2")
    assert done.exit_code == 2
    assert "no Dropout" in done.stderr


# -- finding the learning rate ---------------------------------------------------------------------


def test_find_lr_shows_rates_and_trains_nothing(ptools: Run) -> None:
    done = ptools("train", "--find-lr", "--model", "mlp")
    assert done.exit_code == 0, done.stderr
    *_, last = done.stdout.splitlines()
    found = float(last.removeprefix("suggestion: --lr "))
    assert 0.005 <= found <= 0.5
    assert not Path("runs").exists()
    used = train(model="mlp", lr="find", epochs=2, out=Path("run"))
    assert tomllib.loads(Path("run/config.toml").read_text())["lr"] == pytest.approx(found)
    assert used.accuracy is not None
    assert used.accuracy > 0.5


# -- what goes wrong -------------------------------------------------------------------------------


def test_the_step_that_exploded_is_named(ptools: Run) -> None:
    done = ptools("train", "--model", "mlp", "--lr", "1e6", "--schedule", "none", "--epochs", "4")
    assert done.exit_code == 1
    last = done.stderr.splitlines()[-1]
    assert "at step " in last
    assert "try --lr 100000, not 1e+06, or --grad-clip 1." in last


def test_the_last_good_weights_are_kept() -> None:
    """The loss explodes in the third epoch: best.pth is of an epoch before, and last.ckpt is finite."""
    Path("bomb.py").write_text(
        "from torch import nn\nclass Net(nn.Linear):\n    count = 0\n"
        "    def __init__(self):\n        super().__init__(64, 10)\n"
        "    def forward(self, x):\n        self.count += self.training and len(x) > 2\n"
        "        x = super().forward(x.flatten(1))\n"
        "        return x * float('nan') if self.count == 50 and self.training else x\n"
    )
    with pytest.raises(
        PtoolsError, match=r"became nan at step 50 \(epoch 3, step 10 of 20\)"
    ) as error:
        train(model="bomb.py:Net", epochs=5, out=Path("run"))
    assert "are in run/best.pth." in str(error.value)
    for name in ("best.pth", "last.ckpt"):
        state = torch.load(Path("run", name), weights_only=True)["state_dict"]
        assert all(bool(value.isfinite().all()) for value in state.values())


def test_misfits_are_told_before_the_first_step(ptools: Run) -> None:
    Path("own.py").write_text(
        "from torch import nn\nclass Ints(nn.Linear):\n    def __init__(self):\n"
        "        super().__init__(64, 10)\n"
        "    def forward(self, x):\n        return super().forward(x.flatten(1)).long()\n"
        "class Wide(nn.Sequential):\n    def __init__(self):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(64, 12))\n"
        "class View(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.c, self.f = nn.Conv2d(1, 4, 3), nn.Linear(144, 10)\n"
        "    def forward(self, x):\n        return self.f(self.c(x).view(len(x), -1))\n"
    )
    for model, says in (
        ("own.py:Ints", "the model returns int64; a loss needs the float outputs"),
        ("own.py:Wide", "returns (2, 12); 10 classes need (2, 10)"),
    ):
        done = ptools("train", "--model", model)
        assert (done.exit_code, done.stdout) == (2, "")
        assert says in done.stderr
    images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    part = data.Split(images, torch.tensor([0, 1, 2, 3]))
    wrong = data.ImageSet("w", tuple("abcd"), part)
    part.labels[0] = 7
    with pytest.raises(UsageError, match="the labels of w go from 1 to 7"):
        check(net(), wrong, Settings())
    done = ptools("train", "--model", "own.py:View", "--epochs", "1", "--out", "run", "--json")
    assert done.exit_code == 0  # view() after a convolution: not in channels_last
    assert tomllib.loads(Path("run/config.toml").read_text())["channels_last"] is False


@pytest.mark.slow
def test_out_of_memory_names_the_largest_batch(ptools: Run) -> None:
    """A model that has no memory for more than 20 images at once, as a GPU would say it."""
    Path("own.py").write_text(
        "import torch\nfrom torch import nn\nclass Hungry(nn.Linear):\n    def __init__(self):\n"
        "        super().__init__(64, 10)\n"
        "    def forward(self, x):\n        if self.training and len(x) > 20:\n"
        "            raise torch.cuda.OutOfMemoryError('out of memory')\n"
        "        return super().forward(x.flatten(1))\n"
    )
    done = ptools("train", "--model", "own.py:Hungry")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == (
        "Error: cpu has no memory for --batch-size 64; the largest that fits is about 20: "
        "try --batch-size 16 --accumulate 4, which steps alike."
    )
    done = ptools("train", "--model", "own.py:Hungry", "--batch-size", "16", "--accumulate", "4",
                  "--epochs", "1")  # fmt: skip
    assert done.exit_code == 0


def test_wrong_options_are_one_line_and_leave_nothing(ptools: Run) -> None:
    for args in (
        ("--schedule", "often"), ("--augment", "__import__('os')"), ("--optimizer", "lion"),
        ("--momentum", "1"), ("--label-smoothing", "-1"), ("--time-budget", "soon"),
        ("--recipe", "slow"), ("--lr", "find it"), ("--val", "2"), ("--shard",),
    ):  # fmt: skip
        done = ptools("train", *args)
        assert (done.exit_code, done.stdout) == (2, ""), args
        assert len(done.stderr.splitlines()) == 1, done.stderr
    assert not Path("runs").exists()


def test_help_has_headings(ptools: Run) -> None:
    shown = ptools("train", "--help").stdout
    heads = [line for line in shown.splitlines() if line.endswith(":") and line[0] != " "]
    assert heads == ["Data:", "Recipe:", "Run:", "Options:"]
    first = shown.partition("Data:\n")[2].splitlines()[:3]
    assert first[0].startswith("  --model")
    assert "fast 5e-4, plain 0" in " ".join(shown.split())


def test_compile(ptools: Run) -> None:
    """What torch compiles is not the module that is saved: names stay as they are."""
    pytest.importorskip("torch._dynamo")
    training = Training(net(), data.load("digits"), Settings(compile=True))
    assert list(training.weights()) == ["1.weight", "1.bias"]
    assert type(training.step.model).__name__ == "OptimizedModule"
