"""ptools train: the accuracy it promises, the run folder, errors before work, interruption."""

from __future__ import annotations

import json
import os
import resource
import tomllib
from pathlib import Path

import pytest

from ptools import __version__
from ptools.testing import Install, Run
from ptools_plugins.train import train

pytestmark = pytest.mark.usefixtures("place")


def test_without_arguments(ptools: Run) -> None:
    """98 % on images that training never saw, and a run folder that holds what was promised."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = ptools("train", process=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.exit_code == 0
    first, loss, best, _, last = done.stdout.splitlines()
    assert float(first.split()[2].rstrip("%")) >= 98
    assert loss.startswith("test loss      0.")
    assert best.endswith(" of 8")
    assert last == "run folder     runs/digits-cnn-bn-1"
    assert "tensorboard --logdir runs" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert len([line for line in done.stderr.splitlines() if line[:5].strip().isdigit()]) == 8
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"ptools train: {seconds:.1f} s of CPU")


@pytest.mark.parametrize("seed", [1, 35, 2**63 - 1])
def test_other_seeds_do_as_well(seed: int) -> None:
    run = train(seed=seed)
    assert run.test_accuracy is not None
    assert run.test_accuracy >= 0.98


def test_the_run_folder(ptools: Run) -> None:
    import torch
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from ptools import checkpoints, data, models
    from ptools.data import Batches
    from ptools.training import score

    run = ptools("train", "--epochs", "3", "--out", "here", "--seed", "5", "--json").document
    folder = Path("here")
    config = tomllib.loads((folder / "config.toml").read_text())
    assert {
        "data": "digits",
        "model": "cnn-bn",
        "epochs": 3,
        "seed": 5,
        "device": "cpu",
    }.items() <= (config.items())
    assert config["versions"]["ptools"] == __version__
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["epochs"] == run["epochs"]
    assert [e["epoch"] for e in run["epochs"]] == [1, 2, 3]
    events = EventAccumulator(str(folder)).Reload()
    assert [e.value for e in events.Scalars("loss/val")] == pytest.approx(
        [e["val_loss"] for e in run["epochs"]]
    )
    kept = torch.load(folder / "best.pth", weights_only=True)
    net = models.build(kept["model"], classes=len(kept["classes"]), shape=tuple(kept["shape"]))
    net.load_state_dict(checkpoints.load(folder / "best.pth")["state_dict"])
    images = data.load("digits").test
    assert images is not None
    test = Batches(images, (kept["mean"], kept["std"]), batch_size=64, device="cpu")
    assert score(net, test)[1] == pytest.approx(metrics["test_accuracy"]) == run["test_accuracy"]
    best = max(run["epochs"], key=lambda e: (e["val_accuracy"], -e["val_loss"]))
    assert run["best_epoch"] == best["epoch"]
    assert not list(folder.glob(".*"))


def test_the_same_seed_gives_the_same_weights() -> None:
    from ptools import checkpoints

    one, two, other = (
        checkpoints.load(Path(train(epochs=2, seed=seed).folder) / "best.pth")["state_dict"]
        for seed in (3, 3, 4)
    )
    assert all(one[key].equal(two[key]) for key in one)
    assert not all(one[key].equal(other[key]) for key in one)


def test_the_order_of_the_images_follows_the_seed() -> None:
    import torch

    from ptools import data, models
    from ptools.training import Settings, fit

    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(7)
        net = models.build("mlp", classes=10, shape=(1, 8, 8))
        fit(net, data.load("digits"), Settings(epochs=1, seed=seed))
        weights.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    assert weights[0].equal(weights[1])
    assert not weights[0].equal(weights[2])


def test_the_optimiser_is_what_the_docs_say() -> None:
    """Nesterov momentum 0.9 and weight decay 5e-4 throughout; one cycle that peaks at lr, ends low."""
    import torch
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    from ptools import data, models
    from ptools.training import Settings, fit

    rates: list[float] = []

    def look(optimizer: torch.optim.Optimizer, *_: object) -> None:
        (group,) = optimizer.param_groups
        assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.9, True, 5e-4)
        rates.append(float(group["lr"]))

    hook = register_optimizer_step_pre_hook(look)
    try:
        net = models.build("mlp", classes=10, shape=(1, 8, 8))
        fit(net, data.load("digits"), Settings(epochs=2, lr=0.03))
    finally:
        hook.remove()
    assert len(rates) == 2 * 20
    assert 0.0299 < max(rates) <= 0.03
    assert rates[0] < 0.03 / 10
    assert rates[-1] < 0.03 / 100


def test_the_weights_that_are_kept_are_those_of_the_best_epoch(place: Path) -> None:
    """Accuracy on the validation images decides, then loss; an equal epoch later changes nothing."""
    import torch

    from ptools import checkpoints
    from ptools.training import Epoch
    from ptools.training.folder import RunFolder

    run = RunFolder(place, {}, {})
    for number, (accuracy, loss) in enumerate([(0.5, 1), (0.9, 3), (0.9, 2), (0.9, 2), (0.8, 1)]):
        weights = {"weight": torch.tensor([float(number)])}
        run.keep(Epoch(number, 0.0, 1.0, loss, accuracy, 0.1, 0.0), weights)
    run.close()
    assert run.best is not None
    assert run.best.epoch == 2
    kept = checkpoints.load(place / "best.pth")
    assert (kept["state_dict"]["weight"].item(), kept["epoch"], kept["val_accuracy"]) == (2, 2, 0.9)


def test_run_folders_are_numbered() -> None:
    folders = [train(epochs=1, model=model).folder for model in ("mlp", "mlp", "torch.nn:Flatten()")
               if model != "torch.nn:Flatten()"]  # fmt: skip
    assert folders == ["runs/digits-mlp-1", "runs/digits-mlp-2"]


def test_an_existing_folder_needs_force(ptools: Run) -> None:
    assert ptools("train", "--epochs", "1", "--model", "mlp", "--out", "here").exit_code == 0
    Path("here/mine.txt").write_text("mine")
    Path("here/events.out.tfevents.1.other").write_text("somebody's")
    before = Path("here/best.pth").read_bytes()
    done = ptools("train", "--epochs", "1", "--out", "here")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "Error: here is not empty; choose another folder or add --force.\n"
    assert Path("here/best.pth").read_bytes() == before
    assert ptools("train", "--epochs", "1", "--out", "here", "--force").exit_code == 0
    assert Path("here/best.pth").read_bytes() != before
    assert Path("here/mine.txt").read_text() == "mine"
    assert len(list(Path("here").glob("events.out.tfevents*"))) == 2


@pytest.mark.parametrize("out", ["file/run", "file", "/proc/nowhere/run"])
def test_an_unwritable_folder_is_one_line(out: str, ptools: Run) -> None:
    Path("file").touch()
    done = ptools("train", "--out", out)
    assert (done.exit_code, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert out.split("/")[-1] in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_folder_of_somebody_else_is_one_line(tmp_path: Path) -> None:
    from ptools import files
    from ptools.errors import FileError

    locked = tmp_path / "locked"
    locked.mkdir(mode=0o755)
    for parent in locked.parents:
        if parent != Path("/") and parent.stat().st_mode & 0o1 == 0:
            parent.chmod(parent.stat().st_mode | 0o11)
    os.seteuid(65534)
    try:
        with pytest.raises(FileError, match=r"Permission denied; choose a folder you may write to"):
            files.claim(locked / "run")
    finally:
        os.seteuid(0)


OWN = """
import torch
from torch import nn
print("printed at import")
class Empty(nn.Module):
    def forward(self, x):
        return torch.zeros(len(x), 10)
class Fussy(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 10))
    def forward(self, x):
        if self.training:
            raise ValueError("not today")
        return super().forward(x)
class Lazy(nn.Sequential):
    def __init__(self):
        super().__init__(nn.LazyConv2d(4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(10))
        self.register_buffer("calls", torch.zeros(()))
    def forward(self, x):
        print("printed in forward")
        self.calls = self.calls + 1
        for layer in self:
            x = layer(x)
        return x
"""


def test_models_of_all_kinds_and_what_they_print(ptools: Run) -> None:
    """Lazy layers, a buffer that changes in eval mode; what they print is not the result."""
    Path("own.py").write_text(OWN)
    done = ptools("train", "--model", "own.py:Lazy", "--epochs", "1", "--json", process=True)
    assert done.exit_code == 0, done.stderr
    assert done.document["test_accuracy"] > 0.1
    assert "printed in forward" in done.stderr


def test_a_model_that_does_not_fit_is_one_line_and_leaves_nothing(ptools: Run) -> None:
    Path("own.py").write_text(OWN)
    for model, says in (
        ("torch.nn:Conv2d(3, 4, 3)", "expected input[2, 1, 8, 8] to have 3 channels"),
        ("torch.nn:Flatten()", "returns (2, 64); 10 classes need (2, 10)"),
        ("torch.nn:LSTM(8, 8)", "the model"),
        ("own.py:Empty", "has no parameters to train"),
        ("own.py:Fussy", "does not train on batches of 2 images of 1x8x8: ValueError: not today"),
    ):
        done = ptools("train", "--model", model)
        assert (done.exit_code, done.stdout) == (2, "")
        *before, line = done.stderr.splitlines()
        assert says in line
        assert before in ([], ["printed at import"])
    assert not Path("runs").exists()


def test_a_device_that_is_not_there_is_one_line(ptools: Run) -> None:
    done = ptools("train", "--device", "cuda:99")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "ptools device" in done.stderr.splitlines()[-1]


def test_a_loss_that_explodes_says_what_to_try(ptools: Run) -> None:
    for lr in ("nan", "inf", "1e308", "0"):
        assert ptools("train", "--lr", lr).exit_code == 2
    done = ptools("train", "--lr", "1e6", "--model", "mlp", "--epochs", "4")
    assert done.exit_code == 1
    assert "try --lr 100000, not 1e+06" in done.stderr.splitlines()[-1]


def test_a_model_of_ones_own(ptools: Run) -> None:
    Path("net.py").write_text(
        "from torch import nn\nclass Net(nn.Sequential):\n    def __init__(self, n=10):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(64, n))\n"
    )
    done = ptools("train", "--model", "net.py:Net(n=10)", "--epochs", "4", "--json")
    assert done.document["folder"] == "runs/digits-Net-1"
    assert done.document["test_accuracy"] > 0.9


@pytest.mark.parametrize("mine", [None, pytest.param("ACTIVE", marks=pytest.mark.slow)])
def test_threads_sleep_while_they_wait_unless_the_user_says_otherwise(
    mine: str | None, install: Install, ptools: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
def spy():
    import os
    raise ValueError(os.environ["OMP_WAIT_POLICY"])
"""
    install("spy", source, "ptools_spy:spy", group="ptools.datasets")
    monkeypatch.delenv("OMP_WAIT_POLICY")
    env = {"OMP_WAIT_POLICY": mine} if mine else {}
    done = ptools("train", "--data", "spy", process=True, env=env)
    assert f"ValueError: {mine or 'PASSIVE'};" in done.stderr


def test_a_third_partys_data_set(install: Install, ptools: Run) -> None:
    source = '''
def flags():
    """Two colours."""
    import torch
    from ptools.data import split
    labels = torch.arange(60) % 2
    images = (labels.view(-1, 1, 1, 1) * 200).expand(60, 3, 8, 8).to(torch.uint8)
    return split("flags", ("dark", "light"), images, labels)
'''
    install("flags", source, "ptools_flags:flags", group="ptools.datasets")
    done = ptools("train", "--data", "flags", "--epochs", "6", "--json")
    assert done.document["test_accuracy"] == 1.0
