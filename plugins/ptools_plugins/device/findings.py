"""What a finding is, and the facts every check looks at.

    broken     torch or torchvision cannot be used as it is
    fault      a GPU is here, and torch cannot use it
    warning    it works, but not as it should
    note       worth knowing; nothing to repair

    Facts          packages + machine + what torch said
    facts(...)     gather them all

A verdict is judged by the worst level that was found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ptools_plugins.device import packages
from ptools_plugins.device.machine import Machine, gather
from ptools_plugins.device.packages import Package
from ptools_plugins.device.process import Process
from ptools_plugins.device.torch_view import View, look

LEVELS = ("broken", "fault", "warning", "note")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing found: a stable code, a plain sentence, and the command that repairs it, or ""."""

    level: str
    code: str
    text: str  # lower case, no full stop: it may stand after `CPU only:`
    command: str = ""
    device: str = ""  # cuda, rocm, xpu, mps; "" where it is about all of them


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything the checks look at. A verdict is a pure function of it."""

    machine: Machine
    torches: list[Package] = field(default_factory=list)
    companions: list[Package] = field(default_factory=list)  # torchvision, torchaudio
    shadows: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    installer: str = "pip"  # pip, uv, conda: whatever installed torch, or click
    view: View = field(default_factory=View)
    imported: bool = False  # torch was asked, not only read

    @property
    def torch(self) -> Package | None:
        """The torch that Python would import."""
        return self.torches[0] if self.torches else None

    def companion(self, name: str) -> Package | None:
        """Return torchvision or torchaudio, where it is installed."""
        return next((package for package in self.companions if package.name == name), None)


def facts(
    root: Path,
    paths: Sequence[str],
    process: Process,
    *,
    import_torch: bool = True,
    timeout: float = 120,
) -> Facts:
    """Gather the facts of the machine under `root` and of the packages in `paths`."""
    machine = gather(root, process)
    torches = packages.find("torch", paths)
    companions = [c for n in ("torchvision", "torchaudio") for c in packages.find(n, paths)[:1]]
    known = Facts(
        machine=machine,
        torches=torches,
        companions=companions,
        shadows=tuple(filter(None, [packages.shadows("torch", process.cwd or ".")])),
        leftovers=tuple(packages.leftovers("torch", paths)),
        installer=_installer(torches, paths),
        imported=import_torch,
    )
    return Facts(**{**vars(known), "view": look(_steps(known), paths, timeout=timeout)})


def _installer(torches: list[Package], paths: Sequence[str]) -> str:
    known = torches or packages.find("click", paths)
    name = known[0].installer if known else ""
    return name if name in ("uv", "conda") else "pip"


def _steps(known: Facts) -> list[str]:
    """Return what the child is to be asked; nothing that is known to fail or to be missing."""
    machine = known.machine
    steps = []
    if known.imported and known.torches:
        steps.append("torch")
        vision = known.companion("torchvision")
        asked = vision.needs.get("torch", "") if vision else ""
        if vision and packages.satisfies(known.torches[0].release, asked):
            steps.append("torchvision")
    return [*steps, "nvml"] if machine.driver or machine.count("NVIDIA") else steps
