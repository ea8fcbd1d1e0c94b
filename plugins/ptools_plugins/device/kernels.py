"""Which cards a torch build has kernels for: `no kernel image is available` told beforehand.

    unserved(said) -> cards     the cards of torch's answer that nothing it was built with serves
    serves(arch, card)          does `sm_90`, `sm_90a`, `compute_90`, `gfx1100` run on this card?

sm is machine code: it runs on its own card and on later ones of the same major. compute is PTX,
which the driver compiles for any later card. `a` is for one card alone, `f` for one family:
https://docs.nvidia.com/cuda/cuda-compiler-driver-nvcc/#gpu-feature-list
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


def unserved(said: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the cards without kernels in what torch said (`archs`, `devices`)."""
    archs = said.get("archs", [])
    return [c for c in said.get("devices", []) if archs and not any(serves(a, c) for a in archs)]


def serves(arch: str, card: Mapping[str, Any]) -> bool:
    """Say whether code for `arch` runs on a card; a notation we do not know counts as it does."""
    if re.fullmatch(r"gfx[0-9a-f]+", arch) and card.get("gfx"):
        return bool(card["gfx"] == arch)
    match = re.fullmatch(r"(sm|compute)_([0-9]+)([0-9])([af]?)", arch)
    if not match or not card.get("capability"):
        return True
    kind, major, minor, only = match.groups()
    built, here = (int(major), int(minor)), tuple(card["capability"])
    if only == "a":
        return built == here
    if kind == "compute" and not only:
        return built <= here
    return built[0] == here[0] and built <= here


def short(card: Mapping[str, Any]) -> str:
    """Return a card's own notation: `sm_120`, `gfx1036`."""
    return str(card.get("gfx") or "sm_{}{}".format(*card["capability"]))
