"""The commands that repair: each is one line that can be pasted into a shell.

    install(...)          pip, uv or conda, whichever installed what is there
    vision_for(torch)     the torchvision that belongs to a torch
    cuda_tag(driver)      the CUDA wheel that a driver can run
    driver_command(ids)   the distribution's own way to NVIDIA's driver

Sources: https://docs.nvidia.com/deploy/cuda-compatibility/ (driver per CUDA major),
https://pytorch.org/get-started/previous-versions/ (wheel indexes, torch-torchvision pairs).
"""

from __future__ import annotations

from collections.abc import Sequence

INDEX = "https://download.pytorch.org/whl"
ROCM = "rocm6.4"
# CUDA major of the wheel -> oldest driver that runs it (minor version compatibility).
OLDEST_DRIVER = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}
# Oldest driver -> wheel index, newest first. cu128 is the first with Blackwell (driver 570).
_WHEELS = (((580, 65), "cu130"), ((570,), "cu128"), ((525, 60), "cu126"), ((450, 80), "cu118"))
_DRIVERS = {
    "ubuntu": "sudo ubuntu-drivers install",
    "pop": "sudo apt install system76-driver-nvidia",
    "debian": "sudo apt install nvidia-driver",
    "fedora": "sudo dnf install akmod-nvidia",
    "arch": "sudo pacman -S nvidia-open",
}
_PACKAGES = {
    "debian": "sudo apt install",
    "ubuntu": "sudo apt install",
    "fedora": "sudo dnf install",
    "rhel": "sudo dnf install",
    "arch": "sudo pacman -S",
}


def install(
    *specs: str, by: str = "pip", tag: str = "", force: bool = False, deps: bool = True
) -> str:
    """Return the command that installs `specs`, from PyTorch's own index where a tag is given."""
    if by == "conda":
        return _conda(specs, tag)
    words = ["uv pip install" if by == "uv" else "pip install"]
    words += ["--force-reinstall"] * force + ["--no-deps"] * (not deps)
    words += [f"'{spec}'" if set(spec) & set("<>*!") else spec for spec in specs]
    words += [f"--index-url {INDEX}/{tag}"] if tag else []
    return " ".join(words)


def _conda(specs: Sequence[str], tag: str) -> str:
    torch = "pytorch-gpu" if tag.startswith("cu") else "pytorch"
    named = (spec.replace(".*", "").replace("==", "=") for spec in specs)
    packages = (torch + s.removeprefix("torch") if s.split("=")[0] == "torch" else s for s in named)
    return "conda install -c conda-forge " + " ".join(f"'{p}'" if "<" in p else p for p in packages)


def vision_for(torch: str) -> str:
    """Return a torchvision requirement for a torch release, "" where none is known to fit.

    torch 2.N goes with torchvision 0.(N+15), pinned exactly, up to torch 2.13; from 2.14 on the
    newest torchvision names a lower bound only, and the resolver knows better than a table.
    """
    major, minor = ([*map(int, torch.split(".")[:2]), 0, 0])[:2]
    return f"torchvision==0.{minor + 15}.*" if major == 2 and minor <= 13 else ""


def cuda_tag(driver: str, capability: tuple[int, int] | None = None) -> str:
    """Return the wheel tag for a driver and a card, "" where the driver is too old for any.

    CUDA 13 has no kernels for cards before compute capability 7.5 (Turing). A driver of unknown
    age ("" or "?") gets cu128: it needs the least that also runs on the newest cards.
    """
    parts = numbers(driver)
    tag = next((tag for least, tag in _WHEELS if parts >= least), "") if parts else "cu128"
    if tag in ("cu130", "cu128") and capability and capability < (7, 5):
        return "cu126"
    return tag


def numbers(version: str) -> tuple[int, ...]:
    """Return a dotted version as a tuple: 580.65.06 is (580, 65, 6); () for no version."""
    parts = version.split(".")
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else ()


def driver_command(distribution: Sequence[str]) -> str:
    """Return the distribution's command for NVIDIA's driver, "" where we know none."""
    return next((_DRIVERS[name] for name in distribution if name in _DRIVERS), "")


def system_package(distribution: Sequence[str], **names: str) -> str:
    """Return the command that installs a system library; names by family: debian=, fedora=."""
    alike = {"ubuntu": "debian", "rhel": "fedora"}
    for name in distribution:
        package = names.get(alike.get(name, name))
        if package and name in _PACKAGES:
            return f"{_PACKAGES[name]} {package}"
    return ""
