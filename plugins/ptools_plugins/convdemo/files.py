"""Pages -> files: a film (GIF), or a sheet with all of them (PNG).

    gif(parts, delay)     the bytes of a GIF; a part is the scenes of one demo
    sheet(parts)          the bytes of a PNG

In the film a frame holds only what changed and is clear elsewhere: less than half the bytes that
comparing whole frames gives, and half the time (GIF89a specification; Pillow packs the pixels).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ptools.errors import UsageError
from ptools_plugins.convdemo.arithmetic import Demo
from ptools_plugins.convdemo.paint import Painter
from ptools_plugins.convdemo.scenes import Scene
from ptools_plugins.convdemo.tiles import CLEAR, EMPTY, palette

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_PIXELS, _FRAMES = 1_500_000_000, 1_000
_LAST = 2.0  # seconds that the end of a part stays


def insist(demos: Sequence[Demo]) -> None:
    """Raise UsageError before the work where there would be too many scenes for a file."""
    count = sum(demo.count for demo in demos)
    if count > _FRAMES:
        raise UsageError(
            f"{count:,} windows are too many for a file (at most {_FRAMES:,}): "
            "take a smaller input or a larger stride."
        )


def _painters(parts: Sequence[Sequence[Scene]]) -> list[Painter]:
    painters = [Painter(part) for part in parts]
    pixels = sum(len(painter.scenes) * painter.width * painter.height for painter in painters)
    if pixels > _PIXELS:
        size = f"{painters[0].width}x{painters[0].height}"
        raise UsageError(
            f"{sum(map(len, parts))} pictures of {size} pixels are too many for a file: "
            "take a smaller input or a larger stride."
        )
    return painters


def gif(parts: Sequence[Sequence[Scene]], delay: float) -> bytes:
    """Return a film that starts again and again, `delay` seconds a scene."""
    from PIL import GifImagePlugin

    painters = _painters(parts)
    size = max(p.width for p in painters), max(p.height for p in painters)
    file = io.BytesIO()
    file.write(b"GIF89a" + struct.pack("<HHBBB", *size, 0xF7, EMPTY, 0) + palette())
    file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")  # for ever
    for painter in painters:
        for index, (page, at) in enumerate(_changes(painter, size)):
            wait = max(delay, _LAST) if index == len(painter.scenes) - 1 else delay
            more = {"duration": round(wait * 1000), "transparency": CLEAR, "disposal": 1}
            for block in GifImagePlugin.getdata(page, at, **more):
                file.write(block)
    file.write(b";")
    return file.getvalue()


def _changes(painter: Painter, size: tuple[int, int]) -> Iterator[tuple[Picture, tuple[int, int]]]:
    """Yield what differs from the scene before, and where it lies."""
    from PIL import Image

    for index, scene in enumerate(painter.scenes):
        page = Image.new("L", size, CLEAR if index else EMPTY)
        box = painter.paint(page, scene)
        yield (page.crop(box), box[:2]) if index else (page, (0, 0))


def sheet(parts: Sequence[Sequence[Scene]]) -> bytes:
    """Return one picture with every scene, in rows that make a page of good proportions."""
    from PIL import Image

    painters = _painters(parts)
    width = max(painter.width for painter in painters)
    area = sum(len(painter.scenes) * painter.height for painter in painters)
    columns = max(1, min(4, *map(len, parts), round((area / width) ** 0.5)))
    heights = [-(-len(painter.scenes) // columns) * painter.height for painter in painters]
    page = Image.new("L", (columns * width, sum(heights)), EMPTY)
    for part, painter in enumerate(painters):
        one = Image.new("L", (width, painter.height), EMPTY)
        for index, scene in enumerate(painter.scenes):
            painter.paint(one, scene)
            down = sum(heights[:part]) + index // columns * painter.height
            page.paste(one, (index % columns * width, down))
    page.putpalette(palette())
    file = io.BytesIO()
    page.save(file, "PNG")
    return file.getvalue()
