"""A verdict as text and as JSON. Nothing here looks at the machine.

    lines(verdict, bench) -> str per line      sentence, findings with repairs, details
    document(verdict, bench) -> dict           the same for --json

The first line is the verdict; details are rows of a name and a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ptools_plugins.device.bench import Bench
from ptools_plugins.device.faults_host import gib
from ptools_plugins.device.findings import Facts, Finding
from ptools_plugins.device.kernels import short
from ptools_plugins.device.machine import NVIDIA, Machine
from ptools_plugins.device.packages import Package
from ptools_plugins.device.repairs import install
from ptools_plugins.device.verdict import Verdict, skilled

Row = tuple[str, str]
_COLUMN = 13


def lines(verdict: Verdict, bench: Bench | None) -> Iterator[str]:
    """Yield the report: verdict, findings, details."""
    yield verdict.sentence
    if verdict.first and verdict.first.command:
        yield f"  -> {verdict.first.command}"
    for finding in verdict.findings:
        if finding is not verdict.first:
            yield from _finding(finding)
    for title, rows in _groups(verdict.facts, bench):
        yield ""
        yield title
        yield from (f"  {name:<{_COLUMN}}{value}" for name, value in rows)


def _finding(finding: Finding) -> Iterator[str]:
    yield f"{finding.level}: {finding.text}."
    if finding.command:
        yield f"  -> {finding.command}"


def _groups(facts: Facts, bench: Bench | None) -> Iterator[tuple[str, list[Row]]]:
    yield "torch", list(_torch(facts))
    yield "GPU", list(_gpu(facts))
    yield "CPU and memory", list(_cpu(facts))
    if bench:
        yield f"one second on {bench.device}", list(_bench(bench))


def _torch(facts: Facts) -> Iterator[Row]:
    process = facts.machine.process
    for package in (*facts.torches[:1], *facts.companions):
        yield package.name, _version(package)
    if not facts.companion("torchvision"):
        yield "torchvision", "not installed"
    yield "Python", f"{process.python}, {process.system} {process.machine}"
    if facts.torch:
        yield "in", facts.torch.folder
    if facts.torch and not facts.imported:
        yield "imported", "no (--no-import)"


def _version(package: Package) -> str:
    tag, cuda = package.tag, package.build.get("cuda")
    words = f"CUDA {cuda} build" if cuda else f"{tag.upper()} build" if tag == "cpu" else ""
    return package.version + (f"  ({words})" if words else "")


def _gpu(facts: Facts) -> Iterator[Row]:
    machine, view = facts.machine, facts.view
    for index, card in enumerate(view.torch.get("devices") or view.nvml.get("devices") or []):
        yield f"card {index}", f"{card['name']}, {gib(card['memory'])}, {short(card)}"
    for xpu in view.torch.get("xpu_devices", []):
        yield "card", f"{xpu['name']}, {gib(xpu['memory'])}"
    for pci in machine.cards:
        held = f"driver {pci.driver}" if pci.driver else "no driver"
        yield "on the bus", f"{pci.vendor} {pci.device} at {pci.address}, {held}"
    if machine.pci and not machine.cards:
        yield "cards", "none"
    if machine.count(NVIDIA):
        yield "driver", _driver(facts)


def _driver(facts: Facts) -> str:
    loaded = facts.view.nvml.get("driver") or facts.machine.driver
    said = "none" if not loaded else "of unknown version" if loaded == "?" else f"NVIDIA {loaded}"
    cuda = facts.view.nvml.get("cuda")
    if cuda:
        return f"{said}, up to CUDA {cuda // 1000}.{cuda % 1000 // 10}"
    if loaded and facts.view.nvml.get("absent"):
        return f"{said}  ({install('nvidia-ml-py', by=facts.installer)} for more)"
    return f"{said}  (NVML: {facts.view.nvml['error']})" if "error" in facts.view.nvml else said


def _cpu(facts: Facts) -> Iterator[Row]:
    machine, process = facts.machine, facts.machine.process
    yield "CPU", machine.cpu or process.machine
    kernels = facts.view.torch.get("cpu_capability")
    skills = ", ".join(skilled(machine.flags)) or "unknown"
    yield "vectors", skills + (f"  (torch uses {kernels})" if kernels else "")
    threads = facts.view.torch.get("threads")
    limit = f", cgroup limit {machine.limits.cpus:g}" if machine.limits.cpus else ""
    yield "cores", f"{process.cores}{limit}" + (f", torch starts {threads} threads" * bool(threads))
    yield "memory", _memory(machine)


def _memory(machine: Machine) -> str:
    words = [gib(machine.memory) if machine.memory else "unknown"]
    words += [f"{gib(machine.available)} free"] if machine.available else []
    words += [f"cgroup limit {gib(machine.limits.memory)}"] if machine.limits.memory else []
    return ", ".join(words)


def _bench(bench: Bench) -> Iterator[Row]:
    size = f"{bench.size} x {bench.size} matrices"
    yield "fp32 GEMM", _figure(bench.fp32_gflops, "GFLOP/s") + f"  ({size})"
    yield "bf16 GEMM", _figure(bench.bf16_gflops, "GFLOP/s")
    yield "copy", _figure(bench.copy_gbps, "GB/s") + "  (read plus write)"
    load = "unknown" if bench.load is None else f"{bench.load:.1f}"
    yield "with", f"{bench.threads} threads, load {load}; the best of many runs"


def _figure(value: float | None, unit: str) -> str:
    return "not possible here" if value is None else f"{value:,.0f} {unit}"


def document(verdict: Verdict, bench: Bench | None) -> dict[str, Any]:
    """Return the report as one JSON value."""
    facts, machine = verdict.facts, verdict.facts.machine
    return {
        "verdict": verdict.sentence,
        "works": list(verdict.works),
        "findings": [asdict(finding) for finding in verdict.findings],
        "torch": _package(facts.torch),
        "companions": {package.name: _package(package) for package in facts.companions},
        "imported": facts.imported,
        "view": facts.view.torch,
        "nvml": facts.view.nvml,
        "import_errors": {name: asdict(failure) for name, failure in facts.view.failed.items()},
        "gpu": {"cards": [asdict(c) for c in machine.cards], **_some(machine, "driver", "nodes")},
        "cpu": {
            "name": machine.cpu,
            "vectors": skilled(machine.flags),
            "cores": machine.process.cores,
            "limit": machine.limits.cpus,
        },
        "memory": {
            "bytes": machine.memory,
            "available": machine.available,
            "limit": machine.limits.memory,
        },
        **_some(machine, "container", "wsl"),
        "python": _some(machine.process, "python", "executable", "system", "machine"),
        "bench": asdict(bench) if bench else None,
    }


def _package(package: Package | None) -> dict[str, Any] | None:
    if package is None:
        return None
    return {"version": package.version, "build": package.tag, **_some(package, "folder", "needs")}


def _some(value: object, *names: str) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names}
