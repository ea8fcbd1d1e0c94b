"""What `ptools train` without arguments costs and reaches: CPU and wall seconds, test accuracy.

    python -m benchmarks.train [--seeds 5]

Whole processes, start-up included, one seed each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Case, once


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    ptools = str(Path(sys.executable).with_name("ptools"))
    costs, accuracies = [], []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(seeds):
            out = Path(folder, str(seed))
            costs.append(once(Case([ptools, "train", "--seed", str(seed), "--out", str(out)])))
            accuracies.append(json.loads((out / "metrics.json").read_text())["test_accuracy"])
    print("| `ptools train` | median | worst |")
    print("|---|---|---|")
    print(f"| test accuracy | {statistics.median(accuracies):.2%} | {min(accuracies):.2%} |")
    for name, values in (("CPU", [c.cpu for c in costs]), ("wall", [c.wall for c in costs])):
        print(f"| {name} seconds | {statistics.median(values):.1f} | {max(values):.1f} |")


if __name__ == "__main__":
    main()
