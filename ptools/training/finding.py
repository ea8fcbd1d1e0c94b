"""--find-lr: the loss over a range of learning rates, tried on a copy of the model.

Smith, "Cyclical Learning Rates" (arXiv:1506.01186): the rate grows with every step until the loss
explodes. The suggestion is a tenth of the rate that had the lowest (smoothed) loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

from ptools.errors import PtoolsError
from ptools.training import light
from ptools.training.loop import Training
from ptools.training.settings import Settings

if TYPE_CHECKING:
    from ptools.training.session import Session

__all__ = ["Found", "find"]

_LOWEST, _HIGHEST, _STEPS = 1e-6, 10.0, 100
_SMOOTH, _EXPLODED = 0.9, 4.0


@dataclass(frozen=True)
class Found:
    """The smoothed loss at every learning rate that was tried, and the rate to take."""

    tried: list[tuple[float, float]]
    lr: float

    def rows(self, count: int = 12) -> list[tuple[float, float]]:
        """Return a few of them, evenly spread."""
        step = max(1, -(-len(self.tried) // count))
        return self.tried[::-1][::step][::-1]


def find(session: Session) -> Found:
    """Try learning rates; the session and its random numbers stay as they are. Raises PtoolsError."""
    import copy

    import torch

    settings = replace(
        session.settings, lr=1.0, schedule="none", accumulate=1, compile=False, epochs=1
    )
    if session.custom.step_net is not None or session.custom.groups is not None:
        raise PtoolsError("--find-lr knows no parts of a network yet; give --lr a number.")
    with torch.random.fork_rng(), light.uncompiled(settings):
        training = Training(
            copy.deepcopy(session.net),
            session.images,
            settings,
            statistics=session.statistics,
        )
        tried = list(_try(training, settings))
        training.release()
    if len(tried) < 10:
        raise PtoolsError("the loss exploded at once; the learning rate cannot be found this way.")
    lowest = min(tried, key=lambda pair: pair[1])[0]
    return Found(tried, float(f"{lowest / 10:.1g}"))


def _try(training: Training, settings: Settings) -> Iterator[tuple[float, float]]:
    """Yield (learning rate, smoothed loss) until the loss explodes."""
    step, mean, best = training.step, 0.0, inf
    training.trained.train()
    for number, batch in enumerate(_endless(training)):
        lr = _LOWEST * (_HIGHEST / _LOWEST) ** (number / (_STEPS - 1))
        _set(step, lr)
        step(None, batch)
        loss = step.running.waiting.pop().loss.item()
        if not isfinite(loss):
            return
        mean = _SMOOTH * mean + (1 - _SMOOTH) * loss
        smooth = mean / (1 - _SMOOTH ** (number + 1))
        best = min(best, smooth)
        if smooth > _EXPLODED * best or number == _STEPS:
            return
        yield lr, smooth


def _endless(training: Training) -> Iterator[Any]:
    epoch = 0
    while True:
        epoch += 1
        training.step.batch = 0
        yield from training.train.epoch(epoch)


def _set(step: Any, lr: float) -> None:
    step.settings = replace(step.settings, lr=lr)
