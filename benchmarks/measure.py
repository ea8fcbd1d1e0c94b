"""Measure whole commands fairly on a noisy machine: interleaved, CPU time of the child, medians."""

from __future__ import annotations

import os
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import NamedTuple


class Case(NamedTuple):
    """A command, and what it adds to the environment."""

    command: Sequence[str]
    env: Mapping[str, str] = {}


class Cost(NamedTuple):
    """Seconds of one run, or the medians of several."""

    cpu: float  # user + sys of the child
    wall: float


def once(case: Case) -> Cost:
    """Run a command in silence; raises RuntimeError where it fails."""
    begun = perf_counter()
    process = subprocess.Popen(
        case.command,
        env={**os.environ, **case.env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(case.command)} failed: {errors.strip()[-300:]}")
    return Cost(usage.ru_utime + usage.ru_stime, wall)


def interleaved(cases: Mapping[str, Case], repeats: int) -> dict[str, Cost]:
    """Run every command `repeats` times, A B C A B C ..., after one warm-up; return the medians."""
    costs: dict[str, list[Cost]] = {name: [] for name in cases}
    for turn in range(repeats + 1):
        for name, case in cases.items():
            cost = once(case)
            if turn:
                costs[name].append(cost)
    return {
        name: Cost(statistics.median(c.cpu for c in some), statistics.median(c.wall for c in some))
        for name, some in costs.items()
    }
