"""A classification task: its classes, its samples in up to three parts, and what is to be told of it.

Split         samples in memory: one uint8 tensor
Files         samples on disk: paths, decoded when they are asked for
ImageSet      classes and parts; counts, statistics, a part of it (`limited`)
split(...)    three stratified parts of samples in memory, the same for every seed
fingerprint(...)  what tells samples from others
hold_out(...) two stratified parts of labels, by a seed; sample(...) a number of them
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from ptools.data.pictures import EXACT, Geometry, PictureError
from ptools.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Split:
    """Samples in memory: `images` uint8 (N, C, H, W), `labels` int64 (N,), `paths` where known."""

    images: Tensor
    labels: Tensor
    paths: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one image: (C, H, W)."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def pixels(self, index: Tensor) -> Tensor:
        """Return the images at `index` (B,): uint8 (B, C, H, W)."""
        return self.images[index]

    def take(self, index: Tensor) -> Split:
        """Return the samples at `index`, in its order."""
        return Split(self.images[index], self.labels[index], _at(self.paths, index))


@dataclass(frozen=True, eq=False)
class Files:
    """Samples on disk: `paths` of N pictures, `labels` int64 (N,); how a picture becomes a tensor."""

    paths: tuple[str, ...]
    labels: Tensor
    geometry: Geometry

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one image: (C, H, W)."""
        return self.geometry.channels, self.geometry.height, self.geometry.width

    def pixels(self, index: Tensor) -> Tensor:
        """Decode the pictures at `index` (B,): uint8 (B, C, H, W). Raises PictureError."""
        images, _, bad = self.decoded(index)
        for path, reason in bad.items():
            raise PictureError(path, reason)
        return images

    def decoded(self, index: Tensor) -> tuple[Tensor, list[int], dict[str, str]]:
        """Decode what can be: images, their places in `index`, and what is wrong with the others.

        Raises FileError where there is nothing left.
        """
        import torch

        from ptools.data import pictures

        images, kept, bad = [], [], {}
        for place, i in enumerate(index.tolist()):
            try:
                images.append(pictures.read(self.paths[i], self.geometry))
                kept.append(place)
            except PictureError as error:
                bad[error.path] = error.reason
        if not images:
            path, reason = next(iter(bad.items()))
            raise FileError(f"no picture of a batch of {len(bad)} can be read; {path}: {reason}.")
        rows = torch.stack([image.permute(1, 2, 0) for image in images])  # (B, H, W, C): as decoded
        return rows.permute(0, 3, 1, 2), kept, bad

    def take(self, index: Tensor) -> Files:
        """Return the samples at `index`, in its order."""
        return Files(_at(self.paths, index), self.labels[index], self.geometry)


Samples: TypeAlias = Split | Files


def _at(paths: Sequence[str], index: Tensor) -> tuple[str, ...]:
    return tuple(paths[i] for i in index.tolist()) if paths else ()


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A classification task. `val` chooses the weights that are kept; `test` is used once.

    No part is empty, and all hold images of one shape. Raises ValueError otherwise.
    """

    name: str
    classes: tuple[str, ...]
    train: Samples
    val: Samples | None = None  # None: the weights of the last epoch are kept
    test: Samples | None = None
    geometry: Geometry | None = None  # None: pictures are resized to the shape of the images
    notes: tuple[str, ...] = ()  # what is to be told before training, one line each

    def __post_init__(self) -> None:
        """Raise ValueError where a part cannot be trained or measured on."""
        for name in ("train", "val", "test"):
            part = getattr(self, name)
            if part is not None:
                self._check(name, part)

    def _check(self, name: str, part: Samples) -> None:
        if isinstance(part, Split):
            if str(part.images.dtype) != "torch.uint8" or part.images.dim() != 4:
                raise ValueError(f"{name}.images must be uint8 of shape (N, C, H, W)")
            count = len(part.images)
        else:
            count = len(part.paths)
        labels = part.labels
        if count != len(labels):
            raise ValueError(f"{name} has {count} images but {len(labels)} labels")
        if not count:
            raise ValueError(f"{name} has no images")
        last = len(self.classes) - 1
        if str(labels.dtype) != "torch.int64" or labels.min() < 0 or labels.max() > last:
            raise ValueError(f"{name}.labels must be int64 from 0 to {last}")
        if part.shape != self.shape:
            raise ValueError(f"{name} has images of {part.shape}, not {self.shape}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one image: (C, H, W)."""
        return self.train.shape

    @property
    def how(self) -> Geometry:
        """How a picture file becomes an image of this set."""
        return self.geometry or Geometry(*self.shape, resize=EXACT)

    def counts(self) -> list[int]:
        """Return how many training images each class has."""
        counted: list[int] = self.train.labels.bincount(minlength=len(self.classes)).tolist()
        return counted

    def statistics(self) -> tuple[list[float], list[float]]:
        """Return mean and standard deviation per channel of the training images, in 0..1."""
        mean, std = self._statistics
        return list(mean), list(std)

    @cached_property
    def _statistics(self) -> tuple[list[float], list[float]]:
        import torch

        values = torch.arange(256, dtype=torch.float64)
        counted = torch.zeros(
            self.shape[0], 256, dtype=torch.int64, device=self.train.labels.device
        )
        for part in self._some():  # of each channel: how often each of 256 values
            for channel in range(self.shape[0]):
                counted[channel] += part[:, channel].reshape(-1).bincount(minlength=256)
        share = counted.cpu().double() / counted[0].sum().item()
        mean = share @ values / 255
        variance = share @ values.square() / 255**2 - mean.square()
        return mean.tolist(), variance.clamp(min=1e-6).sqrt().tolist()  # of a constant: 1e-3

    def _some(self) -> Iterator[Tensor]:
        """Yield the training images in parts; of files at most 1,000, evenly spread."""
        import torch

        if isinstance(self.train, Split):
            yield from torch.split(self.train.images, 1000)
            return
        count = len(self.train)
        for index in torch.split(torch.arange(0, count, -(-count // 1000)), 50):
            yield self.train.decoded(index)[0]

    def limited(self, count: int, seed: int = 0) -> ImageSet:
        """Return the set with at most `count` training images, of each class the same share."""
        if count >= len(self.train):
            return self
        return replace(self, train=self.train.take(sample(self.train.labels, count, seed)))


def fingerprint(samples: Samples) -> str:
    """Return what tells these samples from others, cheaply, in their order.

    It is made of the labels and of the names and sizes of the files, or else of a few images.
    """
    import os
    from zlib import crc32

    found = crc32(samples.labels.cpu().numpy().tobytes())
    for path in samples.paths:
        name = "/".join(path.rsplit(os.sep, 2)[-2:])  # of its class, wherever the folder lies
        try:
            size = os.stat(path).st_size  # noqa: PTH116
        except OSError:
            size = -1
        found = crc32(os.fsencode(f"{name}:{size}\n"), found)
    if isinstance(samples, Split) and not samples.paths:
        some = samples.images[:: max(1, len(samples) // 64)]
        found = crc32(some.cpu().contiguous().numpy().tobytes(), found)
    return f"{found:08x}"


def sample(labels: Tensor, count: int, seed: int) -> Tensor:
    """Return `count` indices of `labels`, sorted; of each class its share, to the nearest image."""
    import torch

    groups = _by_class(labels, seed)
    shares = torch.tensor([len(group) * count / len(labels) for group in groups])
    taken = shares.floor().long()
    most = (shares - taken).argsort(descending=True, stable=True)
    taken[most[: count - int(taken.sum())]] += 1
    chosen = [group[:number] for group, number in zip(groups, taken.tolist(), strict=True)]
    return torch.cat(chosen).sort().values


def hold_out(labels: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return indices to keep and to hold out, sorted: of each class `share`, at least one image.

    A class of a single image keeps it.
    """
    import torch

    kept, held = [], []
    for group in _by_class(labels, seed):
        number = min(len(group) - 1, max(1, round(len(group) * share)))
        held.append(group[:number])
        kept.append(group[number:])
    return torch.cat(kept).sort().values, torch.cat(held).sort().values


def _by_class(labels: Tensor, seed: int) -> list[Tensor]:
    """Return the indices of each class that is there, in an order of the seed."""
    import torch

    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed % 2**63))
    grouped = order[labels.cpu()[order].argsort(stable=True)]
    counts = labels.cpu().bincount()
    return list(torch.split(grouped, counts[counts > 0].tolist()))


def split(
    name: str,
    classes: tuple[str, ...],
    images: Tensor,
    labels: Tensor,
    *,
    val: float = 0.1,
    test: float = 0.2,
) -> ImageSet:
    """Split samples per class, the same way on every machine and for every --seed.

    `images` is uint8 (N, C, H, W), `labels` int64 (N,); `val` and `test` are shares of N.
    """
    import torch

    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    parts: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    for label in range(len(classes)):
        mine = order[labels[order] == label]
        held, kept = round(len(mine) * test), round(len(mine) * val)
        for part, index in zip(
            parts, torch.split(mine, [len(mine) - held - kept, kept, held]), strict=True
        ):
            part.append(index)
    whole = Split(images, labels)
    train, kept_out, tested = (whole.take(torch.cat(part)) for part in parts)
    return ImageSet(name, classes, train, kept_out, tested)
