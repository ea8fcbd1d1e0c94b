"""Out of memory: the largest batch that would have fitted, found by trying."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ptools.data import ImageSet
from ptools.errors import PtoolsError
from ptools.training.settings import Settings

if TYPE_CHECKING:
    from torch import nn

__all__ = ["errors", "explained", "largest"]


def errors() -> type[Exception]:
    """Return what torch raises where a GPU has no memory left."""
    import torch

    return torch.cuda.OutOfMemoryError


def explained(
    error: BaseException, net: nn.Module, images: ImageSet, settings: Settings
) -> PtoolsError:
    """Return an error that names the largest batch that fits; the optimiser's state is counted in."""
    size = settings.batch_size
    fits = largest(net, images, settings)
    if not fits:
        return PtoolsError(
            f"{settings.device} has no memory for this model, not even for one image; choose a smaller "
            "--model or --size, --amp bf16, or --shard over several GPUs."
        )
    share = -(-size // fits)
    return PtoolsError(
        f"{settings.device} has no memory for --batch-size {size}; the largest that fits is about {fits}: "
        f"try --batch-size {-(-size // share)} --accumulate {share * settings.accumulate}, which steps alike."
    )


def largest(net: nn.Module, images: ImageSet, settings: Settings) -> int:
    """Return the largest batch below `settings.batch_size` that a whole step takes; 0 where none does."""
    import gc

    import torch

    low, high = 0, settings.batch_size
    for parameter in net.parameters():
        parameter.grad = None
    while high - low > max(1, low // 16):
        middle = (low + high) // 2
        gc.collect()
        torch.cuda.empty_cache()
        try:
            _step(net, images, settings, middle)
            low = middle
        except torch.cuda.OutOfMemoryError:
            high = middle
    return low


def _step(net: nn.Module, images: ImageSet, settings: Settings, size: int) -> None:
    from dataclasses import replace

    import torch

    from ptools.training.step import Step

    step = Step(net.train(), replace(settings, accumulate=1), batches=1)
    batch: Any = torch.zeros(size, *images.shape, device=settings.device)
    if settings.channels_last:
        batch = batch.contiguous(memory_format=torch.channels_last)
    step(None, (batch, torch.zeros(size, dtype=torch.int64, device=settings.device)))
