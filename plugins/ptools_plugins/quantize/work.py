"""What quantisation does to one tensor.

Settings               bits, per tensor or channel, range, ...
study(values, ...)     a tensor under both schemes -> Tensor, of two Half
codes(values, half)    its codes, of its shape; back(...): its values after the round trip
listed(found, values)  both, for JSON
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ptools.errors import UsageError, one_line
from ptools_plugins.quantize.arithmetic import (
    SCHEMES,
    Affine,
    Grid,
    Trip,
    compare,
    dequantise,
    parameters,
    quantise,
)
from ptools_plugins.quantize.ranges import MINMAX, Rule, ends

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ptools_plugins.quantize.arithmetic import Floats

__all__ = ["BLOCK", "Half", "Settings", "Tensor", "back", "codes", "listed", "study"]

BLOCK = 1 << 20  # numbers that are worked on at a time


@dataclass(frozen=True)
class Settings:
    """How to quantise: `per` tensor or channel (of dimension `axis`), on which range, which codes."""

    bits: int = 8
    per: str = "channel"
    axis: int = 0
    rule: Rule = MINMAX
    unsigned: bool = False
    scheme: str = "symmetric"  # which of the two is applied, and ranked by

    def grid(self, scheme: str) -> Grid:
        return Grid(self.bits, scheme, self.unsigned)


@dataclass(frozen=True, eq=False)
class Half:
    """One scheme's view of a tensor of R rows: chosen ranges `low`, `high` (R,).

    `sums` float64 (4, R) is what `compare` says of each row of `count` values.
    """

    affine: Affine
    low: Floats
    high: Floats
    sums: NDArray[Any]
    count: int

    @cached_property
    def whole(self) -> Trip:
        """What the round trip did to all rows together."""
        signal, noise, worst, clipped = self.sums
        total = float(signal.sum()), float(noise.sum()), float(worst.max()), int(clipped.sum())
        return Trip(self.count * len(worst), *total)

    def row(self, place: int) -> Trip:
        """What it did to one row."""
        signal, noise, worst, clipped = self.sums[:, place].tolist()
        return Trip(self.count, signal, noise, worst, int(clipped))

    def document(self) -> dict[str, Any]:
        """Return it for JSON; lists have one entry a row."""
        whole, affine = self.whole, self.affine
        return {
            "range": [[float(a), float(b)] for a, b in zip(self.low, self.high, strict=True)],
            "reaches": [[float(a), float(b)] for a, b in zip(affine.low, affine.high, strict=True)],
            "scale": affine.scale.tolist(),
            "zero_point": affine.zero_point.tolist(),
            "codes": [affine.grid.first, affine.grid.last],
            "max_error": whole.worst,
            "mse": whole.mse,
            "sqnr_db": whole.sqnr,
            "row_sqnr_db": [self.row(place).sqnr for place in range(len(self.low))],
            "clipped": whole.clipped,
        }


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor under both schemes, {"symmetric": ..., "affine": ...}; `axis` None: per tensor."""

    name: str
    shape: tuple[int, ...]
    axis: int | None
    halves: dict[str, Half]

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        found = {scheme: half.document() for scheme, half in self.halves.items()}
        return {"name": self.name, "shape": list(self.shape), "axis": self.axis, **found}


# -- one tensor ------------------------------------------------------------------------------------


def study(values: Any, settings: Settings, name: str = "") -> Tensor:
    """Return what both schemes do to a float32 array of finite numbers. Raises UsageError on the axis."""
    axis = _axis(values.shape, settings, name) if settings.per == "channel" else None
    rows = _rows(values, axis)
    halves = {scheme: _half(rows, settings, scheme) for scheme in SCHEMES}
    return Tensor(name, tuple(values.shape), axis, halves)


def _axis(shape: tuple[int, ...], settings: Settings, name: str) -> int:
    """Return the axis from 0 on."""
    count, axis = len(shape), settings.axis
    if not -count <= axis < count:
        what = f"{one_line(name, 80)} has" if name else "the numbers have"
        raise UsageError(f"--axis {axis}: {what} {count} dimensions; choose 0 to {count - 1}.")
    return axis % count


def _rows(values: Any, axis: int | None) -> Floats:
    """Return the values as rows (R, n): the whole tensor, or a channel, in each."""
    import numpy as np

    rows: Floats = values if axis is None else np.moveaxis(values, axis, 0)
    return rows.reshape(1 if axis is None else len(rows), -1)


def _half(rows: Floats, settings: Settings, scheme: str) -> Half:
    import numpy as np

    grid = settings.grid(scheme)
    low, high = ends(rows, settings.rule, grid)
    affine = parameters(low, high, grid)
    sums = np.zeros((4, len(rows)))
    for place, _, part, share in _parts(rows, affine):
        found = compare(part, dequantise(quantise(part, share), share), share)
        of = sums[:, place : place + len(part)]
        worst = np.maximum(of[2], found[2])
        of += found
        of[2] = worst
    if grid.symmetric:
        high = np.maximum(-low, high)
        low = np.float32(0) - high  # not -0
    return Half(affine, low, high, sums, rows.shape[1])


def _parts(rows: Floats, affine: Affine) -> Iterator[tuple[int, int, Floats, Affine]]:
    """Yield (first row, first column, some numbers, their scales), BLOCK numbers at most."""
    count = max(1, BLOCK // rows.shape[1])
    for start in range(0, len(rows), count):
        some = slice(start, start + count)
        share = Affine(affine.grid, affine.scale[some], affine.zero_point[some])
        for left in range(0, rows.shape[1], BLOCK):
            yield start, left, rows[some, left : left + BLOCK], share


def codes(values: Any, half: Half, axis: int | None) -> NDArray[Any]:
    """Return the codes of a tensor: int8, or uint8 where they are unsigned, of its shape."""
    import numpy as np

    rows = _rows(values, axis)
    found = np.empty(rows.shape, np.int8 if half.affine.grid.first < 0 else np.uint8)
    for place, left, part, share in _parts(rows, half.affine):
        found[place : place + len(part), left : left + part.shape[1]] = quantise(part, share)
    shaped: NDArray[Any] = _shaped(found, values.shape, axis)
    return shaped


def back(values: Any, half: Half, axis: int | None) -> Floats:
    """Return the values of a tensor after the round trip, of its shape."""
    rows = _rows(values, axis)
    returned = dequantise(quantise(rows, half.affine), half.affine)
    shaped: Floats = _shaped(returned, values.shape, axis)
    return shaped


def listed(found: Tensor, values: Any) -> dict[str, Any]:
    """Return the numbers, their codes, and what comes back, for JSON."""
    lists: dict[str, Any] = {"numbers": values.tolist(), "codes": {}, "values": {}}
    for scheme, half in found.halves.items():
        lists["codes"][scheme] = codes(values, half, found.axis).tolist()
        lists["values"][scheme] = back(values, half, found.axis).tolist()
    return lists


def _shaped(rows: Any, shape: tuple[int, ...], axis: int | None) -> Any:
    """Undo `_rows`."""
    import numpy as np

    if axis is None:
        return rows.reshape(shape)
    others = [size for place, size in enumerate(shape) if place != axis]
    return np.ascontiguousarray(np.moveaxis(rows.reshape(shape[axis], *others), 0, axis))
