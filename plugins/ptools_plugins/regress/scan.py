"""Brute force: the loss at every w of a grid, or at every pair (w, b), as in a meshgrid."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ptools.errors import UsageError
from ptools_plugins.regress import formulas
from ptools_plugins.regress.descent import Problem, Recipe
from ptools_plugins.regress.work import Prepared, Study

__all__ = ["Scan", "check", "scan", "surface"]

_CELLS = 80  # steps of the grid along each axis, about
_AT_ONCE = 4_000_000  # numbers in memory


class Scan(NamedTuple):
    """The loss over a grid; `b` is None for a line without one."""

    w: Any  # (k,)
    b: Any | None  # (m,)
    loss: Any  # (m, k), m = 1 without b
    best_w: float
    best_b: float | None
    least: float

    @property
    def curve(self) -> Any:
        """The loss over w (k,), at the best b of the grid."""
        return self.loss[divmod(int(self.loss.argmin()), self.loss.shape[1])[0]]


def check(prepared: Prepared, b_span: tuple[float, float] | None) -> None:
    """Raise UsageError for more than two unknowns, for several losses, for a span of no b."""
    model = prepared.problem.model
    if not model.linear or model.inputs > 1:
        raise UsageError(
            f"--scan is over w, or over w and b: this {model.text} has"
            f" {model.size} unknowns; choose --model linear and one column of x."
        )
    if len(prepared.settings.losses) > 1:
        raise UsageError("--scan is over one loss; choose one of --loss.")
    if b_span and not model.bias:
        raise UsageError("--b-range needs a b; linear-no-bias has none.")


def scan(
    study: Study, w_span: tuple[float, float] | None, b_span: tuple[float, float] | None
) -> Scan:
    """Return the loss over the grid; `check` said that there is one."""
    problem, recipe = study.prepared.problem, study.descents[0].plan.recipe
    model = problem.model
    w = _grid(w_span or _around(study, 0))
    b = _grid(b_span or _around(study, 1)) if model.bias else None
    loss = surface(problem, recipe, w, b)
    row, column = divmod(int(loss.argmin()), len(w))
    return Scan(
        w, b, loss, float(w[column]), None if b is None else float(b[row]), float(loss.min())
    )


def surface(problem: Problem, recipe: Recipe, w: Any, b: Any | None) -> Any:
    """Return the loss (m, k) at every b (m,) and w (k,); m is 1 without b."""
    import numpy as np

    heights = [0.0] if b is None else b
    return np.stack([_row(problem, recipe, w, float(height)) for height in heights])


def _around(study: Study, place: int) -> tuple[float, float]:
    """Return a span that holds the start, the solution and the paths, or the first steps of a long one."""
    import numpy as np

    assert study.closed is not None
    there = float(study.closed[place])
    reach = max(abs(float(study.prepared.problem.start[place]) - there), 0.5 * max(1.0, abs(there)))
    nearest = reach
    for descent in study.descents:
        steps = descent.path.thetas if descent.failure is None else descent.path.thetas[:8]
        far = float(np.max(abs(steps[:, place].astype("float64") - there)))
        reach = max(reach, min(far, 4 * nearest))
    return there - 1.15 * reach, there + 1.15 * reach


def _grid(span: tuple[float, float]) -> Any:
    """Return about 80 values with a round distance, so that round solutions are among them."""
    import numpy as np

    low, high = span
    raw = (high - low) / _CELLS
    power = 10 ** math.floor(math.log10(raw))
    step = next(f * power for f in (1, 2, 2.5, 5, 10) if f * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return np.arange(first, last + 1) * step


def _row(problem: Problem, recipe: Recipe, w: Any, b: float) -> Any:
    """Return the loss (k,) at every w of one row of the grid."""
    import numpy as np

    x, y = problem.phi[:, 0].astype("float64"), problem.y.astype("float64")
    some = max(1, _AT_ONCE // len(y))
    found = []
    for first in range(0, len(w), some):
        residuals = np.outer(w[first : first + some], x) + (b - y)  # (some, n)
        found.append(formulas.of_each(residuals, recipe.loss, recipe.delta).mean(1))
    return np.concatenate(found)
