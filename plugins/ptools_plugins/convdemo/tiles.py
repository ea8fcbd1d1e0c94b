"""The pieces that pages are made of: cells, lines of text, signs; and the colours.

Pictures have a palette from the start, as GIF wants it: for every look eight shades from its ground to
its text, then its border. A piece is an image of palette indices, drawn once and kept.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from ptools_plugins.convdemo import scenes

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Colour = tuple[int, int, int]
WHITE, INK, GREY = (255, 255, 255), (31, 41, 55), (107, 114, 128)
# look -> ground, border, text
_LOOKS: dict[int, tuple[Colour, Colour, Colour]] = {
    scenes.PLAIN: ((246, 248, 251), (214, 220, 229), INK),
    scenes.PAD: (WHITE, (233, 236, 241), (160, 168, 180)),
    scenes.MARK: ((207, 226, 255), (59, 125, 221), (17, 50, 105)),
    scenes.MARK_PAD: ((231, 240, 254), (126, 170, 234), (110, 140, 185)),
    scenes.KERNEL: ((240, 235, 250), (205, 190, 232), (76, 45, 130)),
    scenes.BEST: ((255, 214, 110), (214, 150, 20), (92, 60, 0)),
    scenes.NOW: ((170, 227, 190), (34, 150, 84), (6, 70, 34)),
    scenes.DONE: ((234, 247, 239), (192, 226, 206), (30, 88, 54)),
    scenes.BLANK: (WHITE, (226, 230, 236), GREY),
}
_SHADES = 8
_SPACE = 0.28  # between words, as a part of the font's size
TEXT, TITLE = 9, 10  # text on the page
LINE = 22  # height of a line of text, in pixels
EMPTY, CLEAR = 9 * 9, 255  # the page's own colour; nothing at all


@cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def length(text: str, size: int) -> float:
    """Return the width of a text in pixels, word by word: most words come again and again."""
    words = text.split(" ")
    return sum(_length(word, size) for word in words) + (len(words) - 1) * size * _SPACE


@lru_cache(10_000)
def _length(word: str, size: int) -> float:
    return float(_font(size).getlength(word))


def line(text: str, width: int, size: int, look: int) -> Picture:
    """Return a line of text on its ground, put together of its words."""
    from PIL import Image

    page, x = Image.new("L", (width, LINE), _base(look)), 0.0
    for word in text.split(" "):
        page.paste(_word(word, size, look), (round(x), 0))
        x += _length(word, size) + size * _SPACE
    return page


@lru_cache(10_000)
def _word(word: str, size: int, look: int) -> Picture:
    return _text(word, int(_length(word, size)) + 2, LINE, size, look, "lm")


def _text(text: str, width: int, height: int, size: int, look: int, anchor: str) -> Picture:
    from PIL import Image, ImageDraw

    mask = Image.new("L", (width, height), 0)
    x = width / 2 if anchor == "mm" else 0
    ImageDraw.Draw(mask).text((x, height / 2), text, 255, _font(size), anchor)
    return mask.point(_shades(look))


@lru_cache(10_000)
def cell(text: str, look: int, width: int, height: int) -> Picture:
    """Return a cell of a grid with its border; a gap of a pixel is around it."""
    from PIL import ImageDraw

    tile = _text(text, width, height, height // 2, look, "mm")
    draw = ImageDraw.Draw(tile)
    draw.rectangle((0, 0, width - 1, height - 1), outline=EMPTY)
    draw.rectangle((1, 1, width - 2, height - 2), outline=_base(look) + _SHADES)
    return tile


def _base(look: int) -> int:
    return look * (_SHADES + 1)


@cache
def _shades(look: int) -> list[int]:
    """Return the palette index for each of 256 levels of ink."""
    return [_base(look) + (level * (_SHADES - 1) + 127) // 255 for level in range(256)]


@cache
def sign(name: str, width: int, height: int) -> Picture:
    """Return *, = or -> as a picture, drawn four times as large: the font has no arrow."""
    from PIL import Image, ImageDraw

    mask = Image.new("L", (width * 4, height * 4), 0)
    draw, x, y = ImageDraw.Draw(mask), width * 2, height * 2
    lines = {
        "*": [(-18, -18, 18, 18), (-18, 18, 18, -18)],
        "=": [(-20, -9, 20, -9), (-20, 9, 20, 9)],
        "->": [(-32, 0, 32, 0), (12, -20, 32, 0), (12, 20, 32, 0)],
    }[name]
    for left, top, right, bottom in lines:
        draw.line((x + left, y + top, x + right, y + bottom), 255, 7)
    return mask.resize((width, height), Image.Resampling.BOX).point(_shades(TITLE))


@cache
def palette() -> bytes:
    """Return the colours of all pages: 256 times red, green, blue."""
    looks = [*(_LOOKS[look] for look in range(9)), (WHITE, WHITE, INK), (WHITE, WHITE, GREY)]
    found: list[int] = []
    for ground, border, text in looks:
        for shade in range(_SHADES):
            share = shade / (_SHADES - 1)
            found += [round(g + (t - g) * share) for g, t in zip(ground, text, strict=True)]
        found += border
    return bytes(found).ljust(768, b"\xff")
