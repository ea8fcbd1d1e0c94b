"""What a container may use of the machine: CPU and memory limits of cgroup v1 and v2.

A limit counts wherever it is set on the way from our own cgroup to the root, so the smallest wins.
Inside a container our own path may not be mounted; then the root of the mount is the container's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_NO_LIMIT = 1 << 60  # cgroup v1 writes 2**63 less a page for "no limit"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """A container's limits; None where there is none."""

    cpus: float | None = None
    memory: int | None = None  # bytes


def cpu_limit(root: Path) -> float | None:
    """Return how many CPUs the cgroup allows (quota / period), or None."""
    found = []
    for folder in _folders(root, "cpu"):
        quota, period = [*_read(folder / "cpu.max").split(), "", ""][:2]  # v2: "200000 100000"
        if not period:
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period) and int(quota):  # not "max", not -1
            found.append(int(quota) / int(period))
    return min(found, default=None)


def memory_limit(root: Path) -> int | None:
    """Return how many bytes the cgroup allows, or None."""
    found = []
    for folder in _folders(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            value = _read(folder / name)
            if value.isdigit() and int(value) < _NO_LIMIT:
                found.append(int(value))
    return min(found, default=None)


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """Yield the cgroup folders of this process, from its own up to the root of each mount."""
    mount = root / "sys/fs/cgroup"
    said = _read(root / "proc/self/cgroup")
    for names, own in re.findall(r"^[0-9]+:([^:\n]*):(/[^\n]*)$", said + "\n0::/", re.MULTILINE):
        if names and controller not in names.split(","):
            continue
        base = mount / names if names and (mount / names).is_dir() else mount
        base = mount / controller if names and base == mount else base
        place = base / own.lstrip("/")
        yield from (folder for folder in (place, *place.parents) if folder.is_relative_to(base))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
