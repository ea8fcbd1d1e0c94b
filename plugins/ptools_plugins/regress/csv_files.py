"""Points from a CSV file: which columns, and where it is wrong, by line and column."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ptools.errors import FileError, UsageError, one_line, suggestion
from ptools.files import failed
from ptools_plugins.regress.data import Points, number_of

__all__ = ["read"]

_LARGEST = 100 * 2**20  # bytes
_SEPARATORS = ",;\t|"


class _Row(NamedTuple):
    line: int
    cells: list[str]


class _Column(NamedTuple):
    place: int  # from 0
    name: str

    def __str__(self) -> str:
        return f"column {self.place + 1} ({self.name})"


def read(path: Path, x: Sequence[str] = (), y: str | None = None) -> Points:
    """Return the points of a CSV file; columns by name, or by number from 1.

    Without `y` it is the last column, without `x` they are all the others. A first line that has a
    cell which is no number is the header. Raises FileError with the line and column of what is wrong,
    UsageError for a column that is not there.
    """
    import numpy as np

    rows = _rows(path)
    header = next(rows, None)
    if header is None:
        raise FileError(f"{path} is empty; it needs a line of numbers for every point.")
    named = any(number_of(cell) is None for cell in header.cells)
    names = [
        one_line(cell, 30) if named and cell.strip() else f"col{place}"
        for place, cell in enumerate(header.cells, 1)
    ]
    if len(names) < 2:
        raise FileError(f"{path} has one column, '{names[0]}'; x and y need two.")
    target = _column(y, names, path) if y else _Column(len(names) - 1, names[-1])
    chosen = [_column(one, names, path) for one in x] or [
        _Column(place, name) for place, name in enumerate(names) if place != target.place
    ]
    if target in chosen:
        raise UsageError(f"{path}: {target} is both x and y; choose another --x-col or --y-col.")
    wanted = [*chosen, target]
    first = [] if named else [header]
    table = [_numbers(row, wanted, len(names), path) for part in (first, rows) for row in part]
    if not table:
        raise FileError(f"{path} has a header and no points; it needs a line of numbers for each.")
    values = np.array(table, "float64")
    labels = ["x"] if len(chosen) == 1 and not named else [column.name for column in chosen]
    return Points(values[:, :-1], values[:, -1], labels, target.name if named else "y", str(path))


def _rows(path: Path) -> Iterator[_Row]:
    """Yield the lines that are not blank; the separator is the commonest of the first of them."""
    text = _text(path)
    head = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(_SEPARATORS, key=head.count)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True
    )
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield _Row(reader.line_num, cells)
    except csv.Error as error:
        raise FileError(
            f"{path}, line {reader.line_num}, is no CSV: {one_line(error)}; check its quotes."
        ) from error


def _text(path: Path) -> str:
    if path.is_dir():
        raise FileError(f"{path} is a folder; name a CSV file.")
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise failed("read", path, error) from error
    if len(data) > _LARGEST:
        raise FileError(f"{path} is larger than {_LARGEST >> 20} MiB; give a part of it.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is no UTF-8 text; save it as CSV in UTF-8.") from error


def _column(asked: str, names: list[str], path: Path) -> _Column:
    """Return a column by its name, or else by its number."""
    if asked in names:
        return _Column(names.index(asked), asked)
    if asked.isascii() and asked.isdigit():
        place = int(asked[:9]) - 1
        if 0 <= place < len(names):
            return _Column(place, names[place])
        raise UsageError(f"{path} has no column {asked}: it has {len(names)}.")
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    raise UsageError(
        f"{path} has no column '{one_line(asked, 40)}': it has {shown}.{suggestion(asked, names)}"
    )


def _numbers(row: _Row, wanted: Sequence[_Column], width: int, path: Path) -> list[float]:
    if len(row.cells) != width:
        cells = "1 cell" if len(row.cells) == 1 else f"{len(row.cells)} cells"
        raise FileError(
            f"{path}, line {row.line} has {cells}, the first one has {width};"
            " give every point all of its columns."
        )
    found = []
    for column in wanted:
        cell = row.cells[column.place]
        number = number_of(cell)
        if number is None or not math.isfinite(number):
            shown = f"'{one_line(cell, 40)}' is" if cell.strip() else "an empty cell is"
            what = "no number" if number is None else "not finite"
            raise FileError(
                f"{path}, line {row.line}, {column}: {shown} {what};"
                " correct it or take the line out."
            )
        found.append(number)
    return found
