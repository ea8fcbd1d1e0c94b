"""What `ptools train` costs without arguments, and before its first step: whole processes.

default    accuracy, CPU of the training, CPU of all
start      until the first step, against importing torch and one step of SGD
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Case, interleaved, once
from benchmarks.training_pairs import Row

_STEP = """
import os, torch
net = torch.nn.Linear(8, 8)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True)
net(torch.rand(2, 8)).sum().backward()
optimizer.step()
os._exit(0)
"""
_FIRST = """
import os, pathlib, sys
from ptools_plugins.train import train
train(out=pathlib.Path(sys.argv[1]), force=True, watch=lambda _: os._exit(0))
"""
_TRAINING = """
import sys, time, pathlib
from ptools.training import Epoch
from ptools_plugins.train import train
begun = last = 0
def start(*_):
    global begun
    begun = time.process_time()
def watch(now):
    global last
    if isinstance(now, Epoch):
        last = time.process_time()
train(out=pathlib.Path(sys.argv[1]), seed=int(sys.argv[2]), on_start=start, watch=watch)
pathlib.Path(sys.argv[1], "cpu").write_text(str(last - begun))
"""


def default(*, quick: bool) -> list[Row]:
    """Return accuracy and cost of `ptools train`, the worst and the median of some seeds."""
    ptools = str(Path(sys.executable).with_name("ptools"))
    accuracies, training, whole = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(2 if quick else 5):
            out, inside = Path(folder, f"whole-{seed}"), Path(folder, f"inside-{seed}")
            whole.append(once(Case([ptools, "train", "--seed", str(seed), "--out", str(out)])))
            accuracies.append(json.loads((out / "metrics.json").read_text())["test_accuracy"])
            once(Case([sys.executable, "-c", _TRAINING, str(inside), str(seed)]))
            training.append(float((inside / "cpu").read_text()))
    process = f"{statistics.median(c.cpu for c in whole):.1f} s CPU"
    wall = f"{statistics.median(c.wall for c in whole):.1f} s wall"
    accuracy = f"{statistics.median(accuracies):.2%}, worst {min(accuracies):.2%}"
    return [
        Row("`ptools train`: accuracy", accuracy, "99 %"),
        Row("`ptools train`: the training", f"{statistics.median(training):.1f} s CPU", "1.5 s"),
        Row("`ptools train`: the whole process", f"{process}, {wall}", "5 s"),
    ]


def start(*, quick: bool) -> list[Row]:
    """Return what comes before the first step, against what no training can do without."""
    with tempfile.TemporaryDirectory() as folder:
        cases = {
            "least": Case([sys.executable, "-c", _STEP]),
            "ptools": Case([sys.executable, "-c", _FIRST, folder]),
        }
        costs = interleaved(cases, 3 if quick else 9)
    ratio = costs["ptools"].cpu / costs["least"].cpu
    return [Row("start to first step, against torch and one SGD step", f"{ratio:.2f}x", "1.15x")]
