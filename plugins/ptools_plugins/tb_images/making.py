"""Options -> frames: which of singles, batches, variants, layers, op; how the images are read for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from ptools.data.pictures import PictureError
from ptools_plugins.tb_images import frames as framing
from ptools_plugins.tb_images import grids, sources
from ptools_plugins.tb_images.asked import Asked
from ptools_plugins.tb_images.frames import Frame, Sized
from ptools_plugins.tb_images.sources import Entry, Found

if TYPE_CHECKING:
    from torch import Tensor

    from ptools_plugins.tb_images.transforming import Recipe

__all__ = ["Making"]

_BATCH = 16  # images of --op


@dataclass
class Making:
    """Makes the frames that are asked for, each time anew: for a sheet, for an event file."""

    asked: Asked
    found: Found
    entries: list[Entry]
    unread: Callable[[PictureError], object]
    notes: list[str]

    def __call__(self) -> Iterator[Frame]:
        if self.asked.kind == "scalars":
            return iter(())
        return getattr(self, f"_{self.asked.kind}")()  # type: ignore[no-any-return]

    @property
    def name(self) -> str:
        return self.asked.tag or self.found.name

    def _images(self) -> Iterator[Frame]:
        read = Sized(self.asked.size)
        return framing.singles(
            self.entries, read, tag=self.asked.tag, labels=bool(self.asked.labels)
        )

    def _batches(self) -> Iterator[Frame]:
        recipe = self._recipe() if self.asked.transform else None
        read: Callable[[Entry], Tensor] = Sized(self.asked.size if recipe else self._tile())
        if recipe is not None:
            order = {entry: place for place, entry in enumerate(self.entries)}
            read = framing.Transformed(read, recipe, self.entries, order, self.asked.seed)
        return framing.batches(
            self.entries,
            read,
            self.asked.batch_size or 1,
            tag=self.asked.tag or f"{self.found.name}/batch",
            labels=self.asked.labels is not False,
            drop_last=self.asked.drop_last,
            columns=self.asked.columns,
            small=max(self._shape()[1:]) <= grids.SMALL,
            at_once=recipe is not None,
            unread=self.unread,
        )

    def _transform(self) -> Iterator[Frame]:
        return framing.variants(
            self.entries,
            Sized(self.asked.size),
            self._recipe(),
            count=self.asked.variants,
            seed=self.asked.seed,
            tag=self.asked.tag or f"{self.found.name}/transform",
            columns=self.asked.columns,
            unread=self.unread,
        )

    def _recipe(self) -> Recipe:
        from ptools_plugins.tb_images import transforming

        assert self.asked.transform is not None
        return transforming.parse(self.asked.transform)

    def _layers(self) -> Iterator[Frame]:
        from ptools_plugins.tb_images import inside, network

        asked = self.asked
        shape = self._shape()
        net = network.load(asked.model, asked.weights, shape, asked.size)
        if net.mean is None and self.found.data is not None and asked.weights is None:
            net.mean, net.std = self.found.data.statistics()
        self.notes += [note for note in net.notes if note not in self.notes]
        names = network.choose(net.net, asked.layers)
        weights = {}
        if asked.kernels:
            weights = network.with_kernels(net.net, names, asked=bool(asked.layers))
        return inside.of_network(
            net,
            names,
            self.entries,
            weights=weights,
            by_map=asked.by_map,
            tag=asked.tag or net.name,
            recipe=self._recipe() if asked.transform else None,
            columns=asked.columns,
            seed=asked.seed,
            unread=self.unread,
        )

    def _op(self) -> Iterator[Frame]:
        from ptools_plugins.tb_images import inside

        assert self.asked.op is not None
        net, first, channels = inside.fresh(self.asked.op, self.asked.seed, self._shape())
        return inside.of_layer(
            net,
            self.asked.op,
            self.entries,
            Sized(self._size(), channels if channels in (1, 3) else self._shape()[0]),
            self.asked.batch_size or _BATCH,
            tag=self.asked.tag or first.kind,
            drop_last=self.asked.drop_last,
            columns=self.asked.columns,
            kernels=self.asked.kernels,
            unread=self.unread,
        )

    def _size(self) -> tuple[int, int] | None:
        return self.asked.size or self._usual()

    def _tile(self) -> tuple[int, int] | None:
        """Return the size of images in a batch: smaller where their grid would be larger than any screen."""
        size = self._size()
        height, width = size or self._shape()[1:]
        count = min(self.asked.batch_size or 1, len(self.entries))
        columns = min(self.asked.columns or grids.columns_for(count, height, width), count)
        rows = -(-count // columns)
        factor = min(grids.LARGEST / (columns * width), grids.LARGEST / (rows * height))
        if factor >= 1:
            return size
        small = max(1, int(height * factor)), max(1, int(width * factor))
        note = f"images of {width}x{height} are shown at {small[1]}x{small[0]}: the grid would be too large"
        if note not in self.notes:
            self.notes.append(note)
        return small

    def _usual(self) -> tuple[int, int] | None:
        """Return None where these images are of one size, else the size that training would take."""
        shapes = self._shapes()
        sizes = {shape[1:] for shape in shapes}
        if len(sizes) <= 1:
            return None
        from ptools.data.folders import choose
        from ptools.data.pictures import Look

        geometry = choose([Look(height, width, channels) for channels, height, width in shapes])
        return geometry.height, geometry.width

    def _shape(self) -> tuple[int, int, int]:
        """Return the shape of these images, as a network would be built for them."""
        shapes = self._shapes() or [(3, 224, 224)]
        channels = max(shape[0] for shape in shapes)
        height, width = self._size() or shapes[0][1:]
        return channels, height, width

    def _shapes(self) -> list[tuple[int, int, int]]:
        return list(islice(sources.shapes(self.entries), 200))
