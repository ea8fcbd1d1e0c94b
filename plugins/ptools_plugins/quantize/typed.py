"""Numbers as they are typed: "0.1 -1.2 3.4", rows parted by ; or as a nested list.

looks_typed(text)   whether it is numbers, and no file's name
numbers(text)       a float32 array of them
"""

from __future__ import annotations

import re
from typing import Any

from ptools.errors import UsageError, one_line

__all__ = ["looks_typed", "numbers"]

_MOST = 1_000_000
_WORD = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:nan|inf)"
_ROW = re.compile(rf"\s*(?:{_WORD})(?:[\s,]+(?:{_WORD}))*[\s,]*", re.IGNORECASE)


def looks_typed(text: str) -> bool:
    """Return whether it begins as a list, or is numbers alone."""
    if text.lstrip().startswith(("[", "(")):
        return True
    return all(map(_ROW.fullmatch, text.rstrip("; \n").split(";")))


def numbers(text: str) -> Any:
    """Return numbers (n,), rows of them (r, n), or a nested list of any depth. Raises UsageError."""
    import numpy as np

    nested = text.lstrip().startswith(("[", "("))
    try:
        read = _literal(text) if nested else _rows(text)
        with np.errstate(over="ignore"):
            found = np.array(read, np.float64).astype(np.float32)
    except (
        ValueError,
        TypeError,
        SyntaxError,
        MemoryError,
        RecursionError,
        OverflowError,
    ) as error:
        raise UsageError(
            f"'{one_line(text, 60)}' is no list of numbers, each row as long as the others; "
            'write "0.1 -1.2 3.4", or rows: "1 2; 3 4".'
        ) from error
    if not 0 < found.size <= _MOST:
        raise UsageError(f"give 1 to {_MOST:,} numbers, not {found.size:,}; a file may have more.")
    if not np.isfinite(found).all():
        raise UsageError("nan and inf, and what is beyond float32, have no code; leave them out.")
    return found.reshape(1) if found.ndim == 0 else found


def _literal(text: str) -> Any:
    import ast

    read = ast.literal_eval(text.strip())
    waiting = [read]
    while waiting:  # no text, no bool: numpy would make numbers of them
        value = waiting.pop()
        if isinstance(value, (list, tuple)):
            waiting += value
        elif type(value) not in (int, float):
            raise ValueError
    return read


def _rows(text: str) -> list[float] | list[list[float]]:
    rows = [re.split(r"[\s,]+", row.strip(" ,\t\n")) for row in text.rstrip("; \n").split(";")]
    read = [[float(word) for word in row] for row in rows]
    return read if len(read) > 1 else read[0]
