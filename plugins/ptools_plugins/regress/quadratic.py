"""What can be said of a quadratic loss before the first step: mse of a model linear in theta.

    Hessian        H = 2/n A^T A, A the features with a column of ones; its eigenvalues are lambda
    sgd            theta - theta* shrinks by 1 - lr*lambda along each eigenvector:
        critical lr    2/lambda_max: above it the steepest direction grows
        best lr        2/(lambda_min + lambda_max): the slowest direction is as fast as can be
    momentum m     the roots of z^2 - (1 + m - lr*lambda) z + m take the place of 1 - lr*lambda:
        critical lr    (1 + m)*2/lambda_max
        best lr        the rate is sqrt(m), the best there is, from (1 - sqrt(m))^2/lambda_min
                       to (1 + sqrt(m))^2/lambda_max; the first of them

With batches an epoch is an affine map: each step is one of (theta, 1), or (theta, v, 1) with momentum.
The batches come in their order, so an epoch is the product of their maps, and the descent arrives where
the spectral radius of that is below 1. The critical lr is where it is 1, found by bisection; the best one
is where it is least.

Source: Polyak, Introduction to Optimization, 1987, sections 1.4 and 3.2; Boyd, Convex Optimization, 9.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ptools_plugins.regress.descent import Problem, Recipe, batches

__all__ = [
    "Curvature", "Limits", "batched", "closed_form", "curvature", "design", "limits", "sharpest", "step_maps",
]  # fmt: skip

_ROUND = 1e-9  # a spectral radius this much above 1 is rounding
_MOST = 20_000  # numbers of all maps of an epoch: more take longer than the descent itself


class Curvature(NamedTuple):
    """The Hessian's eigenvalues and what follows for plain gradient descent with all points."""

    eigenvalues: list[float]  # rising
    lambda_min: float  # the least that is not 0
    lambda_max: float
    condition: float  # inf where an eigenvalue is 0: then many solutions are as good
    critical_lr: float
    best_lr: float


class Limits(NamedTuple):
    """The same for one descent, with its batches and its momentum."""

    critical_lr: float
    best_lr: float | None  # None where a direction does not move at all
    rate: float  # spectral radius at the descent's own lr: what an epoch leaves of the error

    @property
    def diverges(self) -> bool:
        return self.rate > 1 + _ROUND


def design(problem: Problem) -> Any:
    """Return A (n, size), float64: the prediction is A @ theta."""
    import numpy as np

    phi = np.asarray(problem.phi, "float64")
    return np.concatenate([phi, np.ones((len(phi), 1))], axis=1) if problem.model.bias else phi


def closed_form(problem: Problem) -> Any:
    """Return the least squares solution (size,) by numpy.linalg.lstsq, of shortest length if many."""
    import numpy as np

    return np.linalg.lstsq(design(problem), np.asarray(problem.y, "float64"), rcond=None)[0]


def curvature(problem: Problem) -> Curvature:
    """Return what the Hessian of mse says; its eigenvalues from the singular values of A."""
    import numpy as np

    a = design(problem)
    found = 2 / len(a) * np.linalg.svd(a, compute_uv=False) ** 2
    found = np.sort(np.append(found, [0.0] * (a.shape[1] - len(found))))
    top = float(found[-1])
    floor = top * (max(a.shape) * np.finfo("float64").eps) ** 2  # matrix_rank's, squared
    least = float(found[found > floor][0]) if top else 0.0
    singular = bool(found[0] <= floor)
    return Curvature(
        [float(value) for value in found],
        least,
        top,
        float("inf") if singular else top / least,
        2 / top if top else float("inf"),
        2 / (least + top) if top else float("inf"),
    )


def limits(problem: Problem, recipe: Recipe, curve: Curvature) -> Limits | None:
    """Return the critical and the best learning rate of this descent: sgd or momentum, mse.

    None where there are too many batches, or unknowns, to find them by their maps.
    """
    if recipe.batch < len(problem.y):
        return batched(problem, recipe)
    if recipe.optimizer == "sgd":
        return Limits(curve.critical_lr, curve.best_lr, full_rate(curve, recipe))
    root = recipe.momentum**0.5
    first, last = (1 - root) ** 2 / curve.lambda_min, (1 + root) ** 2 / curve.lambda_max
    critical = (1 + recipe.momentum) * curve.critical_lr
    best: float | None = first
    if first > last:  # no lr has all directions at the rate sqrt(m)
        best = _least(
            lambda lrs: [full_rate(curve, recipe._replace(lr=float(lr))) for lr in lrs], critical
        )
    return Limits(critical, best, full_rate(curve, recipe))


def full_rate(curve: Curvature, recipe: Recipe) -> float:
    """Return what a step with all points leaves of the error at worst: the spectral radius.

    A direction with the eigenvalue 0 does not move, and is left out.
    """
    import numpy as np

    values = np.array(curve.eigenvalues)
    moving = recipe.lr * values[values >= curve.lambda_min]
    if recipe.optimizer == "sgd":
        return float(abs(1 - moving).max())
    sums = 1 + recipe.momentum - moving  # of the two roots of z^2 - sums*z + momentum
    spread = np.sqrt((sums**2 - 4 * recipe.momentum).astype(complex))
    return float(np.maximum(abs(sums + spread), abs(sums - spread)).max() / 2)


def _least(rates: Callable[[Any], Any], critical: float) -> float | None:
    """Return the lr below the critical one with the least rate; None where none is below 1."""
    import numpy as np

    low, high, best = 0.0, critical, critical
    for _ in range(5):
        tried = np.linspace(low, high, 42)[1:-1]
        left = rates(tried)
        place = int(np.argmin(left))
        if left[place] >= 1 - _ROUND:
            return None
        best = float(tried[place])
        around = np.concatenate([[low], tried, [high]])
        low, high = around[place], around[place + 2]
    return best


# -- with batches -------------------------------------------------------------------------------------


def batched(problem: Problem, recipe: Recipe) -> Limits | None:
    """Return the critical and the best learning rate of a descent in batches, None if too large."""
    steps = len(batches(len(problem.y), recipe.batch))
    width = problem.model.size * (2 if recipe.optimizer == "momentum" else 1)
    if steps * width**2 > _MOST or width > 64:
        return None

    def rates(lrs: Any) -> Any:
        return _radius(problem, recipe, lrs)

    critical = _critical(problem, recipe)
    best = _least(rates, critical) if math.isfinite(critical) else None
    return Limits(critical, best, float(rates([recipe.lr])[0]))


def step_maps(problem: Problem, recipe: Recipe, lrs: Any) -> Iterator[Any]:
    """Yield the map of every step of an epoch, for every lr: (lrs, D+1, D+1).

    theta' = theta - lr*v', where v' = g or momentum*v + g, and g = H theta - c is the batch's gradient.
    """
    import numpy as np

    a, y = design(problem), np.asarray(problem.y, "float64")
    size = a.shape[1]
    lr = np.asarray(lrs, "float64").reshape(-1, 1, 1)
    momentum = recipe.optimizer == "momentum"
    width = 2 * size if momentum else size
    for rows in batches(len(y), recipe.batch):
        count = rows.stop - rows.start
        v = np.zeros((size, width + 1))
        v[:, :size] = 2 / count * a[rows].T @ a[rows]
        v[:, width] = -2 / count * a[rows].T @ y[rows]
        if momentum:
            v[:, size:width] = recipe.momentum * np.eye(size)
        step = np.zeros((len(lr), width + 1, width + 1))
        step[:, :size] = np.eye(size, width + 1) - lr * v
        step[:, size:width] = v[: width - size]
        step[:, width, width] = 1
        yield step


def _radius(problem: Problem, recipe: Recipe, lrs: Any) -> Any:
    """Return the spectral radius of one epoch for every lr."""
    import numpy as np

    with np.errstate(all="ignore"):
        whole: Any = 1.0
        for place, step in enumerate(step_maps(problem, recipe, lrs)):
            linear = step[:, :-1, :-1]
            whole = linear @ whole if place else linear
        whole = np.where(np.isfinite(whole), whole, 1e200)
        return abs(np.linalg.eigvals(whole)).max(-1)


def sharpest(problem: Problem, recipe: Recipe) -> float:
    """Return the largest eigenvalue of the Hessian of any batch."""
    import numpy as np

    a = design(problem)
    return max(
        float(2 / (rows.stop - rows.start) * np.linalg.norm(a[rows], 2) ** 2)
        for rows in batches(len(a), recipe.batch)
    )


def _critical(problem: Problem, recipe: Recipe) -> float:
    """Return the smallest lr at which an epoch no longer shrinks every error, inf where none is."""
    import numpy as np

    top = sharpest(problem, recipe)
    low = 1 if recipe.optimizer == "sgd" else 1e-3  # no step of sgd lengthens an error below 2/top
    scan = np.geomspace(low / top, 1e3 / top, 200)
    unstable = _radius(problem, recipe, scan) > 1 + _ROUND
    if not unstable.any():
        return float("inf")
    first = int(unstable.argmax())
    low, high = (scan[first - 1], scan[first]) if first else (0.0, scan[0])
    for _ in range(30):
        middle = (low + high) / 2
        if _radius(problem, recipe, [middle])[0] > 1 + _ROUND:
            high = middle
        else:
            low = middle
    return float(low)
