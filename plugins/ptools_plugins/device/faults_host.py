"""What slows torch down or breaks it on the CPU side: threads, container limits, old CPUs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

from ptools_plugins.device.findings import Facts, Finding

warning = partial(Finding, level="warning")
note = partial(Finding, level="note")
_DOCKER_SHM = 64 << 20  # what docker gives a container that does not ask


def check(facts: Facts) -> Iterator[Finding]:
    """Yield what is worth knowing about threads, memory and CPU."""
    yield from threads(facts)
    yield from memory(facts)
    yield from cpu(facts)


def threads(facts: Facts) -> Iterator[Finding]:
    """Yield more threads than the container or the machine has CPUs, or a forced single one."""
    process, limit = facts.machine.process, facts.machine.limits.cpus
    asked = process.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    count = int(asked) if asked.isdigit() else 0
    started = count or facts.view.torch.get("threads") or process.cores
    if limit and limit < min(process.cores, started):
        fit = max(1, math.floor(limit))
        reason = f"{who(facts)} may use {limit:g} CPUs, and torch would start {started} threads"
        yield warning(code="cpu-limit", text=reason, command=f"export OMP_NUM_THREADS={fit}")
    elif count > process.cores:
        reason = f"OMP_NUM_THREADS is {count}, and {_cores(process.cores)} may be used"
        command = f"export OMP_NUM_THREADS={process.cores}"
        yield warning(code="omp-many", text=reason, command=command)
    elif count == 1 and process.cores > 1:
        reason = f"OMP_NUM_THREADS=1: torch computes on 1 of {_cores(process.cores)}"
        yield note(code="omp-one", text=reason, command="unset OMP_NUM_THREADS")


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"


def who(facts: Facts) -> str:
    """Return whom a cgroup limits: a batch job or a systemd slice has one, too."""
    return "this container" if facts.machine.container else "this process, by its cgroup,"


def memory(facts: Facts) -> Iterator[Finding]:
    """Yield a memory limit, and a /dev/shm too small for DataLoader workers."""
    machine, limit = facts.machine, facts.machine.limits.memory
    if limit and machine.memory and limit < machine.memory:
        reason = f"{who(facts)} may use {gib(limit)} of the machine's {gib(machine.memory)}"
        yield note(code="memory-limit", text=reason)
    shm = machine.process.shm
    if machine.container and shm is not None and shm <= _DOCKER_SHM:
        reason = f"/dev/shm is {shm >> 20} MiB: DataLoader workers die with a bus error"
        small = machine.container in ("docker", "podman")
        command = f"{machine.container} run --shm-size=8g ..." if small else ""
        yield warning(code="shm-small", text=reason, command=command)


def cpu(facts: Facts) -> Iterator[Finding]:
    """Yield an x86 CPU without AVX2: torch has no fast kernels for it."""
    machine = facts.machine
    x86 = machine.process.machine in ("x86_64", "AMD64")
    if x86 and machine.flags and "avx2" not in machine.flags:
        reason = "this CPU has no AVX2: torch works, with its slowest kernels"
        yield note(code="no-avx2", text=reason)


def gib(size: int) -> str:
    """Return bytes as GiB with one decimal, or none from 100 on."""
    value = size / (1 << 30)
    return f"{value:.0f} GiB" if value >= 100 else f"{value:.1f} GiB"
