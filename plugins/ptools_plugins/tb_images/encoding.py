"""Pixels -> the bytes TensorBoard shows: JPEG for photographs, PNG for everything else; in threads.

encode(image)        (bytes, "jpeg" or "png")
is_photo(image)      large enough, and of many colours: an error of JPEG cannot be seen in it
ordered(f, items)    f(item) of every item, in order, by as many threads as there are cores
cores()              how many these are

JPEG is torchvision's, Pillow's where there is none; PNG is zlib's. Both let other threads work meanwhile.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from ptools_plugins.tb_images import grids, png

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["JPEG", "PNG", "cores", "encode", "is_photo", "ordered"]

JPEG, PNG = "jpeg", "png"
QUALITY = 90  # of JPEG
COLOURS = 64  # in about a thousand pixels; masks, drawings and plots have fewer

T = TypeVar("T")
R = TypeVar("R")


def encode(image: Tensor, *, lossless: bool = False) -> tuple[bytes, str]:
    """Return an image, uint8 (1 or 3, H, W), encoded, and its format."""
    if lossless or not is_photo(image):
        return png.encode(image), PNG
    return _jpeg()(image.contiguous()), JPEG


def is_photo(image: Tensor) -> bool:
    """Tell whether uint8 (C, H, W) is a photograph of more than 64 pixels a side, by its colours."""
    height, width = image.shape[1:]
    if min(height, width) <= grids.SMALL:
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
