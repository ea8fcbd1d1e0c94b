"""What `ptools regress` costs beyond the imports it cannot do without, and its pictures.

    python -m benchmarks.regress [--repeats 15]

CPU time of whole processes, interleaved, medians. The measure is a Python that imports click and numpy
and does nothing. The frames of --gif, drawn by Pillow, are compared with matplotlib drawing each of them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from time import process_time

from benchmarks.measure import Case, interleaved

MEASURE = "import click, numpy"


def cases(folder: Path) -> dict[str, Case]:
    """Return the commands, the measure first."""
    python = sys.executable
    png, gif = folder / "a.png", folder / "a.gif"
    return {
        MEASURE: Case([python, "-c", MEASURE]),
        "ptools regress --how manual": Case([python, "-m", "ptools", "regress", "--how", "manual"]),
        "ptools regress --plot": Case([python, "-m", "ptools", "regress", "--plot"]),
        "ptools regress --png": Case(
            [python, "-m", "ptools", "regress", "--png", str(png), "--force"]
        ),
        "ptools regress --gif": Case(
            [python, "-m", "ptools", "regress", "--gif", str(gif), "--force"]
        ),
    }


def film(repeats: int) -> tuple[float, float, int]:
    """Return seconds of our film, of matplotlib drawing the same frames anew, and their number."""
    from ptools_plugins.regress import data, pictures, regress
    from ptools_plugins.regress.film import frames, gif

    study = regress(data.given([[1, 2, 3]], [2, 4, 6]))
    count = len(frames(study, None))
    ours, theirs = [], []
    for _ in range(repeats):
        begun = process_time()
        gif(study, None)
        ours.append(process_time() - begun)
        begun = process_time()
        for _ in range(count):
            pictures.png(study, None)
        theirs.append(process_time() - begun)
    return statistics.median(ours), statistics.median(theirs), count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        costs = interleaved(cases(Path(folder)), args.repeats)
    measure = costs[MEASURE].cpu
    print("| command | CPU ms | times the imports |")
    print("|---|---|---|")
    for label, cost in costs.items():
        print(f"| `{label}` | {1000 * cost.cpu:.0f} | {cost.cpu / measure:.2f} |")
    ours, theirs, count = film(3)
    print(
        f"\n{count} frames: {1000 * ours:.0f} ms of CPU; drawn by matplotlib {1000 * theirs:.0f} ms,"
        f" {theirs / ours:.1f} times as much"
    )


if __name__ == "__main__":
    main()
