"""Pictures by the thousand: found, labelled by their folders, decoded in threads, in batches.

find(places, classes)          the picture files, each with its label where a folder names it
batches(paths, geometry, n)    uint8 batches in order; what cannot be read comes beside them

At most two batches are in memory: the one that the network has, and the one that is being decoded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ptools.data import pictures
from ptools.data.pictures import Geometry, PictureError
from ptools.errors import FileError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Batch", "Picture", "Skipped", "batches", "find"]


@dataclass(frozen=True)
class Picture:
    """A file, and the index of the class that its folder is called after."""

    path: Path
    label: int | None = None


@dataclass(frozen=True)
class Skipped:
    """A file that is no picture, and why."""

    image: str
    reason: str


@dataclass(frozen=True, eq=False)
class Batch:
    """Pictures that were read, `images` uint8 (B, C, H, W) of them, and what was skipped."""

    pictures: list[Picture] = field(default_factory=list)
    images: list[Tensor] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def find(places: Sequence[Path], classes: Sequence[str]) -> list[Picture]:
    """Return files as they are named, and the pictures below folders in natural order.

    Raises FileError for a folder without pictures.
    """
    index = {name: number for number, name in enumerate(classes)}
    found: list[Picture] = []
    for place in places:
        if not place.is_dir():
            found.append(Picture(place))
            continue
        inside = pictures.find([place])
        if not inside:
            raise FileError(f"{place} has no pictures in it; give a folder that does.")
        found += [Picture(path, _label(path.relative_to(place), index)) for path in inside]
    return found


def _label(path: Path, index: dict[str, int]) -> int | None:
    """Return the class of the innermost folder that is called after one."""
    names = reversed(path.parts[:-1])
    return next((index[name] for name in names if name in index), None)


def batches(found: Sequence[Picture], geometry: Geometry, size: int) -> Iterator[Batch]:
    """Yield the pictures in order, `size` files at a time; the next ones are decoded meanwhile."""
    pool = ThreadPoolExecutor(_cores())

    def submit(some: Sequence[Picture]) -> list[tuple[Picture, Future[Tensor]]]:
        return [(picture, pool.submit(pictures.read, picture.path, geometry)) for picture in some]

    parts = [found[start : start + size] for start in range(0, len(found), size)]
    try:
        waiting = submit(parts[0])
        for following in [*parts[1:], []]:
            ready, waiting = waiting, submit(following)
            yield _batch(ready)
    finally:
        pool.shutdown(cancel_futures=True)


def _batch(ready: Sequence[tuple[Picture, Future[Tensor]]]) -> Batch:
    batch = Batch()
    for picture, future in ready:
        try:
            batch.images.append(future.result())
            batch.pictures.append(picture)
        except PictureError as error:
            batch.skipped.append(Skipped(str(picture.path), error.reason))
    return batch


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity else os.cpu_count() or 1
