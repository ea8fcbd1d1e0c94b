"""The optimiser, and the learning rate of every step.

optimizer(...)   SGD, Adam, AdamW or RMSprop of torch, fused where torch has that
bare(optimizer)  its step, without what torch wraps it in
Schedule         the learning rate as a function of the step and of what was measured so far

A schedule holds no state: where a training goes on, its learning rate is that of the step it has come
to. So it also has one rule for a run whose epochs are extended: the curve is drawn to the new end.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from inspect import unwrap
from math import cos, pi
from typing import TYPE_CHECKING, Any

from ptools.errors import UsageError

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from ptools.training.settings import Settings

__all__ = ["Schedule", "bare", "optimizer", "parse_schedule"]

_START, _END, _RISE = 25.0, 1e4, 0.3  # of one cycle, as in torch.optim.lr_scheduler.OneCycleLR
_PLATEAU = (3, 0.1)  # epochs without a better loss, and the factor after them


def optimizer(
    model: nn.Module, settings: Settings, groups: Sequence[dict[str, Any]] | None = None
) -> Optimizer:
    """Return the optimiser of what is not frozen, or of `groups`: {"params": [...], "factor": 0.1}.

    `factor` is that of the learning rate, 1 where it is not given.
    """
    import torch

    from ptools.checkpoints.freezing import trainable

    # frozen ones are left out: weight decay and momentum would move them
    given = [dict(group) for group in groups or [{"params": list(trainable(model))}]]
    for group in given:
        group.setdefault("factor", 1.0)
    decay = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    betas = {"betas": (settings.momentum, 0.999)}
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "sgd": (torch.optim.SGD, {"momentum": settings.momentum, "nesterov": settings.nesterov}),
        "adam": (torch.optim.Adam, betas),
        "adamw": (torch.optim.AdamW, betas),
        "rmsprop": (torch.optim.RMSprop, {"momentum": settings.momentum}),
    }
    make, options = kinds[settings.optimizer]
    if settings.optimizer != "rmsprop" and not settings.shard:  # no fused one for parts of tensors
        try:
            found: Optimizer = make(given, **decay, **options, fused=True)
            return found
        except RuntimeError:  # not for this device or this dtype
            given = [dict(group, params=list(group["params"])) for group in given]
    plain: Optimizer = make(given, **decay, **options)
    return plain


def bare(optimizer: Optimizer) -> Callable[[], object]:
    """Return the optimiser's step without what torch wraps it in for hooks, profiles and torch.compile.

    The same numbers; on a small network the wrappers take half as long as the step itself. Where
    somebody has a hook for all optimisers it is the whole step.
    """
    import torch

    torchs = vars(sys.modules[torch.optim.Optimizer.__module__])
    if any(torchs.get(f"_global_optimizer_{kind}_hooks") for kind in ("pre", "post")):
        return optimizer.step
    return torch.no_grad()(partial(unwrap(type(optimizer).step), optimizer))


def parse_schedule(text: str) -> tuple[str, float, float]:
    """Return (name, epochs, factor) of none, cosine, onecycle, step:5:0.1, plateau or plateau:3:0.1."""
    name, _, rest = text.partition(":")
    if not rest and name in ("none", "cosine", "onecycle", "plateau"):
        return name, *_PLATEAU
    if name in ("step", "plateau"):
        try:
            epochs, factor = rest.split(":")
            if int(epochs) >= 1 and 0 < float(factor) < 1:
                return name, int(epochs), float(factor)
        except ValueError:
            pass
    raise UsageError(
        f"'{text}' is no schedule: none, cosine, onecycle, plateau, or step:5:0.1, a tenth every 5 epochs."
    )


class Schedule:
    """The learning rate, as a share of `--lr`, at every step; `total` steps in all."""

    def __init__(self, text: str, *, total: int, per_epoch: int) -> None:
        self.name, self.epochs, self.gamma = parse_schedule(text)
        self.total, self.per_epoch = max(total, 1), max(per_epoch, 1)

    def factor(self, step: int, losses: Sequence[float] = ()) -> float:
        """Return the factor at `step` (from 0), after epochs that measured `losses`."""
        if self.name == "onecycle":
            return _one_cycle(step, self.total)
        if self.name == "cosine":
            return (1 + cos(pi * min(step / self.total, 1))) / 2
        if self.name == "step":
            return float(self.gamma ** (step // self.per_epoch // int(self.epochs)))
        return self._plateau(losses) if self.name == "plateau" else 1.0

    def _plateau(self, losses: Sequence[float]) -> float:
        """As ReduceLROnPlateau: a factor less each time `epochs` in a row were not better by 1e-4."""
        best, waited, factor = float("inf"), 0, 1.0
        for loss in losses:
            if loss < best * (1 - 1e-4):
                best, waited = loss, 0
            else:
                waited += 1
            if waited > self.epochs:
                factor, waited = factor * self.gamma, 0
        return factor


def _one_cycle(step: int, total: int) -> float:
    """Return what OneCycleLR(total_steps=total) has: up from 1/25 in 30 % of the steps, down to 4e-6."""
    top, last = _RISE * total - 1, total - 1
    if step <= top:
        return _between(1 / _START, 1.0, step / top) if top > 0 else 1.0
    share = (min(step, last) - top) / (last - top) if last > top else 0.0
    return _between(1.0, 1 / (_START * _END), share)


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + cos(pi * share)) / 2
