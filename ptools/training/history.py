"""What the epochs measured, and what follows from it: which weights are kept, when it is enough.

Epoch            what one epoch measured
best(history)    the epoch whose weights are kept
losses(history)  what a plateau is looked for in
tired(...)       whether --patience is at its end
ended(...)       why a saved training ended early
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ptools.training.settings import Settings

__all__ = ["Epoch", "best", "ended", "losses", "tired"]


@dataclass(frozen=True)
class Epoch:
    """What one epoch measured: accuracies in 0..1, losses a mean of `--loss` over the images.

    Both losses are without label smoothing and class weights, to be compared; what is minimised is with
    them. Without validation images there is no `val_loss`.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    lr: float
    seconds: float


def best(history: Sequence[Epoch]) -> Epoch:
    """Return the epoch whose weights are kept: the most accurate on val, then the lowest loss there.

    Without validation images it is the last.
    """
    if history[-1].val_accuracy is None:
        return history[-1]
    return max(history, key=lambda e: (e.val_accuracy or 0.0, -(e.val_loss or 0.0)))


def tired(history: Sequence[Epoch], settings: Settings) -> bool:
    """Return whether as many epochs as `patience` came after the best one."""
    if settings.patience is None or not history or history[-1].val_accuracy is None:
        return False
    return len(history) - best(history).epoch >= settings.patience


def ended(found: Mapping[str, Any], settings: Settings) -> str | None:
    """Return why a saved training ended early: None where the settings now allow it more."""
    budget, why = settings.time_budget, found["ended"]
    if why == "time":
        return None if budget is None or budget > found["seconds"] else why
    history = [Epoch(**epoch) for epoch in found["history"]]
    return "patience" if why and tired(history, settings) else None


def losses(history: Sequence[Epoch]) -> list[float]:
    return [epoch.loss if epoch.val_loss is None else epoch.val_loss for epoch in history]
