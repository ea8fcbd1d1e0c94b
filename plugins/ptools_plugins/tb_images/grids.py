"""Images beside each other in one: batches, variants, the channels of a layer. All are uint8 (C, H, W).

grid(tiles)            tiles in rows, a line of `gap` white pixels between them
flow(tiles, width)     tiles of any sizes, line by line
labelled(tile, text)   a tile with a line of text below it
fitted(tile, H, W)     a tile made smaller where it is larger than that; larger, but by whole pixels
columns_for(count)     how many columns make it about square
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "LARGEST",
    "WIDE",
    "columns_for",
    "enlarged",
    "fitted",
    "flow",
    "grid",
    "labelled",
    "strip",
]

SMALL = 64
GAP = 2
WIDE = 48  # pixels a tile needs for a readable label
LARGEST = (
    8192  # pixels a side of a grid may have: more than any screen, less than any browser's limit
)
_TEXT = 11  # pixels of the letters
_LINE = 15  # pixels of the strip they stand in


def columns_for(count: int, height: int = 1, width: int = 1) -> int:
    """Return in how many columns `count` tiles of a size make a picture about as wide as high."""
    return max(1, min(count, round((count * height / max(width, 1)) ** 0.5) or 1))


def are_small(tiles: Sequence[Tensor]) -> bool:
    """Tell whether no tile is larger than 64 pixels: then every pixel may matter."""
    return all(max(tile.shape[1:]) <= SMALL for tile in tiles)


def grid(
    tiles: Sequence[Tensor], columns: int | None = None, *, gap: int | None = None, shade: int = 255
) -> Tensor:
    """Return tiles (1 or 3, h, w) as one image, row by row, each in the middle of its cell.

    Cells are as large as the largest tile. The default `gap` is 2 pixels, 1 between tiles below 16.
    """
    import torch

    height, width = (max(tile.shape[side] for tile in tiles) for side in (1, 2))
    channels = max(len(tile) for tile in tiles)
    columns = columns or columns_for(len(tiles), height, width)
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    if gap is None:
        gap = GAP if max(height, width) >= 16 else 1
    size = channels, rows * (height + gap) + gap, columns * (width + gap) + gap
    whole = torch.full(size, shade, dtype=torch.uint8)
    for place, tile in enumerate(tiles):
        row, column = divmod(place, columns)
        top = gap + row * (height + gap) + (height - tile.shape[1]) // 2
        left = gap + column * (width + gap) + (width - tile.shape[2]) // 2
        whole[:, top : top + tile.shape[1], left : left + tile.shape[2]] = tile
    return whole


def flow(
    tiles: Sequence[Tensor], width: int, *, gap: int = 6, breaks: Collection[int] = ()
) -> Tensor:
    """Return tiles of any sizes in lines, as words in a paragraph `width` pixels wide.

    A tile may be wider. Those at the places in `breaks` begin a new line.
    """
    import torch

    lines: list[list[Tensor]] = [[]]
    used = gap
    for place, tile in enumerate(tiles):
        if lines[-1] and (place in breaks or used + tile.shape[2] + gap > width):
            lines.append([])
            used = gap
        lines[-1].append(tile)
        used += tile.shape[2] + gap
    wide = max(sum(t.shape[2] + gap for t in line) + gap for line in lines)
    heights = [max(tile.shape[1] for tile in line) for line in lines]
    channels = max(len(tile) for tile in tiles)
    whole = torch.full(
        (channels, sum(heights) + gap * (len(lines) + 1), wide), 255, dtype=torch.uint8
    )
    top = gap
    for line, height in zip(lines, heights, strict=True):
        left = gap
        for tile in line:
            whole[:, top : top + tile.shape[1], left : left + tile.shape[2]] = tile
            left += tile.shape[2] + gap
        top += height + gap
    return whole


def enlarged(tile: Tensor, factor: int) -> Tensor:
    """Return a tile `factor` times as large, every pixel a square."""
    if factor <= 1:
        return tile
    return tile.repeat_interleave(factor, 1).repeat_interleave(factor, 2)


def fitted(tile: Tensor, height: int, width: int) -> Tensor:
    """Return a tile that fits into a size: smaller by antialiasing, or larger by whole pixels."""
    h, w = tile.shape[1:]
    if h > height or w > width:
        from torch.nn.functional import interpolate

        factor = min(height / h, width / w)
        size = max(1, int(h * factor)), max(1, int(w * factor))
        return interpolate(tile[None], size=size, mode="bilinear", antialias=True)[0]
    return enlarged(tile, min(height // h, width // w))


def labelled(tile: Tensor, text: str | None) -> Tensor:
    """Return a tile with `text` below it, cut to its width; None leaves room, so that tiles align."""
    import torch

    line = strip(text or "", tile.shape[2])
    return torch.cat([tile, line.expand(len(tile), -1, -1)], 1)


@lru_cache(4096)
def strip(text: str, width: int) -> Tensor:
    """Return a line of text, black on white, in the middle: uint8 (1, 15, width)."""
    import numpy as np
    import torch
    from PIL import Image, ImageDraw

    text = "".join(c if c.isprintable() else "?" for c in text[:200])
    font = _font()
    while text and font.getlength(text) > width:
        text = text[:-3] + ".." if len(text) > 3 else text[:-1]
    picture = Image.new("L", (width, _LINE), 255)
    left = (width - font.getlength(text)) // 2
    ImageDraw.Draw(picture).text((left, _LINE // 2), text, fill=0, font=font, anchor="lm")
    return torch.from_numpy(np.array(picture))[None]


@cache
def _font() -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(_TEXT)
