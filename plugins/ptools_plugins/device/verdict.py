"""Facts -> findings and the one sentence. Pure: nothing here reads, runs or prints.

    judge(facts) -> Verdict       every check, worst first, and what follows from them
    Verdict.why_not(device)       the reason and the repair for `--require`

A fault of one GPU does not spoil the verdict where another one works.
"""

from __future__ import annotations

from dataclasses import dataclass

from ptools_plugins.device import faults_gpu, faults_host, faults_install
from ptools_plugins.device.faults_host import gib
from ptools_plugins.device.findings import LEVELS, Facts, Finding
from ptools_plugins.device.kernels import unserved
from ptools_plugins.device.known import ACCELERATORS, Accelerator
from ptools_plugins.device.machine import APPLE, Machine


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is the matter, in one sentence, and everything found, worst first."""

    sentence: str
    works: tuple[str, ...]  # accelerators that work: cuda, rocm, mps, xpu
    findings: tuple[Finding, ...]
    first: Finding | None  # the finding that the sentence tells
    facts: Facts

    def has(self, device: str) -> bool:
        """Say whether a device (or `gpu`: any) is there and works."""
        return bool(self.works) if device == "gpu" else device in self.works

    def why_not(self, device: str) -> tuple[str, str]:
        """Return why a device is not there, and the command that repairs it, or ""."""
        about = [a.device for a in ACCELERATORS if device in (a.device, "gpu")]
        causes = [f for f in self.findings if f.device in ("", *about) and _blocks(f, self.facts)]
        causes += [f for f in self.findings if f.device in about]  # else what is known of it
        if causes:
            return causes[0].text, causes[0].command
        return _absent(device, self.facts), ""


def judge(facts: Facts) -> Verdict:
    """Run every check and say what follows."""
    found = [f for module in (faults_install, faults_gpu, faults_host) for f in module.check(facts)]
    found.sort(key=lambda finding: LEVELS.index(finding.level))
    works = tuple(a.device for a in ACCELERATORS if _works(a, facts, found))
    first = next((f for f in found if f.level in ("broken", "fault")), None)
    if first and first.level == "fault" and works:
        first = None  # one GPU works: what another one lacks comes after the verdict
    sentence = _sentence(facts, works, first)
    return Verdict(sentence=sentence, works=works, findings=tuple(found), first=first, facts=facts)


def _blocks(finding: Finding, facts: Facts) -> bool:
    """Say whether a finding keeps torch from its GPU: a broken torchvision does not."""
    if finding.level == "broken":
        return not facts.view.torch and not finding.code.startswith(("torchvision", "torchaudio"))
    return finding.level == "fault"


def _works(accelerator: Accelerator, facts: Facts, found: list[Finding]) -> bool:
    """Say whether torch can compute there; where it was not asked, whether it should."""
    if facts.imported:
        return _seen(accelerator.device, facts)
    tag = facts.torch.tag if facts.torch else ""
    about = ("", accelerator.device)
    blocked = any(finding.device in about and _blocks(finding, facts) for finding in found)
    present = facts.machine.count(accelerator.vendor) > 0
    return present and not blocked and tag.startswith(accelerator.tag)


def _seen(device: str, facts: Facts) -> bool:
    """Say whether torch sees a device, and has kernels for one of its cards."""
    said = facts.view.torch
    if device not in ("cuda", "rocm"):
        return bool(said.get(device))
    served = len(unserved(said)) < max(1, len(said.get("devices", [])))
    return bool(said.get("cuda")) and served and (device == "rocm") is bool(said.get("hip_build"))


def _sentence(facts: Facts, works: tuple[str, ...], first: Finding | None) -> str:
    if first and first.level == "broken":
        return f"Broken: {first.text}." if facts.torch else f"{first.text}."
    before = "" if facts.imported else "By the metadata alone, "
    if works:
        verb = "works" if facts.imported else "should work"
        title = next(a.title for a in ACCELERATORS if a.device == works[0])
        return f"{before}{title} {verb}: {', '.join(_parts(facts, works[0]))}."
    reason = first.text if first else _no_gpu(facts.machine)
    calm = "" if first or not facts.imported else f" Everything works, {able(facts)}."
    return f"{before}CPU only: {reason}.{calm}"


def _parts(facts: Facts, device: str) -> list[str]:
    """Return cards, torch, driver, for the sentence that says what works."""
    key = "xpu_devices" if device == "xpu" else "devices"
    cards = facts.view.torch.get(key) or facts.view.nvml.get("devices") or []
    names = [f"{card['name']} ({gib(card['memory'])})" for card in cards]
    if not names and device == "cuda":
        models, given = facts.machine.models, facts.machine.given
        names = list(models[:given]) or ["NVIDIA card"] * given
    counted = [f"{names.count(n)} x {n}" if names.count(n) > 1 else n for n in dict.fromkeys(names)]
    version = facts.view.torch.get("version") or (facts.torch.version if facts.torch else "")
    driver = facts.view.nvml.get("driver") or facts.machine.driver.strip("?")
    shown = driver if device == "cuda" else ""
    return [*counted, f"torch {version}", *([f"driver {shown}"] if shown else [])]


def _no_gpu(machine: Machine) -> str:
    if machine.wsl and not machine.cards:
        return "WSL shows no GPU"
    if not machine.pci:
        return "torch sees no GPU"
    return "no GPU here that torch can use" if machine.cards else "no GPU in this machine"


def able(facts: Facts) -> str:
    """Return what the CPU offers: `on 2 threads with AVX-512 and bf16`."""
    count = facts.view.torch.get("threads") or facts.machine.process.cores
    skills = " and ".join(skilled(facts.machine.flags))
    return f"on {count} thread{'s' * (count != 1)}" + (f" with {skills}" if skills else "")


def skilled(flags: frozenset[str]) -> list[str]:
    """Return the vector units of /proc/cpuinfo that torch has kernels for, by their usual names."""
    widest = [("avx512f", "AVX-512"), ("avx2", "AVX2"), ("sve", "SVE"), ("asimd", "NEON")]
    names = [name for flag, name in widest if flag in flags][:1]
    names += ["AMX"] if "amx_tile" in flags else []
    return names + (["bf16"] if flags & {"avx512_bf16", "amx_bf16", "bf16"} else [])


def _absent(device: str, facts: Facts) -> str:
    """Return why a device is not there where nothing is wrong: this is another machine."""
    machine, process = facts.machine, facts.machine.process
    vendor = next((a.vendor for a in ACCELERATORS if a.device == device), None)
    if vendor is None:
        return _no_gpu(machine)
    if vendor == APPLE:
        return f"MPS needs a Mac with Apple Silicon, and this is {process.system} {process.machine}"
    if machine.wsl and not machine.count(vendor):
        return f"WSL shows no {vendor} GPU"
    if machine.pci and not machine.count(vendor):
        return f"no {vendor} GPU in this machine"
    return f"torch sees no {vendor} GPU"
