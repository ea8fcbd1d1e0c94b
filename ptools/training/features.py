"""Features that are computed once: what goes into the tail of a network whose backbone is frozen.

parts(session, tail, ...)   train, val and test as the loop wants them, made of features
Features                    shuffled batches of them, in the order that the images would have

The same numbers as if the backbone ran in every epoch, up to the last bits that depend on a batch's size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ptools.data import Batches, Split, augment, memory
from ptools.data.batches import aligned
from ptools.errors import FileError
from ptools.training.folding import folded
from ptools.training.step import autocast
from ptools.training.tail import NotProven, Tail, features

if TYPE_CHECKING:
    from ptools.data import Samples
    from ptools.training.session import Session

__all__ = ["Features", "parts"]

_PIXELS = 8 * 3 * 224 * 224  # numbers in a batch, for each core: of 10 images one costs a 6th more
_DEVICE = 2**24  # numbers in a batch for a GPU: 64 MB
_TOGETHER = 8  # batches that are made at once: of small ones the calls cost most
_FEW = 100  # images: of fewer, folding costs what it saves
_SHARE = 2  # of the free memory the features may take one part in so many


@dataclass(frozen=True)
class _Rows:
    """The features of some samples: `views` of (N, ...), and where a sample's row is (-1: it has none)."""

    views: list[Tensor]
    rows: Tensor  # (samples,)
    labels: Tensor  # (samples,)
    bad: dict[str, str]  # pictures that could not be decoded, and why


class Features:
    """Batches of features and labels, on `device`, in the order of the images' batches.

    Epoch e gets view e, and the first again after the last.
    """

    def __init__(self, found: _Rows, order: Batches, device: str) -> None:
        self.found, self.order, self.device = found, order, device
        self.batch_size, self.bad = order.batch_size, found.bad

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.epoch(1)

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield features float32 (B, ...) and labels int64 (B,) from batch `start` on."""
        found = self.found
        view = found.views[(number - 1) % len(found.views)]
        parts = self.order.parts(number, start)
        while some := list(islice(parts, _TOGETHER)):
            if found.bad:
                some = [index[found.rows[index] >= 0] for index in some]
            if not all(map(len, some)):
                raise FileError("no picture of a batch can be read; see the warnings above.")
            index = torch.cat(some)
            rows = found.rows[index].to(view.device)
            batch = view.index_select(0, rows).to(self.device, non_blocking=True).float()
            labels, end = found.labels[index].to(self.device), 0
            for one in some:
                begin, end = end, end + len(one)
                yield aligned(batch[begin:end]), labels[begin:end]


class _Live:
    """Features made while they are asked for, in fp32: of the test images, which are scored once."""

    def __init__(self, session: Session, tail: Tail, images: Batches) -> None:
        self.session, self.tail, self.images = session, tail, images
        self.batch_size, self.bad = images.batch_size, images.bad

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        of = features(self.session.net.eval(), self.tail)
        for images, labels in self.images:
            yield of(images), labels


def parts(
    session: Session, tail: Tail, *, views: int, tell: Callable[[int, int], object]
) -> tuple[Any, Any, Any]:
    """Return train, val and test batches of features; `tell(done, total)` is called with images.

    Raises NotProven where they do not fit into half of the free memory.
    """
    images, settings, team = session.images, session.settings, session.team
    counts = [len(images.train) * views, len(images.val) if images.val is not None else 0]
    of = features(_backbone(session, tail, sum(counts)), tail)
    place = _place(session, of, sum(counts))
    done = 0

    def step(number: int) -> None:
        nonlocal done
        done += number
        tell(done, sum(counts))

    chosen = augment.parse(settings.augment)
    numbers = [settings.seed * views + view for view in range(views)] if chosen else [1]
    train = _computed(session, of, images.train, place, numbers, step)
    order = _order(session, images.train, settings.batch_size, settings.seed)
    val = test = None
    if images.val is not None:
        found = _computed(session, of, images.val, place, [], step)
        val = Features(found, _order(session, images.val, 1024, None), settings.device)
    if images.test is not None:
        test = _Live(
            session, tail, _batches(session, images.test, rank=team.rank, ranks=team.ranks)
        )
    return Features(train, order, settings.device), val, test


def _backbone(session: Session, tail: Tail, count: int) -> nn.Module:
    """Return the network as it makes features of `count` images fastest."""
    net, settings = session.net.eval(), session.settings
    if count < _FEW or settings.amp == "fp16":  # a folded scale may be too large for fp16
        return net
    random = torch.Generator().manual_seed(0)
    image = torch.rand(1, *session.images.shape, generator=random).to(settings.device)
    return folded(net, tail, image, torch.bfloat16 if settings.amp == "bf16" else None)


def _place(session: Session, of: Callable[[Tensor], Tensor], count: int) -> str:
    """Return where the features are kept: beside the network, or in memory. Raises NotProven."""
    blank = torch.zeros(1, *session.images.shape, device=session.settings.device)
    with torch.no_grad(), autocast(session.settings):
        needed = of(blank).nbytes * count
    device = torch.device(session.settings.device)
    if device.type == "cuda" and needed <= torch.cuda.mem_get_info(device)[0] // 4:
        return session.settings.device
    if needed > memory.free() // _SHARE:
        raise NotProven(
            f"{count} features of {needed // count:,} bytes need {needed / 2**30:.1f} GiB, more than "
            "half of the free memory"
        )
    return "cpu"


def _computed(
    session: Session,
    of: Callable[[Tensor], Tensor],
    samples: Samples,
    place: str,
    numbers: list[int],
    step: Callable[[int], None],
) -> _Rows:
    """Run the backbone over the samples, once for each view; `numbers` are those of the augmentation."""
    chosen = augment.parse(session.settings.augment) if numbers else None
    batches = _batches(session, samples, augment=chosen)
    views = []
    for number in numbers or [1]:
        kept: list[Tensor] = []
        with torch.no_grad():  # inference tensors could not be trained on
            for images, _ in batches.epoch(number):
                with autocast(session.settings):
                    kept.append(of(images).detach().to(place))
                step(len(images))
        views.append(torch.cat(kept))
    whole = torch.ones(len(samples), dtype=torch.bool)
    if batches.bad:
        paths = getattr(samples, "paths", ())
        whole = torch.tensor([path not in batches.bad for path in paths])
    rows = torch.where(whole, whole.cumsum(0) - 1, -1)
    return _Rows(views, rows, samples.labels.cpu(), batches.bad)


def _batches(session: Session, samples: Samples, **more: Any) -> Batches:
    """Return batches of images, in order, for the backbone."""
    channels, height, width = session.images.shape
    settings = session.settings
    cpu = settings.device == "cpu"
    numbers = _PIXELS * torch.get_num_threads() if cpu else _DEVICE
    return Batches(
        samples,
        session.statistics,
        batch_size=max(1, min(1024, numbers // (channels * height * width))),
        device=settings.device,
        workers=settings.workers,
        channels_last=bool(settings.channels_last),
        **more,
    )


def _order(session: Session, samples: Samples, size: int, seed: int | None) -> Batches:
    """Return batches that are asked for nothing but which samples are in them."""
    blank = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(len(samples), 1, 1, 1)
    return Batches(
        Split(blank, samples.labels.cpu()),
        ([0.0], [1.0]),
        batch_size=size,
        device="cpu",
        shuffle_seed=seed,
        rank=session.team.rank,
        ranks=session.team.ranks,
    )
