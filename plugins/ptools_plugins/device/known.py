"""What we know of the world outside, and what ages: wheels, drivers, cards. Checked: 2026-11.

Nothing here is read from the machine; when a release changes one of these, this is the only file
to change, and the sources of each are beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ptools_plugins.device.machine import AMD, APPLE, INTEL, NVIDIA


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """A kind of device: what torch calls it, whose cards it is, and which wheels are for it."""

    device: str  # as in --require
    title: str
    vendor: str
    tag: str  # how the tags of its wheels begin; "" where every wheel will do


ACCELERATORS = (
    Accelerator(device="cuda", title="CUDA", vendor=NVIDIA, tag="cu"),
    Accelerator(device="rocm", title="ROCm", vendor=AMD, tag="rocm"),
    Accelerator(device="mps", title="MPS", vendor=APPLE, tag=""),
    Accelerator(device="xpu", title="XPU", vendor=INTEL, tag="xpu"),
)

# https://pytorch.org/get-started/previous-versions/; nightly wheels are in INDEX/nightly/TAG.
INDEX = "https://download.pytorch.org/whl"
LAST_ON_INTEL_MACS = ("torch==2.2.*", "torchvision==0.17.*", "numpy<2")
# torch 2.N goes with torchvision 0.(N+15), pinned exactly, up to this N. From the next one on,
# torchvision names a lower bound only (its METADATA), and the resolver knows better than a table.
LAST_PINNED_MINOR = 13


@dataclass(frozen=True, kw_only=True)
class CudaWheel:
    """A wheel index for CUDA: the oldest driver, and the first and last capability it serves."""

    tag: str
    driver: tuple[int, ...]
    first: tuple[int, int]
    last: tuple[int, int]


# Best first. Capabilities: PYTORCH_RELEASES_CODE_CC in torch/cuda/__init__.py of torch 2.15, which
# has no cu128 and no cu118 any more: their indexes stay, with the last torch that was built so.
WHEELS = (
    CudaWheel(tag="cu130", driver=(580, 65), first=(7, 5), last=(99, 0)),
    CudaWheel(tag="cu126", driver=(525, 60), first=(5, 0), last=(9, 0)),
    CudaWheel(tag="cu128", driver=(570,), first=(7, 5), last=(12, 1)),
    CudaWheel(tag="cu118", driver=(450, 80), first=(5, 0), last=(9, 0)),
)
BLACKWELL, BLACKWELL_DRIVER = (12, 0), (570,)  # a driver before 570 does not know the card

# CUDA major of a wheel -> the oldest driver that runs it (minor version compatibility):
# https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
OLDEST_DRIVER = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}

# ROCM_ARCHES in .github/scripts/generate_binary_build_matrix.py of pytorch/pytorch, and the
# PYTORCH_ROCM_ARCH of these wheels in .ci/docker/manywheel/build.sh.
ROCM = "rocm7.2"
ROCM_CARDS = (
    "gfx900", "gfx906", "gfx908", "gfx90a", "gfx942", "gfx950",
    "gfx1030", "gfx1100", "gfx1101", "gfx1102", "gfx1200", "gfx1201",
)  # fmt: skip
ROCM_APUS = ("gfx1103", "gfx1150", "gfx1151")  # the processor's own graphics

# PCI device ids: Arc A, Arc B, Data Center GPU Max (linux/include/drm/intel/pciids.h).
DISCRETE_INTEL = ("0x56", "0xe2", "0x0bd")

OLD_MKL = "mkl<2024.1"  # the last with iJIT_*: https://github.com/pytorch/pytorch/issues/123097
PYTHON = "3.12"  # a Python that has wheels of every torch since 2.2
