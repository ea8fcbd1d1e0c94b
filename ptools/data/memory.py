"""How much memory is free for a data set, as far as the system tells."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

UNKNOWN = 4 * 2**30  # where the system tells nothing


def free() -> int:
    """Return the bytes this process may take: free memory, a container's limit, shared by the ranks."""
    known = [size for size in (_available(), _container()) if size is not None]
    here = os.environ.get("LOCAL_WORLD_SIZE", "1")  # torchrun: so many processes on this machine
    return min(known, default=UNKNOWN) // max(1, int(here) if here.isdecimal() else 1)


def _available() -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError, ValueError, AttributeError):  # macOS does not tell what is free
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return None


def _container() -> int | None:
    """Return what is left of a memory limit of cgroups (version 2); its page cache can be freed."""
    place = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):
        limit, used = (int((place / f"memory.{n}").read_text()) for n in ("max", "current"))
        held = [
            int(line.split()[1])
            for line in (place / "memory.stat").read_text().splitlines()
            if line.startswith("inactive_file ")
        ]
        return max(0, limit - used + sum(held))
    return None
