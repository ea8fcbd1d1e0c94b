"""What an import error means, and what repairs it: a table of known texts.

Each entry is (code, pattern, sentence, repair); the first pattern that is found wins. A repair is
a function of the match and the facts, as the command depends on the distribution and the installer.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ptools_plugins.device.findings import Facts, Finding
from ptools_plugins.device.known import OLD_MKL
from ptools_plugins.device.repairs import install, system_package
from ptools_plugins.device.torch_view import Failure

Repair = Callable[[re.Match[str], Facts], str]
_DISTRIBUTIONS = {"PIL": "pillow", "yaml": "pyyaml", "typing_extensions": "typing-extensions"}


def _gomp(match: re.Match[str], facts: Facts) -> str:
    distribution = facts.machine.distribution
    return system_package(distribution, debian="libgomp1", fedora="libgomp", arch="gcc-libs")


def _stdcxx(match: re.Match[str], facts: Facts) -> str:
    if facts.installer == "conda":
        return install("libstdcxx-ng", by="conda")
    return system_package(facts.machine.distribution, debian="libstdc++6", fedora="libstdc++")


def _mkl(match: re.Match[str], facts: Facts) -> str:
    return install(OLD_MKL, by=facts.installer)


def _numpy(match: re.Match[str], facts: Facts) -> str:
    return install("numpy", by=facts.installer, force=True)


def _older_numpy(match: re.Match[str], facts: Facts) -> str:
    return install("numpy<2", by=facts.installer)


def _vcredist(match: re.Match[str], facts: Facts) -> str:
    return "winget install Microsoft.VCRedist.2015+.x64"


def _preload(match: re.Match[str], facts: Facts) -> str:
    return f"export LD_PRELOAD={match[1]}"


def _module(match: re.Match[str], facts: Facts) -> str:
    name = match[1].partition(".")[0]
    return install(_DISTRIBUTIONS.get(name, name), by=facts.installer)


def _library_path(match: re.Match[str], facts: Facts) -> str:
    """Return "" where LD_LIBRARY_PATH is innocent: then the package is installed again."""
    return "unset LD_LIBRARY_PATH" if facts.machine.process.environ.get("LD_LIBRARY_PATH") else ""


def _same_again(match: re.Match[str], facts: Facts) -> str:
    return ""


_NVIDIA_LIBRARY = (
    r"(lib(?:cudnn|cublas|cudart|cufft|curand|cusolver|cusparse|nccl|nvrtc|nvJitLink|nvToolsExt"
    r"|nvshmem|cupti|cufile)\w*\.so[.\d]*): cannot open shared object"
)
_KNOWN: tuple[tuple[str, str, str, Repair], ...] = (
    ("import-nms", r"operator torchvision::nms does not exist",
     "torchvision's operators were built for another torch or another CUDA", _same_again),
    ("import-mkl", r"undefined symbol: iJIT_\w+",
     "this torch needs an MKL older than 2024.1", _mkl),
    ("import-cuda-library", _NVIDIA_LIBRARY, "{1} of the NVIDIA wheels is missing", _same_again),
    ("import-libgomp", r"libgomp\.so[.\d]*: cannot open shared", "libgomp is missing", _gomp),
    ("import-libstdcxx", r"(GLIBCXX_[\d.]+|CXXABI_[\d.]+)' not found",
     "the system's libstdc++ is older than torch needs ({1})", _stdcxx),
    ("import-numpy-abi", r"compiled using NumPy 1\.x",
     "a package was compiled for NumPy 1.x, and NumPy 2 is installed", _older_numpy),
    ("import-numpy", r"numpy\.dtype size changed|numpy\.core\.multiarray failed",
     "NumPy's binary interface is another than the one it was compiled for", _numpy),
    ("import-vcredist", r"(\w+\.dll).{0,40}or one of its dependencies|WinError 126",
     "a Visual C++ runtime library is missing", _vcredist),
    ("import-static-tls", r"(/\S+): cannot allocate memory in static TLS block",
     "a library was loaded too late", _preload),
    ("import-module", r"No module named '((?!torch)[\w.]+)'",
     "the package {1} is missing", _module),
    ("import-symbol", r"undefined symbol: (\w+)|version `?(lib\w+\.so[.\d]*)' not found",
     "a library of another build is loaded", _library_path),
)  # fmt: skip


def explain(name: str, failure: Failure, facts: Facts, *, again: str) -> Finding:
    """Return the finding for a failed import; `again` reinstalls the package."""
    if failure.kind == "timeout":
        reason = f"{name} did not answer within {failure.text}; this shows where it stops"
        where = f"python -v -c 'import {name}'"
        return Finding(level="broken", code=f"{name}-hangs", text=reason, command=where)
    if failure.kind == "crashed":
        reason = f"{name} crashes Python ({failure.text})"
        return Finding(level="broken", code=f"{name}-crashes", text=reason, command=again)
    for code, pattern, sentence, repair in _KNOWN:
        if match := re.search(pattern, failure.text):
            said = sentence.format(match[0], *match.groups())
            command = repair(match, facts) or again
            reason = f"{name} cannot be imported: {said}"
            return Finding(level="broken", code=code, text=reason, command=command)
    reason = f"{name} cannot be imported: {failure.text.rstrip('.')}"
    return Finding(level="broken", code=f"{name}-import", text=reason, command=again)
