"""What the running process knows and no file tells: environment, cores, user, platform, Python."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process. `here()` reads ours."""

    environ: Mapping[str, str] = field(default_factory=dict)
    cores: int = 1  # that the scheduler lets us use
    uid: int = 0
    groups: frozenset[int] = frozenset()
    system: str = "Linux"  # platform.system()
    machine: str = "x86_64"  # platform.machine()
    python: str = "3.12.0"
    implementation: str = "cpython"
    bits: int = 64
    musl: bool = False  # Python itself was built for musl; a file of musl may lie on any machine
    rosetta: bool = False  # an x86_64 Python on an Apple Silicon Mac
    executable: str = "python"
    cwd: str = ""  # "" where the folder was removed under us
    shm: int | None = None  # bytes of /dev/shm


def here() -> Process:
    """Read the running process."""
    import platform
    import struct

    affinity = getattr(os, "sched_getaffinity", None)
    return Process(
        environ=dict(os.environ),
        cores=len(affinity(0)) if affinity else os.cpu_count() or 1,
        uid=os.getuid() if hasattr(os, "getuid") else 0,
        groups=frozenset(os.getgroups()) if hasattr(os, "getgroups") else frozenset(),
        system=platform.system(),
        machine=platform.machine(),
        python=platform.python_version(),
        implementation=sys.implementation.name,
        bits=struct.calcsize("P") * 8,
        musl=_musl(),
        rosetta=_rosetta(),
        executable=sys.executable,
        cwd=_cwd(),
        shm=_shm(),
    )


def _musl() -> bool:
    import sysconfig

    said = (sysconfig.get_config_var(name) for name in ("SOABI", "HOST_GNU_TYPE"))
    return any("musl" in str(value) for value in said)


def _rosetta() -> bool:
    if sys.platform != "darwin":
        return False
    import subprocess

    asked = subprocess.run(
        ["sysctl", "-n", "sysctl.proc_translated"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() == "1"


def _cwd() -> str:
    try:
        return str(Path.cwd())
    except OSError:
        return ""


def _shm() -> int | None:
    try:
        seen = os.statvfs("/dev/shm")
        return seen.f_frsize * seen.f_blocks
    except (AttributeError, OSError):
        return None
