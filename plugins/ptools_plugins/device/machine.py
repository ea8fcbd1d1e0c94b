"""What this machine is, read from files under one root: PCI, the NVIDIA driver, cgroups, /proc.

    Process    what no file tells: environment, cores, user, platform, Python. `here()` reads ours
    Machine    cards, driver, device nodes, distribution, container, CPU, memory, limits
    gather     root folder + Process -> Machine

The root is an argument so that any machine can be described by a folder. No GPU library is used:
this works where the driver, torch and NVML are all broken.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ptools_plugins.device.limits import Limits, cpu_limit, memory_limit

NVIDIA, AMD, INTEL = "NVIDIA", "AMD", "Intel"
_VENDORS = {"0x10de": NVIDIA, "0x1002": AMD, "0x8086": INTEL}  # PCI vendor ids
_LIBRARIES = (
    "usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64", "usr/lib",
    "usr/local/nvidia/lib64", "run/opengl-driver/lib",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Process:
    """What the running process knows and no file tells."""

    environ: Mapping[str, str] = field(default_factory=dict)
    cores: int = 1  # that the scheduler lets us use
    uid: int = 0
    groups: frozenset[int] = frozenset()
    system: str = "Linux"  # platform.system()
    machine: str = "x86_64"  # platform.machine()
    python: str = "3.12.0"
    implementation: str = "cpython"
    bits: int = 64
    rosetta: bool = False  # an x86_64 Python on an Apple Silicon Mac
    executable: str = "python"
    cwd: str = ""
    shm: int | None = None  # bytes of /dev/shm


@dataclass(frozen=True, kw_only=True)
class Card:
    """A GPU on the PCI bus (or behind WSL)."""

    vendor: str
    address: str
    device: str = ""  # PCI device id, 0x2330
    driver: str = ""  # kernel driver that holds it: nvidia, nouveau, amdgpu
    memory: int = 0  # bytes of video memory, where amdgpu says


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Everything read from one root folder, and the process it was read for."""

    process: Process
    cards: tuple[Card, ...] = ()
    pci: bool = False  # the PCI bus could be read: `no card` is then a fact
    driver: str = ""  # version of the loaded NVIDIA kernel module, "?" where unknown
    libraries: tuple[str, ...] = ()  # versions of libnvidia-ml.so
    nodes: tuple[str, ...] = ()  # /dev/nvidia0, /dev/nvidiactl, ...
    denied: tuple[str, ...] = ()  # device nodes this user may not open
    denied_group: str = ""  # the group that may
    uuids: tuple[str, ...] = ()
    models: tuple[str, ...] = ()  # NVIDIA H200, as the driver names it
    kfd: bool = False  # /dev/kfd, the ROCm node
    wsl: bool = False
    container: str = ""  # docker, podman, kubernetes
    distribution: tuple[str, ...] = ()  # ID and ID_LIKE of /etc/os-release
    musl: bool = False
    cpu: str = ""
    flags: frozenset[str] = frozenset()
    memory: int | None = None  # bytes
    available: int | None = None
    limits: Limits = field(default_factory=Limits)

    def count(self, vendor: str) -> int:
        """Return how many cards of a vendor are here."""
        return sum(card.vendor == vendor for card in self.cards)


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
        rosetta=_rosetta(),
        executable=sys.executable,
        cwd=_cwd(),
        shm=_shm(),
    )


def gather(root: Path, process: Process) -> Machine:
    """Describe the machine whose files lie under `root`."""
    wsl = "microsoft" in text(root / "proc/sys/kernel/osrelease").lower()
    nodes = _nodes(root)
    denied, group = _denied(root, [*nodes, "/dev/kfd"], process)
    cpuinfo = text(root / "proc/cpuinfo")
    return Machine(
        process=process,
        cards=_cards(root, wsl=wsl),
        pci=_there(root / "sys/bus/pci/devices"),
        driver=_driver(root, wsl=wsl),
        libraries=_libraries(root),
        nodes=nodes,
        denied=denied,
        denied_group=group,
        uuids=_said(root, "GPU UUID"),
        models=_said(root, "Model"),
        kfd=_there(root / "dev/kfd"),
        wsl=wsl,
        container=_container(root, process.environ),
        distribution=_distribution(text(root / "etc/os-release")),
        musl=any((root / "lib").glob("ld-musl-*")),
        cpu=_field(cpuinfo, "model name"),
        flags=frozenset((_field(cpuinfo, "flags") or _field(cpuinfo, "Features")).split()),
        memory=_kib(text(root / "proc/meminfo"), "MemTotal") or _physical(),
        available=_kib(text(root / "proc/meminfo"), "MemAvailable"),
        limits=Limits(cpus=cpu_limit(root), memory=memory_limit(root)),
    )


def text(path: Path) -> str:
    """Return a small file's text, or "" where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return ""


def _there(path: Path) -> bool:
    """Say whether a path exists; one that we may not look at does not."""
    try:
        return bool(path.stat())
    except OSError:
        return False


def _cards(root: Path, *, wsl: bool) -> tuple[Card, ...]:
    """Return the display controllers and accelerators (PCI class 0x03, 0x12) of known vendors."""
    found = []
    for folder in sorted((root / "sys/bus/pci/devices").glob("*")):
        vendor = _VENDORS.get(text(folder / "vendor").strip())
        if vendor and text(folder / "class").startswith(("0x03", "0x12")):
            driver, memory = folder / "driver", text(folder / "mem_info_vram_total").strip()
            found.append(
                Card(
                    vendor=vendor,
                    address=folder.name,
                    device=text(folder / "device").strip(),
                    driver=driver.readlink().name if driver.is_symlink() else "",
                    memory=int(memory) if memory.isdigit() else 0,
                )
            )
    if wsl and _there(root / "usr/lib/wsl/lib/libcuda.so.1"):
        found.append(Card(vendor=NVIDIA, address="WSL", driver="nvidia"))
    if _there(root / "Windows/System32/nvcuda.dll"):
        found.append(Card(vendor=NVIDIA, address="Windows", driver="nvidia"))
    return tuple(found)


def _driver(root: Path, *, wsl: bool) -> str:
    """Return the version of the loaded NVIDIA kernel module, "?" for one of unknown age."""
    said = text(root / "proc/driver/nvidia/version")
    match = re.search(r"Kernel Module\s+(?:for \S+\s+)?([0-9]+(?:\.[0-9]+)+)", said)
    if match:
        return match[1]
    loaded = text(root / "sys/module/nvidia/version").strip()
    elsewhere = _there(root / "Windows/System32/nvcuda.dll") or (
        wsl and _there(root / "usr/lib/wsl/lib/libcuda.so.1")
    )
    return loaded or ("?" if said or elsewhere else "")


def _libraries(root: Path) -> tuple[str, ...]:
    """Return the versions of libnvidia-ml in the usual folders: the driver's user half."""
    names = [
        path.name
        for folder in _LIBRARIES
        for path in (root / folder).glob("libnvidia-ml.so.[0-9]*.[0-9]*")
    ]
    return tuple(sorted({name.removeprefix("libnvidia-ml.so.") for name in names}))


def _nodes(root: Path) -> tuple[str, ...]:
    names = sorted(path.name for path in (root / "dev").glob("nvidia*"))
    return tuple(f"/dev/{n}" for n in names if re.fullmatch(r"nvidia([0-9]+|ctl|-uvm)", n))


def _denied(root: Path, nodes: list[str], process: Process) -> tuple[tuple[str, ...], str]:
    """Return the device nodes that this user may not open, and the group that may, or ""."""
    import stat

    denied, group = [], ""
    for node in nodes:
        try:
            seen = (root / node.lstrip("/")).stat()
        except OSError:
            continue
        shift = 6 if seen.st_uid == process.uid else 3 if seen.st_gid in process.groups else 0
        if process.uid != 0 and (seen.st_mode >> shift) & 6 != 6:
            denied.append(node)
            if seen.st_mode & stat.S_IRGRP and seen.st_mode & stat.S_IWGRP:
                group = _group(root, seen.st_gid)
    return tuple(denied), group


def _group(root: Path, gid: int) -> str:
    match = re.search(rf"^([^:\n]+):[^:\n]*:{gid}:", text(root / "etc/group"), re.MULTILINE)
    return match[1] if match else ""


def _said(root: Path, name: str) -> tuple[str, ...]:
    """Return a field of every card, as the NVIDIA driver gives it in /proc."""
    files = sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))
    return tuple(value for file in files if (value := _field(text(file), name)))


def _container(root: Path, environ: Mapping[str, str]) -> str:
    if "KUBERNETES_SERVICE_HOST" in environ:
        return "kubernetes"
    if _there(root / "run/.containerenv"):
        return "podman"
    return "docker" if _there(root / ".dockerenv") else ""


def _distribution(release: str) -> tuple[str, ...]:
    values = dict(re.findall(r'^(ID|ID_LIKE)="?([^"\n]*)"?$', release, re.MULTILINE))
    return (*values.get("ID", "").split(), *values.get("ID_LIKE", "").split())


def _field(content: str, name: str) -> str:
    match = re.search(rf"^{name}[ \t]*:[ \t]*(.*)$", content, re.MULTILINE)
    return match[1].strip() if match else ""


def _kib(content: str, name: str) -> int | None:
    digits = _field(content, name).partition(" ")[0]
    return int(digits) * 1024 if digits.isdigit() else None


def _physical() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows
        return None


def _shm() -> int | None:
    try:
        seen = os.statvfs("/dev/shm")
        return seen.f_frsize * seen.f_blocks
    except (AttributeError, OSError):
        return None


def _cwd() -> str:
    try:
        return str(Path.cwd())
    except OSError:  # the folder was removed under us
        return ""


def _rosetta() -> bool:
    if sys.platform != "darwin":
        return False
    import subprocess

    asked = subprocess.run(
        ["sysctl", "-n", "sysctl.proc_translated"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() == "1"
