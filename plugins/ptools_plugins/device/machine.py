"""What this machine is, read from files under one root: PCI, the NVIDIA driver, cgroups, /proc.

    Machine    cards, driver, device nodes, distribution, container, CPU, memory, limits
    gather     root folder + Process -> Machine

The root is an argument so that any machine can be described by a folder. No GPU library is used:
this works where the driver, torch and NVML are all broken.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ptools_plugins.device.limits import Limits, cpu_limit, memory_limit
from ptools_plugins.device.process import Process

NVIDIA, AMD, INTEL, APPLE = "NVIDIA", "AMD", "Intel", "Apple"
_VENDORS = {"0x10de": NVIDIA, "0x1002": AMD, "0x8086": INTEL}  # PCI vendor ids
_LENT = ("vfio-pci", "pci-stub", "pciback")  # drivers that hold a card for a virtual machine
_LIBRARIES = (
    "usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64", "usr/lib",
    "usr/local/nvidia/lib64", "run/opengl-driver/lib",
    ".singularity.d/libs",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Card:
    """A GPU on the PCI bus (or behind WSL)."""

    vendor: str
    address: str
    device: str = ""  # PCI device id, 0x2330
    driver: str = ""  # kernel driver that holds it: nvidia, nouveau, amdgpu
    memory: int = 0  # bytes of video memory, where amdgpu says
    gfx: str = ""  # gfx1100: the instruction set, where amdgpu says

    @property
    def lent(self) -> bool:
        """Is it passed through to a virtual machine? Then it is not ours to use."""
        return self.driver in _LENT


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Everything read from one root folder, and the process it was read for."""

    process: Process
    cards: tuple[Card, ...] = ()
    pci: bool = False  # the PCI bus could be read: `no card` is then a fact
    driver: str = ""  # version of the loaded NVIDIA kernel module, "?" where unknown
    libraries: tuple[str, ...] = ()  # versions of libnvidia-ml.so
    libcuda: bool = False  # in one of the usual folders
    nodes: tuple[str, ...] = ()  # /dev/nvidia0, /dev/nvidiactl, ...
    denied: tuple[str, ...] = ()  # device nodes this user may not open
    denied_group: str = ""  # the group that may
    uuids: tuple[str, ...] = ()
    models: tuple[str, ...] = ()  # NVIDIA H200, as the driver names it
    kfd: bool = False  # /dev/kfd, the ROCm node
    wsl: bool = False
    container: str = ""  # docker, podman, kubernetes, apptainer, singularity
    distribution: tuple[str, ...] = ()  # ID and ID_LIKE of /etc/os-release
    cpu: str = ""
    flags: frozenset[str] = frozenset()
    memory: int | None = None  # bytes
    available: int | None = None
    limits: Limits = field(default_factory=Limits)

    def of(self, vendor: str) -> list[Card]:
        """Return the cards of a vendor that this system may use."""
        return [card for card in self.cards if card.vendor == vendor and not card.lent]

    def count(self, vendor: str) -> int:
        """Return how many of them there are. Apple's GPU is on no bus: the processor has it."""
        if vendor == APPLE:
            return int((self.process.system, self.process.machine) == ("Darwin", "arm64"))
        return len(self.of(vendor))

    @property
    def given(self) -> int:
        """How many NVIDIA cards have a device node: a container may be given one of eight."""
        nodes = sum(node[-1].isdigit() for node in self.nodes)
        return min(self.count(NVIDIA), nodes) if nodes else self.count(NVIDIA)


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
        libcuda=any(_there(root / folder / "libcuda.so.1") for folder in _LIBRARIES),
        nodes=nodes,
        denied=denied,
        denied_group=group,
        uuids=_said(root, "GPU UUID"),
        models=_said(root, "Model"),
        kfd=_there(root / "dev/kfd"),
        wsl=wsl,
        container=_container(root, process.environ),
        distribution=_distribution(text(root / "etc/os-release")),
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
    found, gfx = [], _instruction_sets(root)
    for folder in sorted((root / "sys/bus/pci/devices").glob("*")):
        vendor = _VENDORS.get(text(folder / "vendor").strip())
        if vendor and text(folder / "class").startswith(("0x03", "0x12")):
            driver, memory = folder / "driver", text(folder / "mem_info_vram_total").strip()
            device = text(folder / "device").strip()
            found.append(
                Card(
                    vendor=vendor,
                    address=folder.name,
                    device=device,
                    gfx=gfx.get(device, "") if vendor == AMD else "",
                    driver=driver.readlink().name if driver.is_symlink() else "",
                    memory=int(memory) if memory.isdigit() else 0,
                )
            )
    if wsl and _there(root / "usr/lib/wsl/lib/libcuda.so.1"):
        found.append(Card(vendor=NVIDIA, address="WSL", driver="nvidia"))
    if _there(root / "Windows/System32/nvcuda.dll"):
        found.append(Card(vendor=NVIDIA, address="Windows", driver="nvidia"))
    return tuple(found)


def _instruction_sets(root: Path) -> dict[str, str]:
    """Return what amdgpu says of its cards, by PCI device id: 90010 is gfx90a, 110000 gfx1100."""
    found = {}
    for node in (root / "sys/class/kfd/kfd/topology/nodes").glob("*/properties"):
        said = dict(re.findall(r"^(device_id|gfx_target_version) ([0-9]+)$", text(node), re.M))
        device, version = (int(said.get(key, 0)) for key in ("device_id", "gfx_target_version"))
        major, minor, step = version // 10000, version // 100 % 100, version % 100
        if version:  # the processor is a node too, without one
            found[f"0x{device:04x}"] = f"gfx{major}{minor:x}{step:x}"
    return found


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
    if "SINGULARITY_CONTAINER" in environ and "APPTAINER_CONTAINER" not in environ:
        return "singularity"  # Apptainer sets both
    if "APPTAINER_CONTAINER" in environ or _there(root / ".singularity.d"):
        return "apptainer"
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
