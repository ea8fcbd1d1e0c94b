"""What the recipes reach on real images, in torchvision's layout in one folder.

recipes   fast against plain: cnn, CIFAR-10, 3 epochs each
mlp       10 epochs of MNIST and of Fashion-MNIST
bf16      against fp32, same seed, 3 epochs: CIFAR-10, or Fashion-MNIST where that is not there
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

from benchmarks.training_pairs import Row
from ptools.errors import PtoolsError

_FILES = {  # below it, as torchvision has them
    "mnist": "MNIST/raw/*-ubyte (.gz or not)",
    "fashion-mnist": "FashionMNIST/raw/*-ubyte (.gz or not)",
    "cifar10": "cifar-10-batches-py/, of cifar-10-python.tar.gz (www.cs.toronto.edu/~kriz/cifar.html)",
}


class Reached(NamedTuple):
    """Accuracy on the test images in 0..1, and CPU seconds of the training."""

    accuracy: float
    cpu: float


def recipes(folder: Path | None, *, quick: bool) -> list[Row]:
    """Return how much more accurate `fast` is than `plain`, and what each costs."""
    goal, found = "+25 points", {}
    for recipe in ("plain", "fast"):
        reached = _train("cifar10", "cnn", folder, recipe=recipe, epochs=1 if quick else 3)
        if isinstance(reached, str):
            return [Row("cnn, CIFAR-10, fast against plain", reached, goal)]
        found[recipe] = reached
    plain, fast = found["plain"], found["fast"]
    gain = (fast.accuracy - plain.accuracy) * 100
    told = f"{plain.accuracy:.2%} in {plain.cpu:.0f} s CPU, {fast.accuracy:.2%} in {fast.cpu:.0f} s"
    return [Row("cnn, CIFAR-10, fast against plain", f"{gain:+.1f} points ({told})", goal)]


def mlp(folder: Path | None, *, quick: bool) -> list[Row]:
    """Return the accuracies of the mlp."""
    rows = []
    for data, goal in (("mnist", "98.6 %"), ("fashion-mnist", "89.5 %")):
        reached = _train(data, "mlp", folder, epochs=2 if quick else 10)
        told = reached if isinstance(reached, str) else f"{reached.accuracy:.2%}"
        rows.append(Row(f"mlp, {data}, 10 epochs", told, goal))
    return rows


def bf16(folder: Path | None, *, quick: bool) -> list[Row]:
    """Return how far the accuracies of bf16 and fp32 are apart."""
    goal, missing = "within 0.3 points", []
    for data in ("cifar10", "fashion-mnist"):
        found = []
        for amp in ("off", "bf16"):
            reached = _train(data, "cnn", folder, amp=amp, epochs=1 if quick else 3)
            if isinstance(reached, str):
                missing.append(reached)
                break
            found.append(reached.accuracy)
        else:
            apart = (found[1] - found[0]) * 100
            told = f"{apart:+.2f} points ({found[0]:.2%}, {found[1]:.2%})"
            return [Row(f"cnn, {data}, bf16 against fp32", told, goal)]
    return [Row("cnn, bf16 against fp32", missing[0], goal)]


def _train(data: str, model: str, folder: Path | None, **options: Any) -> Reached | str:
    """Train as the command does; return what it says where the images are missing."""
    from ptools_plugins.train import train

    if folder is None:
        return f"not measured: --data-dir is not given; it has {_FILES[data]}"
    with tempfile.TemporaryDirectory() as out:
        begun = process_time()
        try:
            run = train(data=data, model=model, data_dir=folder, out=Path(out, "run"), **options)
        except PtoolsError as error:
            return f"not measured: {error}"
        assert run.test_accuracy is not None
        return Reached(run.test_accuracy, process_time() - begun)
