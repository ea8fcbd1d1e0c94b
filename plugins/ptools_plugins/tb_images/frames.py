"""What is shown: a Frame is one image in TensorBoard, at a step of a tag.

singles(...)    every image by itself: a tag per class, a step per image
batches(...)    as a DataLoader would give them: a grid per step
variants(...)   an image beside what a transform makes of it: a step per image
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ptools.data.pictures import PictureError
from ptools.errors import UsageError, one_line
from ptools_plugins.tb_images import grids

if TYPE_CHECKING:
    from torch import Tensor

    from ptools_plugins.tb_images.sources import Entry
    from ptools_plugins.tb_images.transforming import Recipe

__all__ = [
    "Frame",
    "Sized",
    "Transformed",
    "batches",
    "coloured",
    "leaves_some",
    "same",
    "singles",
    "tiled",
    "variants",
]

_ROW = 8  # variants in a row


@dataclass(frozen=True, slots=True)
class Frame:
    """One image at a step of a tag. `make()` gives uint8 (1 or 3, H, W), in any thread."""

    tag: str
    step: int
    make: Callable[[], Tensor]
    caption: str = ""  # on a contact sheet
    about: str = ""  # in TensorBoard, of the tag
    drawn: bool = False  # not a photograph, whatever its colours
    begins: bool = False  # a new line on a contact sheet


@dataclass(frozen=True)
class Sized:
    """How an image is read: at its own size, or at `size` (H, W), cut out of the middle as in training."""

    size: tuple[int, int] | None = None
    channels: int | None = None

    def __call__(self, entry: Entry) -> Tensor:
        from ptools.data.pictures import CROP, Geometry, fit

        image = coloured(entry.read(), self.channels)
        if self.size is None or tuple(image.shape[1:]) == self.size:
            return image
        return fit(image, Geometry(len(image), *self.size, CROP))


@dataclass(frozen=True)
class Transformed:
    """How an image of `entries` is read that goes through a transform: one draw for each place."""

    read: Callable[[Entry], Tensor]
    recipe: Recipe
    entries: Sequence[Entry]
    order: dict[Entry, int]  # entry -> its place in `entries`
    seed: int

    def __call__(self, entry: Entry) -> Tensor:
        other = None
        index = self.order[entry]
        if self.recipe.mixes:
            other = self.read(self.entries[(index + 1) % len(self.entries)])
        return self.recipe.variants(self.read(entry), 1, self.seed, index, other)[0]


def coloured(image: Tensor, channels: int | None) -> Tensor:
    """Return an image with 1 channel or 3; grey as the eye sees it (ITU-R 601)."""
    import torch

    if channels is None or len(image) == channels:
        return image
    if channels == 3:
        return image.expand(3, -1, -1)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    return (image.float() * weights).sum(0, keepdim=True).round().to(torch.uint8)


# -- every image by itself ---------------------------------------------------------------------------


def singles(
    entries: Sequence[Entry], read: Callable[[Entry], Tensor], *, tag: str | None, labels: bool
) -> Iterator[Frame]:
    """Yield every image at a step of its own, under one tag, or one per class or source."""
    steps: Counter[str] = Counter()
    for entry in entries:
        name = tag or _tag(entry)
        make = partial(_single, entry, read, labels)
        yield Frame(name, steps[name], make, entry.label or entry.name)
        steps[name] += 1


def _tag(entry: Entry) -> str:
    return entry.source if entry.label is None else f"{entry.source}/{one_line(entry.label, 80)}"


def _single(entry: Entry, read: Callable[[Entry], Tensor], labels: bool) -> Tensor:
    image = read(entry)
    if not labels:
        return image
    image = grids.enlarged(image, -(-grids.WIDE // image.shape[2]))
    return grids.labelled(image, entry.label or entry.name)


# -- batches -----------------------------------------------------------------------------------------


def batches(
    entries: Sequence[Entry],
    read: Callable[[Entry], Tensor],
    size: int,
    *,
    tag: str,
    labels: bool,
    drop_last: bool = False,
    columns: int | None = None,
    small: bool = False,
    at_once: bool = False,
    unread: Callable[[PictureError], object],
) -> Iterator[Frame]:
    """Yield a grid per batch, step by step. Raises UsageError where the only batch would be dropped.

    Of `small` images every pixel is kept: the grid is no photograph. With `at_once` they are made here, in
    order, not in threads: what `read` draws at random needs that.
    """
    if drop_last:
        leaves_some(len(entries), size)
    for step, start in enumerate(range(0, len(entries), size)):
        some = entries[start : start + size]
        if drop_last and len(some) < size:
            return
        names = [entry.label for entry in some] if labels else None
        make: Callable[[], Tensor] = partial(_batch, some, read, names, columns, unread)
        if at_once:
            try:
                tiles = _tiles(some, read, unread)
            except PictureError as error:
                unread(error)
                continue
            small, make = grids.are_small(tiles), partial(tiled, tiles, names, columns)
        yield Frame(tag, step, make, f"{tag} {step}", drawn=small)


def leaves_some(count: int, size: int) -> None:
    """Raise UsageError where `count` images are less than a batch: without the last one nothing is left."""
    if count < size:
        raise UsageError(
            f"--drop-last leaves nothing of {count} images in batches of {size}; "
            "choose a smaller --batch-size."
        )


def same(image: Tensor) -> Tensor:
    """Return an image that is made already."""
    return image


def _batch(
    some: Sequence[Entry],
    read: Callable[[Entry], Tensor],
    labels: Sequence[str | None] | None,
    columns: int | None,
    unread: Callable[[PictureError], object],
) -> Tensor:
    return tiled(_tiles(some, read, unread), labels, columns)


def _tiles(
    some: Sequence[Entry],
    read: Callable[[Entry], Tensor],
    unread: Callable[[PictureError], object],
) -> list[Tensor]:
    """Read a batch; what cannot be read is told, and leaves its place white.

    Raises PictureError where none can.
    """
    import torch

    tiles: list[Tensor] = []
    bad: list[PictureError] = []
    for entry in some:
        try:
            tiles.append(read(entry))
        except PictureError as error:
            tiles.append(torch.full((1, 1, 1), 255, dtype=torch.uint8))
            bad.append(error)
    whole = len(bad) < len(tiles)
    for one in bad if whole else bad[:-1]:
        unread(one)
    if not whole:
        raise bad[-1]
    return tiles


def tiled(
    tiles: Sequence[Tensor], labels: Sequence[str | None] | None, columns: int | None = None
) -> Tensor:
    """Return tiles as a grid, with a label below each; small ones are enlarged until it can be read."""
    if labels is None or not any(labels):
        return grids.grid(tiles, columns)
    width = max(tile.shape[2] for tile in tiles)
    factor = -(-grids.WIDE // width) if width < grids.WIDE else 1
    large = [grids.enlarged(tile, factor) for tile in tiles]
    return grids.grid([grids.labelled(t, x) for t, x in zip(large, labels, strict=True)], columns)


# -- transforms --------------------------------------------------------------------------------------


def variants(
    entries: Sequence[Entry],
    read: Callable[[Entry], Tensor],
    recipe: Recipe,
    *,
    count: int,
    seed: int,
    tag: str,
    columns: int | None = None,
    unread: Callable[[PictureError], object],
) -> Iterator[Frame]:
    """Yield each image beside `count` variants of it: "original", 1, 2, ...

    They are made here, not in threads: torchvision draws from the one global random state.
    """
    step = 0
    for index, entry in enumerate(entries):
        try:
            image = read(entry)
            other = read(entries[(index + 1) % len(entries)]) if recipe.mixes else None
        except PictureError as error:
            unread(error)
            continue
        made = recipe.variants(image, count, seed, index, other)
        height, width = (max(one.shape[side] for one in made) for side in (1, 2))
        tiles = [grids.fitted(image, height, width), *made]
        captions = _captions(len(made), entry.label)
        make = partial(tiled, tiles, captions, columns or min(_ROW, len(tiles)))
        about = f"{one_line(recipe.text, 400)}: the original and {len(made)} variants"
        small = grids.are_small(made)
        yield Frame(tag, step, make, entry.label or entry.name, about, drawn=small)
        step += 1


def _captions(count: int, label: str | None) -> list[str | None]:
    original = "original" if label is None else f"original: {label}"
    return [original, *(str(number) for number in range(1, count + 1))]
