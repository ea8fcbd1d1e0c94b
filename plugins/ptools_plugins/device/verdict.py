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
from ptools_plugins.device.machine import AMD, INTEL, NVIDIA, Machine

DEVICES = ("cuda", "rocm", "mps", "xpu")
TITLES = {"cuda": "CUDA", "rocm": "ROCm", "mps": "MPS", "xpu": "XPU", "gpu": "A GPU"}


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
        about = ("", *DEVICES) if device == "gpu" else ("", device)
        for finding in self.findings:
            if finding.device in about and _blocks(finding, self.facts):
                return finding.text, finding.command
        return _absent(device, self.facts), ""


def judge(facts: Facts) -> Verdict:
    """Run every check and say what follows."""
    found = [f for module in (faults_install, faults_gpu, faults_host) for f in module.check(facts)]
    found.sort(key=lambda finding: LEVELS.index(finding.level))
    works = _works(facts) if facts.imported else _expected(facts, found)
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


def _works(facts: Facts) -> tuple[str, ...]:
    said = facts.view.torch
    gpu = "rocm" if said.get("hip_build") else "cuda"
    seen = {gpu: said.get("cuda"), "mps": said.get("mps"), "xpu": said.get("xpu")}
    return tuple(device for device in DEVICES if seen.get(device))


def _expected(facts: Facts, found: list[Finding]) -> tuple[str, ...]:
    """Return what should work by the metadata, where torch itself is not asked."""
    machine, tag = facts.machine, facts.torch.tag if facts.torch else ""
    if any(_blocks(finding, facts) for finding in found):
        return ()
    if tag.startswith("cu") and machine.count(NVIDIA):
        return ("cuda",)
    if tag.startswith("rocm") and machine.count(AMD):
        return ("rocm",)
    if machine.process.system == "Darwin" and machine.process.machine == "arm64":
        return ("mps",)
    return ("xpu",) if tag == "xpu" and machine.count(INTEL) else ()


def _sentence(facts: Facts, works: tuple[str, ...], first: Finding | None) -> str:
    if first and first.level == "broken":
        return f"Broken: {first.text}." if facts.torch else f"{first.text}."
    before = "" if facts.imported else "By the metadata alone, "
    if works:
        verb = "works" if facts.imported else "should work"
        return f"{before}{TITLES[works[0]]} {verb}: {', '.join(_parts(facts, works[0]))}."
    reason = first.text if first else _no_gpu(facts.machine)
    calm = "" if first or not facts.imported else f" Everything works, {able(facts)}."
    return f"{before}CPU only: {reason}.{calm}"


def _parts(facts: Facts, device: str) -> list[str]:
    """Return cards, torch, driver, for the sentence that says what works."""
    key = "xpu_devices" if device == "xpu" else "devices"
    cards = facts.view.torch.get(key) or facts.view.nvml.get("devices") or []
    names = [f"{card['name']} ({gib(card['memory'])})" for card in cards]
    if not names and device == "cuda":
        names = list(facts.machine.models) or ["NVIDIA card"] * facts.machine.count(NVIDIA)
    counted = [f"{names.count(n)} x {n}" if names.count(n) > 1 else n for n in dict.fromkeys(names)]
    version = facts.view.torch.get("version") or (facts.torch.version if facts.torch else "")
    driver = facts.view.nvml.get("driver") or facts.machine.driver.strip("?")
    shown = driver if device == "cuda" else ""
    return [*counted, f"torch {version}", *([f"driver {shown}"] if shown else [])]


def _no_gpu(machine: Machine) -> str:
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
    process, machine = facts.machine.process, facts.machine
    if device == "mps":
        return f"MPS needs a Mac with Apple Silicon, and this is {process.system} {process.machine}"
    vendor = {"cuda": NVIDIA, "rocm": AMD, "xpu": INTEL}.get(device)
    if vendor is None:
        return _no_gpu(machine)
    if machine.pci and not machine.count(vendor):
        return f"no {vendor} GPU in this machine"
    return f"torch sees no {vendor} GPU"
