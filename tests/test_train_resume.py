"""ptools train --resume: after a stop or a kill at any moment, the same weights to the bit."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ptools import checkpoints
from ptools.errors import FileError, UsageError
from ptools.testing import Run
from ptools.training import Epoch, Running, state
from ptools_plugins.train import train

NET = """
import random
import numpy
import torch
from torch import nn
class Drop(nn.Sequential):
    def __init__(self, classes=10, inside=64):
        super().__init__(nn.Flatten(), nn.Dropout(0.3), nn.Linear(inside, 32), nn.ReLU(),
                         nn.BatchNorm1d(32), nn.Linear(32, classes))
class Noisy(Drop):
    def forward(self, x):
        if self.training:
            x = x + 0.1 * (random.random() + float(numpy.random.rand()) + torch.rand(()))
        return super().forward(x)
"""
CASES: dict[str, dict[str, Any]] = {
    "one cycle, noise of Python, numpy and torch": {"model": "net.py:Noisy"},
    "adam, plateau, accumulated, clipped": {
        "optimizer": "adam", "schedule": "plateau:1:0.5", "accumulate": 3, "grad_clip": 1.0,
        "class_weights": "balanced", "model": "net.py:Drop",
    },
    "plain, augmented": {
        "recipe": "plain", "augment": "flip-crop", "momentum": 0.8, "model": "net.py:Drop",
    },
    "bf16, cosine": {"amp": "bf16", "schedule": "cosine", "model": "cnn"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path("net.py").write_text(NET)
    return folder


def interrupt_at(batch: int) -> Callable[[Running | Epoch], None]:
    """Return what sends a real Ctrl-C after so many batches of the training."""

    def watch(now: Running | Epoch) -> None:
        if isinstance(now, Running) and now.done == batch:
            os.kill(os.getpid(), signal.SIGINT)

    return watch


def equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(value.equal(two[key]) for key, value in one.items())


def without_time(epochs: list[Any]) -> list[Any]:
    found = [e if isinstance(e, dict) else vars(e) for e in epochs]
    return [{k: v for k, v in e.items() if k != "seconds"} for e in found]


def assert_same(one: Path, two: Path) -> None:
    """Assert that both runs left the same weights, figures and curves."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for name in ("best.pth", "last.ckpt"):
        a, b = (checkpoints.load(folder / name) for folder in (one, two))
        assert equal(a["state_dict"], b["state_dict"]), name
        assert a["epoch"] == b["epoch"]
    a, b = (json.loads((folder / "metrics.json").read_text()) for folder in (one, two))
    assert without_time(a["epochs"]) == without_time(b["epochs"])
    assert a.get("test_accuracy") == b.get("test_accuracy")
    curves = []
    for folder in (one, two):
        assert len(list(folder.glob("events.out*"))) == 1
        found = EventAccumulator(str(folder)).Reload().Scalars("loss/train")
        curves.append([(point.step, point.value) for point in found])
    assert curves[0] == curves[1]
    assert not list(two.glob(".*"))


@pytest.mark.parametrize("case", CASES)
def test_a_stopped_run_goes_on_to_the_same_bits(case: str) -> None:
    """Stopped within the second epoch, at its first batch, and again at its last."""
    options = {"epochs": 3, "seed": 2, **CASES[case]}
    train(out=Path("whole"), **options)
    stopped = train(out=Path("run"), watch=interrupt_at(25), **options)
    assert stopped.interrupted
    again = train(resume=Path("run"), watch=interrupt_at(40))
    assert again.interrupted
    last = train(resume=Path("run"))
    assert not last.interrupted
    assert not last.already
    assert_same(Path("whole"), Path("run"))


def test_a_stop_within_a_group_of_odd_batches_goes_on_to_the_same_bits() -> None:
    """A batch of 7 images of 9x9 begins at any address; 16 are made at once, and the 21st is the fifth."""
    Path("net.py").write_text("""
from torch import nn
class Line(nn.Sequential):
    def __init__(self, classes=10):
        super().__init__(nn.Flatten(), nn.Linear(81, classes))
""")
    options: dict[str, Any] = {
        "model": "net.py:Line", "size": (9, 9), "limit": 400, "epochs": 2, "batch_size": 7,
        "accumulate": 2,
    }  # fmt: skip
    train(out=Path("whole"), **options)
    assert train(out=Path("run"), watch=interrupt_at(21), **options).interrupted
    assert checkpoints.load(Path("run/last.ckpt"))["batch"] == 22
    assert not train(resume=Path("run")).interrupted
    assert_same(Path("whole"), Path("run"))


def pictures(folder: Path, count: int = 24) -> Path:
    """Write a folder of two classes of random PNGs."""
    import numpy as np
    from PIL import Image

    numbers = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 100)):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = numbers.integers(low, low + 128, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return folder


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("cache", ["ram", "none"])
def test_pictures_in_a_folder(cache: str, workers: int, tmp_path: Path) -> None:
    """Decoded once or again and again, by this process or by others."""
    options: dict[str, Any] = {
        "data": str(pictures(tmp_path / "pictures")),
        "model": "net.py:Drop(2, 192)",
        "size": (8, 8),
        "batch_size": 8,
        "epochs": 2,
        "cache": cache,
        "workers": workers,
        "augment": "flip-crop",
        "lr": 0.01,
    }
    train(out=Path("whole"), **options)
    assert train(out=Path("run"), watch=interrupt_at(7), **options).interrupted
    assert not train(resume=Path("run")).interrupted
    assert_same(Path("whole"), Path("run"))


def test_the_epochs_can_be_extended() -> None:
    """One cycle is drawn to the new end: the rate of a step is that of a run of the new length."""
    train(out=Path("run"), model="net.py:Drop", epochs=2)
    before = json.loads(Path("run/metrics.json").read_text())["epochs"]
    run = train(resume=Path("run"), epochs=4)
    longer = train(out=Path("long"), model="net.py:Drop", epochs=4)
    assert [e.epoch for e in run.epochs] == [1, 2, 3, 4]
    assert [vars(e) for e in run.epochs[:2]] == before
    assert [e.lr for e in run.epochs[2:]] == [e.lr for e in longer.epochs[2:]]
    assert run.epochs[2].lr > run.epochs[3].lr
    assert tomllib.loads(Path("run/config.toml").read_text())["epochs"] == 4


def test_a_finished_run_says_so(ptools: Run) -> None:
    done = ptools("train", "--model", "net.py:Drop", "--epochs", "1", "--out", "run", "--json")
    before = {path.name: path.read_bytes() for path in Path("run").iterdir()}
    again = ptools("train", "--resume", "run")
    assert again.exit_code == 0
    assert "run is finished, with 1 epochs" in again.stderr
    accuracy = done.document["test_accuracy"]
    assert again.stdout.startswith(f"test accuracy  {accuracy:.2%}")
    assert {path.name: path.read_bytes() for path in Path("run").iterdir()} == before


def test_what_may_not_change_is_refused(ptools: Run) -> None:
    train(out=Path("run"), model="net.py:Drop", epochs=2)
    for args, says in (
        (("--lr", "0.1"), "--lr cannot change within a run"),
        (("--model", "mlp"), "--model cannot change"),
        (("--epochs", "1"), "run has begun 2 epochs already; give --epochs 2 or more"),
        (("--out", "elsewhere"), "--resume writes to the run itself"),
        (("--resume", "."), "is no run of 'ptools train'"),
    ):
        done = ptools("train", "--resume", "run", *args)
        assert done.exit_code in (1, 2), args
        assert says in done.stderr.splitlines()[-1], done.stderr
    Path("run/last.ckpt").write_bytes(Path("run/last.ckpt").read_bytes()[:900])
    with pytest.raises(FileError, match=r"run/last\.ckpt is no checkpoint"):
        train(resume=Path("run"))


def test_other_data_are_refused(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "pictures", 12)
    train(data=str(folder), model="net.py:Drop(2, 432)", out=Path("run"), epochs=1)
    (folder / "dark" / "0.png").unlink()
    with pytest.raises(UsageError, match="train images now, and had"):
        train(resume=Path("run"), epochs=2)


def test_as_many_other_pictures_are_refused(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "pictures", 12)
    train(data=str(folder), model="net.py:Drop(2, 432)", out=Path("run"), epochs=1)
    folder.rename(tmp_path / "moved")
    (tmp_path / "pictures").symlink_to(tmp_path / "moved")  # elsewhere, but the same
    assert len(train(resume=Path("run"), epochs=2).epochs) == 2
    (folder / "dark" / "0.png").rename(folder / "dark" / "00.png")
    with pytest.raises(UsageError, match=r"the (train|val) images of .* are others now"):
        train(resume=Path("run"), epochs=3)


BY_HAND = {
    "batch_size = 0": "batch_size: 0 is not",
    'epochs = "many"': "epochs: 'many' is no whole number",
    "lr = -1.0": "lr: -1.0 is not",
    'loss = "hinge"': "loss: 'hinge' is not one of",
    "size = [0, 4]": "size: '0x4': every size must be at least 1",
    "nesterov = 3": "nesterov is true or false, not 3",
}


def test_a_config_by_hand_is_checked(ptools: Run) -> None:
    train(out=Path("run"), model="net.py:Drop", epochs=1, limit=64)
    path = Path("run/config.toml")
    written = path.read_text().splitlines()
    for line, says in BY_HAND.items():
        name = line.partition(" ")[0]
        rest = [text for text in written if text.partition(" ")[0] != name]
        path.write_text("\n".join([line, *rest]))
        done = ptools("train", "--resume", "run", *(() if name == "epochs" else ("--epochs", "2")))
        assert done.exit_code == 2
        assert done.stderr.startswith(f"Error: run/config.toml: {says}"), done.stderr


def test_settings_of_ptools_toml_do_not_stop_a_run_from_going_on(ptools: Run) -> None:
    train(out=Path("run"), model="net.py:Drop", epochs=1)
    Path("ptools.toml").write_text("[train]\nlr = 0.3\n")
    assert ptools("train", "--resume", "run", "--epochs", "2").exit_code == 0


# -- real processes --------------------------------------------------------------------------------


def start(*args: str, background: bool = False) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ptools", "train", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if background else None,
    )


def wait_for_epoch(process: subprocess.Popen[str], number: int) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(f"{number:5d} "):
            return
    pytest.fail("it ended before its epoch")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_command_to_go_on(number: signal.Signals) -> None:
    """SIGINT also where a shell started us in the background, with SIGINT ignored."""
    process = start("--model", "net.py:Drop", "--epochs", "100000", "--out", "a run",
                    background=number is signal.SIGINT)  # fmt: skip
    wait_for_epoch(process, 2)
    process.send_signal(number)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "run folder     a run\n")
    last = errors.splitlines()[-1]
    assert last.startswith("Interrupted after ")
    assert last.endswith("train --resume 'a run'")
    assert "Traceback" not in errors
    saved = state.load(Path("a run"))
    assert len(saved["history"]) == len(
        json.loads(Path("a run/metrics.json").read_text())["epochs"]
    )


def test_a_signal_before_the_training_begins() -> None:
    Path("slow.py").write_text("""
import sys, time
print("here", file=sys.stderr, flush=True)
time.sleep(60)
""")
    command = [sys.executable, "-m", "ptools", "train", "--model", "slow.py:Net"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline() == "here\n"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "Interrupted.\n")
    assert not Path("runs").exists()


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once() -> None:
    Path("slow.py").write_text(
        "import time\nfrom torch import nn\nclass Net(nn.Linear):\n"
        "    def __init__(self):\n        super().__init__(64, 10)\n"
        "    def forward(self, x):\n        if len(x) > 2:\n            time.sleep(60)\n"
        "        return super().forward(x.flatten(1))\n"
    )
    process = start("--model", "slow.py:Net", "--out", "run")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch"):
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None  # it would finish the iteration
    process.send_signal(signal.SIGINT)
    before = time.monotonic()
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - before < 30


class Nursery:
    """Real processes of ptools that need not import torch anew; see tests/nursery.py."""

    def __init__(self) -> None:
        root = Path(__file__).parent.parent
        path = os.pathsep.join([str(root), str(root / "plugins")])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )

    def run(self, *args: str, kill_after: float | None = None) -> int:
        """Run `ptools train ARGS`, with a SIGKILL after so long; return its wait status."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(["train", *args]) + "\n")
        self.process.stdin.flush()
        child = int(self.process.stdout.readline())
        if kill_after is not None:
            time.sleep(kill_after)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        return int(self.process.stdout.readline())


@pytest.mark.slow
def test_twenty_kills() -> None:
    """SIGKILL at random moments of one training, its start included; it ends as if nothing was."""
    options = ("--model", "net.py:Noisy", "--epochs", "80", "--seed", "5", "--augment", "flip-crop",
               "--limit", "300", "--batch-size", "16", "--save-every", "0.05")  # fmt: skip
    nursery = Nursery()
    assert nursery.run(*options, "--out", "whole") == 0
    began = time.monotonic()
    assert nursery.run(*options, "--out", "twice") == 0
    seconds = time.monotonic() - began
    assert_same(Path("whole"), Path("twice"))
    moments = random.Random(int(os.environ.get("KILL_SEED", "7")))
    killed = 0
    for _ in range(100):
        going = Path("run/last.ckpt").exists()
        args = ("--resume", "run") if going else (*options, "--out", "run", "--force")
        status = nursery.run(*args, kill_after=moments.uniform(0, seconds / 8))
        killed += os.WIFSIGNALED(status) and going
        if killed == 20:
            break
        if not os.WIFSIGNALED(
            status
        ):  # it came to its end: once more, until it was killed 20 times
            assert status == 0
            assert_same(Path("whole"), Path("run"))
            shutil.rmtree("run")
    assert killed == 20
    assert nursery.run("--resume", "run") == 0
    assert_same(Path("whole"), Path("run"))
