"""--sheet: the same images on one PNG, for those who want no TensorBoard.

draw(frames)    a contact sheet as PNG bytes, and how many frames are on it
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

from ptools.data.pictures import PictureError
from ptools.errors import FileError
from ptools_plugins.tb_images import encoding, grids

if TYPE_CHECKING:
    from torch import Tensor

    from ptools_plugins.tb_images.frames import Frame

__all__ = ["Sheet", "draw"]

_CELL = 128  # pixels of a single image
_PIXELS = 60_000_000  # of a whole sheet
_WIDTH = 1600


class Sheet(NamedTuple):
    """A sheet as PNG; `height` and `width` in pixels; `left` is how many frames found no place."""

    content: bytes
    height: int
    width: int
    frames: int
    left: int


def draw(
    frames: Iterable[Frame],
    *,
    small: bool,
    unread: Callable[[PictureError], object] = lambda _: None,
) -> Sheet:
    """Return a sheet of the frames with their captions.

    With `small`, images of their own are fitted into cells of 128 pixels; grids stay as they are, one below
    the other. Raises FileError where no picture can be read.
    """
    tiles: list[Tensor] = []
    breaks: set[int] = set()
    room, left = _PIXELS, 0
    bad: PictureError | None = None
    for frame, made in encoding.ordered(lambda frame: _tile(frame, small), frames):
        if isinstance(made, PictureError):
            unread(made)
            bad = bad or made
            continue
        if frame.begins:
            breaks.add(len(tiles))
        room -= made.shape[1] * made.shape[2]
        if room < 0:
            left += 1
        else:
            tiles.append(made)
    if not tiles:
        raise bad or FileError("there is no image for the sheet; name others.")
    whole = _laid(tiles, breaks, small)
    content = _png(whole)
    return Sheet(content, whole.shape[1], whole.shape[2], len(tiles), left)


def _tile(frame: Frame, small: bool) -> tuple[Frame, Tensor | PictureError]:
    try:
        image = frame.make()
    except PictureError as error:
        return frame, error
    if small:
        image = grids.fitted(image, _CELL, _CELL)
    image = grids.enlarged(image, -(-grids.WIDE // image.shape[2]))
    return frame, grids.labelled(image, frame.caption)


def _laid(tiles: list[Tensor], breaks: set[int], small: bool) -> Tensor:
    """Return the tiles about square if they are of about one size, else line by line, as wide as a screen."""
    height, width = (max(tile.shape[side] for tile in tiles) for side in (1, 2))
    if small:
        columns = min(grids.columns_for(len(tiles), height, width), max(1, _WIDTH // width))
        return grids.grid(tiles, columns, gap=6)
    area = sum(tile.shape[1] * tile.shape[2] for tile in tiles)
    screen = _WIDTH if breaks else min(_WIDTH, int((1.2 * area) ** 0.5))
    return grids.flow(tiles, max(width + 12, screen), breaks=breaks)


def _png(image: Tensor) -> bytes:
    from PIL import Image

    pixels = image.permute(1, 2, 0).numpy()
    content = BytesIO()
    picture = Image.fromarray(pixels[..., 0] if len(image) == 1 else pixels)
    picture.save(content, "PNG", optimize=True)
    return content.getvalue()
