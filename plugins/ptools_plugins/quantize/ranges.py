"""Which range is cut into steps: all of it, most of it, or the one with the least squared error.

Rule              minmax, percentile:99.9 or mse
ends(rows, ...)   low and high of every row by that rule

Banner, Nahshan, Soudry (arXiv:1810.05723) and Krishnamoorthi (arXiv:1806.08342): a few far values
make the steps coarse for all others, so that clipping them can lose less than it costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ptools.errors import UsageError, suggestion
from ptools_plugins.quantize.arithmetic import Grid, dequantise, parameters, quantise

if TYPE_CHECKING:
    from ptools_plugins.quantize.arithmetic import Floats

__all__ = ["MINMAX", "Rule", "ends"]

_KINDS = ("minmax", "percentile", "mse")
_SAMPLE = 1 << 14  # values of a row that a search looks at, evenly spread over the sorted ones
_WIDTHS = 48  # of a search, from the whole range down to a hundredth, geometrically
_FINE = 8  # steps on each side of the best one, after that
_BLOCK = 1 << 16  # numbers of a search that are in the processor's cache together


@dataclass(frozen=True)
class Rule:
    """How a range is chosen; `percent` of the values are within it, of the kind percentile."""

    kind: str = "minmax"
    percent: float = 100.0

    @classmethod
    def of(cls, text: str) -> Rule:
        """Return what `minmax`, `percentile:99.9` or `mse` says. Raises UsageError."""
        kind, colon, number = text.strip().partition(":")
        if kind not in _KINDS:
            raise UsageError(
                f"no range is called '{text}': minmax, percentile:99.9 or mse."
                f"{suggestion(kind, list(_KINDS))}"
            )
        if kind != "percentile":
            if colon:
                raise UsageError(f"'{text}': {kind} takes no number; write {kind}.")
            return cls(kind)
        try:
            percent = float(number)
        except ValueError:
            percent = -1.0
        if not 50 <= percent <= 100:
            raise UsageError(f"'{text}': a percentile is from 50 to 100, as in percentile:99.9.")
        return cls(kind, percent)

    def __str__(self) -> str:
        return f"percentile:{self.percent:g}" if self.kind == "percentile" else self.kind


MINMAX = Rule()


def ends(rows: Floats, rule: Rule, grid: Grid) -> tuple[Floats, Floats]:
    """Return low and high (R,) of rows (R, n): finite, n at least 1. Zero is always within.

    percentile: symmetric |x| at P; affine the (100 - P)/2 lowest and highest percent are outside.
    mse: the least squared error over the values, or over 16,384 evenly spread ones; never more
    than that of minmax.
    """
    import numpy as np

    if rule.kind == "percentile":
        return _percentile(rows, rule.percent, grid)
    zero = np.float32(0)
    low, high = np.minimum(rows.min(1), zero), np.maximum(rows.max(1), zero)
    return _search(rows, low, high, grid) if rule.kind == "mse" else (low, high)


def _percentile(rows: Floats, percent: float, grid: Grid) -> tuple[Floats, Floats]:
    import numpy as np

    if grid.symmetric:
        high = np.percentile(np.abs(rows), percent, axis=1).astype(np.float32)
        return -high, high
    outside = (100 - percent) / 2
    low, high = np.percentile(rows, [outside, 100 - outside], axis=1).astype(np.float32)
    zero = np.float32(0)
    return np.minimum(low, zero), np.maximum(high, zero)


def _search(rows: Floats, low: Floats, high: Floats, grid: Grid) -> tuple[Floats, Floats]:
    """Return the ends with the least squared error; rows are searched a few at a time."""
    import numpy as np

    found = np.stack([low, high])
    each = max(1, _BLOCK // min(rows.shape[1], _SAMPLE))
    for start in range(0, len(rows), each):
        part = slice(start, start + each)
        least, most = found[:, part]
        best = _best(_sampled(rows[part]), least, most, grid)
        if rows.shape[1] > _SAMPLE:  # the sample may have missed what minmax does not
            worse = _noise(rows[part], best[0], best[1], grid) > _noise(
                rows[part], least, most, grid
            )
            best = np.where(worse, found[:, part], best)
        found[:, part] = best
    return found[0], found[1]


def _sampled(rows: Floats) -> Floats:
    """Return all values of short rows; of long ones evenly spread order statistics, both ends in."""
    import numpy as np

    if rows.shape[1] <= _SAMPLE:
        return rows
    index = np.linspace(0, rows.shape[1] - 1, _SAMPLE).round().astype(np.int64)
    return np.ascontiguousarray(np.sort(rows, axis=1)[:, index])


def _best(rows: Floats, low: Floats, high: Floats, grid: Grid) -> Any:
    """Return the best ends (2, R): both shrunk together, then, affine, each by itself."""
    import numpy as np

    ratio = 0.01 ** (1 / _WIDTHS)
    least = _Least(rows, np.stack([low, high]), grid)
    least.tries([(ratio**k, ratio**k) for k in range(1, _WIDTHS + 1)])
    near = [ratio ** (k / _FINE) for k in range(-_FINE, _FINE + 1) if k]
    if grid.symmetric:
        least.tries([(f, f) for f in near])
        return least.ends
    for _ in range(2):
        least.tries([(f, 1.0) for f in near])
        least.tries([(1.0, f) for f in near])
    return least.ends


class _Least:
    """The best ends (2, R) so far, and their squared errors (R,)."""

    def __init__(self, rows: Floats, ends: Any, grid: Grid) -> None:
        self.rows, self.grid, self.ends = rows, grid, ends
        self.noise = _noise(rows, ends[0], ends[1], grid)

    def tries(self, factors: list[tuple[float, float]]) -> None:
        """Try the ends times each pair of factors; a row keeps what is better for it."""
        import numpy as np

        begun = self.ends
        for pair in factors:
            tried = begun * np.array(pair, np.float32)[:, None]
            noise = _noise(self.rows, tried[0], tried[1], self.grid)
            better = noise < self.noise
            self.ends = np.where(better, tried, self.ends)
            self.noise = np.where(better, noise, self.noise)


def _noise(rows: Floats, low: Floats, high: Floats, grid: Grid) -> Any:
    """Return the squared error of every row (R,)."""
    import numpy as np

    affine = parameters(low, high, grid)
    error = dequantise(quantise(rows, affine), affine)
    with np.errstate(over="ignore"):
        error -= rows
        return np.multiply(error, error, out=error).sum(1, dtype=np.float64)
