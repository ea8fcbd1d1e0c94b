"""From points and settings to what is known before the first step, and to what came of it.

prepare(points, settings)   the problem, its curvature, a plan per descent: nothing has run yet
run(prepared)               the descents themselves, the closed form beside them
compare(prepared)           the same descents three ways, step by step
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

from ptools.errors import PtoolsError, UsageError
from ptools_plugins.regress import learning, models, quadratic
from ptools_plugins.regress.data import Points, Scale, standardized
from ptools_plugins.regress.descent import (
    WAYS,
    Path,
    Problem,
    Recipe,
    check,
    descend,
    full_losses,
)
from ptools_plugins.regress.predicting import blow_up
from ptools_plugins.regress.quadratic import Curvature, Limits

__all__ = [
    "Compared", "Descent", "Plan", "Prepared", "Settings", "Study", "compare", "prepare", "run",
]  # fmt: skip

MOST_DESCENTS = 8
_LONG = 1e4  # a condition number: so many epochs take a step to the end of the valley
TOLERANCE = {"float64": 1e-6, "float32": 1e-3}


class Settings(NamedTuple):
    """What is asked for; several losses, optimizers and learning rates are all their combinations."""

    model: str = "linear"
    how: str = "manual"
    losses: Sequence[str] = ("mse",)
    optimizers: Sequence[str] = ("sgd",)
    lrs: Sequence[float | str] = ("auto",)  # numbers, "auto" or "best"
    batch: int | None = None  # None: all points
    epochs: int = 200
    momentum: float = 0.9
    delta: float = 1.0
    init: Sequence[float] | None = None
    dtype: str = "float64"
    seed: int = 0
    standardize: bool = False


class Plan(NamedTuple):
    """One descent before its first step."""

    label: str
    recipe: Recipe
    chosen: str  # "", "auto" or "best": who chose the learning rate
    limits: Limits | None  # sgd and momentum on a quadratic loss
    blow_up: int | None  # the step after which the loss will be inf


class Prepared(NamedTuple):
    """What is known before the first step."""

    points: Points
    settings: Settings
    problem: Problem
    names: list[str]  # of theta's numbers
    curve: Curvature | None  # of mse; None for a network
    rounder: float | None  # the condition number with --standardize, where that is far less
    scale: Scale | None
    plans: list[Plan]

    @property
    def quadratic(self) -> bool:
        return self.curve is not None and "mse" in self.settings.losses


class Descent(NamedTuple):
    """One descent, and what came of it."""

    plan: Plan
    path: Path
    losses: list[float]  # at the end of every epoch, the start first
    failure: str | None  # why it diverged, and the lr to use

    @property
    def theta(self) -> Any:
        return self.path.thetas[-1]


class Study(NamedTuple):
    """All of it."""

    prepared: Prepared
    descents: list[Descent]
    closed: Any | None  # the least squares solution (size,)

    @property
    def failure(self) -> str | None:
        return next((descent.failure for descent in self.descents if descent.failure), None)


class Compared(NamedTuple):
    """One descent, three ways."""

    plan: Plan
    paths: dict[str, Path]
    losses: dict[str, list[float]]
    differences: list[float]  # per step, the start first: the largest of theta, relative above 1

    @property
    def worst(self) -> float:
        return max(self.differences)


def prepare(points: Points, settings: Settings) -> Prepared:
    """Return what is known before the first step.

    Raises UsageError for too few points, for numbers too large for the dtype, and for settings that
    contradict each other.
    """
    model = models.parse(settings.model)._replace(columns=points.x.shape[1])
    names = model.names(points.columns)
    if model.linear:
        _enough(points, model)
    phi, scale = model.features(points.x), None
    if settings.standardize:
        phi, scale = standardized(phi, centre=model.bias)
    _bounded(phi, points.y, settings)
    start = _start(model, names, settings)
    problem = Problem(model, phi.astype(settings.dtype), points.y.astype(settings.dtype), start)
    curve = quadratic.curvature(problem) if model.linear else None
    if curve is not None and not curve.lambda_max:
        raise UsageError("every x is 0: there is nothing to fit; give other points.")
    rounder = _rounder(problem, curve) if curve is not None and scale is None else None
    before = Prepared(points, settings, problem, names, curve, rounder, scale, [])
    return before._replace(plans=_plans(before))


def _rounder(problem: Problem, curve: Curvature) -> float | None:
    """Return the condition number that --standardize leaves of a bad one, None where it does not help."""
    if curve.condition < _LONG:
        return None
    phi, _ = standardized(problem.phi.astype("float64"), centre=problem.model.bias)
    found = quadratic.curvature(problem._replace(phi=phi)).condition
    return found if found < curve.condition / 10 else None


def _enough(points: Points, model: models.Model) -> None:
    seen: set[tuple[float, ...]] = set()
    for row in points.x:
        seen.add(tuple(row))
        if len(seen) == model.size:
            break
    different = len(seen)
    if different < model.size:
        have = "1 point" if different == 1 else f"{different} points"
        if different < points.size:
            have += " of different x"
        unknowns = "1 unknown" if model.size == 1 else f"{model.size} unknowns"
        fewer = {"poly": "a lower degree", "linear": "--model linear-no-bias"}.get(model.kind, "")
        if points.x.shape[1] > 1:
            fewer = "fewer columns of x"
        raise UsageError(
            f"{have} for {unknowns} ({', '.join(model.names(points.columns)[:6])}):"
            f" many lines are as good; give more points{fewer and ', or ' + fewer}."
        )


def _bounded(phi: Any, y: Any, settings: Settings) -> None:
    """Refuse numbers whose squares the dtype cannot hold: the loss would be inf from the start."""
    import numpy as np

    most = 1e120 if settings.dtype == "float64" else 1e15
    for name, values in (("x", phi), ("y", y)):
        largest = float(abs(values).max())
        if not largest <= most:
            way = "--standardize" if name == "x" and np.isfinite(largest) else "other units"
            raise UsageError(
                f"{name} (with its powers) is as large as {largest:.3g}: in {settings.dtype} its"
                f" squares overflow; use {way}."
            )


def _start(model: models.Model, names: list[str], settings: Settings) -> Any:
    import numpy as np

    if settings.init is None:
        return model.first(settings.seed).astype(settings.dtype)
    if len(settings.init) != model.size:
        what = ", ".join(names[:6]) if names else f"{model.size} numbers"
        raise UsageError(f"--init has {len(settings.init)} of {model.size} values: give {what}.")
    return np.array(settings.init, settings.dtype)


def _plans(before: Prepared) -> list[Plan]:
    settings = before.settings
    ways = list(product(settings.losses, settings.optimizers, settings.lrs))
    if len(ways) > MOST_DESCENTS:
        raise UsageError(f"{len(ways)} descents at once are asked for; at most {MOST_DESCENTS}.")
    plans = [_plan(before, loss, optimizer, lr) for loss, optimizer, lr in ways]
    for place, kind in enumerate((settings.losses, settings.optimizers, settings.lrs)):
        if len(kind) > 1:  # the label is what differs
            plans = [
                plan._replace(label=f"{plan.label} {_word(place, plan.recipe)}".strip())
                for plan in plans
            ]
    return [plan._replace(label=plan.label or plan.recipe.optimizer) for plan in plans]


def _word(place: int, recipe: Recipe) -> str:
    return (recipe.loss, recipe.optimizer, f"lr {recipe.lr:.4g}")[place]


def _plan(before: Prepared, loss: str, optimizer: str, lr: float | str) -> Plan:
    """Return the plan of one descent, its learning rate chosen where it was not given."""
    settings, problem, curve = before.settings, before.problem, before.curve
    batch = min(settings.batch or before.points.size, before.points.size)
    given = 0.0 if isinstance(lr, str) else lr
    recipe = Recipe(
        optimizer, loss, given, batch, settings.epochs, settings.momentum, settings.delta
    )
    check(problem, recipe)
    known = curve is not None and loss == "mse" and optimizer in ("sgd", "momentum")
    limits = quadratic.limits(problem, recipe, curve) if known and curve else None
    if lr == "best" and (limits is None or limits.best_lr is None):
        raise UsageError(
            f"--lr best is known for mse of a linear model by sgd or momentum only, not for"
            f" {loss} of {problem.model.text} by {optimizer}; give a number."
        )
    if isinstance(lr, str):
        chosen = limits.best_lr if lr == "best" and limits else None
        recipe = recipe._replace(lr=chosen or learning.auto(problem, recipe, limits, curve))
        if limits:
            limits = quadratic.limits(problem, recipe, curve) if curve else None
    ahead = blow_up(problem, recipe) if limits and limits.diverges else None
    return Plan("", recipe, lr if isinstance(lr, str) else "", limits, ahead)


def run(prepared: Prepared) -> Study:
    """Run every descent, and solve in closed form where that can be done.

    Raises PtoolsError where the loss is inf before the first step.
    """
    problem = prepared.problem
    descents = []
    for plan in prepared.plans:
        path = descend(problem, plan.recipe, prepared.settings.how)
        if path.ended == 0:
            raise PtoolsError(
                "the loss is inf before the first step: give smaller numbers, or another --init."
            )
        losses = full_losses(problem, plan.recipe, path.epochs)
        failure = learning.failure(prepared, plan, path, losses)
        descents.append(Descent(plan, path, losses, failure))
    closed = quadratic.closed_form(problem) if problem.model.linear else None
    return Study(prepared, descents, closed)


def compare(prepared: Prepared) -> list[Compared]:
    """Run every descent all three ways."""
    import numpy as np

    found = []
    for plan in prepared.plans:
        paths = {how: descend(prepared.problem, plan.recipe, how) for how in WAYS}
        losses = {
            how: full_losses(prepared.problem, plan.recipe, path.epochs)
            for how, path in paths.items()
        }
        steps = min(len(path.thetas) for path in paths.values())
        ours = paths["manual"].thetas[:steps].astype("float64")
        worst = np.zeros(steps)
        for path in paths.values():
            theirs = path.thetas[:steps].astype("float64")
            apart = abs(ours - theirs) / np.maximum(1, abs(ours))
            worst = np.fmax(worst, np.where(np.isfinite(apart), apart, 0).max(1))
        found.append(Compared(plan, paths, losses, [float(value) for value in worst]))
    return found


def in_your_units(prepared: Prepared, theta: Any) -> Any:
    """Return theta for the features as they were before --standardize."""
    import numpy as np

    model, scale = prepared.problem.model, prepared.scale
    if scale is None or not model.linear:
        return theta
    w, *b = model.parts(np.asarray(theta, "float64"))
    raw = w / scale.deviation
    return np.append(raw, b[0] - raw @ scale.mean) if b else raw
