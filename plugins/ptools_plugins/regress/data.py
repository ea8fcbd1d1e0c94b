"""The points: given on the command line, made of a line and noise, or read from a CSV file.

given(columns, y)       --x 1,2,3 --y 2,4,6
line(...)               --line 2,0.5 --points 50 --noise 1
csv_file(...)           --csv FILE --x-col --y-col     (csv_files.py)
standardized(points)    every column with mean 0 and standard deviation 1
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from ptools.errors import UsageError

__all__ = ["Points", "given", "line", "numbers", "standardized"]

_LARGEST_POINTS = 1_000_000


class Points(NamedTuple):
    """x (n, columns) and y (n,), float64 and finite."""

    x: Any
    y: Any
    columns: list[str]
    target: str
    source: str

    @property
    def size(self) -> int:
        """How many points."""
        return len(self.y)


def numbers(text: str, what: str) -> list[float]:
    """Return the numbers of `1,2,3`; raises UsageError with the place of one that is none."""
    found = []
    for place, word in enumerate(text.replace(";", ",").split(","), 1):
        number = number_of(word)
        if number is None:
            shown = f"'{word.strip()}'" if word.strip() else "nothing"
            raise UsageError(f"{what}, value {place}: {shown} is no number; write 1,2,3.")
        if not math.isfinite(number):
            raise UsageError(f"{what}, value {place}: {word.strip()} is not finite; leave it out.")
        found.append(number)
    return found


def number_of(word: str) -> float | None:
    """Return a number as people write it; Python's 1_000 and digits of other scripts are none."""
    word = word.strip()
    if not word.isascii() or "_" in word:
        return None
    try:
        return float(word)
    except ValueError:
        return None


def given(columns: Sequence[Sequence[float]], y: Sequence[float]) -> Points:
    """Return points from columns of x and y, all of one length."""
    import numpy as np

    names = ["x"] if len(columns) == 1 else [f"x{number}" for number in range(1, len(columns) + 1)]
    for name, column in zip(names, columns, strict=True):
        if len(column) != len(y):
            raise UsageError(
                f"{name} has {_values(len(column))} and y has {len(y)}: give one y for every x."
            )
    return Points(np.array(columns, "float64").T, np.array(y, "float64"), names, "y", "given")


def _values(count: int) -> str:
    return f"{count} value" if count == 1 else f"{count} values"


def line(w: float, b: float, *, points: int, noise: float, seed: int) -> Points:
    """Return points y = w*x + b + noise*N(0, 1), x uniform from 0 to 10, in no order."""
    import numpy as np

    if points > _LARGEST_POINTS:
        raise UsageError(f"--points {points}: at most {_LARGEST_POINTS:,}.")
    draw = np.random.default_rng([seed, 1])  # not the numbers the first theta is drawn from
    x = draw.uniform(0, 10, points)
    y = w * x + b + noise * draw.standard_normal(points)
    source = f"made: y = {w:g}*x + {b:g}, noise {noise:g}, seed {seed}"
    return Points(x[:, None], y, ["x"], "y", source)


class Scale(NamedTuple):
    """What standardizing took off the features: phi = (raw - mean) / deviation."""

    mean: Any
    deviation: Any


def standardized(phi: Any, *, centre: bool) -> tuple[Any, Scale]:
    """Return features (n, f) with deviation 1 and, where the model has a bias, with mean 0."""
    import numpy as np

    size = abs(phi).max(0)
    size = np.where(size > 0, size, 1.0)  # the square of a large number is more than inf
    deviation = (phi / size).std(0) * size
    mean = (phi / size).mean(0) * size if centre else np.zeros_like(deviation)
    deviation = np.where(deviation > 0, deviation, 1.0)
    return (phi - mean) / deviation, Scale(mean, deviation)
