"""Why a GPU that is here cannot be used, for all but NVIDIA's: ROCm, XPU, MPS, and what is hidden.

    amd, intel, apple    wheel, driver, access
    lent, wsl            cards that another system has

NVIDIA's are in faults_nvidia.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ptools_plugins.device import faults_nvidia
from ptools_plugins.device.faults_nvidia import HAS_GPUS
from ptools_plugins.device.findings import Facts, Finding
from ptools_plugins.device.known import (
    ACCELERATORS,
    DISCRETE_INTEL,
    PYTHON,
    ROCM,
    ROCM_APUS,
    ROCM_CARDS,
)
from ptools_plugins.device.machine import AMD, INTEL, NVIDIA, Card, Machine
from ptools_plugins.device.repairs import wheels

note = partial(Finding, level="note")
rocm_fault = partial(Finding, level="fault", device="rocm")
_DISCRETE_MEMORY = 6 << 30  # an AMD card with less may be the processor's own graphics


def check(facts: Facts) -> Iterator[Finding]:
    """Yield why a GPU cannot be used, in the order in which to repair it."""
    yield from faults_nvidia.check(facts)
    yield from amd(facts)
    yield from intel(facts)
    yield from apple(facts)
    yield from lent(facts.machine)
    yield from wsl(facts)


def amd(facts: Facts) -> Iterator[Finding]:
    """Yield what stands between an AMD card and torch. Integrated graphics are no fault."""
    machine, torch = facts.machine, facts.torch
    cards = machine.of(AMD)
    if not cards or not torch or not torch.tag or facts.view.torch.get("cuda"):
        return
    if torch.tag.startswith("rocm"):
        yield from rocm(machine)
        return
    best = max(cards, key=lambda card: (card.gfx in ROCM_CARDS, card.memory))
    worth = best.gfx in ROCM_CARDS or best.memory >= _DISCRETE_MEMORY
    if worth and not machine.count(NVIDIA):
        yield rocm_wheel(best, facts)


def rocm_wheel(card: Card, facts: Facts) -> Finding:
    """Return the finding for a torch without ROCm: a fault only where its wheel serves the card."""
    command = wheels(facts, ROCM)
    if card.gfx in ROCM_CARDS:
        reason = "this torch build has no ROCm, but an AMD GPU is present"
        return rocm_fault(code="rocm-wheel", text=reason, command=command)
    if card.gfx and card.gfx not in ROCM_APUS:
        reason = f"an AMD GPU is present ({card.gfx}); the ROCm wheels have no kernels for it"
        return note(code="rocm-wheel", text=reason, device="rocm")
    reason = "an AMD GPU is present; if ROCm supports it, torch's ROCm build can use it"
    return note(code="rocm-wheel", text=reason, command=command, device="rocm")


def rocm(machine: Machine) -> Iterator[Finding]:
    """Yield what keeps a ROCm build from its card: no driver, or no right to it."""
    if not machine.kfd:
        inside = machine.container in ("docker", "podman")
        command = f"{machine.container} run --device /dev/kfd --device /dev/dri ..."
        reason = "there is no /dev/kfd, through which ROCm talks to the card"
        command = command if inside else "sudo modprobe amdgpu"
        yield rocm_fault(code="no-kfd", text=reason, command=command)
    elif "/dev/kfd" in machine.denied:
        command = "sudo usermod -aG render,video $USER"
        reason = "you may not open /dev/kfd; join its groups and log in again"
        yield rocm_fault(code="kfd-denied", text=reason, command=command)


def intel(facts: Facts) -> Iterator[Finding]:
    """Yield a note where a discrete Intel card meets a torch without XPU."""
    torch, cards = facts.torch, facts.machine.of(INTEL)
    discrete = any(card.device.startswith(DISCRETE_INTEL) for card in cards)
    if discrete and torch and torch.tag != "xpu" and not facts.machine.count(NVIDIA):
        reason = "an Intel card is present; torch's XPU build can use it"
        yield note(code="xpu-wheel", text=reason, command=wheels(facts, "xpu"), device="xpu")


def apple(facts: Facts) -> Iterator[Finding]:
    """Yield an x86_64 Python on an Apple Silicon Mac: it has no MPS."""
    if facts.machine.process.rosetta:
        reason = "this Python runs under Rosetta, so torch has no MPS; take an arm64 Python"
        command = f"arch -arm64 uv python install {PYTHON}"
        yield Finding(level="fault", code="rosetta", text=reason, command=command, device="mps")


def lent(machine: Machine) -> Iterator[Finding]:
    """Yield cards that are all passed through to virtual machines: no driver would help."""
    for accelerator in ACCELERATORS:
        holders = {c.driver for c in machine.cards if c.vendor == accelerator.vendor and c.lent}
        if holders and not machine.count(accelerator.vendor):
            held = f"passed through to a virtual machine ({', '.join(sorted(holders))} holds it)"
            reason = f"the {accelerator.vendor} card is {held}"
            yield note(code="card-elsewhere", text=reason, device=accelerator.device)


def wsl(facts: Facts) -> Iterator[Finding]:
    """Yield where WSL shows no NVIDIA card: whether the PC has one, only Windows knows."""
    machine = facts.machine
    if not machine.wsl or machine.count(NVIDIA) or facts.view.torch.get("cuda"):
        return
    reason = "WSL shows no NVIDIA GPU; if the PC has one, install NVIDIA's driver in Windows"
    reason += ", none in WSL" if not machine.container else ", and give it to this container"
    command = HAS_GPUS.get(machine.container, "")
    yield note(code="wsl-no-gpu", text=reason, command=command, device="cuda")
