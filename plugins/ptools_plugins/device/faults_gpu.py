"""Why a GPU that is here cannot be used: wheel, driver, device nodes, visibility.

    nvidia               wheel, driver, its age, nodes, access, CUDA_VISIBLE_DEVICES, CUDA's word
    amd, intel, apple    the same question for ROCm, XPU and MPS

A check says what a file says. Where torch reports that CUDA works, none of the reasons why it might
not is given; only a card that the wheel has no kernels for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from ptools_plugins.device.findings import Facts, Finding
from ptools_plugins.device.machine import AMD, INTEL, NVIDIA, Machine
from ptools_plugins.device.packages import Package
from ptools_plugins.device.repairs import (
    OLDEST_DRIVER,
    ROCM,
    cuda_tag,
    driver_command,
    install,
    numbers,
)

fault = partial(Finding, level="fault")
cuda_fault = partial(Finding, level="fault", device="cuda")
RELOAD = "sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia && sudo modprobe nvidia"
_HAS_GPUS = {
    "docker": "docker run --gpus all ...",
    "podman": "podman run --device nvidia.com/gpu=all ...",
    "kubernetes": "kubectl set resources deployment NAME --limits=nvidia.com/gpu=1",
}
_DISCRETE_INTEL = ("0x56", "0xe2", "0x0bd")  # Arc A, Arc B, Data Center GPU Max
_DISCRETE_MEMORY = 6 << 30  # an AMD card with less may be the processor's own graphics


def check(facts: Facts) -> Iterator[Finding]:
    """Yield why a GPU cannot be used, in the order in which to repair it."""
    yield from nvidia(facts)
    yield from amd(facts)
    yield from intel(facts)
    yield from apple(facts)


def nvidia(facts: Facts) -> Iterator[Finding]:
    """Yield what stands between an NVIDIA card and torch."""
    machine, torch = facts.machine, facts.torch
    if facts.view.torch.get("cuda"):
        yield from kernels(facts)
        return
    if not machine.count(NVIDIA):
        return
    if torch and torch.tag and not torch.tag.startswith("cu"):
        yield cpu_wheel(facts, torch)
    if not machine.driver:
        yield no_driver(machine)
        return
    found = [*driver(facts), *nodes(machine), *hidden(machine)]
    yield from found or refused(facts)  # CUDA's own word adds nothing to a known cause


def cpu_wheel(facts: Facts, torch: Package) -> Finding:
    """Return the finding for a CPU, ROCm or XPU build beside an NVIDIA card."""
    tag = cuda_tag(facts.machine.driver, _capability(facts))
    what = "has no CUDA" if torch.tag == "cpu" else f"is for {torch.tag}"
    command = install("torch", "torchvision", by=facts.installer, tag=tag, force=True)
    return cuda_fault(
        code="cpu-wheel",
        text=f"this torch build {what}, but an NVIDIA card is present",
        command=command if tag else driver_command(facts.machine.distribution),
    )


def no_driver(machine: Machine) -> Finding:
    """Return the finding for a card without a loaded NVIDIA driver."""
    command = "" if machine.container else driver_command(machine.distribution)
    where = "" if command else ": get it from https://www.nvidia.com/drivers"
    where = " on the host of this container" + where if machine.container else where
    if any(c.driver == "nouveau" for c in machine.cards):
        reason = f"the nouveau driver holds the NVIDIA card, and CUDA needs NVIDIA's own{where}"
        return cuda_fault(code="nouveau", text=reason, command=command)
    if machine.libraries:
        reason = f"driver {machine.libraries[-1]} is installed, but its kernel module is not loaded"
        return cuda_fault(code="driver-not-loaded", text=reason, command="sudo modprobe nvidia")
    reason = f"an NVIDIA card is present, but no NVIDIA driver{where}"
    return cuda_fault(code="no-driver", text=reason, command=command)


def driver(facts: Facts) -> Iterator[Finding]:
    """Yield a driver that is too old for the wheel, or at odds with its own libraries."""
    machine, torch = facts.machine, facts.torch
    loaded, libraries = machine.driver, machine.libraries
    if mismatched(facts):
        theirs = f"libraries {libraries[-1]}" if libraries else "libraries of another version"
        reason = f"the loaded driver is {loaded}, with {theirs} (NVML: driver/library mismatch)"
        command = f"sudo reboot  # or: {RELOAD}"
        yield cuda_fault(code="driver-mismatch", text=reason, command=command)
    wheel = str(torch.build.get("cuda") or "") if torch else ""
    oldest = OLDEST_DRIVER.get(int(wheel.split(".")[0]), "") if wheel else ""
    if oldest and numbers(loaded) and numbers(loaded) < numbers(oldest):
        tag = cuda_tag(loaded, _capability(facts))
        other = install("torch", "torchvision", by=facts.installer, tag=tag, force=True)
        upgrade = driver_command(machine.distribution)
        reason = f"driver {loaded} is too old for CUDA {wheel}, which needs {oldest} or newer"
        yield cuda_fault(code="driver-old", text=reason, command=other if tag else upgrade)


def mismatched(facts: Facts) -> bool:
    """Say whether the kernel module and the libraries differ: NVML's word, or their versions."""
    libraries, loaded = facts.machine.libraries, facts.machine.driver
    if "mismatch" in str(facts.view.nvml.get("error", "")).lower():
        return True
    return bool(numbers(loaded)) and bool(libraries) and loaded not in libraries


def nodes(machine: Machine) -> Iterator[Finding]:
    """Yield missing device nodes, or ones that this user may not open. WSL needs none."""
    if machine.wsl or machine.process.system != "Linux":
        return
    cards = [node for node in machine.nodes if node[-1].isdigit()]
    if not cards or "/dev/nvidiactl" not in machine.nodes:
        inside = machine.container
        reason = f"the driver is loaded, but {'this container has no' if inside else 'there is no'}"
        reason += f" {'/dev/nvidiactl' if cards else '/dev/nvidia0'}"
        command = _HAS_GPUS.get(inside, "sudo nvidia-modprobe -u -c=0")
        yield cuda_fault(code="no-device-nodes", text=reason, command=command)
    denied = [node for node in machine.denied if "nvidia" in node]
    if denied:
        yield cuda_fault(
            code="device-denied",
            text=f"you may not open {', '.join(denied)}",
            command=_admit(machine, denied),
        )


def _admit(machine: Machine, denied: list[str]) -> str:
    if machine.denied_group:
        return f"sudo usermod -aG {machine.denied_group} $USER && newgrp {machine.denied_group}"
    return "sudo chmod a+rw " + " ".join(denied)


def hidden(machine: Machine) -> Iterator[Finding]:
    """Yield a CUDA_VISIBLE_DEVICES that leaves no card: CUDA stops at the first bad entry."""
    value = machine.process.environ.get("CUDA_VISIBLE_DEVICES")
    if value is None:
        return
    first, count = value.split(",")[0].strip(), machine.count(NVIDIA)
    if re.fullmatch("[0-9]+", first) and int(first) >= count and not machine.wsl:
        reason = f"CUDA_VISIBLE_DEVICES={value} names no card of the {count} here"
    elif first.startswith("GPU-") and machine.uuids:
        if any(uuid.startswith(first) for uuid in machine.uuids):
            return
        reason = f"CUDA_VISIBLE_DEVICES={value} names no card of the {count} here"
    elif first in ("", "NoDevFiles") or re.fullmatch("-[0-9]+", first):
        reason = f"CUDA_VISIBLE_DEVICES is '{value}', which hides every card"
    else:
        return
    yield cuda_fault(code="cards-hidden", text=reason, command="unset CUDA_VISIBLE_DEVICES")


_REFUSALS = (
    ("system not yet initialized", "NVSwitch is not started (error 802)",
     "sudo systemctl start nvidia-fabricmanager"),
    ("forward compatibility was attempted", "the CUDA libraries and the driver differ (error 804)",
     "sudo reboot"),
    ("CUDA unknown error", "the module nvidia_uvm has to be loaded again (error 999)",
     "sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm"),
)  # fmt: skip


def refused(facts: Facts) -> Iterator[Finding]:
    """Yield CUDA's own word where torch has CUDA, a card and a driver, and still does not start."""
    said = str(facts.view.torch.get("cuda_error", ""))
    if not said or not facts.view.torch.get("cuda_build"):
        return
    for pattern, meaning, command in _REFUSALS:
        if pattern in said:
            reason = f"CUDA does not start: {meaning}"
            yield cuda_fault(code="cuda-refused", text=reason, command=command)
            return
    reason = f"CUDA does not start: {' '.join(said.split())[:200].rstrip('.')}"
    yield cuda_fault(code="cuda-refused", text=reason, command="nvidia-smi")


def kernels(facts: Facts) -> Iterator[Finding]:
    """Yield cards that this wheel has no kernels for: `no kernel image is available`."""
    archs = [int(a[3:]) for a in facts.view.torch.get("archs", []) if re.fullmatch(r"sm_\d+", a)]
    for card in facts.view.torch.get("devices", []):
        major, minor = card.get("capability") or (0, 0)
        if not archs or facts.view.torch.get("hip_build"):
            continue
        if any(arch // 10 == major and arch % 10 <= minor for arch in archs):
            continue  # a kernel runs on every later card of the same major
        tag = cuda_tag(facts.machine.driver, (major, minor))
        reason = f"{card['name']} (sm_{major}{minor}) has no kernels in this torch build"
        command = install("torch", "torchvision", by=facts.installer, tag=tag, force=True)
        yield cuda_fault(code="no-kernels", text=reason, command=command)


def amd(facts: Facts) -> Iterator[Finding]:
    """Yield what stands between an AMD card and torch. Integrated graphics are no fault."""
    machine, torch = facts.machine, facts.torch
    cards = [card for card in machine.cards if card.vendor == AMD]
    if not cards or not torch or not torch.tag or facts.view.torch.get("cuda"):
        return
    if torch.tag.startswith("rocm"):
        yield from rocm(machine)
    elif any(card.memory >= _DISCRETE_MEMORY for card in cards) and not machine.count(NVIDIA):
        reason = f"this torch build ({torch.tag}) has no ROCm, but an AMD card is present"
        command = install("torch", "torchvision", by=facts.installer, tag=ROCM, force=True)
        yield fault(code="rocm-wheel", text=reason, command=command, device="rocm")


def rocm(machine: Machine) -> Iterator[Finding]:
    """Yield what keeps a ROCm build from its card: no driver, or no right to it."""
    if not machine.kfd:
        inside = machine.container in ("docker", "podman")
        command = f"{machine.container} run --device /dev/kfd --device /dev/dri ..."
        reason = "there is no /dev/kfd, through which ROCm talks to the card"
        command = command if inside else "sudo modprobe amdgpu"
        yield fault(code="no-kfd", text=reason, command=command, device="rocm")
    elif "/dev/kfd" in machine.denied:
        command = "sudo usermod -aG render,video $USER"
        reason = "you may not open /dev/kfd; join its groups and log in again"
        yield fault(code="kfd-denied", text=reason, command=command, device="rocm")


def intel(facts: Facts) -> Iterator[Finding]:
    """Yield a note where a discrete Intel card meets a torch without XPU."""
    torch = facts.torch
    discrete = [
        card
        for card in facts.machine.cards
        if card.vendor == INTEL and card.device.startswith(_DISCRETE_INTEL)
    ]
    if discrete and torch and torch.tag == "cpu" and not facts.machine.count(NVIDIA):
        reason = "an Intel card is present; it needs the XPU build of torch"
        command = install("torch", "torchvision", by=facts.installer, tag="xpu", force=True)
        yield Finding(level="note", code="xpu-wheel", text=reason, command=command, device="xpu")


def apple(facts: Facts) -> Iterator[Finding]:
    """Yield an x86_64 Python on an Apple Silicon Mac: it has no MPS."""
    if facts.machine.process.rosetta:
        reason = "this Python runs under Rosetta, so torch has no MPS; take an arm64 Python"
        command = "arch -arm64 uv python install 3.12"
        yield fault(code="rosetta", text=reason, command=command, device="mps")


def _capability(facts: Facts) -> tuple[int, int] | None:
    devices = facts.view.nvml.get("devices") or [{}]
    seen = devices[0].get("capability")
    return (seen[0], seen[1]) if seen else None
