"""A program, run in a child process: what NVML, torch and torchvision say, one JSON line a step.

    python -P look.py STEP,STEP PATH...      steps: nvml, torch, torchvision

PATH... becomes sys.path. A torch that crashes or hangs ends this process, not ptools: the lines
that were written before it are the answer, and the step without a line is the one that failed.
What an import prints on stdout goes to stderr, so that nothing but JSON reaches the answer.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from importlib import import_module
from typing import Any


def nvml() -> dict[str, Any]:
    """Ask nvidia-ml-py for the cards; `absent` where it is not installed."""
    try:
        pynvml = import_module("pynvml")
    except ImportError:
        return {"absent": True}
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return {
            "driver": _str(pynvml.nvmlSystemGetDriverVersion()),
            "cuda": pynvml.nvmlSystemGetCudaDriverVersion(),  # 13020 is 13.2
            "devices": [_card(pynvml, handle) for handle in handles],
        }
    except pynvml.NVMLError as error:
        return {"error": str(error)}


def _card(pynvml: Any, handle: Any) -> dict[str, Any]:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return {
        "name": _str(pynvml.nvmlDeviceGetName(handle)),
        "memory": memory.total,
        "free": memory.free,
        "capability": list(pynvml.nvmlDeviceGetCudaComputeCapability(handle)),
        "uuid": _str(pynvml.nvmlDeviceGetUUID(handle)),
    }


def torch() -> dict[str, Any]:
    """Import torch and ask it for every accelerator."""
    torch = import_module("torch")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cuda = bool(torch.cuda.is_available())
        error = "" if cuda or not torch.version.cuda else _init_error(torch)
    return {
        "version": str(torch.__version__),
        "file": torch.__file__,
        "cuda_build": torch.version.cuda,
        "hip_build": torch.version.hip,
        "cuda": cuda,
        "cuda_error": error or " ".join(str(warning.message) for warning in caught),
        "archs": torch.cuda.get_arch_list() if cuda else [],
        "devices": _devices(torch) if cuda else [],
        "mps": bool(torch.backends.mps.is_available()),
        "xpu": bool(hasattr(torch, "xpu") and torch.xpu.is_available()),
        "xpu_devices": _xpus(torch),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def _init_error(torch: Any) -> str:
    """Return why CUDA does not start: is_available() is silent where there is no driver."""
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return str(error)
    return ""


def _devices(torch: Any) -> list[dict[str, Any]]:
    found = []
    for index in range(torch.cuda.device_count()):
        seen = torch.cuda.get_device_properties(index)
        card = {"name": seen.name, "memory": seen.total_memory}
        card["capability"] = [seen.major, seen.minor]
        if torch.version.hip:
            card["gfx"] = seen.gcnArchName.partition(":")[0]  # gfx90a:sramecc+:xnack-
        found.append(card)
    return found


def _xpus(torch: Any) -> list[dict[str, Any]]:
    if not (hasattr(torch, "xpu") and torch.xpu.is_available()):
        return []
    seen = map(torch.xpu.get_device_properties, range(torch.xpu.device_count()))
    return [{"name": xpu.name, "memory": xpu.total_memory} for xpu in seen]


def torchvision() -> dict[str, Any]:
    """Import torchvision: an extension built for another torch fails here."""
    return {"version": str(import_module("torchvision").__version__)}


def _str(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def main(steps: str, paths: list[str]) -> None:
    """Run the steps, and write a line after each one."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.path[:] = paths
    for step in steps.split(","):
        try:
            said = {"nvml": nvml, "torch": torch, "torchvision": torchvision}[step]()
        except BaseException as error:  # an import may raise anything, SystemExit too
            said = {"failed": type(error).__name__, "text": str(error)}
        answer.write(json.dumps({step: said}) + "\n")
        answer.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
    sys.stderr.flush()
    os._exit(0)  # a broken library may also crash while Python shuts it down
