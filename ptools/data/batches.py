"""Batches: what a loop iterates. Everything random is a function of (seed, epoch, batch) alone.

Batches     normalised batches on a device; any epoch, from any batch on
seed_of     the seed of one batch's augmentation
aligned     a part of a tensor, where a tensor of its own could lie

Neither the global random state, nor workers, nor what ran before has a say: an epoch that is resumed in
the middle is the epoch that was interrupted, bit by bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import TYPE_CHECKING

from ptools.data.sets import Files, Split
from ptools.data.workers import Crew, chosen
from ptools.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from ptools.data.augment import Augment
    from ptools.data.sets import Samples

_TOGETHER = 2**20  # numbers of a group of batches: 4 MB
_ADDRESS = 64  # bytes: where torch begins a tensor
RELAID = 2**30  # bytes: a set up to this size is copied to the layout its batches are wanted in


class Batches:
    """Normalised batches of samples on `device`; shuffled by (seed, epoch) if asked.

    A set in memory lies on the device as uint8 and a batch is a slice of it: on small images this is
    three times the throughput of a DataLoader. Files are decoded as they are needed, by `workers`; None
    leaves their number to the machine.
    `batch_size` is that of all ranks together; rank r takes images r, r + ranks, ... of each batch.

    Of shuffled batches a last one that is too small to train on is left out: one that gives a process
    no image, or a single one where it has had more (BatchNorm cannot train on one).
    """

    def __init__(
        self,
        samples: Samples,
        statistics: tuple[list[float], list[float]],
        *,
        batch_size: int,
        device: str,
        shuffle_seed: int | None = None,
        augment: Augment | None = None,
        rank: int = 0,
        ranks: int = 1,
        workers: int | None = 0,
        channels_last: bool = False,
    ) -> None:
        import torch

        self.batch_size, self.seed, self.device = batch_size, shuffle_seed, torch.device(device)
        self.rank, self.ranks, self.channels_last = rank, ranks, channels_last
        self.labels = samples.labels.to(device)
        self.bad: dict[str, str] = {}  # pictures that could not be decoded, and why
        self._scale, self._shift = self._constants(samples.shape, statistics)
        slow = isinstance(samples, Files) or (augment is not None and augment.slow)
        if augment is not None:
            augment.check(samples.shape)
        if isinstance(samples, Split) and not slow:
            samples = self._placed(samples)
        whole = isinstance(samples, Split) and samples.images.device == self.device
        self._slices = samples if isinstance(samples, Split) and whole and augment is None else None
        pin = self.device.type == "cuda"
        if workers is None:  # of a set in memory they would only cost
            each = prod((min(batch_size, len(samples)), *samples.shape))
            workers = chosen(None, len(samples), each) if isinstance(samples, Files) else 0
        self._crew = Crew(_Fetch(samples, augment), workers if slow else 0, pin=pin)
        if shuffle_seed is not None and min(batch_size, len(samples)) < ranks:
            raise UsageError(
                f"a batch of {min(batch_size, len(samples))} images cannot be shared by {ranks} "
                f"processes; raise --batch-size or start fewer."
            )

    def __len__(self) -> int:
        """Return the number of batches of an epoch, the same on every rank."""
        count, size = len(self.labels), self.batch_size
        whole, rest = divmod(count, size)
        if self.seed is None or not whole:
            return whole + (rest > 0)
        return whole + (rest // self.ranks >= min(2, size // self.ranks))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over epoch 1: for scoring, in order."""
        return self.epoch(1)

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images float32 (B, C, H, W) and labels int64 (B,) of epoch `number`, from 1.

        It begins at batch `start`, and those before are not made. Raises FileError where no picture of
        a batch can be decoded.
        """
        if self._slices is not None:
            yield from self._sliced(self._slices, number, start)
            return
        for images, labels, bad in self._crew.map(self._requests(number, start)):
            self.bad.update(bad)
            yield self._normalised(images), labels.to(self.device, non_blocking=True)

    def _sliced(self, samples: Split, number: int, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of a set in memory, several made at once: of small ones the calls cost most.

        Every number of an image is its own, so that it is the same in whatever group it is made.
        """
        import torch

        channels, height, width = samples.shape
        many = max(1, min(16, _TOGETHER // (self.batch_size * channels * height * width)))
        parts = self.parts(number, start)
        while some := list(islice(parts, many)):
            index = torch.cat(some)
            images, labels = self._normalised(_rows(samples.images, index)), samples.labels[index]
            end = 0
            for one in some:
                begin, end = end, end + len(one)
                yield aligned(images[begin:end]), labels[begin:end]

    def _requests(self, number: int, start: int) -> Iterator[Request]:
        """Return what to fetch for an epoch. Nothing here may hold `self`: see workers, on circles."""
        rank, ranks, given = self.rank, self.ranks, self.seed or 0
        return (
            Request(index, range(rank, rank + len(index) * ranks, ranks), seed_of(given, number, i))
            for i, index in enumerate(self.parts(number, start), start)
        )

    def parts(self, number: int, start: int) -> Iterator[Tensor]:
        """Return the indices of every batch of an epoch from `start` on, this rank's part of them."""
        import torch

        count, size, rank, ranks = len(self.labels), self.batch_size, self.rank, self.ranks
        if self.seed is None:
            order = torch.arange(count)
        else:
            mixed = (self.seed * 100_003 + number - 1) % 2**63
            order = torch.randperm(count, generator=torch.Generator().manual_seed(mixed))
        batches = (order[i * size : (i + 1) * size] for i in range(start, len(self)))
        return (index[rank::ranks] for index in batches if len(index) > rank)

    # -- pixels to numbers ---------------------------------------------------------------------------

    def _constants(
        self, shape: tuple[int, int, int], statistics: tuple[list[float], list[float]]
    ) -> tuple[Tensor, Tensor]:
        """Return factor and shift of every value of an image, flat and in the layout of the batches.

        One long vector each: broadcasting over the channel costs four times as much on a CPU.
        """
        import torch

        mean, std = (torch.tensor(s, device=self.device).view(-1, 1, 1) for s in statistics)
        return self._flat((1 / (255 * std)).expand(shape)), self._flat((mean / std).expand(shape))

    def _flat(self, image: Tensor) -> Tensor:
        return (image.permute(1, 2, 0) if self.channels_last else image).flatten()

    def _normalised(self, images: Tensor) -> Tensor:
        """Return uint8 (B, C, H, W) as normalised float32, in the layout asked for."""
        images = images.to(self.device, non_blocking=True)
        if self.channels_last:
            images = images.permute(0, 2, 3, 1)
        flat = images.flatten(1).float().mul_(self._scale).sub_(self._shift)
        numbers = flat.view(images.shape)
        return numbers.permute(0, 3, 1, 2) if self.channels_last else numbers

    def _placed(self, samples: Split) -> Split:
        """Return the samples where and how their batches are wanted, if that costs no large copy."""
        import torch

        images, size = samples.images, samples.images.nbytes
        if self.device.type == "cuda" and size > torch.cuda.mem_get_info(self.device)[0] // 4:
            return samples  # batch by batch
        images = images.to(self.device)
        if size <= RELAID:
            layout = torch.channels_last if self.channels_last else torch.contiguous_format
            images = images.contiguous(memory_format=layout)
        return Split(images, self.labels)


def aligned(part: Tensor) -> Tensor:
    """Return `part`, copied where it begins at an odd address: kernels choose by that how they add up.

    An epoch that is resumed begins its groups of batches elsewhere, and must come to the same bits.
    """
    return part.clone() if part.data_ptr() % _ADDRESS else part


@dataclass(frozen=True)
class Request:
    """A rank's part of a batch: which samples, their places in the whole batch, the batch's seed."""

    index: Tensor
    places: range
    seed: int


def seed_of(seed: int, epoch: int, batch: int) -> int:
    """Return the seed of a batch: equal numbers give equal seeds, others unrelated ones."""
    from hashlib import blake2b

    digest = blake2b(f"{seed} {epoch} {batch}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1  # torch takes 63 bits


@dataclass(frozen=True)
class _Fetch:
    """Makes a batch of uint8 images, and says which pictures it had to go without."""

    samples: Samples
    augment: Augment | None

    def __call__(self, request: Request) -> tuple[Tensor, Tensor, dict[str, str]]:
        index, places, seed = request.index, request.places, request.seed
        if isinstance(self.samples, Split):
            images = _rows(self.samples.images, index)
            bad: dict[str, str] = {}
            kept = list(places)
        else:
            images, kept, bad = self.samples.decoded(index)
            index, kept = index[kept], [places[i] for i in kept]
        if self.augment is not None:
            images = self.augment(images, seed, kept)
        return images, self.samples.labels[index.to(self.samples.labels.device)], bad


def _rows(images: Tensor, index: Tensor) -> Tensor:
    """Return images[index] by copying whole rows: index_select keeps no channels_last layout."""
    import torch

    index = index.to(images.device)
    if images.is_contiguous(memory_format=torch.channels_last):
        return images.permute(0, 2, 3, 1).index_select(0, index).permute(0, 3, 1, 2)
    return images.index_select(0, index)
