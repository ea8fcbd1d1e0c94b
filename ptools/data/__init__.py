"""Data sets: a name -> images in memory, split, with what training needs to know of them.

ImageSet      images and labels of a classification task, in three splits
load(name)    a registered data set: `digits`, or what a plugin adds under ptools.datasets
Batches       shuffled, normalised batches, sliced from one tensor
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ptools import registry
from ptools.errors import PluginError, PtoolsError, UsageError, cause, suggestion

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Batches", "ImageSet", "Split", "load", "split"]


@dataclass(frozen=True)
class Split:
    """Some of the samples: `images` uint8 (N, C, H, W), `labels` int64 (N,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ImageSet:
    """A classification task. `val` chooses the weights that are kept; `test` is used once.

    No split is empty, and all hold images of one shape. Raises ValueError otherwise.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split

    def __post_init__(self) -> None:
        """Raise ValueError where a split cannot be trained or measured on."""
        for name in ("train", "val", "test"):
            self._check(name, getattr(self, name))

    def _check(self, name: str, part: Split) -> None:
        images, labels = part.images, part.labels
        if str(images.dtype) != "torch.uint8" or images.dim() != 4:
            raise ValueError(f"{name}.images must be uint8 of shape (N, C, H, W)")
        if len(images) != len(labels):
            raise ValueError(f"{name} has {len(images)} images but {len(labels)} labels")
        if not len(images):
            raise ValueError(f"{name} has no images")
        last = len(self.classes) - 1
        if str(labels.dtype) != "torch.int64" or labels.min() < 0 or labels.max() > last:
            raise ValueError(f"{name}.labels must be int64 from 0 to {last}")
        if tuple(images.shape[1:]) != self.shape:
            raise ValueError(f"{name} has images of {tuple(images.shape[1:])}, not {self.shape}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one image: (C, H, W)."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    def statistics(self) -> tuple[list[float], list[float]]:
        """Return mean and standard deviation per channel of the training images, in 0..1."""
        import torch

        place = self.train.images.device
        total = square = torch.zeros(self.shape[0], dtype=torch.float64, device=place)
        for part in torch.split(self.train.images, 1000):  # never the whole set as floats
            pixels = part.double().div(255)
            total = total + pixels.sum((0, 2, 3))
            square = square + pixels.square().sum((0, 2, 3))
        count = self.train.images[:, 0].numel()
        mean = total / count
        variance = (square / count - mean.square()).clamp(min=1e-6)  # of a constant channel: 1e-3
        return mean.tolist(), variance.sqrt().tolist()


def load(name: str) -> ImageSet:
    """Return the data set registered under `name`. Raises UsageError, PluginError."""
    found = registry.owners(registry.DATASETS)
    if name not in found:
        close = suggestion(name, list(found)) or " See: ptools list datasets"
        raise UsageError(f"no data set is called '{name}'.{close}")
    plugin = found[name]
    factory = registry.load(plugin)
    try:
        data = factory()
    except PtoolsError:
        raise
    except (Exception, SystemExit) as error:  # the code of others
        what = f"data set '{name}' of {plugin.origin} cannot be loaded"
        raise PluginError(f"{what}: {cause(error)}; ask its authors.") from error
    if not isinstance(data, ImageSet):
        kind = type(data).__name__
        raise PluginError(
            f"data set '{name}' of {plugin.origin} returned a {kind}, not an ImageSet."
        )
    return data


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
    train, kept_out, tested = (torch.cat(part) for part in parts)
    return ImageSet(
        name,
        classes,
        *(Split(images[index], labels[index]) for index in (train, kept_out, tested)),
    )


class Batches:
    """Normalised batches of a Split, already on `device`; shuffled by (seed, epoch) if asked.

    The whole split lies on the device as uint8 and a batch is a slice of it: on small images this
    is three times the throughput of a DataLoader (and an order that can be computed can be resumed).
    """

    def __init__(
        self,
        samples: Split,
        statistics: tuple[list[float], list[float]],
        *,
        batch_size: int,
        device: str,
        shuffle_seed: int | None = None,
    ) -> None:
        import torch

        self.images = samples.images.to(device)
        self.labels = samples.labels.to(device)
        mean, std = (torch.tensor(s, device=device).view(1, -1, 1, 1) for s in statistics)
        self.scale, self.shift = 1 / (255 * std), mean / std
        self.batch_size, self.seed, self.epoch = batch_size, shuffle_seed, 0

    def __len__(self) -> int:
        return len(self._order())

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images float32 (B, C, H, W) and labels int64 (B,)."""
        for index in self._order():
            images = self.images[index].float().mul_(self.scale).sub_(self.shift)
            yield images, self.labels[index]
        self.epoch += 1

    def _order(self) -> list[Tensor]:
        import torch

        count = len(self.labels)
        if self.seed is None:
            order = torch.arange(count)
        else:
            order = torch.randperm(
                count,
                generator=torch.Generator().manual_seed((self.seed * 100_003 + self.epoch) % 2**63),
            )
        batches = list(torch.split(order.to(self.labels.device), self.batch_size))
        if self.seed is not None and len(batches) > 1 and len(batches[-1]) == 1:
            batches.pop()  # BatchNorm cannot train on a single sample
        return batches
