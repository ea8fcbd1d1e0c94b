"""Scenes as lines of text, at most so many columns wide.

    Ink             with colour and Unicode, or plain ASCII
    lines(scene)    heading, grids, notes
    table(grid)     a grid alone

Without colour brackets mark the window: [1  2]  3. A grid that is too wide or too tall is cut to what
lies around its marked cells; dots say so.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from ptools import output
from ptools_plugins.convdemo import scenes
from ptools_plugins.convdemo.scenes import Cell, Grid, Scene

_STYLES = {
    scenes.PAD: "2",
    scenes.MARK: "30;46",
    scenes.MARK_PAD: "2;30;46",
    scenes.KERNEL: "35",
    scenes.BEST: "1;30;43",
    scenes.NOW: "1;30;42",
    scenes.DONE: "32",
    scenes.BLANK: "2",
}
_UNICODE = {"*": "×", "->": "→"}
_TALLEST, _CUT = 22, 9  # a terminal has 24 lines; what is cut is cut to a neighbourhood


class Ink(NamedTuple):
    """How to draw: the width in columns, colours, Unicode."""

    width: int = 80
    colour: bool = False
    unicode: bool = False

    def sign(self, text: str) -> str:
        return _UNICODE.get(text, text) if self.unicode else text

    @property
    def rest(self) -> str:
        return "…" if self.unicode else ".."

    @property
    def blank(self) -> str:
        return "·" if self.unicode else "."


def ink() -> Ink:
    """Return the ink that fits standard output: colour on a terminal, unless NO_COLOR is set."""
    import shutil

    if not sys.stdout.isatty():
        return Ink()
    width = max(20, shutil.get_terminal_size().columns)
    if not output.coloured():
        return Ink(width)
    return Ink(width, True, "utf" in (sys.stdout.encoding or "").lower())


class Block(NamedTuple):
    """Lines of one printed width; `lines` may hold colour codes."""

    width: int
    lines: list[str]


def lines(scene: Scene, ink: Ink, *, again: bool = False) -> list[str]:
    """Return a scene as lines; `again`: the layer was named before."""
    heading = scene.heading.split("\n")[1 if again else 0 :]
    found = [part for line in heading for part in _wrapped(line, ink)]
    for row in scene.rows:
        found += _row(row, ink)
    found += [part for note in scene.notes for part in _wrapped(note, ink)]
    return found


def _wrapped(text: str, ink: Ink) -> list[str]:
    for sign in _UNICODE:
        text = text.replace(sign, ink.sign(sign)) if sign != "*" else text
    return textwrap.wrap(text, ink.width - 1, subsequent_indent="    ") or [""]


def _row(items: Sequence[Grid | str], ink: Ink) -> list[str]:
    """Lay grids side by side, and go on below where the width ends."""
    most = None if all(_whole(item, ink) for item in items) else _CUT
    found: list[str] = []
    line: list[Block | str] = []
    used, sign = 0, ""
    for item in items:
        if isinstance(item, str):
            sign = f" {ink.sign(item)} "
            continue
        block = table(item, ink, most)
        sign = sign or ("   " if line else "")
        if line and used + len(sign) + block.width > ink.width - 1:
            found += _beside(line)
            line, used = [], 0
        line += [sign, block]
        used, sign = used + len(sign) + block.width, ""
    return found + _beside(line)


def _whole(item: Grid | str, ink: Ink) -> bool:
    """Whether a grid is small enough to be seen as it is; one without marks has no middle to cut to."""
    if isinstance(item, str) or not any(c.look in scenes.MARKED for row in item.cells for c in row):
        return True
    width = max(len(cell.text) for row in item.cells for cell in row)
    return len(item.cells) <= _TALLEST and len(item.cells[0]) * (width + 1) + 6 <= ink.width


def _beside(parts: Sequence[Block | str]) -> list[str]:
    """Join blocks, and the signs before them in the middle of the smallest."""
    heights = [len(part.lines) for part in parts if isinstance(part, Block)]
    middle = (min(heights, default=0) + 1) // 2
    rows = []
    for index in range(max(heights, default=0)):
        text = ""
        for part in parts:
            if isinstance(part, str):
                text += part if index == middle else " " * len(part)
            else:
                text += part.lines[index] if index < len(part.lines) else " " * part.width
        rows.append(text.rstrip())
    return rows


def table(grid: Grid, ink: Ink, most: int | None = None) -> Block:
    """Return a grid: its title, then its rows, cut to what fits or to `most` rows and columns."""
    width = max(len(cell.text) for row in grid.cells for cell in row)
    rows = _cut(grid.cells, most or _TALLEST, ink)
    if len(rows) < len(grid.cells) or most or len(rows[0]) * (width + 1) > ink.width - 6:
        width = max(width, len(ink.rest))
    room = min(most or len(rows[0]), (ink.width - 6) // (width + 1))
    turned = [list(column) for column in zip(*rows, strict=True)]
    cells = [list(row) for row in zip(*_cut(turned, room, ink), strict=True)]
    width = max(1, *(len(cell.text) for row in cells for cell in row))
    frame = (
        grid.frame
        if len(cells) == len(grid.cells) and len(cells[0]) == len(grid.cells[0])
        else None
    )
    total = max(len(grid.title), len(cells[0]) * (width + 1) + 1)
    found = [grid.title.ljust(total)]
    for y, row in enumerate(cells):
        if frame and y == frame[0] and y > 0:
            found.append(_rule(frame, width, ink, top=True).ljust(total))
        text = _line(row, width, ink, frame if frame and frame[0] <= y <= frame[1] else None)
        found.append(text + " " * (total - len(row) * (width + 1) - 1))
        if frame and y == frame[1] and y < len(cells) - 1:
            found.append(_rule(frame, width, ink, top=False).ljust(total))
    return Block(total, found)


def _rule(frame: tuple[int, int, int, int], width: int, ink: Ink, *, top: bool) -> str:
    """The frame's upper or lower side."""
    left, right = frame[2] * (width + 1), (frame[3] + 1) * (width + 1)
    corners, bar = ("+", "+"), "-"
    if ink.unicode:
        corners, bar = ("┌", "┐") if top else ("└", "┘"), "─"
    return " " * left + corners[0] + bar * (right - left - 1) + corners[1]


def _line(
    row: Sequence[Cell], width: int, ink: Ink, frame: tuple[int, int, int, int] | None
) -> str:
    """One row: a separator before every cell and one at the end."""
    text = ""
    for x in range(len(row) + 1):
        before = x > 0 and row[x - 1].look in scenes.MARKED
        here = x < len(row) and row[x].look in scenes.MARKED
        edge = frame is not None and ((x == frame[2] and x > 0) or (x == frame[3] + 1 < len(row)))
        separator = ("│" if ink.unicode else "|") if edge else " "
        if not ink.colour and before != here:
            separator = "[" if here else "]"
        within = before and here and not edge
        text += _painted(separator, row[x - 1].look, ink) if within else separator
        if x < len(row):
            blank = row[x].text == "" and row[x].look == scenes.BLANK
            cell = (ink.blank if blank else row[x].text).rjust(width)
            text += _painted(cell, row[x].look, ink)
    return text


def _painted(text: str, look: int, ink: Ink) -> str:
    style = _STYLES.get(look) if ink.colour else None
    return f"\x1b[{style}m{text}\x1b[0m" if style else text


def _cut(rows: list[list[Cell]], most: int, ink: Ink) -> list[list[Cell]]:
    """Return at most `most` rows around the marked ones; a row of dots stands for those left out."""
    most = max(most, 3)
    if len(rows) <= most:
        return rows
    marked = [i for i, row in enumerate(rows) if any(c.look in scenes.MARKED for c in row)] or [0]
    middle = (marked[0] + marked[-1]) // 2
    first = min(max(0, middle - most // 2), len(rows) - most)
    found = rows[first : first + most]
    dots = [Cell(ink.rest, scenes.PAD)] * len(rows[0])
    if first > 0:
        found[0] = dots
    if first + most < len(rows):
        found[-1] = dots
    return found
