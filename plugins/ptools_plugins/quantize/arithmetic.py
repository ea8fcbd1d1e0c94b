"""The arithmetic: range -> scale and zero point -> codes -> values, in float32 exactly as torch does it.

Grid              bits, scheme, first and last code
Affine            scale and zero point of every row
parameters(...)   of ranges; quantise, dequantise: with them
compare(...)      what a round trip did: sums of squares, errors; Trip: SQNR

    code  = clamp(round(x * (1 / scale)) + zero_point, first, last)      round half to even
    value = (code - zero_point) * scale

Everything works on rows (R, n): one row for a tensor, or one for each channel. The sources are
aten/src/ATen/native/quantized/affine_quantizer_base.cpp and, for scale and zero point,
torch/ao/quantization/observer.py (UniformQuantizationObserverBase), whose symmetric range here has
no -128: both ends are the same, as in TensorRT and ONNX Runtime.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[Any]  # float32
    Codes = NDArray[Any]  # int32

__all__ = ["SCHEMES", "Affine", "Grid", "Trip", "compare", "dequantise", "parameters", "quantise"]

SCHEMES = ("symmetric", "affine")
SMALLEST = 2.0**-126  # the smallest normal float32: its inverse is finite, too


@dataclass(frozen=True)
class Grid:
    """The codes there are: `bits` 2..8, `scheme` symmetric or affine; `unsigned` ones begin at 0."""

    bits: int = 8
    scheme: str = "symmetric"
    unsigned: bool = False

    @property
    def symmetric(self) -> bool:
        return self.scheme == "symmetric"

    @property
    def first(self) -> int:
        """The lowest code: -127 symmetric, -128 affine, 0 affine and unsigned."""
        if self.symmetric:
            return -self.last
        return 0 if self.unsigned else -(2 ** (self.bits - 1))

    @property
    def last(self) -> int:
        """The highest code: 127, or 255 where it is affine and unsigned."""
        if self.unsigned and not self.symmetric:
            return int(2**self.bits) - 1
        return int(2 ** (self.bits - 1)) - 1


@dataclass(frozen=True, eq=False)
class Affine:
    """`scale` float32 (R,) and `zero_point` int32 (R,) of every row, on a grid."""

    grid: Grid
    scale: Floats
    zero_point: Codes

    @property
    def low(self) -> Floats:
        """The lowest value there is a code for, of every row."""
        return dequantise(self.grid.first + 0 * self.zero_point[:, None], self)[:, 0]

    @property
    def high(self) -> Floats:
        """The highest value there is a code for, of every row."""
        return dequantise(self.grid.last + 0 * self.zero_point[:, None], self)[:, 0]


def parameters(low: Floats, high: Floats, grid: Grid) -> Affine:
    """Return scale and zero point for the ranges `low` and `high` (R,), widened to hold 0."""
    import numpy as np

    zero, steps = np.float32(0), np.float32(grid.last - grid.first)
    low, high = np.minimum(low, zero), np.maximum(high, zero)
    if grid.symmetric:
        # halves the steps, as the observer does: the same float32 for 254 / 2
        scale = np.maximum(-low, high) / (steps / np.float32(2))
    else:
        # an end may be so large that the width is inf: divided first it is finite
        scale = high / steps - low / steps if _overflows(low, high) else (high - low) / steps
    scale = np.where(scale == 0, np.float32(1), np.maximum(scale, np.float32(SMALLEST)))
    if grid.symmetric:
        return Affine(grid, scale, np.zeros(len(scale), np.int32))
    zero_point = grid.first - np.rint(low / scale).astype(np.int32)
    return Affine(grid, scale, np.clip(zero_point, grid.first, grid.last).astype(np.int32))


def _overflows(low: Floats, high: Floats) -> bool:
    import numpy as np

    with np.errstate(over="ignore"):
        return not bool(np.isfinite(high - low).all())


def quantise(rows: Floats, affine: Affine) -> Codes:
    """Return the codes of rows (R, n): int32, of finite values."""
    import numpy as np

    inverse = np.float32(1) / affine.scale
    with np.errstate(over="ignore"):  # far outside the range: inf, which is clamped
        scaled = rows * inverse[:, None]
    np.rint(scaled, out=scaled)
    scaled += affine.zero_point[:, None].astype(np.float32)
    np.clip(scaled, np.float32(affine.grid.first), np.float32(affine.grid.last), out=scaled)
    return scaled.astype(np.int32)


def dequantise(codes: Codes, affine: Affine) -> Floats:
    """Return the values of codes (R, n)."""
    import numpy as np

    with np.errstate(over="ignore"):  # the last step of a range that ends at the largest float32
        return (codes - affine.zero_point[:, None]).astype(np.float32) * affine.scale[:, None]


@dataclass(frozen=True)
class Trip:
    """What a round trip did to n values: sums of squares, and the largest error.

    `clipped` values were outside the range, by more than half a step.
    """

    count: int
    signal: float
    noise: float
    worst: float
    clipped: int

    @property
    def sqnr(self) -> float:
        """Signal to quantisation noise, 10 log10(sum x^2 / sum error^2), in dB; inf without error."""
        from math import inf, log10

        if self.noise == 0:
            return inf
        ratio = self.signal / self.noise  # 0 where the largest float32 became inf
        return 10 * log10(ratio) if ratio else -inf

    @property
    def mse(self) -> float:
        """The mean squared error."""
        return self.noise / self.count if self.count else 0.0


def compare(rows: Floats, values: Floats, affine: Affine) -> Any:
    """Return (4, R): sums of x^2 and of error^2, largest error, how many were clipped, of every row."""
    import numpy as np

    with np.errstate(over="ignore"):
        error = values.astype(np.float64) - rows
    half = affine.scale[:, None] * np.float64(0.5001)
    outside = (rows > affine.high[:, None] + half) | (rows < affine.low[:, None] - half)
    worst = np.abs(error).max(1, initial=0)
    signal = np.square(rows, dtype=np.float64).sum(1)
    return np.stack([signal, np.square(error, out=error).sum(1), worst, outside.sum(1)])
