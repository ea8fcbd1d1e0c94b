"""What `ptools partial-load` costs on a large checkpoint, as ratios to a plain copy of the file.

    python -m benchmarks.remap [--gb 4] [--pairs 3] [--formats .pth] [--folder FOLDER]

A transformer's state_dict of that size is written with torch.save and with safetensors, and once more
under other names, in a temporary folder (of FOLDER; four times as much must be free). Then, pair by
pair: `cp` and fsync of the file, and the whole command, which fsyncs as well. Wall and CPU time (user +
sys), medians of the pairs; the peak of anonymous memory is RssAnon of /proc, looked at every 20 ms. The
same command on a checkpoint of a few MB is what it costs before it has anything to do. What is only likely
is accepted: safetensors lists tensors alphabetically, so nothing of it is certain. Linux only.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from benchmarks.matching import table

Shape = tuple[int, ...]

FORMATS = (".pth", ".safetensors")
SMALL = 0.004  # GB: what the command costs anyway
EVERY = 0.02  # seconds between two looks at the memory
HEADS = ("partial-load", "x copy, wall", "x copy, CPU", "wall s", "copy", "CPU s", "copy",
         "peak RssAnon MB", "tensors loaded")  # fmt: skip
RENAMED = {"embeddings.word": "wte", "embeddings.position": "wpe", "encoder.layer.": "model.blocks.",
           "attention.query": "attn.q", "attention.key": "attn.k", "attention.value": "attn.v",
           "attention.output": "attn.out", "intermediate": "mlp.fc1", "output": "mlp.fc2",
           "norm1": "ln_1", "norm2": "ln_2", "pooler": "model.pooler"}  # fmt: skip


class Cost(NamedTuple):
    """What one process took."""

    wall: float  # seconds
    cpu: float  # seconds, user + sys
    anonymous: float  # MB, the peak of RssAnon
    said: str  # its last line


def shapes(gb: float) -> dict[str, Shape]:
    """Return the shapes of a transformer of about `gb` GB of float32, by name."""
    width = 2048 if gb >= 1 else 256
    found: dict[str, Shape] = {
        "embeddings.word.weight": (8 * width, width),
        "embeddings.position.weight": (512, width),
    }
    for layer in range(max(2, round(gb * 1e9 / (4 * 12 * width**2)))):
        wide = {"intermediate": (4 * width, width), "output": (width, 4 * width)}
        square = ("query", "key", "value", "output")
        linear = {f"attention.{name}": (width, width) for name in square} | wide
        norms = dict.fromkeys(("norm1", "norm2"), (width,))
        for name, shape in {**linear, **norms}.items():
            found[f"encoder.layer.{layer}.{name}.weight"] = shape
            found[f"encoder.layer.{layer}.{name}.bias"] = shape[:1]
    return found | {"pooler.weight": (width, width), "pooler.bias": (width,)}


def renamed(key: str) -> str:
    """Return the name of a tensor in the new network."""
    for old, new in RENAMED.items():
        key = key.replace(old, new)
    return key


def make(path: Path, wanted: Mapping[str, Shape]) -> None:
    """Write a state_dict of random weights; in a process of its own, for it takes all the memory."""
    import torch
    from safetensors.torch import save_file

    tensors = {key: torch.rand(shape) for key, shape in wanted.items()}
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)


def watch(command: Sequence[str]) -> Cost:
    """Run a command; raises RuntimeError where it neither succeeds nor leaves a question (3)."""
    begun, ended, peak = perf_counter(), threading.Event(), [0.0]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        status = Path(f"/proc/{process.pid}/status")

        def sample() -> None:
            while not ended.wait(EVERY):
                with suppress(OSError):  # it has just ended
                    found = re.search(r"RssAnon:\s+(\d+)", status.read_text())
                    peak[0] = max(peak[0], int(found[1]) * 1024 / 1e6 if found else 0)

        watcher = threading.Thread(target=sample)
        watcher.start()
        assert process.stdout is not None
        assert process.stderr is not None
        said, errors = process.stdout.read(), process.stderr.read()
        _, code, usage = os.wait4(process.pid, 0)
        wall = perf_counter() - begun
        ended.set()
        watcher.join()
        process.returncode = os.waitstatus_to_exitcode(code)
    if process.returncode not in (0, 3):
        raise RuntimeError(f"{' '.join(command)} failed: {errors.strip()[-300:]}")
    last = (said.strip().splitlines() or [""])[-1]
    return Cost(wall, usage.ru_utime + usage.ru_stime, peak[0], last)


def measure(folder: Path, suffix: str, gb: float, pairs: int) -> tuple[list[Cost], list[Cost]]:
    """Return what the copies cost and what the command does, pair by pair."""
    old, new = folder / f"old{suffix}", folder / f"new{suffix}"
    out, copy = folder / f"out{suffix}", folder / f"copy{suffix}"
    wanted = shapes(gb)
    for path, some in ((old, wanted), (new, {renamed(key): one for key, one in wanted.items()})):
        process = multiprocessing.get_context("spawn").Process(target=make, args=(path, some))
        process.start()
        process.join()
        if process.exitcode:
            raise RuntimeError(f"{path.name} could not be made: see above.")
    ptools = str(Path(sys.executable).with_name("ptools"))
    load = [ptools, "partial-load", str(old), str(new), "-o", str(out), "--accept", "likely"]
    plain = ["sh", "-c", 'cp "$0" "$1" && sync "$1"', str(old), str(copy)]
    copies: list[Cost] = []
    loads: list[Cost] = []
    for turn in range(pairs + 1):
        for command, made, costs in ((plain, copy, copies), (load, out, loads)):
            cost = watch(command)
            made.unlink()
            if turn:  # the first one warms up
                costs.append(cost)
    for path in (old, new):
        path.unlink()
    return copies, loads


def row(label: str, copies: Sequence[Cost], loads: Sequence[Cost], *, ratios: bool) -> list[str]:
    """Return the cells of one size and format."""
    pairs = list(zip(loads, copies, strict=True))
    wall = statistics.median(load.wall / copy.wall for load, copy in pairs)
    cpu = (
        statistics.median(load.cpu / copy.cpu for load, copy in pairs if copy.cpu) if ratios else 0
    )
    times = [
        statistics.median(getattr(cost, what) for cost in some)
        for what in ("wall", "cpu")
        for some in (loads, copies)
    ]
    loaded = re.search(r"matched (\S+) tensors", loads[0].said)
    peak = max(cost.anonymous for cost in loads)
    return [label, *([f"{wall:.2f}", f"{cpu:.2f}"] if ratios else ["-", "-"]),
            *(f"{time:.2f}" for time in times), f"{peak:.0f}", loaded[1] if loaded else "-"]  # fmt: skip


def compare(folder: Path, formats: Sequence[str], gb: float, pairs: int) -> None:
    """Print the table of the README."""
    rows = []
    for suffix in formats:
        for size in dict.fromkeys((gb, SMALL)):
            some = measure(folder, suffix, size, pairs)
            label = f"{size:g} GB {suffix}" if size >= 0.1 else f"{1000 * size:g} MB {suffix}"
            rows.append(row(label, *some, ratios=size > SMALL))
    table(HEADS, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gb", type=float, default=4.0, help="Size of the checkpoint.")
    parser.add_argument("--pairs", type=int, default=3, help="Of a copy and a command each.")
    parser.add_argument("--folder", type=Path, help="Where the temporary folder is made.")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        compare(Path(folder), args.formats, args.gb, args.pairs)


if __name__ == "__main__":
    main()
