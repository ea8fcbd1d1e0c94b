"""ptools device: made machines, made installations, and the command that is advised for each.

    World       two folders: a root with /proc, /sys and /dev, and a site-packages
    FAULTS      code, advised command, the world in which both must be found
    CALM        worlds in which nothing may be found

The code reads a world as it reads the real thing. Where torch is imported, a child process does it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptools.testing import Result, Run
from ptools_plugins.device import bench, report
from ptools_plugins.device.findings import facts
from ptools_plugins.device.limits import cpu_limit, memory_limit
from ptools_plugins.device.packages import find, satisfies
from ptools_plugins.device.process import Process
from ptools_plugins.device.repairs import cuda_tag, install, vision_for
from ptools_plugins.device.torch_view import View
from ptools_plugins.device.verdict import Verdict, judge

WHL = "--index-url https://download.pytorch.org/whl"
FORCED = "pip install --force-reinstall torch torchvision"
NIGHTLY = "pip install --pre"
EARLY, LATE = "2.16.0.dev20261031", "2.16.0.dev20261101"
AGAIN = "pip install --force-reinstall torch==2.15.0"
H200: dict[str, Any] = {"name": "NVIDIA H200", "memory": 140 << 30, "capability": [9, 0]}
CARD = "0000:65:00.0"
OTHERS = os.getuid() + 1 if hasattr(os, "getuid") else 1000  # a user who does not own our files


class World:
    """A machine and an installation, as files. Its methods add something and return the world."""

    def __init__(self, base: Path) -> None:
        self.root, self.site, self.home = base / "root", base / "site", base / "home"
        for folder in (self.root / "sys/bus/pci/devices", self.site, self.home):
            folder.mkdir(parents=True)
        self.process = Process(cores=8, uid=OTHERS, cwd=str(self.home))

    def file(self, path: str, content: str = "", mode: int = 0o644) -> World:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
        target.chmod(mode)
        return self

    def package(self, name: str, version: str, **more: str) -> World:
        """Install dist-info and files; more: metadata (version), needs, installer, code, build."""
        metadata = more.get("metadata", version)
        info = self.site / f"{name}-{metadata}.dist-info"
        info.mkdir()
        needs = f"Requires-Dist: {more['needs']}\n" if "needs" in more else ""
        header = f"Metadata-Version: 2.1\nName: {name}\nVersion: {metadata}\n{needs}\nText.\n"
        (info / "METADATA").write_text(header)
        (info / "INSTALLER").write_text(more.get("installer", "pip") + "\n")
        folder = self.site / name
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").write_text(more.get("code", ""))
        (folder / "version.py").write_text(f"__version__ = '{version}'\n{more.get('build', '')}")
        return self

    def torch(self, version: str = "", **more: str) -> World:
        """Install torch; by default the default index's wheel, with no tag in the metadata."""
        more = more if version else {"metadata": "2.15.0", **more}
        version = version or "2.15.0+cu132"
        tag = version.partition("+")[2]
        cuda = f"'{tag[2:-1]}.{tag[-1]}'" if tag.startswith("cu") else None
        hip = "'6.4.43482'" if tag.startswith("rocm") else None
        build = f"cuda: Optional[str] = {cuda}\nhip: Optional[str] = {hip}\n"
        self.package("torch", version, build=build, **more)
        (self.site / "torch/_C.cpython-312-x86_64-linux-gnu.so").touch()
        return self

    def vision(self, version: str = "0.29.2+cu132", needs: str = "torch (>=2.14.0)", **more: str) -> World:  # fmt: skip  # noqa: E501
        return self.package("torchvision", version, needs=needs, **more)

    def without(self, path: str) -> World:
        (self.site / path).unlink()
        return self

    def card(self, vendor: str = "0x10de", *, device: str = "0x2330", held: str = "", memory: int = 0, address: str = CARD) -> World:  # fmt: skip  # noqa: E501
        """Put a card on the PCI bus; `held` is the kernel driver that holds it."""
        folder = f"sys/bus/pci/devices/{address}"
        self.file(f"{folder}/vendor", vendor + "\n").file(f"{folder}/class", "0x030000\n")
        self.file(f"{folder}/device", device + "\n")
        self.file(f"{folder}/mem_info_vram_total", f"{memory}\n")
        if held:
            (self.root / folder / "driver").symlink_to(f"../../../bus/pci/drivers/{held}")
        return self

    def amd(self, device: str = "0x744c", *, memory: int = 24, gfx: int = 0) -> World:
        """Put an AMD card on the bus (memory in GiB); amdgpu says gfx in /sys/class/kfd."""
        said = f"vendor_id 4098\ndevice_id {int(device, 16)}\ngfx_target_version {gfx}\n"
        if gfx:
            self.file("sys/class/kfd/kfd/topology/nodes/1/properties", said)
        return self.card("0x1002", device=device, held="amdgpu", memory=memory << 30)

    def editable(self, direct_url: str) -> World:
        """Make torch an editable install of root/src; its metadata stays in site-packages."""
        source = f"{self.root.as_uri()}/src"
        info = "../site/torch-2.15.0.dist-info/direct_url.json"
        (self.site / "torch").rename(self.root / "src-torch")
        (self.root / "src").mkdir()
        (self.root / "src-torch").rename(self.root / "src/torch")
        return self.file(info, direct_url.replace("SRC", source))

    def wsl(self) -> World:
        return self.file("proc/sys/kernel/osrelease", "6.6.87-microsoft-standard-WSL2\n")

    def driver(self, version: str = "580.95.05", *, library: str = "", nodes: bool = True) -> World:
        """Load NVIDIA's kernel module, with its libraries and device nodes."""
        said = f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {version}  Release\n"
        self.file("proc/driver/nvidia/version", said)
        self.file(f"usr/lib/x86_64-linux-gnu/libnvidia-ml.so.{library or version}")
        self.file("usr/lib/x86_64-linux-gnu/libcuda.so.1")
        card = "Model: \t NVIDIA H200\nGPU UUID: \t GPU-0a1b\n"
        self.file(f"proc/driver/nvidia/gpus/{CARD}/information", card)
        for name in ("nvidia0", "nvidiactl", "nvidia-uvm") if nodes else ():
            self.file(f"dev/{name}", mode=0o666)
        return self

    def linux(self, name: str, like: str = "") -> World:
        return self.file("etc/os-release", f'NAME="Any"\nID={name}\nID_LIKE="{like}"\n')

    def process_is(self, **change: Any) -> World:
        self.process = replace(self.process, **change)
        return self

    def environ(self, **values: str) -> World:
        return self.process_is(environ=values)

    def judge(self, *, imports: bool = False, timeout: float = 60) -> Verdict:
        """Return the verdict on this world."""
        paths = [str(self.site)]
        return judge(facts(self.root, paths, self.process, import_torch=imports, timeout=timeout))

    def seen(self, **torch: Any) -> Verdict:
        """Return the verdict where torch itself answers `torch`."""
        known = facts(self.root, [str(self.site)], self.process, import_torch=False)
        said = {"version": "2.15.0+cu132", "cuda_build": "13.2", "threads": 8, **torch}
        return judge(replace(known, view=View(said={"torch": said}), imported=True))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def advised(verdict: Verdict, code: str) -> str:
    """Return the command that goes with a finding; fails where the finding is not there."""
    found = {finding.code: finding.command for finding in verdict.findings}
    assert code in found, f"{code} not in {found}"
    return found[code]


def codes(verdict: Verdict) -> set[str]:
    return {finding.code for finding in verdict.findings}


def nvidia(w: World) -> World:
    """A working NVIDIA card and driver, and the torch for it."""
    return w.torch().card(held="nvidia").driver()


def arc(w: World) -> World:
    return w.card("0x8086", device="0xe20b")


def eight(w: World, nodes: int = 1) -> World:
    """Put seven more cards on the bus; `nodes` of the eight have a device node."""
    for index in range(1, 8):
        w.card(address=f"0000:{index:02x}:00.0", held="nvidia")
    for index in range(nodes):
        w.file(f"dev/nvidia{index}", mode=0o666)
    return w


# {site} and {home} are the world's folders.
# fmt: off
FAULTS: list[tuple[str, str, Callable[[World], World]]] = [
    # the installation
    ("torch-missing", "pip install torch torchvision", lambda w: w),
    ("torch-missing", "uv pip install torch torchvision",
     lambda w: w.package("click", "8.5.1", installer="uv")),
    ("torch-missing", "pip install 'torch==2.2.*' 'torchvision==0.17.*' 'numpy<2'",
     lambda w: w.process_is(system="Darwin")),
    ("python-no-wheel", "uv python install 3.12", lambda w: w.process_is(bits=32)),
    ("python-no-wheel", "uv python install 3.12", lambda w: w.process_is(implementation="pypy")),
    ("python-no-wheel", "docker run -it python:3.12-slim",
     lambda w: w.process_is(musl=True)),
    ("torch-incomplete", AGAIN, lambda w: w.torch().without("torch/__init__.py")),
    ("torch-twice", f"rm -r '{{site}}/torch-2.9.1.dist-info' && {AGAIN}",
     lambda w: w.torch("2.9.1+cu128", metadata="2.9.1").torch()),
    ("torch-incomplete", "conda install --force-reinstall -c conda-forge pytorch=2.15.0",
     lambda w: w.torch(installer="conda").without("torch/__init__.py")),
    ("torch-torn", AGAIN, lambda w: w.torch("2.15.0+cu132", metadata="2.9.1")),
    ("torchvision-mismatch", "pip install --upgrade torchvision",
     lambda w: w.torch().vision("0.24.1+cu128", "torch (==2.9.1)", metadata="0.24.1")),
    ("torchvision-mismatch", "pip install 'torchvision==0.24.*'",
     lambda w: w.torch("2.9.1").vision()),
    ("torchvision-mismatch", "uv pip install 'torchvision==0.24.*'",
     lambda w: w.torch("2.9.1", installer="uv").vision()),
    ("torchvision-mismatch", "conda install -c conda-forge torchvision=0.24",
     lambda w: w.torch("2.9.1", installer="conda").vision()),
    ("torchvision-mismatch", f"pip install 'torchvision==0.24.*' {WHL}/cpu",
     lambda w: w.torch("2.9.1+cpu").vision("0.25.0+cpu", "torch==2.10.0")),
    ("torchvision-mismatch", f"{NIGHTLY} --upgrade torch torchvision {WHL}/nightly/cu132",
     lambda w: w.torch(f"{LATE}+cu132").vision("0.31.0.dev20261031+cu132", f"torch=={EARLY}")),
    ("torchvision-mismatch", f"uv {NIGHTLY} --upgrade torch torchvision {WHL}/nightly/cpu",
     lambda w: w.torch(f"{LATE}+cpu", installer="uv").vision("0.30.0+cpu", "torch==2.15.0")),
    ("torchvision-mismatch", "pip install --force-reinstall --no-deps torchvision",
     lambda w: w.torch().vision("0.31.0.dev20261031+cu132", f"torch=={EARLY}")),
    ("torchvision-mismatch", "",  # a stable torchvision would replace a torch built from source
     lambda w: w.torch("2.9.0a0+git1234").vision("0.25.0", "torch==2.10.0")),
    ("torchaudio-mismatch", "pip install --upgrade torchaudio",
     lambda w: w.torch().package("torchaudio", "2.9.1", needs="torch==2.9.1")),
    ("torchvision-build", f"pip install --force-reinstall --no-deps torchvision==0.29.2 {WHL}/cpu",
     lambda w: w.torch("2.15.0+cpu").vision()),
    ("torchvision-build", "pip install --force-reinstall --no-deps torchvision==0.29.2",
     lambda w: w.torch().vision("0.29.2+cpu")),
    ("torchvision-build",
     f"{NIGHTLY} --force-reinstall --no-deps torchvision {WHL}/nightly/cu132",
     lambda w: w.torch(f"{LATE}+cu132").vision("0.29.2+cu126")),
    ("torch-incomplete", f"{NIGHTLY} --force-reinstall torch=={LATE} {WHL}/nightly/cu132",
     lambda w: w.torch(f"{LATE}+cu132").without("torch/__init__.py")),
    ("torch-shadowed", "mv '{home}/torch.py' '{home}/my_torch.py'",
     lambda w: w.torch().file("../home/torch.py")),
    ("pip-leftover", "rm -r '{site}/~orch-2.9.1.dist-info'",
     lambda w: w.torch().file("../site/~orch-2.9.1.dist-info/METADATA")),
    # NVIDIA
    ("cpu-wheel", f"{FORCED} {WHL}/cu130",
     lambda w: w.torch("2.15.0+cpu").card(held="nvidia").driver()),
    ("cpu-wheel", f"{FORCED} {WHL}/cu126",
     lambda w: w.torch("2.15.0+cpu").card(held="nvidia").driver("550.54.14")),
    ("cpu-wheel", f"{NIGHTLY} --force-reinstall torch torchvision {WHL}/nightly/cu130",
     lambda w: w.torch(f"{LATE}+cpu").card(held="nvidia").driver()),
    ("cpu-wheel", "",  # a wheel would take the place of a torch built from source
     lambda w: w.torch("2.16.0a0+git1234").card(held="nvidia").driver()),
    ("no-driver", "sudo ubuntu-drivers install", lambda w: w.torch().card().linux("ubuntu")),
    ("no-driver", "sudo ubuntu-drivers install",
     lambda w: w.torch().card().linux("linuxmint", "ubuntu debian")),
    ("no-driver", "sudo apt install nvidia-driver", lambda w: w.torch().card().linux("debian")),
    ("no-driver", "", lambda w: w.torch().card().linux("slackware")),
    ("nouveau", "sudo dnf install akmod-nvidia",
     lambda w: w.torch().card(held="nouveau").linux("fedora")),
    ("driver-not-loaded", "sudo modprobe nvidia",
     lambda w: w.torch().card().file("usr/lib64/libnvidia-ml.so.580.95.05")),
    ("driver-old", f"{FORCED} {WHL}/cu126",
     lambda w: w.torch().card(held="nvidia").driver("535.129.03")),
    ("driver-old", f"{FORCED} {WHL}/cu118",
     lambda w: w.torch("2.9.1+cu126").card(held="nvidia").driver("470.57.02")),
    ("driver-old", "sudo ubuntu-drivers install",
     lambda w: w.torch().card(held="nvidia").driver("390.157").linux("ubuntu")),
    ("driver-mismatch",
     "sudo reboot  # or: sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia "
     "&& sudo modprobe nvidia",
     lambda w: w.torch().card(held="nvidia").driver("580.65.06", library="580.95.05")),
    ("no-device-nodes", "sudo nvidia-modprobe -u -c=0",
     lambda w: w.torch().card(held="nvidia").driver(nodes=False)),
    ("no-device-nodes", "docker run --gpus all ...",
     lambda w: w.torch().card(held="nvidia").driver(nodes=False).file(".dockerenv")),
    ("no-device-nodes", "podman run --device nvidia.com/gpu=all ...",
     lambda w: w.torch().card(held="nvidia").driver(nodes=False).file("run/.containerenv")),
    ("no-device-nodes", "apptainer exec --nv ...",  # /dev is the host's there, libcuda is not
     lambda w: nvidia(w).environ(APPTAINER_CONTAINER="a.sif", SINGULARITY_CONTAINER="a.sif")
         .without("../root/usr/lib/x86_64-linux-gnu/libcuda.so.1")),
    ("no-device-nodes", "singularity exec --nv ...",
     lambda w: w.torch().card().driver(nodes=False).environ(SINGULARITY_CONTAINER="a.sif")),
    ("no-device-nodes", "apptainer exec --nv ...",
     lambda w: w.torch().card().driver(nodes=False).file(".singularity.d/runscript")),
    ("device-denied", "sudo chmod a+rw /dev/nvidia0",
     lambda w: nvidia(w).file("dev/nvidia0", mode=0o600)),
    ("cards-hidden", "unset CUDA_VISIBLE_DEVICES",
     lambda w: nvidia(w).environ(CUDA_VISIBLE_DEVICES="")),
    ("cards-hidden", "unset CUDA_VISIBLE_DEVICES",
     lambda w: nvidia(w).environ(CUDA_VISIBLE_DEVICES="-1")),
    ("cards-hidden", "unset CUDA_VISIBLE_DEVICES",
     lambda w: nvidia(w).environ(CUDA_VISIBLE_DEVICES="1,0")),
    ("cards-hidden", "unset CUDA_VISIBLE_DEVICES",
     lambda w: nvidia(w).environ(CUDA_VISIBLE_DEVICES="GPU-ffff")),
    *(("cards-hidden", "unset CUDA_VISIBLE_DEVICES",
       lambda w, value=value: nvidia(w).environ(CUDA_VISIBLE_DEVICES=value))
      for value in ("none", "NoDevFiles", "all", "0,0", "MIG-GPU-ffff/1/0")),
    ("cards-hidden", "unset CUDA_VISIBLE_DEVICES",  # 8 cards on the bus, one in the container
     lambda w: eight(nvidia(w)).environ(CUDA_VISIBLE_DEVICES="3")),
    ("card-elsewhere", "", lambda w: w.torch().card(held="vfio-pci")),
    ("wsl-no-gpu", "", lambda w: w.torch().wsl()),
    ("wsl-no-gpu", "docker run --gpus all ...", lambda w: w.torch().wsl().file(".dockerenv")),
    # AMD, Intel, Apple
    ("rocm-wheel", f"{FORCED} {WHL}/rocm7.2", lambda w: w.torch("2.15.0+cpu").amd(gfx=110000)),
    ("rocm-wheel", f"{FORCED} {WHL}/rocm7.2", lambda w: w.torch("2.15.0+cpu").amd()),
    ("rocm-wheel", "", lambda w: w.torch().amd("0x67df", memory=8, gfx=80003)),
    ("rocm-wheel", f"{FORCED} {WHL}/rocm7.2",  # conda-forge has no torch for ROCm
     lambda w: w.torch(installer="conda").amd(gfx=90010)),
    ("no-kfd", "sudo modprobe amdgpu", lambda w: w.torch("2.9.1+rocm6.4").card("0x1002")),
    ("kfd-denied", "sudo usermod -aG render,video $USER",
     lambda w: w.torch("2.9.1+rocm6.4").card("0x1002").file("dev/kfd", mode=0)),
    ("xpu-wheel", f"{FORCED} {WHL}/xpu",
     lambda w: w.torch("2.15.0+cpu").card("0x8086", device="0x56a0")),
    ("xpu-wheel", f"{FORCED} {WHL}/xpu", lambda w: w.torch().card("0x8086", device="0xe20b")),
    ("rosetta", "arch -arm64 uv python install 3.12",
     lambda w: w.torch("2.2.2").process_is(system="Darwin", rosetta=True)),
    # CPU and memory
    ("cpu-limit", "export OMP_NUM_THREADS=2",
     lambda w: w.torch().file("sys/fs/cgroup/cpu.max", "200000 100000\n")),
    ("omp-one", "unset OMP_NUM_THREADS", lambda w: w.torch().environ(OMP_NUM_THREADS="1")),
    ("omp-many", "export OMP_NUM_THREADS=8", lambda w: w.torch().environ(OMP_NUM_THREADS="64")),
    ("shm-small", "docker run --shm-size=8g ...",
     lambda w: w.torch().file(".dockerenv").process_is(shm=64 << 20)),
    ("memory-limit", "", lambda w: w.torch().file("proc/meminfo", "MemTotal: 16777216 kB\n")
                                  .file("sys/fs/cgroup/memory.max", f"{4 << 30}\n")),
    ("no-avx2", "", lambda w: w.torch().file("proc/cpuinfo", "flags\t\t: fpu sse2 avx\n")),
]
CALM: dict[str, Callable[[World], World]] = {
    "nothing but a CPU": lambda w: w.torch("2.15.0+cpu").vision("0.29.2+cpu"),
    "integrated Intel graphics": lambda w: w.torch().card("0x8086", device="0xa7a0", held="i915"),
    "integrated AMD graphics": lambda w: w.torch().card("0x1002", held="amdgpu", memory=2 << 30),
    "CUDA minors apart": lambda w: w.torch().vision("0.29.2+cu130"),
    "a card, a driver, CUDA": nvidia,
    "the first of two visible": lambda w: nvidia(w).environ(CUDA_VISIBLE_DEVICES="0,5"),
    "all eight cards are given": lambda w: eight(nvidia(w), nodes=8)
        .environ(CUDA_VISIBLE_DEVICES="7"),
    "a number with a tail": lambda w: nvidia(w).environ(CUDA_VISIBLE_DEVICES="0gpu"),
    "glibc with musl beside it": lambda w: w.torch().file("lib/ld-musl-x86_64.so.1"),
    "visible by UUID": lambda w: nvidia(w).environ(CUDA_VISIBLE_DEVICES="GPU-0a"),
    "a MIG slice": lambda w: nvidia(w).environ(CUDA_VISIBLE_DEVICES="MIG-1"),
    "threads within the limit": lambda w: w.torch().environ(OMP_NUM_THREADS="2")
        .file("sys/fs/cgroup/cpu.max", "200000 100000\n"),
    "WSL has no device nodes": lambda w: w.torch().wsl().file("usr/lib/wsl/lib/libcuda.so.1"),
    "torch made editable by pip": lambda w: w.torch()
        .editable('{"dir_info": {"editable": true}, "url": "SRC"}'),
    "torch made editable by uv": lambda w: w.torch()
        .editable('{"url":"SRC","dir_info":{"editable":true}}'),
    "an editable source that moved on": lambda w: w.torch("2.16.0a0+gitb", metadata="2.15.0")
        .editable('{"url":"SRC","dir_info":{"editable":true}}'),
    "apptainer --nv": lambda w: nvidia(w).environ(APPTAINER_CONTAINER="a.sif")
        .file(".singularity.d/libs/libcuda.so.1")
        .without("../root/usr/lib/x86_64-linux-gnu/libcuda.so.1"),
    "a nightly pair": lambda w: w.torch(f"{LATE}+cu132")
        .vision("0.31.0.dev20261101+cu132", f"torch=={LATE}"),
}
# fmt: on


@pytest.mark.parametrize(("code", "command", "made"), FAULTS, ids=[row[0] for row in FAULTS])
def test_fault(world: World, code: str, command: str, made: Callable[[World], World]) -> None:
    verdict = made(world).judge()
    assert advised(verdict, code) == command.format(site=world.site, home=world.home)
    found = next(finding for finding in verdict.findings if finding.code == code)
    assert not found.text.endswith(".") and "\n" not in found.text


@pytest.mark.parametrize("made", CALM.values(), ids=CALM)
def test_calm(world: World, made: Callable[[World], World]) -> None:
    verdict = made(world).judge()
    assert not verdict.findings
    assert verdict.sentence.startswith("By the metadata alone, ")


def test_two_torches_on_the_path(world: World, tmp_path: Path) -> None:
    """A virtual environment over a system's torch: worth a note; removing one is not ours to say."""
    other = World(tmp_path / "other").torch("2.6.0+debian")
    paths = [str(world.torch(installer="uv").site), str(other.site)]
    verdict = judge(facts(world.root, paths, world.process, import_torch=False))
    assert advised(verdict, "torch-two-folders") == ""
    found = next(f for f in verdict.findings if f.code == "torch-two-folders")
    assert found.level == "note"
    assert f"Python imports 2.15.0+cu132 from {world.site}" in found.text
    assert f"2.6.0+debian in {other.site}" in found.text
    for info in other.site.glob("*.dist-info"):
        info.rename(other.site / "no-metadata")
    assert not judge(facts(world.root, paths, world.process, import_torch=False)).findings


def test_an_editable_torch_is_read_where_its_source_is(world: World) -> None:
    world.torch().editable('{"url":"SRC","dir_info":{"editable":true}}')
    paths = [str(world.site), str(world.root / "src")]  # as a .pth file has it
    verdict = judge(facts(world.root, paths, world.process, import_torch=False))
    assert not verdict.findings
    assert verdict.facts.torch and verdict.facts.torch.version == "2.15.0+cu132"
    assert verdict.facts.torch.tag == "cu132"


def test_a_folder_twice_on_the_path_keeps_its_first_place(world: World, tmp_path: Path) -> None:
    one, two = str(world.torch().site), str(World(tmp_path / "b").torch("2.9.1").site)
    assert [package.folder for package in find("torch", [one, two, one])] == [one, two]
    assert [package.folder for package in find("torch", [two, one, two])] == [two, one]


def test_the_group_of_a_device_node_is_advised(world: World) -> None:
    nvidia(world).file("dev/nvidia0", mode=0o660)
    gid = (world.root / "dev/nvidia0").stat().st_gid
    world.file("etc/group", f"none:x:{gid + 1}:\nvideo:x:{gid}:someone\n")
    advice = "sudo usermod -aG video $USER && newgrp video"
    assert advised(world.judge(), "device-denied") == advice
    world.process_is(groups=frozenset([gid]))
    assert not world.judge().findings


def test_nvml_says_that_driver_and_libraries_differ(world: World) -> None:
    """nvidia-ml-py is asked in the child; the text is NVML's own."""
    (nvidia(world).site / "pynvml.py").write_text(
        "class NVMLError(Exception): pass\n"
        "def nvmlInit(): raise NVMLError('Driver/library version mismatch')\n"
    )
    assert advised(world.judge(), "driver-mismatch").startswith("sudo reboot")


def test_a_made_nvml_gives_names_and_memory(world: World) -> None:
    answers = {
        "Init": None, "DeviceGetCount": 1, "DeviceGetHandleByIndex": 0,
        "SystemGetDriverVersion": "580.95.05", "SystemGetCudaDriverVersion": 13000,
        "DeviceGetName": "NVIDIA H200", "DeviceGetCudaComputeCapability": (9, 0),
        "DeviceGetUUID": "GPU-0a1b",
    }  # fmt: skip
    lines = [f"def nvml{name}(*args): return {value!r}" for name, value in answers.items()]
    lines += ["class NVMLError(Exception): pass", "class Memory: total, free = 140 << 30, 1 << 30"]
    lines += ["def nvmlDeviceGetMemoryInfo(handle): return Memory"]
    (nvidia(world).site / "pynvml.py").write_text("\n".join(lines))
    said = list(report.lines(world.judge(), None))
    assert said[0].endswith("NVIDIA H200 (140 GiB), torch 2.15.0+cu132, driver 580.95.05.")
    assert "  driver       NVIDIA 580.95.05, up to CUDA 13.0" in said


# An import that fails, in a real child process.

# fmt: off
IMPORT_ERRORS = [
    ("libcudnn.so.9: cannot open shared object file: No such file", "import-cuda-library", AGAIN),
    ("libtorch_cpu.so: undefined symbol: iJIT_NotifyEvent", "import-mkl",
     "pip install 'mkl<2024.1'"),
    ("libgomp.so.1: cannot open shared object file", "import-libgomp", "sudo apt install libgomp1"),
    ("/lib/libstdc++.so.6: version `GLIBCXX_3.4.30' not found", "import-libstdcxx",
     "sudo apt install libstdc++6"),
    ("A module that was compiled using NumPy 1.x cannot be run in NumPy 2.3", "import-numpy-abi",
     "pip install 'numpy<2'"),
    ("numpy.dtype size changed, may indicate binary incompatibility", "import-numpy",
     "pip install --force-reinstall numpy"),
    ("/opt/libgomp-d22c.so.1: cannot allocate memory in static TLS block", "import-static-tls",
     "export LD_PRELOAD=/opt/libgomp-d22c.so.1"),
    ("No module named 'typing_extensions'", "import-module", "pip install typing-extensions"),
    ("[WinError 126] Error loading 'c10.dll' or one of its dependencies", "import-vcredist",
     "winget install Microsoft.VCRedist.2015+.x64"),
    ("libnccl.so.2: undefined symbol: ncclCommShrink", "import-symbol", "unset LD_LIBRARY_PATH"),
    ("something new", "torch-import", AGAIN),
]
CRASHES = [
    ("import os; os.kill(os.getpid(), 11)", "torch-crashes", "SIGSEGV"),
    ("import os; os._exit(3)", "torch-crashes", "exit code 3"),
    ("import time; time.sleep(60)", "torch-hangs", "within 0.7 s"),
    ("raise SystemExit('no')", "torch-import", "SystemExit: no"),
    ("print('{not json'); raise KeyError('k')", "torch-import", "KeyError: 'k'"),
]
# fmt: on


@pytest.mark.parametrize(("said", "code", "command"), IMPORT_ERRORS)
def test_torch_raises(world: World, said: str, code: str, command: str) -> None:
    world.linux("debian").environ(LD_LIBRARY_PATH="/usr/local/cuda/lib64")
    verdict = world.torch(code=f"raise ImportError({said!r})").judge(imports=True)
    assert verdict.sentence.startswith("Broken: torch cannot be imported: ")
    assert advised(verdict, code) == command


@pytest.mark.parametrize(
    ("installer", "command"),
    [
        ("uv", "uv pip install 'mkl<2024.1'"),
        ("conda", "conda install -c conda-forge 'mkl<2024.1'"),
    ],
)
def test_mkl_comes_from_the_same_installer(world: World, installer: str, command: str) -> None:
    world.torch(code="raise ImportError('undefined symbol: iJIT_x')", installer=installer)
    assert advised(world.judge(imports=True), "import-mkl") == command


@pytest.mark.parametrize(("code", "finding", "word"), CRASHES)
def test_torch_takes_python_down(world: World, code: str, finding: str, word: str) -> None:
    timeout = 0.7 if "sleep" in code else 60
    verdict = world.torch(code=code).judge(imports=True, timeout=timeout)
    assert word in verdict.sentence
    hangs = finding == "torch-hangs"
    assert advised(verdict, finding) == ("python -v -c 'import torch'" if hangs else AGAIN)


# As much of torch as the child asks for; every answer but the version is 0.
MADE_TORCH = """
class Made:
    def __getattr__(self, name): return Made()
    def __call__(self, *args): return 0
__version__ = '2.15.0+cpu'
cuda, xpu, backends = Made(), Made(), Made()
class version: cuda = hip = None
get_num_threads = lambda: 3
"""


def test_torchvision_fails_where_torch_works(world: World) -> None:
    said = "operator torchvision::nms does not exist"
    world.torch("2.15.0+cpu", code=MADE_TORCH)
    world.vision("0.29.2+cpu", code=f"raise RuntimeError('{said}')")
    verdict = world.judge(imports=True)
    assert verdict.facts.view.torch["threads"] == 3
    assert verdict.sentence.startswith("Broken: torchvision cannot be imported: ")
    assert advised(verdict, "import-nms") == f"{FORCED} {WHL}/cpu"


@pytest.mark.parametrize(
    ("said", "code", "command"),
    [
        ("was compiled using NumPy 1.x", "numpy-abi", "pip install 'numpy<2'"),
        ("No module named 'numpy'", "numpy-missing", "pip install numpy"),
    ],
)
def test_torch_complains(world: World, said: str, code: str, command: str) -> None:
    complaint = f"import sys; print({said!r}, file=sys.stderr)\n"
    world.torch("2.15.0+cpu", code=complaint + MADE_TORCH)
    assert advised(world.judge(imports=True), code) == command


def test_a_torch_py_that_is_imported_instead(world: World) -> None:
    world.torch().file("../home/torch.py")
    paths = [str(world.home), str(world.site)]
    verdict = judge(facts(world.root, paths, world.process))
    assert verdict.sentence.startswith(f"Broken: {world.home}/torch.py hides PyTorch")
    assert codes(verdict) == {"torch-shadowed"}


def test_a_known_mismatch_is_told_by_metadata_and_not_imported(world: World) -> None:
    world.torch("2.15.0+cpu", code=MADE_TORCH)
    world.vision("0.24.1+cpu", "torch==2.9.1", code="import os; os.abort()")
    verdict = world.judge(imports=True)
    assert codes(verdict) == {"torchvision-mismatch"}
    assert verdict.sentence == (
        "Broken: torchvision 0.24.1+cpu was built for torch 2.9.1, "
        "but torch 2.15.0+cpu is installed."
    )


# What torch itself says.


@pytest.mark.parametrize(
    ("said", "command"),
    [
        ("Error 802: system not yet initialized", "sudo systemctl start nvidia-fabricmanager"),
        ("Error 804: forward compatibility was attempted on non supported HW", "sudo reboot"),
        ("CUDA unknown error", "sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm"),
        ("news", "nvidia-smi"),
    ],
)
def test_cuda_refuses(world: World, said: str, command: str) -> None:
    verdict = nvidia(world).seen(cuda=False, cuda_error=said)
    assert advised(verdict, "cuda-refused") == command


def card(name: str, *capability: int) -> dict[str, Any]:
    return {"name": name, "memory": 32 << 30, "capability": list(capability)}


ARCHS = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]


@pytest.mark.parametrize(
    ("capability", "tag"), [([12, 1], None), ([8, 9], None), ([6, 1], "cu126"), ([11, 0], "cu130")]
)
def test_card_without_kernels(world: World, capability: list[int], tag: str | None) -> None:
    verdict = nvidia(world).seen(cuda=True, devices=[card("any", *capability)], archs=ARCHS)
    assert codes(verdict) == ({"no-kernels"} if tag else set())
    assert not tag or advised(verdict, "no-kernels") == f"{FORCED} {WHL}/{tag}"
    assert verdict.has("cuda") is (tag is None)


@pytest.mark.parametrize(
    ("archs", "capability", "served"),
    [
        (["sm_80", "sm_90", "compute_90"], (10, 0), True),  # PTX is compiled for a later card
        (["sm_80", "compute_90"], (8, 9), True),
        (["compute_90"], (8, 9), False),
        (["sm_80", "sm_90a"], (9, 0), True),
        (["sm_100a"], (10, 3), False),  # a: this card and no other one
        (["compute_90a"], (10, 0), False),
        (["sm_100f"], (10, 3), True),  # f: the family
        (["sm_100f"], (11, 0), False),
        (["sm_86"], (8, 0), False),
        (["sm_50", "sm_60", "sm_70"], (7, 5), True),
        (["sm_52x"], (12, 0), True),  # a notation we do not know accuses nobody
        ([], (12, 0), True),
    ],
)
def test_which_kernels_serve_a_card(
    world: World, archs: list[str], capability: tuple[int, int], served: bool
) -> None:
    verdict = nvidia(world).seen(cuda=True, archs=archs, devices=[card("any", *capability)])
    assert verdict.has("cuda") is served and ("no-kernels" in codes(verdict)) is not served


def test_cards_without_kernels_are_the_verdict(world: World) -> None:
    archs, new, old = ["sm_75", "sm_80", "sm_90"], card("RTX 5090", 12, 0), card("H100", 9, 0)
    verdict = nvidia(world).seen(cuda=True, archs=archs, devices=[new, new])
    reason = "RTX 5090 (sm_120) has no kernels in this torch build"
    assert verdict.sentence == f"CPU only: {reason}."
    assert not verdict.has("cuda") and not verdict.has("gpu")
    assert verdict.why_not("cuda") == (reason, f"{FORCED} {WHL}/cu130")
    assert len(verdict.findings) == 1
    mixed = world.seen(cuda=True, archs=archs, devices=[old, new])
    assert mixed.has("cuda") and mixed.sentence.startswith("CUDA works: H100")
    assert codes(mixed) == {"no-kernels"}


def test_rocm_cards_without_kernels(world: World) -> None:
    said = {"cuda": True, "hip_build": "7.2", "archs": ["gfx90a", "gfx1100"]}
    world.torch("2.15.0+rocm7.2")
    for gfx, works in (("gfx1036", False), ("gfx1100", True)):
        verdict = world.seen(**said, devices=[{**card("AMD", 10, 3), "gfx": gfx}])
        assert verdict.has("rocm") is works and ("no-kernels" in codes(verdict)) is not works


def test_where_cuda_works_no_file_can_deny_it(world: World) -> None:
    world.torch().card(held="nvidia").driver("535.129.03", library="580.1.1", nodes=False)
    verdict = world.seen(cuda=True, devices=[H200, H200], archs=["sm_90"])
    assert not verdict.findings and verdict.has("cuda") and verdict.has("gpu")
    assert verdict.sentence == (
        "CUDA works: 2 x NVIDIA H200 (140 GiB), torch 2.15.0+cu132, driver 535.129.03."
    )


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            {"cuda": True, "hip_build": "6.4", "devices": [H200]},
            "ROCm works: NVIDIA H200 (140 GiB)",
        ),
        ({"mps": True}, "MPS works: torch 2.15.0+cu132."),
        ({"xpu": True, "xpu_devices": [H200]}, "XPU works: NVIDIA H200 (140 GiB), torch"),
    ],
)
def test_other_accelerators(world: World, answer: dict[str, Any], sentence: str) -> None:
    assert world.torch().seen(**answer).sentence.startswith(sentence)


def test_a_laptop_without_a_gpu_is_calm(world: World) -> None:
    world.torch().file("proc/cpuinfo", "model name\t: New\nflags\t\t: avx2 avx512f avx512_bf16\n")
    verdict = world.seen(cuda=False, cuda_error="Found no NVIDIA driver on your system.")
    assert not verdict.findings
    assert verdict.sentence == (
        "CPU only: no GPU in this machine. Everything works, on 8 threads with AVX-512 and bf16."
    )


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        ("cuda", "no NVIDIA GPU in this machine"),
        ("mps", "MPS needs a Mac with Apple Silicon, and this is Linux x86_64"),
        ("gpu", "no GPU in this machine"),
    ],
)
def test_why_not(world: World, device: str, reason: str) -> None:
    assert world.torch().seen(cuda=False).why_not(device) == (reason, "")


@pytest.mark.parametrize(
    ("made", "device", "reason", "repair"),
    [
        (arc, "xpu", "an Intel card is present", f"{FORCED} {WHL}/xpu"),
        (arc, "gpu", "an Intel card is present", f"{FORCED} {WHL}/xpu"),
        (lambda w: w.amd(), "rocm", "an AMD GPU is present", f"{FORCED} {WHL}/rocm7.2"),
        (lambda w: w.card(held="vfio-pci"), "cuda", "the NVIDIA card is passed through", ""),
        (lambda w: w.wsl(), "cuda", "WSL shows no NVIDIA GPU", ""),
        (lambda w: w.wsl(), "rocm", "WSL shows no AMD GPU", ""),
    ],
)  # fmt: skip
def test_require_tells_what_is_known_of_that_device(
    world: World, made: Callable[[World], World], device: str, reason: str, repair: str
) -> None:
    said, command = made(world.torch()).seen(cuda=False).why_not(device)
    assert said.startswith(reason) and command == repair


def test_calm_sentences_say_no_more_than_is_known(world: World) -> None:
    assert world.torch().wsl().seen(cuda=False).sentence.startswith("CPU only: WSL shows no GPU.")
    assert "no GPU in this machine" not in str(world.seen(cuda=False).why_not("gpu"))


def test_passed_through_cards_are_not_counted(world: World) -> None:
    world.torch().card(held="vfio-pci", address="0000:01:00.0")
    assert codes(world.seen(cuda=False)) == {"card-elsewhere"}
    world.card(held="nvidia").driver()
    assert not world.judge().findings and world.judge().has("cuda")


@pytest.mark.parametrize(
    ("gfx", "memory", "level"),
    [
        (110000, 24, "fault"),  # RX 7900: the wheels have its kernels
        (110003, 8, "note"),  # a laptop's own graphics with a large carve-out
        (80003, 8, "note"),  # RX 580: too old
        (0, 24, "note"),  # nobody says
        (100306, 2, ""),
    ],
)
def test_amd_without_rocm(world: World, gfx: int, memory: int, level: str) -> None:
    verdict = world.torch().amd(gfx=gfx, memory=memory).seen(cuda=False)
    assert [finding.level for finding in verdict.findings] == [level] * bool(level)


def test_cuda_sees_no_mig_slice(world: World) -> None:
    nvidia(world).environ(CUDA_VISIBLE_DEVICES="MIG-1f")
    verdict = world.seen(cuda=False, cuda_error="No CUDA GPUs are available")
    assert advised(verdict, "cards-hidden") == "unset CUDA_VISIBLE_DEVICES"


def test_a_limit_outside_a_container_is_not_the_container_s(world: World) -> None:
    world.torch().file("sys/fs/cgroup/cpu.max", "200000 100000\n")
    assert "container" not in "\n".join(report.lines(world.judge(), None))
    world.file(".dockerenv")
    assert "this container may use 2 CPUs" in "\n".join(report.lines(world.judge(), None))


def test_more_about_the_driver_is_installed_by_the_same_installer(world: World) -> None:
    world.torch(installer="uv").card(held="nvidia").driver()
    (world.site / "pynvml.py").write_text("raise ImportError")
    lines = "\n".join(report.lines(world.judge(), None))
    assert "(uv pip install nvidia-ml-py for more)" in lines


def test_a_broken_torchvision_does_not_hide_the_gpu(world: World) -> None:
    verdict = nvidia(world).vision("0.24.1", "torch==2.9.1").judge()
    assert verdict.has("cuda") and verdict.sentence.startswith("Broken: torchvision 0.24.1")
    (world.site / "torch/__init__.py").unlink()
    assert not world.judge().has("cuda")
    reason = "torch 2.15.0 is half removed: torch/__init__.py missing"
    assert world.judge().why_not("cuda") == (reason, AGAIN)


def test_the_report(world: World) -> None:
    world.torch("2.15.0+cpu").card(held="nvidia").driver()
    lines = list(report.lines(world.judge(), None))
    assert lines[0] == (
        "By the metadata alone, CPU only: "
        "this torch build has no CUDA, but an NVIDIA card is present."
    )
    assert lines[1] == f"  -> {FORCED} {WHL}/cu130"
    assert "  torchvision  not installed" in lines
    assert f"  on the bus   NVIDIA 0x2330 at {CARD}, driver nvidia" in lines
    assert json.loads(json.dumps(report.document(world.judge(), None)))["works"] == []


# Tables and rules.


def test_limits_of_cgroup_v1_and_v2(world: World) -> None:
    assert cpu_limit(world.root) is None
    world.file("proc/self/cgroup", "4:memory:/a/b\n2:cpu,cpuacct:/a\n0::/x/y\n")
    world.file("sys/fs/cgroup/memory/a/memory.limit_in_bytes", f"{4 << 30}\n")
    world.file("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    world.file("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000\n")
    world.file("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n")
    assert (cpu_limit(world.root), memory_limit(world.root)) == (1.5, 4 << 30)
    world.file("sys/fs/cgroup/x/cpu.max", "50000 100000\n")
    world.file("sys/fs/cgroup/x/y/cpu.max", "max 100000\n")
    assert cpu_limit(world.root) == 0.5


@pytest.mark.parametrize(
    ("version", "specifier", "holds"),
    [
        ("2.9.1+cu128", "==2.9.1", True),
        ("2.9.1", "==2.9.*", True),
        ("2.10.0", "!=2.10.*", False),
        ("2.10.0", ">2.9,<3", True),
        ("2.16.0.dev20261101", ">=2.14", True),
        ("2.15.0", "", True),
        ("2.15.0", "@ file:///src", True),
        ("2.16.0.dev20261101", "==2.16.0.dev20261031", False),
        ("2.16.0.dev20261031+cu132", "==2.16.0.dev20261031", True),
        ("2.16.0.dev20261031", "==2.16.0.DEV20261031+cpu", True),
        ("2.15.0", "==2.16.0.dev20261031", False),
        ("2.16.0.dev20261031", "==2.15.0", False),
    ],
)
def test_satisfies(version: str, specifier: str, holds: bool) -> None:
    assert satisfies(version, specifier) is holds


PARTS = st.lists(st.integers(0, 30), min_size=1, max_size=3)
SIGNS = st.sampled_from(["==", "!=", ">=", "<=", ">", "<", "~="])


@given(ours=PARTS, theirs=PARTS, sign=SIGNS)
def test_satisfies_as_packaging_does(ours: list[int], theirs: list[int], sign: str) -> None:
    specifiers = pytest.importorskip("packaging.specifiers")
    theirs = [*theirs, 0] if sign == "~=" else theirs
    version, clause = ".".join(map(str, ours)), sign + ".".join(map(str, theirs))
    assert satisfies(version, clause) is specifiers.SpecifierSet(clause).contains(version)


def test_tables() -> None:
    assert vision_for("2.0.1") == "torchvision==0.15.*"
    assert vision_for("2.13.0") == "torchvision==0.28.*"
    assert (vision_for("2.15.0"), vision_for("1.13.1")) == ("", "")
    tags = [cuda_tag(driver) for driver in ("580.65.06", "575.1", "530.30", "450.80.02", "?")]
    assert tags == ["cu130", "cu128", "cu126", "cu118", "cu128"]
    assert cuda_tag("575.1", (9, 0)) == "cu126"  # has today's torch; cu128 stopped before
    assert (cuda_tag("575.1", (12, 0)), cuda_tag("550.54", (12, 0))) == ("cu128", "")
    assert (cuda_tag("580.65.06", (7, 0)), cuda_tag("580.65.06", (3, 5))) == ("cu126", "")
    assert install("torch", by="conda", tag="cu130") == "conda install -c conda-forge pytorch-gpu"
    assert install("torch", by="conda", tag="rocm7.2").startswith("pip install torch --index-url")


def test_every_fault_is_documented() -> None:
    page = (Path(__file__).parents[1] / "docs/device.md").read_text(encoding="utf-8")
    assert not [code for code, *_ in FAULTS if f"`{code}`" not in page]
    named = [code.removeprefix("import-") for _, code, _ in IMPORT_ERRORS]
    assert not [name for name in named if f"`{name}`" not in page]


# The whole command, in a process of its own.


def device(ptools: Run, *words: str, first: Path | None = None) -> Result:
    """Run ptools device; `first` comes first on the path. No card is visible to torch."""
    path = os.pathsep.join(filter(None, [str(first or ""), os.environ.get("PYTHONPATH", "")]))
    return ptools("device", *words, process=True, env={"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""})  # fmt: skip  # noqa: E501


def test_json_is_one_document_also_where_require_fails(ptools: Run) -> None:
    ran = device(ptools, "--json", "--require", "mps" if sys.platform == "linux" else "rocm")
    assert ran.exit_code == 1
    assert " is required and does not work: " in ran.stderr and ran.stderr.count("\n") == 1
    assert ran.document["imported"] and ran.document["view"]["threads"] >= 1
    assert ran.document["torch"]["version"] == ran.document["view"]["version"]
    assert not ran.document["import_errors"]


def test_no_import_does_not_run_torch(ptools: Run, world: World) -> None:
    world.torch("2.9.1+cpu", code=f"open({str(world.home / 'ran')!r}, 'w')")
    ran = device(ptools, "--no-import", first=world.site)
    assert ran.exit_code == 0 and "2.9.1+cpu" in ran.stdout
    assert not (world.home / "ran").exists()


@pytest.mark.parametrize(
    ("code", "words", "verdict"),
    [
        ("raise ImportError('No module named x')", [], "Broken: torch cannot be imported: "),
        ("import os; os.abort()", [], "Broken: torch crashes Python (SIGABRT)."),
        (
            "import time; time.sleep(60)",
            ["--timeout", "1"],
            "Broken: torch did not answer within 1 s",
        ),
    ],
)
def test_the_verdict_comes_first(
    ptools: Run, world: World, code: str, words: list[str], verdict: str
) -> None:
    ran = device(ptools, *words, first=world.torch(code=code).site)
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout.startswith(verdict)
    assert ran.stdout.splitlines()[1].startswith("  -> p")


def test_require_says_the_repair(ptools: Run, world: World) -> None:
    ran = device(ptools, "--require", "gpu", first=world.torch(code="raise ImportError('x')").site)
    assert ran.exit_code == 1
    assert ran.stderr == (
        "Error: A GPU is required and does not work: torch cannot be imported: "
        f"ImportError: x. Repair: {AGAIN}\n"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux removes a folder in use")
def test_a_removed_working_folder(world: World) -> None:
    code = (
        "import os, sys; os.rmdir(os.getcwd()); from ptools_plugins.device import diagnose; "
        "assert '' in sys.path and diagnose(import_torch=False).facts.torch"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=world.home, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("seconds", ["nan", "inf", "0", "-1", "x", "1e300"])
def test_timeout_is_a_finite_number_above_zero(ptools: Run, seconds: str) -> None:
    ran = ptools("device", "--no-import", "--timeout", seconds)
    assert ran.exit_code == 2 and ran.stderr.count("Error") == 1


def test_the_longest_timeout(ptools: Run, world: World) -> None:
    ran = device(ptools, "--timeout", "1e6", first=world.torch(code="raise ImportError").site)
    assert (ran.exit_code, ran.stderr) == (0, "")


def test_bench_and_no_import_exclude_each_other(ptools: Run) -> None:
    assert ptools("device", "--bench", "--no-import").exit_code == 2


@pytest.mark.slow
def test_bench_measures() -> None:
    seen = bench.run("cpu", sys.path, seconds=0.05)
    assert seen.device == "cpu" and seen.threads >= 1
    assert seen.fp32_gflops and seen.fp32_gflops > 0.1
    assert seen.copy_gbps and seen.copy_gbps > 0.1


@pytest.mark.slow
def test_bench_of_the_command(ptools: Run) -> None:
    ran = device(ptools, "--bench", "--json")
    assert ran.exit_code == 0
    assert 0.5 < ran.document["bench"]["seconds"] < 60


def test_the_plugin_keeps_what_every_command_promises(
    assert_plugin_ok: Callable[..., None],
) -> None:
    assert_plugin_ok("device", "--no-import")


def test_the_package_imports_nothing_heavy() -> None:
    code = "import sys, ptools_plugins.device; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "json", "dataclasses"} & set(ran.stdout.split())
