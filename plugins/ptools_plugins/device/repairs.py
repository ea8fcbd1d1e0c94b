"""The commands that repair: each is one line that can be pasted into a shell.

    install(...)          pip, uv or conda, whichever installed what is there
    wheels(facts, tag)    torch and torchvision again, from the index of another build
    index(torch)          the index that a torch came from; nightlies have their own
    vision_for(torch)     the torchvision that belongs to a torch
    cuda_tag(driver)      the CUDA wheel that a driver can run
    driver_command(ids)   the distribution's own way to NVIDIA's driver

What the tables know of releases and drivers is in known.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from ptools_plugins.device.findings import Facts
from ptools_plugins.device.known import (
    BLACKWELL,
    BLACKWELL_DRIVER,
    INDEX,
    LAST_PINNED_MINOR,
    WHEELS,
)
from ptools_plugins.device.packages import Package

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
_NOT_OF_CONDA = ("nightly/", "rocm", "xpu")  # builds that conda-forge does not have


def install(
    *specs: str, by: str = "pip", tag: str = "", force: bool = False, deps: bool = True
) -> str:
    """Return the command that installs `specs`, from PyTorch's own index where a tag is given."""
    again = ["--force-reinstall"] * force + ["--no-deps"] * (not deps)
    if by == "conda" and not tag.startswith(_NOT_OF_CONDA):
        return " ".join(["conda install", *again, "-c conda-forge", *_conda(specs, tag)])
    words = ["uv pip install" if by == "uv" else "pip install"]
    words += ["--pre"] * tag.startswith("nightly/") + again
    words += [f"'{spec}'" if set(spec) & set("<>*!") else spec for spec in specs]
    words += [f"--index-url {INDEX}/{tag}"] if tag else []
    return " ".join(words)


def _conda(specs: Sequence[str], tag: str) -> list[str]:
    torch = "pytorch-gpu" if tag.startswith("cu") else "pytorch"
    named = [spec.replace(".*", "").replace("==", "=") for spec in specs]
    found = [torch + s.removeprefix("torch") if s.split("=")[0] == "torch" else s for s in named]
    return [f"'{package}'" if "<" in package else package for package in found]


def wheels(facts: Facts, tag: str) -> str:
    """Return the command that puts another build of torch and torchvision in place of these.

    "" for a torch that was built here: a wheel would take its place.
    """
    if facts.torch and facts.torch.homemade:
        return ""
    tag = f"nightly/{tag}" if facts.torch and facts.torch.nightly else tag
    return install("torch", "torchvision", by=facts.installer, tag=tag, force=True)


def index(torch: Package) -> str:
    """Return the index a torch came from, "" for the default one.

    A wheel from PyTorch's own index has its tag in the metadata too; the default one has none.
    """
    if torch.nightly:
        return f"nightly/{torch.tag or 'cpu'}"
    return torch.tag if "+" in torch.metadata else ""


def vision_for(torch: str) -> str:
    """Return a torchvision requirement for a torch release, "" where none is known to fit."""
    major, minor = ([*map(int, torch.split(".")[:2]), 0, 0])[:2]
    known = major == 2 and minor <= LAST_PINNED_MINOR
    return f"torchvision==0.{minor + 15}.*" if known else ""


def cuda_tag(driver: str, capability: tuple[int, int] | None = None) -> str:
    """Return the wheel tag for a driver and a card, "" where there is no wheel for both.

    A driver of unknown age ("" or "?") gets the wheel that needs the least; a card of unknown
    capability counts as the newest that the driver knows.
    """
    has = numbers(driver) or BLACKWELL_DRIVER
    card = capability or (BLACKWELL if has >= BLACKWELL_DRIVER else (9, 0))
    fit = (w.tag for w in WHEELS if has >= w.driver and w.first <= card <= w.last)
    return next(fit, "")


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
