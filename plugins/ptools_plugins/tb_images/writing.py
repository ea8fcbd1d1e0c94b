"""Frames -> an event file for TensorBoard, encoded in threads, written as they come, whole or not at all.

write(path, frames, ...)   the file; returns its Tags and what could not be read
Tag                        what was written at the steps of one tag
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from ptools import files
from ptools.data.pictures import PictureError
from ptools.errors import FileError
from ptools_plugins.tb_images import encoding, events

if TYPE_CHECKING:
    from collections.abc import Callable

    from ptools_plugins.tb_images.frames import Frame
    from ptools_plugins.tb_images.scalars import Curve

__all__ = ["Tag", "write"]

_TOGETHER = 2**16  # numbers of the images that a thread is given at once: a hand-over costs 0.03 ms


@dataclass
class Tag:
    """What is at one tag: how many steps, the size of the first image, its format, bytes in the file."""

    name: str
    steps: int = 0
    height: int = 0
    width: int = 0
    format: str = ""
    bytes: int = 0

    def document(self) -> dict[str, Any]:
        """Return it for JSON; a curve has no size."""
        plain = {"tag": self.name, "steps": self.steps, "format": self.format, "bytes": self.bytes}
        size = {"height": self.height, "width": self.width} if self.height else {}
        return plain | size


class _Done(NamedTuple):
    tag: str
    format: str
    shape: tuple[int, ...]
    record: bytes


def write(
    path: Path,
    frames: Iterable[Frame],
    *,
    curves: Sequence[Curve] = (),
    steps: int = 0,
    lossless: bool = False,
    unread: Callable[[PictureError], object] = lambda _: None,
    watch: Callable[[int], object] = lambda _: None,
    force: bool = False,
) -> dict[str, Tag]:
    """Write every frame and curve; `unread` is told of pictures that cannot be read.

    `watch` is called with the number of images written. Raises FileError where the disk says no, and
    where no picture could be read; then there is no file.
    """
    tags: dict[str, Tag] = {}
    bad: list[PictureError] = []

    def fill(file: BinaryIO) -> None:
        file.write(events.head())
        for step in range(steps if curves else 0):
            _curves(file, curves, step, tags)
        count = 0
        for done in _encoded(frames, lossless):
            if isinstance(done, PictureError):
                bad.append(done)
                unread(done)
                continue
            file.write(done.record)
            _count(tags, done)
            count += 1
            watch(count)
        if not tags:
            raise bad[0] if bad else FileError("there is no image to write; name others.")

    files.write(path, fill, force=force)
    return tags


def _curves(file: BinaryIO, curves: Sequence[Curve], step: int, tags: dict[str, Tag]) -> None:
    record = events.scalars(step, {curve.tag: curve(step) for curve in curves})
    file.write(record)
    for curve in curves:
        tag = tags.setdefault(curve.tag, Tag(curve.tag, format="scalar"))
        tag.steps += 1
        tag.bytes += len(record) // len(curves)


def _count(tags: dict[str, Tag], done: _Done) -> None:
    tag = tags.get(done.tag)
    if tag is None:
        height, width = done.shape[1:]
        tag = tags[done.tag] = Tag(done.tag, 0, height, width, done.format)
    elif done.format not in tag.format.split("+"):
        tag.format += f"+{done.format}"
    tag.steps += 1
    tag.bytes += len(done.record)


def _encoded(frames: Iterable[Frame], lossless: bool) -> Iterator[_Done | PictureError]:
    """Yield the records in the order of the frames, or why a picture gives none."""
    pace = _Pace()
    work = partial(_several, lossless=lossless, pace=pace)
    for some in encoding.ordered(work, pace.groups(frames)):
        yield from some


class _Pace:
    """How many frames are handed over together: one, until the first has shown how small they are."""

    def __init__(self) -> None:
        self.together = 1

    def groups(self, frames: Iterable[Frame]) -> Iterator[list[Frame]]:
        group: list[Frame] = []
        for frame in frames:
            group.append(frame)
            if len(group) >= self.together:
                yield group
                group = []
        if group:
            yield group

    def learn(self, numbers: int) -> None:
        self.together = max(1, min(64, _TOGETHER // max(numbers, 1)))


def _several(frames: Sequence[Frame], *, lossless: bool, pace: _Pace) -> list[_Done | PictureError]:
    made: list[_Done | PictureError] = []
    for frame in frames:
        try:
            image = frame.make()
        except PictureError as error:
            made.append(error)
            continue
        pace.learn(image.numel())
        encoded, kind = encoding.encode(image, lossless=lossless or frame.drawn)
        channels, height, width = image.shape
        record = events.image(
            frame.tag, frame.step, encoded, (channels, height, width), frame.about
        )
        made.append(_Done(frame.tag, kind, (channels, height, width), record))
    return made
