"""Learning rates: the one taken when none is given, why a run diverged, and the one to take then."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ptools_plugins.regress.descent import (
    Path,
    Problem,
    Recipe,
    batches,
    descend,
    full_gradient,
    full_losses,
)
from ptools_plugins.regress.quadratic import Curvature, Limits, sharpest

if TYPE_CHECKING:
    from ptools_plugins.regress.work import Plan, Prepared

__all__ = ["auto", "failure"]

_ADAPTIVE = {"adam": 0.1, "rmsprop": 0.02}  # an epoch's way: a step is as long as lr says
_TRIED = 100_000  # steps: longer runs are not repeated to find a learning rate


def auto(problem: Problem, recipe: Recipe, limits: Limits | None, curve: Curvature | None) -> float:
    """Return the learning rate of --lr auto.

    Half the critical one where it is known: no direction overshoots; a tenth for a single unknown,
    which half the critical one solves in one step. For l1 and huber, whose slopes
    are bounded, that of mse, and a fifth of it for l1, which never slows down. For a network, from the
    curvature at the start.
    """
    if limits is not None and math.isfinite(limits.critical_lr):
        return limits.critical_lr / (2 if problem.model.size > 1 else 10)
    if recipe.optimizer in _ADAPTIVE:
        steps = len(batches(len(problem.y), recipe.batch))
        size = float(abs(problem.phi).max()) / 10
        return _ADAPTIVE[recipe.optimizer] / steps / max(1.0, size)
    top = sharpest(problem, recipe) if curve is not None else _sharpness(problem, recipe)
    lr = 1 / top if top > 0 else 0.01
    if curve is None:
        lr = min(lr / 10, 0.1)  # the curvature of a network grows on the way down
    if recipe.loss == "l1":
        lr /= 5
    return lr * (1 - recipe.momentum) if recipe.optimizer == "momentum" else lr


def _sharpness(problem: Problem, recipe: Recipe) -> float:
    """Return the largest |lambda| of the Hessian of any batch at the start; of 20 of them if many."""
    order = batches(len(problem.y), recipe.batch)
    some = order[:: -(-len(order) // 20)]
    return max(
        _top(problem._replace(phi=problem.phi[rows], y=problem.y[rows]), recipe) for rows in some
    )


def _top(problem: Problem, recipe: Recipe) -> float:
    """Return |lambda_max| of the Hessian at the start: power iteration on differences of gradients."""
    import numpy as np

    at = problem.start.astype("float64")
    wide = problem._replace(phi=problem.phi.astype("float64"), y=problem.y.astype("float64"))
    quadratic = recipe._replace(loss="mse")
    direction = np.ones_like(at) / math.sqrt(len(at))
    here, top = full_gradient(wide, quadratic, at), 0.0
    for _ in range(20):
        product = (full_gradient(wide, quadratic, at + 1e-5 * direction) - here) / 1e-5
        top = float(np.linalg.norm(product))
        if not top or not math.isfinite(top):
            return 0.0
        direction = product / top
    return top


def failure(prepared: Prepared, plan: Plan, path: Path, losses: list[float]) -> str | None:
    """Return why a descent diverged and the lr to use, in one line; None where it did not."""
    above = plan.limits is not None and plan.limits.diverges and losses[-1] > losses[0]
    if path.ended is None and not above:
        return None
    many = f"{plan.label}: " if len(prepared.plans) > 1 else ""
    dtype = prepared.settings.dtype
    if path.ended is not None:
        said = f" (predicted: {plan.blow_up:,})" if plan.blow_up is not None else ""
        what = f"{many}the loss became {path.became} at step {path.ended:,}{said} in {dtype}"
    else:
        ahead = f" and would be inf at step {plan.blow_up:,} in {dtype}" if plan.blow_up else ""
        what = f"{many}the loss grew from {losses[0]:.4g} to {losses[-1]:.4g}{ahead}"
    return f"{what}: {_why(prepared, plan)}; {_remedy(prepared, plan)}."


def _why(prepared: Prepared, plan: Plan) -> str:
    limits, lr = plan.limits, plan.recipe.lr
    if limits is None:
        return f"lr {lr:.4g} overshoots by more at every step"
    every = "step" if plan.recipe.batch >= prepared.points.size else "epoch"
    return (
        f"lr {lr:.4g} is above the critical {limits.critical_lr:.4g}, every {every} multiplies the"
        f" error by {limits.rate:.4g}"
    )


def _remedy(prepared: Prepared, plan: Plan) -> str:
    """Return the lr to use: half the critical one, or one that was tried."""
    if plan.limits is not None:
        return f"use --lr {plan.limits.critical_lr / 2:.3g}"
    recipe, problem = plan.recipe, prepared.problem
    steps = recipe.epochs * -(-prepared.points.size // recipe.batch)
    if steps > _TRIED:
        return f"try --lr {recipe.lr / 10:.2g}"
    for halvings in range(1, 60):
        lr = float(f"{recipe.lr / 2**halvings:.2g}")
        path = descend(problem, recipe._replace(lr=lr))
        first, last = full_losses(problem, recipe, _ends(path))
        if path.ended is None and last < first:
            return f"use --lr {lr:.3g} (tried)"
    return "use --standardize"


def _ends(path: Path) -> list[Any]:
    return [path.thetas[0], path.thetas[-1]]
