"""Text -> numbers: "1 2 0; 0 1 2" with | between planes, a size such as 2x5x5, a kernel's name.

    planes(text, option)       (N, rows, columns); every cell is checked, and named where it is wrong
    numbers(text, option)      (N,), for a bias
    size(text)                 5, 3x5, 2x3x5 -> tuple, or None where it is no size
    drawn(shape, low, ...)     whole numbers of a seed
    NAMED                      kernels for pictures

Whole numbers stay whole (int64), so that sums are exact; anything else is float64.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ptools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Array = npt.NDArray[Any]

# The 5x5 input and the 3x3 kernel that many a first lesson on convolutions uses.
INPUT = "1 2 0 3 1; 0 1 2 3 1; 1 2 1 0 0; 5 2 3 1 1; 2 1 0 1 1"
KERNEL = "1 2 1; 0 1 0; 2 1 0"
SMALL = "1 2; 3 4"

NAMED = {
    "edge": "-1 -1 -1; -1 8 -1; -1 -1 -1",
    "sharpen": "0 -1 0; -1 5 -1; 0 -1 0",
    "blur": "1/16 2/16 1/16; 2/16 4/16 2/16; 1/16 2/16 1/16",
    "sobel-x": "-1 0 1; -2 0 2; -1 0 1",
    "sobel-y": "-1 -2 -1; 0 0 0; 1 2 1",
    "emboss": "-2 -1 0; -1 1 1; 0 1 2",
}

_SIDE = 64  # rows, columns and planes: more cannot be looked at
_LARGEST = 1_000_000  # sums of products of these are exact in int64


def size(text: str) -> tuple[int, ...] | None:
    """Return `3x5` as (3, 5), `5` as (5,), and None for anything but a size."""
    if not re.fullmatch(r"[0-9]{1,9}(x[0-9]{1,9}){0,2}", text.strip()):
        return None
    return tuple(int(part) for part in text.strip().split("x"))


def drawn(shape: Sequence[int], low: int, high: int, seed: str) -> Array:
    """Return whole numbers from `low` to `high`, the same for the same seed everywhere."""
    import math
    from random import Random  # numpy.random takes 20 ms to import

    import numpy as np

    if not all(1 <= side <= _SIDE for side in shape):
        text = "x".join(map(str, shape))
        raise UsageError(f"{text}: every size must be from 1 to {_SIDE} to be looked at.")
    random = Random(seed)
    count = math.prod(shape)
    return np.array([random.randint(low, high) for _ in range(count)]).reshape(shape)


def planes(text: str, option: str) -> Array:
    """Return (N, rows, columns) of planes separated by |, rows by ; and cells by spaces or commas.

    Raises UsageError that names the row and the column of the first cell that is wrong.
    """
    import numpy as np

    parts = text[:1_000_000].split("|")
    if len(parts) > _SIDE:
        raise UsageError(f"{option} has {len(parts)} planes; at most {_SIDE} can be looked at.")
    found = []
    for index, part in enumerate(parts):
        where = f"{option}, plane {index + 1}" if len(parts) > 1 else option
        found.append(_plane(part, where))
        if (shape := _shape(found[-1])) != _shape(found[0]):
            raise UsageError(f"{where} is {shape}, plane 1 is {_shape(found[0])}: make them equal.")
    return np.array(found)


def _plane(text: str, where: str) -> list[list[int | float]]:
    lines = [line for line in re.split(r"[;\n]", text) if line.strip(" ,\t\r")]
    rows = [re.split(r"[\s,]+", line.strip(" ,\t\r")) for line in lines]
    if not rows:
        raise UsageError(f'{where} is empty: write numbers, such as "1 2; 3 4".')
    width = len(rows[0])
    if len(rows) > _SIDE or width > _SIDE:
        raise UsageError(
            f"{where} is {len(rows)}x{width}; at most {_SIDE}x{_SIDE} can be looked at."
        )
    found = []
    for y, row in enumerate(rows, 1):
        found.append(
            [_number(cell, f"{where}, row {y}, column {x}") for x, cell in enumerate(row, 1)]
        )
        if len(row) != width:
            what = "is missing" if len(row) < width else "is one too many"
            column = min(len(row), width) + 1
            raise UsageError(
                f"{where}, row {y}, column {column} {what}: row 1 ends at column {width}."
            )
    return found


def _number(text: str, where: str) -> int | float:
    """Return 3, -2.5, 1e-3 or 1/16."""
    value: int | float
    if re.fullmatch(r"[+-]?[0-9]{1,9}", text):
        value = int(text)
    elif match := re.fullmatch(r"([+-]?[0-9]{1,9})/([0-9]{1,9})", text):
        if not int(match[2]):
            raise UsageError(f"{where}: '{text}' divides by 0.")
        value = int(match[1]) / int(match[2])
    elif re.fullmatch(
        r"[+-]?([0-9]{1,20}\.?[0-9]{0,20}|\.[0-9]{1,20})([eE][+-]?[0-9]{1,2})?", text
    ):
        value = float(text)
    else:
        raise UsageError(f"{where}: '{text[:40]}' is no number.")
    if abs(value) > _LARGEST:
        raise UsageError(f"{where}: {text} is too large to be looked at; at most {_LARGEST:,}.")
    return value


def _shape(rows: list[list[int | float]]) -> str:
    return f"{len(rows)}x{len(rows[0])}"


def numbers(text: str, option: str) -> Array:
    """Return (N,) numbers separated by spaces or commas."""
    import numpy as np

    cells = [cell for cell in re.split(r"[\s,]+", text[:10_000].strip()) if cell]
    if not cells:
        raise UsageError(f"{option} is empty: write a number per output channel.")
    return np.array([_number(cell, f"{option}, number {at}") for at, cell in enumerate(cells, 1)])
