"""What it takes to look into a checkpoint of 4 GB, over what starting takes.

    python -m benchmarks.inspect_files [--gigabytes 4] [--repeats 5] [--folder /somewhere/large]

A checkpoint as a training saves one (a Transformer's state_dict, epoch, metrics) is written into a
temporary folder, as .pth and as .safetensors; then whole commands are measured, interleaved: wall time
and CPU time of the child, medians, and its peak memory. The difference to the first row of a group is
what reading the file takes. The files are in the page cache, as after a download or a training.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.measure import Case, Cost, interleaved

WIDTH = 2048  # a block of it has 12 * WIDTH^2 parameters, 201 MB
_TORCH = "import torch; {}"
_LOAD = "found = torch.load({path!r}, weights_only=True{more}); print(len(found))"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", help="Where the two files are written, and removed again.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        pth, safe = write(Path(folder), given.gigabytes)
        found = cases(pth, safe)
        costs = interleaved(found, given.repeats)
        peaks = {name: peak(case) for name, case in found.items()}
        print(f"{pth.stat().st_size / 1e9:.2f} GB, {given.repeats} repeats\n")
        show(costs, peaks)


def write(folder: Path, gigabytes: float) -> tuple[Path, Path]:
    """Write the checkpoint twice and return the paths: torch.save's format and safetensors."""
    import torch
    from safetensors.torch import save_file

    state: dict[str, Any] = {}
    blocks = max(round(gigabytes * 1e9 / (12 * WIDTH**2 * 4)), 1)
    for block in range(blocks):
        for name, rows in (("qkv", 3), ("out", 1), ("up", 4), ("down", 4)):
            state[f"blocks.{block}.{name}.weight"] = torch.rand(rows * WIDTH, WIDTH)
            state[f"blocks.{block}.{name}.bias"] = torch.zeros(rows * WIDTH)
    pth, safe = folder / "big.pth", folder / "big.safetensors"
    torch.save({"epoch": 3, "val_accuracy": 0.75, "state_dict": state}, pth)
    save_file(state, safe)
    return pth, safe


def cases(pth: Path, safe: Path) -> Mapping[str, Case]:
    """Return what is measured; rows that begin alike are of one group, its first row the start."""
    run = [sys.executable, "-c", "import sys; from ptools.cli import main; sys.exit(main())"]
    load = {"": "", ", mmap=True": ", mmap=True"}
    torch = {
        f"torch: torch.load{more}": _python(_TORCH.format(_LOAD.format(path=str(pth), more=more)))
        for more in load
    }
    return {
        "ptools: ptools inspect --help": Case([*run, "inspect", "--help"]),
        "ptools: ptools inspect big.pth": Case([*run, "inspect", str(pth)]),
        "ptools: ptools inspect big.safetensors": Case([*run, "inspect", str(safe)]),
        "ptools: ptools inspect big.pth --stats": Case([*run, "inspect", str(pth), "--stats"]),
        "ptools: ptools inspect big.pth big.safetensors": Case(
            [*run, "inspect", str(pth), str(safe)]
        ),
        "torch: import torch": _python("import torch"),
        **torch,
    }


def _python(code: str) -> Case:
    return Case([sys.executable, "-c", code], {"OMP_NUM_THREADS": "1"})


def peak(case: Case) -> float:
    """Return the peak memory of one run in MB, without the pages of the mapped file where that is known."""
    code = (
        "import os, subprocess, sys, resource; "
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    env = {**os.environ, **case.env}
    command = [sys.executable, "-c", code, *case.command]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return int(done.stdout) / unit


def show(costs: Mapping[str, Cost], peaks: Mapping[str, float]) -> None:
    """Print the table; every row over the first of its group."""
    print("| command | wall s over start | CPU s over start | peak memory MB |")
    print("|---|---|---|---|")
    first: dict[str, Cost] = {}
    for name, cost in costs.items():
        group, _, label = name.partition(": ")
        base = first.setdefault(group, cost)
        row = (f"{cost.wall - base.wall:.2f}", f"{cost.cpu - base.cpu:.2f}", f"{peaks[name]:.0f}")
        if cost is base:
            row = (f"({cost.wall:.2f} in all)", f"({cost.cpu:.2f} in all)", row[2])
        print(f"| `{label}` | {' | '.join(row)} |")


if __name__ == "__main__":
    main()
