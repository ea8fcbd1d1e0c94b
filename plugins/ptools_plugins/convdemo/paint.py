"""Scenes painted: pages of palette indices, for files.py to make pictures of.

    Painter(scenes)       sizes for all of them, so that nothing jumps; paint() paints one

What looks as it did in the scene before is not painted again: a film of nine windows takes some
milliseconds. What cells and text look like is in tiles.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ptools_plugins.convdemo import tiles
from ptools_plugins.convdemo.scenes import Grid, Scene

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Box = tuple[int, int, int, int]
Key = tuple[int | str, ...]  # what stands at a place: a line of text, a sign, a grid
_WIDEST, _MARGIN, _GAP = 1_240, 16, 14  # pixels


class Place(NamedTuple):
    """Where a grid, or a sign, stands on the page."""

    x: int
    y: int
    width: int  # of a cell, or of the sign
    height: int


class Painter:
    """Paints scenes that are alike (those of one demo) on pages of one size."""

    def __init__(self, shown: Sequence[Scene]) -> None:
        self.scenes = shown
        self._before: dict[Key, object] = {}
        self._box: Box | None = None
        longest = self._longest()
        for self.cell in (30, 26, 22, 20):
            self.places, self.body, self.width, wrapped = self._lay_out(longest)
            if not wrapped:
                break
        self.content = self.width - 2 * _MARGIN
        texts = [[*scene.heading.split("\n"), *scene.notes] for scene in shown]
        self.height = self.body + max(map(len, texts)) * tiles.LINE + 2 * _MARGIN + 10
        widest = tiles.length(max((text for some in texts for text in some), key=len), 15)
        self.width = max(self.width, min(int(widest) + 2 * _MARGIN + 2, _WIDEST))

    # -- sizes --------------------------------------------------------------------------------------

    def _longest(self) -> dict[tuple[int, int], str]:
        """Return the longest text in each grid, over all scenes."""
        found: dict[tuple[int, int], str] = {}
        for scene in self.scenes:
            for r, row in enumerate(scene.rows):
                for i, item in enumerate(row):
                    if not isinstance(item, str):
                        here = max((c.text for line in item.cells for c in line), key=len)
                        found[r, i] = max(found.get((r, i), ""), here, key=len)
        return found

    def _lay_out(
        self, longest: dict[tuple[int, int], str]
    ) -> tuple[dict[tuple[int, int], Place], int, int, bool]:
        """Return every item's place, the height of all rows, the page's width, and if rows broke."""
        places: dict[tuple[int, int], Place] = {}
        font, top, widest, wrapped = self.cell // 2, 0, 0, False
        for r, row in enumerate(self.scenes[0].rows):
            x, tall, middle = _MARGIN, 0, self._middle(row)
            for i, item in enumerate(row):
                if isinstance(item, str):
                    places[r, i] = Place(x, top + middle, 34, self.cell)
                    x, widest = x + 34, max(widest, x + 34)
                    continue
                if i and not isinstance(row[i - 1], str):
                    x += 34
                cell = max(self.cell, int(tiles.length(longest[r, i], font)) + 12)
                width = max(cell * len(item.cells[0]), int(tiles.length(item.title, 14)) + 4)
                if x > _MARGIN + 34 and x + width > _WIDEST:  # go on below
                    x, top, tall, wrapped = _MARGIN + 34, top + tall + _GAP, 0, True
                    if i and isinstance(row[i - 1], str):
                        places[r, i - 1] = Place(_MARGIN, top + middle, 34, self.cell)
                places[r, i] = Place(x, top, cell, self.cell)
                x, tall = x + width, max(tall, 24 + self.cell * len(item.cells))
                widest = max(widest, x)
            top += tall + _GAP
        return places, top - _GAP, widest + _MARGIN, wrapped

    def _middle(self, row: list[Grid | str]) -> int:
        """Where signs stand: in the middle of the smallest grid."""
        least = min(len(item.cells) for item in row if not isinstance(item, str))
        return 24 + (least - 1) * self.cell // 2

    # -- painting -------------------------------------------------------------------------------------

    def paint(self, page: Picture, scene: Scene) -> Box:
        """Paint what is not as in the scene before; return the box around it."""
        self._page, self._box = page, None
        top = self._heading(scene)
        for r, row in enumerate(scene.rows):
            for i, item in enumerate(row):
                place = self.places[r, i]
                place = place._replace(y=place.y + top)
                if isinstance(item, str):
                    self._sign(place, item, (r, i))
                else:
                    self._grid(place, item, (r, i))
        for index in range(max(len(other.notes) for other in self.scenes)):
            text = scene.notes[index] if index < len(scene.notes) else ""
            at = (_MARGIN, top + self.body + 10 + index * tiles.LINE)
            self._write(text, at, self.width - _MARGIN, 15, tiles.TEXT, ("note", index))
        return self._box or (0, 0, 1, 1)

    def _heading(self, scene: Scene) -> int:
        for index, line in enumerate(scene.heading.split("\n")):
            at = (_MARGIN, _MARGIN + index * tiles.LINE)
            width = self.width - _MARGIN
            self._write(
                line, at, width, 15, tiles.TITLE if index else tiles.TEXT, ("heading", index)
            )
        return _MARGIN + len(scene.heading.split("\n")) * tiles.LINE + 4

    def _put(self, tile: Picture, x: int, y: int) -> None:
        self._page.paste(tile, (x, y))
        right, bottom = x + tile.size[0], y + tile.size[1]
        box = self._box or (x, y, right, bottom)
        self._box = min(box[0], x), min(box[1], y), max(box[2], right), max(box[3], bottom)

    def _write(
        self, text: str, at: tuple[int, int], width: int, size: int, look: int, key: Key
    ) -> None:
        """Write a line where another, or none, stood before."""
        before = self._before.get(key, "")
        if before == text:
            return
        self._before[key] = text
        text = self._short(text, size, width)
        wide = max(
            tiles.length(text, size), tiles.length(self._short(str(before), size, width), size)
        )
        self._put(tiles.line(text, min(int(wide) + 4, width), size, look), *at)

    def _short(self, text: str, size: int, width: int) -> str:
        """Cut what is wider than the page: a sum of many products."""
        while tiles.length(text, size) > width and " " in text:
            head, _, tail = text.rpartition(" = ")
            head = head.removesuffix(" + ...").rpartition(" ")[0].rstrip("+- ")
            text = f"{head} + ... = {tail}" if head and tail else text[: len(text) * 9 // 10]
        return text

    def _sign(self, place: Place, sign: str, key: Key) -> None:
        if self._before.get(key) == sign:
            return
        self._before[key] = sign
        self._put(tiles.sign(sign, place.width, place.height), place.x, place.y)

    def _grid(self, place: Place, grid: Grid, key: tuple[int, int]) -> None:
        width = int(tiles.length(grid.title, 14)) + 4
        self._write(grid.title, (place.x + 1, place.y), width, 14, tiles.TITLE, key)
        before: Any = self._before.get((*key, "cells"), [[None] * len(row) for row in grid.cells])
        self._before[(*key, "cells")] = grid.cells
        for y, (row, old) in enumerate(zip(grid.cells, before, strict=True)):
            if row == old:
                continue
            for x, cell in enumerate(row):
                if cell != old[x]:
                    tile = tiles.cell(*cell, place.width, place.height)
                    self._put(tile, place.x + x * place.width, place.y + 24 + y * place.height)
