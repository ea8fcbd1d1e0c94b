"""What the machine can do: its devices, its threads, the number formats it computes in natively.

import_torch()      as cheaply as it can be
share_cores()       keep small networks fast on a busy machine
seed(number)        of everything random
pick_device(name)   which device `auto` is
native_bf16(device) whether bf16 is computed there, and not emulated
decide(...)         settle what the settings leave to the machine: precision, memory layout
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptools.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from ptools.training.settings import Settings

__all__ = ["decide", "import_torch", "native_bf16", "pick_device", "seed", "share_cores"]

_SMALL = (
    16 * 16
)  # pixels below which casting costs what bf16 saves: measured on 8x8 and 28x28 images


def import_torch() -> None:
    """Import torch, with threads that share the cores, and without rounds of the garbage collector.

    An import makes a million objects and no garbage. Looking through them again and again takes 0.3 of
    its 1.4 CPU seconds, and as much again in what is imported later: a command leaves them out of it for
    good. A program that calls us has objects of its own, which are not ours to keep alive.
    """
    import gc
    import sys

    import click

    share_cores()
    if "torch" in sys.modules or not gc.isenabled():
        return
    gc.disable()
    try:
        import torch  # noqa: F401
    finally:
        if click.get_current_context(silent=True) is not None:
            gc.freeze()
        gc.enable()


def share_cores() -> None:
    """Let the threads of torch sleep while they wait for each other. Call it before torch is imported.

    By default they spin, and where another program wants the cores as well, a step of a small network
    then takes ten times as long: each thread waits for one that is not scheduled. Alone on the machine
    sleeping costs nothing measurable. A user's own OMP_WAIT_POLICY is kept.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def seed(number: int, *, deterministic: bool = False) -> None:
    """Seed torch, Python and numpy; `deterministic` forbids torch what does not repeat to the bit."""
    import random
    import sys

    import torch

    number %= 2**63
    torch.manual_seed(number)
    random.seed(number)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(number % 2**32)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False


def pick_device(name: str) -> str:
    """Return `name`, with `auto` decided. Raises UsageError where the device is not there."""
    import torch

    if name == "auto":
        accelerator = torch.accelerator.current_accelerator() if _accelerated() else None
        return accelerator.type if accelerator else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"--device {name} cannot be used here; 'ptools device' says why."
        ) from error
    return name


def _accelerated() -> bool:
    import torch

    return hasattr(torch, "accelerator") and torch.accelerator.is_available()


def native_bf16(device: str) -> bool:
    """Return whether `device` multiplies bf16 natively: avx512_bf16 or AMX, CUDA from 8.0 on."""
    import torch

    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    return _bf16_cpu() if kind == "cpu" else kind == "xpu"


@cache
def _bf16_cpu() -> bool:
    """Ask torch, and Linux where torch does not know."""
    import torch

    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        ask: Any = getattr(torch.cpu, name, None)
        if ask is not None and ask():
            return True
    try:
        with Path("/proc/cpuinfo").open(encoding="ascii", errors="replace") as file:
            flags = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags.split())


def decide(settings: Settings, net: nn.Module, shape: tuple[int, int, int]) -> Settings:
    """Return the settings with precision and memory layout settled for this model and device."""
    from torch import nn

    amp, channels_last = settings.amp, settings.channels_last
    if amp == "auto":
        worth = shape[1] * shape[2] >= _SMALL and native_bf16(settings.device)
        amp = "bf16" if worth else "off"
    if channels_last is None:  # of linear layers it would only copy the images
        channels_last = any(isinstance(module, nn.Conv2d) for module in net.modules())
    return replace(settings, amp=amp, channels_last=channels_last)
