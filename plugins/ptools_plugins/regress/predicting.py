"""At which step will the loss be inf? Said before the first one.

One epoch is an affine map M of the state (theta, v, 1), so the state after k epochs is M^k times the
first one. Powers M, M^2, M^4, ... are kept scaled, with the logarithm of the scale beside them: the
largest k with a finite loss is then found as a number is written in binary, however large it is.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ptools_plugins.regress.descent import Problem, Recipe, batches
from ptools_plugins.regress.quadratic import design, step_maps

__all__ = ["blow_up"]

_DOUBLINGS = 40  # 10^12 epochs: later than that is never


class _Scaled(NamedTuple):
    """An array of which the largest number is 1, times e^log."""

    array: Any
    log: float


def _scaled(array: Any, log: float = 0.0) -> _Scaled:
    top = float(abs(array).max())
    return _Scaled(array / top, log + math.log(top)) if top else _Scaled(array, log)


def blow_up(problem: Problem, recipe: Recipe) -> int | None:
    """Return the step after which the loss is inf in the problem's dtype, None if it never is.

    For mse of a linear model, by sgd or momentum.
    """
    import numpy as np

    maps = np.stack([step[0] for step in step_maps(problem, recipe, [recipe.lr])])  # (steps, D, D)
    whole = maps[0]
    for step in maps[1:]:
        whole = step @ whole
    if not np.isfinite(whole).all():
        return len(maps)
    overflow = _Overflow(problem, recipe)
    at, powers = overflow.first(maps.shape[-1]), [_scaled(whole)]
    while not overflow.told(_moved(powers[-1], at)):
        if len(powers) > _DOUBLINGS:
            return None
        powers.append(_scaled(powers[-1].array @ powers[-1].array, 2 * powers[-1].log))
    epochs = 0
    for place in range(len(powers) - 1, -1, -1):
        further = _moved(powers[place], at)
        if not overflow.told(further):
            at, epochs = further, epochs + 2**place
    return epochs * len(maps) + _within(maps, at, overflow)


def _within(maps: Any, at: _Scaled, overflow: _Overflow) -> int:
    """Return how many more steps there are to the batch that overflows."""
    for taken in range(2 * len(maps) + 1):
        batch = taken % len(maps)
        if overflow.told(at, batch) or (not batch and overflow.told(at)):
            return taken
        at = _moved(_Scaled(maps[taken % len(maps)], 0.0), at)
    return 2 * len(maps)


def _moved(power: _Scaled, at: _Scaled) -> _Scaled:
    return _scaled(power.array @ at.array, power.log + at.log)


class _Overflow:
    """Tells whether the sum of the squared residuals is more than the dtype can hold."""

    def __init__(self, problem: Problem, recipe: Recipe) -> None:
        import numpy as np

        a, y = design(problem), np.asarray(problem.y, "float64")
        self.residuals = np.concatenate([a, -y[:, None]], axis=1)  # of (theta, 1)
        self.rows = batches(len(y), recipe.batch)
        self.size, self.start = a.shape[1], problem.start
        information = np.finfo(problem.y.dtype)
        self.limit, self.eps = math.log(float(information.max)), float(information.eps)

    def first(self, length: int) -> _Scaled:
        """Return the first state; rounding errors are in it, as they wake every direction."""
        import numpy as np

        state = np.zeros(length)
        state[: self.size], state[-1] = self.start, 1
        size = max(1.0, float(abs(state).max()))
        state[: self.size] += self.eps * size * np.cos(np.arange(1, self.size + 1))
        return _scaled(state)

    def told(self, at: _Scaled, batch: int | None = None) -> bool:
        """Whether the loss of a batch, or of all points, is inf."""
        import numpy as np

        state = np.append(at.array[: self.size], at.array[-1])
        r = self.residuals @ state
        most = float(((r if batch is None else r[self.rows[batch]]) ** 2).sum())
        return most > 0 and math.log(most) + 2 * at.log > self.limit
