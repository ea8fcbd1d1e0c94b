"""Curves out of characters: Braille dots, eight to a cell, or plain ASCII where they cannot be shown.

canvas = Canvas(60, 12, braille=True)
canvas.line(xs, ys, colour=0)      in units of the unit square, (0, 0) at the lower left
canvas.mark(x, y, "o", colour=1)   a character that lies over the dots
canvas.rows(colours=True)          the lines of text
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["COLOURS", "Canvas"]

# Unicode, chapter Braille Patterns: dots of a cell, 2 across and 4 down, as bits above U+2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
COLOURS = (31, 34, 32, 35, 36, 33, 91, 94)  # SGR: red, blue, green, magenta, cyan, yellow, ...


class Canvas:
    """A grid of cells, `width` x `height`; a later curve has the colour where two share a cell."""

    def __init__(self, width: int, height: int, *, braille: bool) -> None:
        self.width, self.height, self.braille = width, height, braille
        self.across, self.down = (2, 4) if braille else (1, 1)
        self.bits = [[0] * width for _ in range(height)]
        self.marks: list[list[str]] = [[""] * width for _ in range(height)]
        self.colours: list[list[int | None]] = [[None] * width for _ in range(height)]

    def line(
        self, xs: Sequence[float], ys: Sequence[float], colour: int | None, stroke: str = "*"
    ) -> None:
        """Draw straight lines from point to point; what leaves the unit square is cut off."""
        right, top = self.width * self.across - 1, self.height * self.down - 1
        ends = list(zip(xs, ys, strict=True))
        for first, second in zip(ends, ends[1:] or ends, strict=False):
            seen = _visible(first, second)
            if seen is None:
                continue
            (x0, y0), (x1, y1) = ((x * right, (1 - y) * top) for x, y in seen)
            steps = max(1, round(max(abs(x1 - x0), abs(y1 - y0))))
            for step in range(steps + 1):
                part = step / steps
                x, y = x0 + part * (x1 - x0), y0 + part * (y1 - y0)
                self._dot(round(x), round(y), colour, stroke)

    def _dot(self, x: int, y: int, colour: int | None, stroke: str) -> None:
        column, row = x // self.across, y // self.down
        if not (0 <= column < self.width and 0 <= row < self.height):
            return
        if self.braille:
            self.bits[row][column] |= _DOTS[y % 4][x % 2]
        else:
            self.marks[row][column] = stroke
        self.colours[row][column] = colour

    def mark(self, x: float, y: float, character: str, colour: int | None) -> None:
        """Put a character over a cell."""
        column = round(x * (self.width - 1))
        row = round((1 - y) * (self.height - 1))
        if 0 <= column < self.width and 0 <= row < self.height:
            self.marks[row][column] = character
            self.colours[row][column] = colour

    def rows(self, *, colours: bool) -> list[str]:
        """Return the lines, from the top, coloured by SGR codes where `colours`."""
        return [self._row(row, colours) for row in range(self.height)]

    def _row(self, row: int, colours: bool) -> str:
        text, current = "", None
        for column in range(self.width):
            bits, mark = self.bits[row][column], self.marks[row][column]
            cell = mark or (chr(0x2800 + bits) if bits else " ")
            colour = self.colours[row][column] if colours and cell != " " else current
            if colour != current:
                text += "\x1b[0m" if colour is None else f"\x1b[{COLOURS[colour % 8]}m"
                current = colour
            text += cell
        return text.rstrip() + ("\x1b[0m" if current is not None else "")


Point = tuple[float, float]


def _visible(a: Point, b: Point) -> tuple[Point, Point] | None:
    """Return the part of a segment within the unit square; Liang and Barsky, 1984."""
    enter, leave = 0.0, 1.0
    for start, end in zip(a, b, strict=True):
        way = end - start
        for sign, room in ((-1, start), (1, 1 - start)):
            if sign * way == 0:
                if room < 0:
                    return None
            elif sign * way < 0:
                enter = max(enter, room / (sign * way))
            else:
                leave = min(leave, room / (sign * way))
    if not enter <= leave:
        return None
    (x, y), (dx, dy) = a, (b[0] - a[0], b[1] - a[1])
    return (x + enter * dx, y + enter * dy), (x + leave * dx, y + leave * dy)
