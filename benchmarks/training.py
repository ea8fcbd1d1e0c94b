"""What `ptools train` and `finetune` cost and reach, beside the scripts of the tutorials.

    python -m benchmarks.training [--only NAME ...] [--quick] [--data-dir DIR]

CPU time, one thread, what is compared in turns; medians. Prints one table: what, measured, the goal.
The accuracies need real images: --data-dir has MNIST, FashionMNIST and cifar-10-batches-py in
torchvision's layout; what is not there is said. The other rows make their data themselves.
--quick is for a look: shorter epochs, in which what happens once per epoch weighs more.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # before torch is imported
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import training_accuracy, training_finetune, training_speed, training_start
from benchmarks.training_pairs import Row


def parts(folder: Path | None) -> dict[str, Callable[..., list[Row]]]:
    """Return what can be measured, by name; each takes `quick` and returns rows."""
    return {
        "cnn": training_speed.cnn,
        "mlp": training_speed.mlp,
        "overhead": training_speed.overhead,
        "recipes": partial(training_accuracy.recipes, folder),
        "accuracy": partial(training_accuracy.mlp, folder),
        "bf16": partial(training_accuracy.bf16, folder),
        "finetune": training_finetune.finetune,
        "fold": training_finetune.fold,
        "jpeg": training_finetune.jpeg,
        "cache": training_finetune.cache,
        "default": training_start.default,
        "start": training_start.start,
        "checkpoint": training_speed.checkpoint,
    }


def main() -> None:
    names = list(parts(None))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME",
                        help=", ".join(names))  # fmt: skip
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data-dir", type=Path)
    given = parser.parse_args()
    found = parts(given.data_dir)
    print("| what | measured | at least, at most |\n|---|---|---|", flush=True)
    for name in given.only:
        for row in found[name](quick=given.quick):
            print(f"| {row.what} | {row.measured} | {row.goal} |", flush=True)


if __name__ == "__main__":
    main()
