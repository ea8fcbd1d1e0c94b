"""ptools train under torchrun: two processes, gloo, for real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ptools import checkpoints
from ptools.data import Batches, Split
from ptools.errors import UsageError
from ptools.training.distributed import Team
from ptools.training.scoring import _places
from ptools_plugins.train import train

NET = """
import atexit, hashlib, os
import torch
from torch import nn
class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
                         nn.Dropout(0.2), nn.Linear(144, 32), nn.ReLU(), nn.Linear(32, 10))
        if "RANK" in os.environ:
            atexit.register(self.tell)
    def tell(self):
        values = [p.detach().flatten() for p in self.parameters()]
        if not any(hasattr(v, "to_local") for v in values):
            digest = hashlib.sha256(torch.cat(values).numpy().tobytes()).hexdigest()
            with open(f"rank{os.environ['RANK']}", "a") as file:
                file.write(digest + chr(10))
"""
OPTIONS = ("--model", "net.py:Net", "--limit", "600", "--batch-size", "60", "--seed", "3",
           "--epochs", "4", "--lr", "0.02")  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parallel")
    (folder / "net.py").write_text(NET)
    return folder


def start(place: Path, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "ptools", "train",
         *args],
        cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def run(place: Path, *args: str) -> tuple[str, str]:
    process = start(place, *args)
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return out, errors


def weights(path: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = checkpoints.load(path)["state_dict"]
    return found


@pytest.fixture(scope="module")
def whole(place: Path) -> tuple[str, str]:
    return run(place, *OPTIONS, "--out", "whole")


@pytest.mark.slow
def test_two_processes_train_one_network(place: Path, whole: tuple[str, str]) -> None:
    """Rank 0 alone prints and writes; both end with the same weights; figures are of all images."""
    out, errors = whole
    assert out.count("run folder") == 1
    assert errors.count("epoch   loss") == 1
    assert "2 processes; each step takes 60 images, 30 in each" in errors
    digests = [(place / f"rank{rank}").read_text().splitlines()[-1] for rank in (0, 1)]
    assert digests[0] == digests[1]
    metrics = json.loads((place / "whole/metrics.json").read_text())
    assert metrics["images"] == sum(map(sum, metrics["confusion"])) == 359
    assert (place / "whole/mistakes.png").stat().st_size > 2000
    kept = weights(place / "whole/best.pth")
    assert next(iter(kept)) == "0.weight"
    assert metrics["test_accuracy"] > 0.7


@pytest.mark.slow
def test_an_error_of_all_is_told_once(place: Path) -> None:
    options = ("--data", "digits", "--model", "net.py:Gone")
    process = start(place, *options)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    lines = errors.splitlines()
    assert sum(line.startswith("Error: ") for line in lines) == 1, errors
    assert "Interrupted." not in lines


@pytest.mark.slow
def test_an_error_of_one_is_told(place: Path) -> None:
    (place / "one.py").write_text("""
import os
from torch import nn
class Net(nn.Sequential):
    def __init__(self, classes=10):
        super().__init__(nn.Flatten(), nn.Linear(64, classes))
        if os.environ.get("RANK") == "1":
            raise ValueError("only here")
""")
    process = start(place, "--model", "one.py:Net")
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert errors.count("only here") == 1, errors


@pytest.mark.slow
def test_they_stop_at_one_step_and_go_on_to_the_same_bits(
    place: Path, whole: tuple[str, str]
) -> None:
    process = start(place, *OPTIONS, "--out", "run", "--save-every", "0.01")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("    2 "):
            break
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert errors.count("Interrupted after ") == 1
    assert "Traceback" not in errors.partition("Interrupted after ")[0]
    saved = checkpoints.load(place / "run/last.ckpt")
    assert len(saved["ranks"]) == 2
    assert saved["epoch"] >= 3
    run(place, "--resume", "run")
    for name in ("best.pth", "last.ckpt"):
        one, two = weights(place / "whole" / name), weights(place / "run" / name)
        assert all(value.equal(two[key]) for key, value in one.items()), name


@pytest.mark.slow
def test_a_network_in_parts(place: Path, whole: tuple[str, str]) -> None:
    """--shard trains as two whole copies do; best.pth is that of one process; it can go on."""
    run(place, *OPTIONS, "--out", "parts", "--shard")
    one, two = weights(place / "whole/best.pth"), weights(place / "parts/best.pth")
    assert list(one) == list(two)
    last, other = (json.loads((place / name / "metrics.json").read_text())["epochs"][-1]
                   for name in ("whole", "parts"))  # fmt: skip
    assert other["loss"] == pytest.approx(last["loss"], abs=0.02)
    out, _ = run(place, "--resume", "parts", "--epochs", "5")
    assert "run folder     parts" in out
    assert len(json.loads((place / "parts/metrics.json").read_text())["epochs"]) == 5


def test_parts_need_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="--shard needs several processes: torchrun"):
        train(model="mlp", shard=True)
    assert not Path("runs").exists()


def test_each_process_knows_which_images_it_has() -> None:
    samples = Split(torch.zeros(23, 1, 2, 2, dtype=torch.uint8), torch.arange(23))
    found: list[int] = []
    for rank in range(3):
        batches = Batches(samples, ([0.0], [1.0]), batch_size=10, device="cpu", rank=rank, ranks=3)
        for number, (_, labels) in enumerate(batches):
            places = _places(number, batches, Team(rank, 3), len(labels), 0)
            assert list(places) == labels.tolist()
            found += places
    assert sorted(found) == list(range(23))
