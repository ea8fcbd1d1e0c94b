"""What a film of ptools convdemo costs, beyond the imports that it cannot do without.

    python -m benchmarks.convdemo [--repeats 11]

Each case runs in a fresh process, interleaved, medians of CPU time. "over imports" is the time between
the imports (numpy, Pillow's Image, ImageDraw, ImageFont and GIF writer, click) and the end of the command,
measured within the process; "whole" is the process, beside one that only imports those.
"""

from __future__ import annotations

import argparse
import compileall
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import ptools
import ptools_plugins
from benchmarks.measure import Case, Cost, interleaved

IMPORTS = "import numpy, click; from PIL import Image, ImageDraw, ImageFont, GifImagePlugin"
CASES: Mapping[str, list[str]] = {
    "9 windows (stride 1)": ["--stride", "1"],
    "25 windows (padding 1)": ["--padding", "1"],
    "25 windows (transpose, stride 2)": ["--op", "transpose", "--stride", "2"],
    "9 windows, backward": ["--stride", "1", "--backward"],
    "9 columns, im2col": ["--stride", "1", "--im2col"],
    "38 windows (the default: three layers)": [],
}
# ptools itself is imported before the clock starts; convdemo and its modules count
_WITHIN = f"""{IMPORTS}
import sys, time
from ptools.cli import main
begun = time.process_time()
code = main(sys.argv[1:])
print(time.process_time() - begun)
sys.exit(code)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=11)
    repeats = parser.parse_args().repeats
    for package in (ptools, ptools_plugins):  # an import must not compile
        compileall.compile_dir(Path(str(package.__file__)).parent, quiet=1)
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "film.gif"))
        commands = {
            name: ["convdemo", *args, "--gif", file, "--force"] for name, args in CASES.items()
        }
        within: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(repeats + 1):
            for name, command in commands.items():
                seconds = _once(command)
                if turn:
                    within[name].append(seconds)
        script = str(Path(sys.executable).with_name("ptools"))
        cases = {"imports": Case([sys.executable, "-c", IMPORTS])}
        cases |= {name: Case([script, *command]) for name, command in commands.items()}
        whole = interleaved(cases, repeats)
    _print(within, whole)


def _once(command: list[str]) -> float:
    """Return the CPU seconds that a command takes after the imports, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _WITHIN, *command], capture_output=True, text=True, check=True
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def _print(within: Mapping[str, list[float]], whole: Mapping[str, Cost]) -> None:
    base = whole["imports"].cpu
    print("| film | CPU ms over imports | whole process | of it the imports |")
    print("|---|---|---|---|")
    for name, seconds in within.items():
        middle = statistics.median(seconds) * 1e3
        print(f"| {name} | {middle:.0f} | {whole[name].cpu * 1e3:.0f} | {base * 1e3:.0f} |")


if __name__ == "__main__":
    main()
