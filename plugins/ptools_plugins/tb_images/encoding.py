"""Pixels -> the bytes TensorBoard shows: JPEG for photographs, PNG for everything else; in threads.

encode(image)        (bytes, "jpeg" or "png"); as_png(image): the bytes of a PNG
is_photo(image)      large enough, and of many colours: an error of JPEG cannot be seen in it
ordered(f, items)    f(item) of every item, in order, by as many threads as there are cores
cores()              how many these are

JPEG is torchvision's, Pillow's where there is none; PNG is zlib's. Both let other threads work meanwhile.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from ptools_plugins.tb_images import grids

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["JPEG", "PNG", "as_png", "cores", "encode", "is_photo", "ordered"]

JPEG, PNG = "jpeg", "png"
QUALITY = 90  # of JPEG
JPEG_LARGEST = 65_500  # pixels a side, of libjpeg: torchvision crashes beyond it
COLOURS = 64  # in about a thousand pixels; masks, drawings and plots have fewer
_LEVEL = 1
_SUB, _UP = 1, 2  # filters: less the pixel at the left, less the pixel above
_KINDS = {1: 0, 3: 2}  # colour types: grey, RGB

T = TypeVar("T")
R = TypeVar("R")


def encode(image: Tensor, *, lossless: bool = False) -> tuple[bytes, str]:
    """Return an image, uint8 (1 or 3, H, W), encoded, and its format."""
    if lossless or not is_photo(image):
        return as_png(image), PNG
    return _jpeg()(image.contiguous()), JPEG


def is_photo(image: Tensor) -> bool:
    """Tell whether uint8 (C, H, W) is a photograph of more than 64 pixels a side, by its colours.

    What is larger than any JPEG is none.
    """
    height, width = image.shape[1:]
    if min(height, width) <= grids.SMALL or max(height, width) > JPEG_LARGEST:
        return False
    import numpy as np

    step = max(1, int((height * width / 1024) ** 0.5))
    some = image[:, ::step, ::step].numpy().astype(np.int32)  # (C, h, w)
    colours = some[0] if len(some) == 1 else (some[0] << 16) + (some[1] << 8) + some[2]
    in_order = np.sort(colours, axis=None)
    return int(np.count_nonzero(np.diff(in_order))) >= COLOURS


@cache
def _jpeg() -> Callable[[Tensor], bytes]:
    """Return how to make a JPEG."""
    import torch

    if _library():
        encoder: Any = torch.ops.image.encode_jpeg.default
        return lambda image: encoder(image, QUALITY).numpy().tobytes()
    return _by_pillow


def _library() -> bool:
    """Load torchvision's encoder alone, in 3 ms: importing torchvision would cost a second."""
    from importlib.util import find_spec
    from pathlib import Path

    import torch

    spec = find_spec("torchvision")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        for file in [*Path(folder).glob("image*.so"), *Path(folder).glob("image*.pyd")]:
            with suppress(OSError, RuntimeError):
                torch.ops.load_library(str(file))  # type: ignore[no-untyped-call]
                return hasattr(torch.ops.image, "encode_jpeg")
    return False


def _by_pillow(image: Tensor) -> bytes:
    from io import BytesIO

    from PIL import Image

    pixels = image.permute(1, 2, 0).numpy()
    content = BytesIO()
    picture = Image.fromarray(pixels[..., 0] if len(image) == 1 else pixels)
    picture.save(content, "JPEG", quality=QUALITY)
    return content.getvalue()


# -- PNG --------------------------------------------------------------------------------------------


def as_png(image: Tensor) -> bytes:
    """Return uint8 (1 or 3, H, W) as the bytes of a PNG file.

    One filter for the whole image, and zlib's run-length strategy: at equal size this takes 0.5 of the
    time of libpng at level 1 (torchvision's, Pillow's) on photographs, 0.3 on masks. libpng tries five
    filters on every row, and matches at a distance hardly ever occur in photographs.

    Source: PNG specification, W3C, third edition: 5 (chunks), 9 (filters), 10 (compression).
    """
    channels, height, width = image.shape
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS, 8, zlib.Z_RLE)
    data = packer.compress(_filtered(image)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, _KINDS[channels], 0, 0, 0)
    chunks = (_chunk(b"IHDR", head), _chunk(b"IDAT", data), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    check = zlib.crc32(data, zlib.crc32(name))
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)


def _filtered(image: Tensor) -> bytes:
    """Return the rows, each behind its filter: _UP where most pixels repeat the row above, else _SUB."""
    import numpy as np

    channels, height, width = image.shape
    pixels = image.permute(1, 2, 0).numpy().reshape(height, width * channels)
    rows = np.empty((height, width * channels + 1), dtype=np.uint8)
    np.subtract(pixels[1:], pixels[:-1], out=rows[1:, 1:])
    if 2 * np.count_nonzero(rows[1:, 1:]) < pixels.size:
        rows[:, 0] = _UP
        rows[0, 1:] = pixels[0]
    else:
        rows[:, 0] = _SUB
        rows[:, 1 : 1 + channels] = pixels[:, :channels]
        np.subtract(pixels[:, channels:], pixels[:, :-channels], out=rows[:, 1 + channels :])
    return rows.tobytes()


# -- threads -----------------------------------------------------------------------------------------


def ordered(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield function(item) of every item, in their order.

    At most four for every thread are being made or wait, however many there are, so that memory holds
    few of them. The first exception, of `function` or `items`, is raised, and what waits is dropped.
    """
    threads = cores()
    pool = ThreadPoolExecutor(threads)
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= 4 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity else os.cpu_count() or 1
