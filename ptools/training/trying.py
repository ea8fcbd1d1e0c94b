"""A try on two images, so that a misfit is one line before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ptools.data import ImageSet
from ptools.errors import UsageError, cause
from ptools.training import losses
from ptools.training.step import autocast, outputs

if TYPE_CHECKING:
    from torch import nn

    from ptools.training.settings import Settings

__all__ = ["check"]


def check(model: nn.Module, data: ImageSet, settings: Settings, *, step: bool = True) -> None:
    """Try the model: in eval mode and, on a copy, through a whole training `step`, loss included.

    Raises UsageError where `model` does not take the images, does not return (N, classes) of floats,
    where the labels are not its classes, or where it has nothing to train.
    """
    import copy

    import torch

    count = min(2, settings.batch_size, len(data.train))
    index = torch.arange(count)
    images = torch.zeros(count, *data.shape, device=settings.device)
    if settings.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    labels = _labels(data)[index].to(settings.device)
    try:
        with torch.random.fork_rng(), torch.no_grad():
            found = model.eval()(images)
        _check_outputs(found, (count, len(data.classes)))
        if not any(p.requires_grad for p in model.parameters()):
            raise UsageError("the model has no parameters to train; choose another --model.")
        if not step:
            return
        with torch.random.fork_rng(), autocast(settings):
            again, _ = outputs(copy.deepcopy(model).train()(images))
            _check_outputs(again, (count, len(data.classes)))
            losses.objective(settings.loss)(again.float(), labels).backward()  # type: ignore[no-untyped-call]
    except UsageError:
        raise
    except Exception as error:  # the model is the user's code
        size = "x".join(map(str, data.shape))
        raise UsageError(
            f"the model does not train on batches of {count} images of {size}: {cause(error)}"
        ) from error


def _labels(data: ImageSet) -> Any:
    """Return the training labels. Raises UsageError where one is no class."""
    labels = data.train.labels
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= len(data.classes):
        raise UsageError(
            f"the labels of {data.name} go from {lowest} to {highest}, but it has {len(data.classes)} "
            f"classes, 0 to {len(data.classes) - 1}; correct the labels."
        )
    return labels


def _check_outputs(found: Any, wanted: tuple[int, int]) -> None:
    shape = tuple(getattr(found, "shape", ()))
    if shape != wanted:
        got = shape or f"a {type(found).__name__}"
        raise UsageError(
            f"for {wanted[0]} images the model returns {got}; {wanted[1]} classes need {wanted}."
        )
    if not found.is_floating_point():
        kind = str(found.dtype).removeprefix("torch.")
        raise UsageError(f"the model returns {kind}; a loss needs the float outputs, not classes.")
