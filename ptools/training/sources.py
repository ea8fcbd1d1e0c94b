"""What the loop takes its batches from.

Custom             what finetune does differently
parts(data, ...)   the batches of train, val and test
class_weights(...) what --class-weights balanced says of the training images
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ptools.data import Batches, ImageSet
from ptools.training.distributed import Team
from ptools.training.settings import Settings

if TYPE_CHECKING:
    from torch import nn

    from ptools.training.loop import Training

__all__ = ["Custom", "Parts", "Statistics", "class_weights", "parts"]

Statistics = tuple[list[float], list[float]]  # mean and std per channel
Parts = tuple[Any, Any, Any]  # batches of train, val and test; the latter two may be None

_SCORED = 2**22  # numbers in a batch of images that are only scored: 16 MB


@dataclass
class Custom:
    """What finetune does differently. Everything must be the same again when a run goes on.

    groups          of the optimiser: {"params": [...], "factor": of the learning rate}
    on_epoch_start  is called with every epoch that begins, and with the one that goes on, and the Training
    step_net        the part of the network that is trained, on `batches`; the whole is what is kept
    batches         train, val and test, with len, epoch(number, start) and iter as Batches has them
    """

    groups: Sequence[dict[str, Any]] | None = None
    on_epoch_start: Callable[[int, Training], object] = lambda *_: None
    step_net: nn.Module | None = None
    batches: Parts | None = None


def parts(data: ImageSet, settings: Settings, statistics: Statistics, team: Team) -> Parts:
    """Return the batches of train, val and test; the latter two may be None."""
    from ptools.data import augment

    common: dict[str, Any] = {
        "device": settings.device,
        "rank": team.rank,
        "ranks": team.ranks,
        "workers": settings.workers,
        "channels_last": bool(settings.channels_last),
    }
    train = Batches(
        data.train,
        statistics,
        batch_size=settings.batch_size,
        shuffle_seed=settings.seed,
        augment=augment.parse(settings.augment),
        **common,
    )
    channels, height, width = data.shape
    many = min(1024, _SCORED // (channels * height * width))
    size = max(settings.batch_size, many)
    if settings.shard:  # every process calls its part for every image: all score them all
        common |= {"rank": 0, "ranks": 1}
    val, test = (
        Batches(part, statistics, batch_size=size, **common) if part is not None else None
        for part in (data.val, data.test)
    )
    return train, val, test


def class_weights(data: ImageSet, settings: Settings) -> Any:
    """Return a weight per class, or None."""
    if settings.class_weights != "balanced":
        return None
    import torch

    from ptools.training.losses import balanced

    return torch.tensor(balanced(data.counts()), device=settings.device)
