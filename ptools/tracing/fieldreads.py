"""Which input pixels the elements along one dimension depend on, and what operators read.

    Reads     output index -> the indices of the operator's input that it reads
    Cover     tensor index -> the interval of input pixels it depends on

Both are periodic: index q * period + r is entry r of the table, shifted by q * step. That is exact
for every stride, also for transposed convolution and for resizing by any ratio. Whole numbers
only, no torch. Padding is not clipped: indices outside the tensor continue it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, gcd

Interval = tuple[int, int]
EMPTY: Interval = (1, 0)
LONGEST = 4096  # a longer table is cut to the elements the tensor has


def hull(intervals: Iterable[Interval]) -> Interval:
    """Return the smallest interval that holds them all."""
    kept = [one for one in intervals if one != EMPTY]
    return (min(low for low, _ in kept), max(high for _, high in kept)) if kept else EMPTY


def plus(one: Interval, other: Interval) -> Interval:
    """Return the interval of all sums."""
    return EMPTY if EMPTY in (one, other) else (one[0] + other[0], one[1] + other[1])


@dataclass(frozen=True)
class Reads:
    """Index q * len(table) + r of the output reads table[r] shifted by q * step."""

    step: int
    table: tuple[range, ...]


@dataclass(frozen=True)
class Cover:
    """Index q * len(table) + r covers table[r] shifted by q * step input pixels."""

    step: int = 0
    table: tuple[Interval, ...] = ((0, 0),)

    @property
    def rate(self) -> Fraction:
        """The stride: input pixels per element."""
        return Fraction(self.step, len(self.table))

    def at(self, index: int) -> Interval:
        """Return what the element covers; the index may lie outside the tensor."""
        turns, phase = divmod(index, len(self.table))
        return plus(self.table[phase], (turns * self.step, turns * self.step))

    def over(self, indices: range) -> Interval:
        """Return what these elements cover together."""
        period = len(self.table)
        if len(indices) > 2 * period:  # what lies between repeats the ends, less far out
            return hull((self.over(indices[:period]), self.over(indices[-period:])))
        return hull(self.at(i) for i in indices)

    def moved(self, by: Interval) -> Cover:
        """Return it with an interval added to every element."""
        return Cover(self.step, tuple(plus(one, by) for one in self.table))

    def read(self, reads: Reads, size: int) -> Cover:
        """Return the cover of an operator's output of this size that reads this tensor so."""
        turns = len(self.table) // gcd(len(self.table), reads.step)
        table = []
        for index in range(turns * len(reads.table)):
            turn, phase = divmod(index, len(reads.table))
            one, by = reads.table[phase], turn * reads.step
            table.append(self.over(range(one.start + by, one.stop + by, one.step)))
        return Cover(self.step * (reads.step * turns // len(self.table)), tuple(table)).short(size)

    def short(self, size: int) -> Cover:
        """Return the same cover with the shortest table."""
        period = len(self.table)
        for part in range(1, period):
            if period % part or self.step * part % period:
                continue
            less = Cover(self.step * part // period, self.table[:part])
            if all(less.at(i) == one for i, one in enumerate(self.table)):
                return less
        return self if period <= LONGEST else self.listed(size)

    def listed(self, size: int) -> Cover:
        """Return it with one entry per element; beyond the tensor the stride is rounded."""
        return Cover(round(self.rate * size), tuple(self.at(i) for i in range(size)))


STILL = Cover()
SAME = Reads(1, (range(1),))


def shifted(by: int, step: int = 1) -> Reads:
    """Element i reads element step * i + by: slices, padding, roll, flip."""
    return Reads(step, (range(by, by + 1),))


def window(kernel: int, stride: int, padding: int, dilation: int) -> Reads:
    """Convolution and pooling. Source: the formula in torch.nn.Conv2d and MaxPool2d."""
    return Reads(stride, (range(-padding, dilation * (kernel - 1) + 1 - padding, dilation),))


def transposed(kernel: int, stride: int, padding: int, dilation: int) -> Reads:
    """Transposed convolution: input j adds to output j * stride - padding + t * dilation."""
    table = []
    for phase in range(stride):
        taps = (phase + padding - t * dilation for t in reversed(range(kernel)))
        table.append(_progression([tap // stride for tap in taps if tap % stride == 0]))
    return Reads(1, tuple(table))


def _progression(found: list[int]) -> range:
    if not found:
        return range(0)
    return range(found[0], found[-1] + 1, found[1] - found[0] if len(found) > 1 else 1)


def adaptive(size: int, out: int) -> Reads:
    """Adaptive pooling: i reads floor(i * size / out) to ceil((i + 1) * size / out) - 1."""
    ratio = Fraction(size, out)
    period = ratio.denominator
    table = (range(floor(i * ratio), ceil((i + 1) * ratio)) for i in range(period))
    return Reads(ratio.numerator, tuple(table))


def resized(mode: str, ratio: Fraction, corners: bool) -> Reads:
    """Interpolation; ratio: input elements per output element. Source: ATen/native/UpSample.h.

    `mode` is that of F.interpolate, with "-aa" at its end for antialias.
    """

    def reads(i: int) -> range:
        if mode == "nearest":
            return range(floor(i * ratio), floor(i * ratio) + 1)
        if mode == "nearest-exact":
            first = floor((i + Fraction(1, 2)) * ratio)
            return range(first, first + 1)
        reach = 2 if "cubic" in mode else 1
        if mode.endswith("-aa"):
            centre, support = (i + Fraction(1, 2)) * ratio, reach * max(ratio, Fraction(1))
            return range(
                floor(centre - support + Fraction(1, 2)), floor(centre + support + Fraction(1, 2))
            )
        place = i * ratio if corners else (i + Fraction(1, 2)) * ratio - Fraction(1, 2)
        first = floor(place)
        if place == first:  # all the weight lies on one element
            return range(first, first + 1)
        return range(first - reach + 1, first + reach + 1)

    return Reads(ratio.numerator, tuple(reads(i) for i in range(ratio.denominator)))
