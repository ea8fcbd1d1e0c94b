"""Why an NVIDIA card that is here cannot be used: wheel, driver, device nodes, visibility, kernels.

A check says what a file says. Where torch reports that CUDA works, none of the reasons why it might
not is given; only a card that the build has no kernels for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from ptools_plugins.device.findings import Facts, Finding
from ptools_plugins.device.kernels import short, unserved
from ptools_plugins.device.known import OLDEST_DRIVER
from ptools_plugins.device.machine import NVIDIA, Machine
from ptools_plugins.device.packages import Package
from ptools_plugins.device.repairs import cuda_tag, driver_command, numbers, wheels

fault = partial(Finding, level="fault", device="cuda")
RELOAD = "sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia && sudo modprobe nvidia"
HAS_GPUS = {
    "docker": "docker run --gpus all ...",
    "podman": "podman run --device nvidia.com/gpu=all ...",
    "kubernetes": "kubectl set resources deployment NAME --limits=nvidia.com/gpu=1",
    "apptainer": "apptainer exec --nv ...",
    "singularity": "singularity exec --nv ...",
}


def check(facts: Facts) -> Iterator[Finding]:
    """Yield what stands between an NVIDIA card and torch, in the order in which to repair it."""
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
    what = "has no CUDA" if torch.tag == "cpu" else f"is for {torch.tag}"
    reason = f"this torch build {what}, but an NVIDIA card is present"
    return fault(code="cpu-wheel", text=reason, command=fitting(facts, _capability(facts)))


def fitting(facts: Facts, capability: tuple[int, int] | None) -> str:
    """Return the command for a wheel that driver and card can use, or for a newer driver."""
    tag = cuda_tag(str(facts.view.nvml.get("driver") or facts.machine.driver), capability)
    if tag:
        return wheels(facts, tag)
    newer = cuda_tag("999", capability)  # "": the card is too old for every wheel
    return driver_command(facts.machine.distribution) if newer else ""


def no_driver(machine: Machine) -> Finding:
    """Return the finding for a card without a loaded NVIDIA driver."""
    command = "" if machine.container else driver_command(machine.distribution)
    where = "" if command else ": get it from https://www.nvidia.com/drivers"
    where = " on the host of this container" + where if machine.container else where
    if any(c.driver == "nouveau" for c in machine.cards):
        reason = f"the nouveau driver holds the NVIDIA card, and CUDA needs NVIDIA's own{where}"
        return fault(code="nouveau", text=reason, command=command)
    if machine.libraries:
        reason = f"driver {machine.libraries[-1]} is installed, but its kernel module is not loaded"
        return fault(code="driver-not-loaded", text=reason, command="sudo modprobe nvidia")
    reason = f"an NVIDIA card is present, but no NVIDIA driver{where}"
    return fault(code="no-driver", text=reason, command=command)


def driver(facts: Facts) -> Iterator[Finding]:
    """Yield a driver that is too old for the wheel, or at odds with its own libraries."""
    machine, torch = facts.machine, facts.torch
    loaded, libraries = machine.driver, machine.libraries
    if mismatched(facts):
        theirs = f"libraries {libraries[-1]}" if libraries else "libraries of another version"
        reason = f"the loaded driver is {loaded}, with {theirs} (NVML: driver/library mismatch)"
        yield fault(code="driver-mismatch", text=reason, command=f"sudo reboot  # or: {RELOAD}")
    wheel = str(torch.build.get("cuda") or "") if torch else ""
    oldest = OLDEST_DRIVER.get(int(wheel.split(".")[0]), "") if wheel else ""
    if oldest and numbers(loaded) and numbers(loaded) < numbers(oldest):
        reason = f"driver {loaded} is too old for CUDA {wheel}, which needs {oldest} or newer"
        yield fault(code="driver-old", text=reason, command=fitting(facts, _capability(facts)))


def mismatched(facts: Facts) -> bool:
    """Say whether the kernel module and the libraries differ: NVML's word, or their versions."""
    libraries, loaded = facts.machine.libraries, facts.machine.driver
    if "mismatch" in str(facts.view.nvml.get("error", "")).lower():
        return True
    return bool(numbers(loaded)) and bool(libraries) and loaded not in libraries


def nodes(machine: Machine) -> Iterator[Finding]:
    """Yield what CUDA opens and does not find, or may not open. WSL has no device nodes."""
    if machine.wsl or machine.process.system != "Linux":
        return
    lacks = _lacks(machine)
    if lacks:
        where = "this container has no" if machine.container else "there is no"
        command = HAS_GPUS.get(machine.container, "sudo nvidia-modprobe -u -c=0")
        reason = f"the driver is loaded, but {where} {lacks}"
        yield fault(code="no-device-nodes", text=reason, command=command)
    denied = [node for node in machine.denied if "nvidia" in node]
    if denied:
        reason = f"you may not open {', '.join(denied)}"
        yield fault(code="device-denied", text=reason, command=_admit(machine, denied))


def _lacks(machine: Machine) -> str:
    if not any(node[-1].isdigit() for node in machine.nodes):
        return "/dev/nvidia0"
    if "/dev/nvidiactl" not in machine.nodes:
        return "/dev/nvidiactl"
    return "libcuda.so.1" if machine.container and not machine.libcuda else ""


def _admit(machine: Machine, denied: list[str]) -> str:
    if machine.denied_group:
        return f"sudo usermod -aG {machine.denied_group} $USER && newgrp {machine.denied_group}"
    return "sudo chmod a+rw " + " ".join(denied)


def hidden(machine: Machine) -> Iterator[Finding]:
    """Yield a CUDA_VISIBLE_DEVICES that leaves no card."""
    value = machine.process.environ.get("CUDA_VISIBLE_DEVICES")
    if value is None or _shows(value, machine):
        return
    reason = f"CUDA_VISIBLE_DEVICES='{value}' leaves no card of the {machine.given} here"
    yield fault(code="cards-hidden", text=reason, command="unset CUDA_VISIBLE_DEVICES")


def _shows(value: str, machine: Machine) -> bool:
    """Say whether a card is left, read as torch.cuda._parse_visible_devices reads it.

    CUDA stops at the first entry that names no card, and a card named twice empties the list.
    What no file tells (slices of a MIG card, how many cards there are without device nodes) counts
    as there.
    """
    first = value.split(",")[0].strip()
    uuid = re.match(r"(?:MIG-)?(GPU-[0-9a-f-]*)", first)
    if uuid:
        return not machine.uuids or any(u.startswith(uuid[1]) for u in machine.uuids)
    if first.startswith("MIG-"):
        return True
    indices = [re.match(r"\s*\+?([0-9]+)", entry) for entry in value.split(",")]
    shown = [int(index[1]) for index in indices if index]
    if not indices[0] or len(set(shown)) < len(shown):
        return False
    return not machine.nodes or shown[0] < machine.given


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
    said = " ".join(str(facts.view.torch.get("cuda_error", "")).split())
    if not said or not facts.view.torch.get("cuda_build"):
        return
    chosen = facts.machine.process.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None and "No CUDA GPUs are available" in said:
        reason = f"CUDA finds no card with CUDA_VISIBLE_DEVICES='{chosen}'"
        yield fault(code="cards-hidden", text=reason, command="unset CUDA_VISIBLE_DEVICES")
        return
    plain = (said[:200].rstrip("."), "nvidia-smi")
    meaning, command = next((known for text, *known in _REFUSALS if text in said), plain)
    yield fault(code="cuda-refused", text=f"CUDA does not start: {meaning}", command=command)


def kernels(facts: Facts) -> Iterator[Finding]:
    """Yield cards that this build has no kernels for: `no kernel image is available`."""
    hip = bool(facts.view.torch.get("hip_build"))
    for card in {card["name"]: card for card in unserved(facts.view.torch)}.values():
        reason = f"{card['name']} ({short(card)}) has no kernels in this torch build"
        command = "" if hip else fitting(facts, tuple(card["capability"]))
        yield fault(code="no-kernels", text=reason, command=command, device=_CUDA[hip])


_CUDA = ("cuda", "rocm")  # torch calls both of them cuda


def _capability(facts: Facts) -> tuple[int, int] | None:
    devices = facts.view.nvml.get("devices") or [{}]
    seen = devices[0].get("capability")
    return (seen[0], seen[1]) if seen else None
