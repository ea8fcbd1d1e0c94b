"""Gradient descent, one loop for all three ways; only who takes the step differs.

    manual     the gradient by hand, the optimizer by hand; NumPy only
    autograd   the gradient by autograd, the optimizer by hand     (torch_ways.py)
    module     an nn.Module and an optimizer of torch.optim        (torch_ways.py)

Batches are slices of the data in their order, the last one may be smaller: the per-sample descent of
the tutorials is --batch 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from ptools import output
from ptools.errors import UsageError
from ptools_plugins.regress import formulas
from ptools_plugins.regress.formulas import RULES
from ptools_plugins.regress.models import Model

__all__ = ["WAYS", "Path", "Problem", "Recipe", "Way", "batches", "check", "descend", "full_losses"]

WAYS = ("manual", "autograd", "module")
_TOLD = 10_000  # steps between two looks at the bar
_MOST = 20_000_000  # numbers kept: every step is, for the pictures and for --compare


class Problem(NamedTuple):
    """A model, its data and where it starts; arrays of one dtype."""

    model: Model
    phi: Any  # (n, inputs)
    y: Any  # (n,)
    start: Any  # (size,)


class Recipe(NamedTuple):
    """How one descent goes down."""

    optimizer: str
    loss: str
    lr: float
    batch: int
    epochs: int
    momentum: float = 0.9
    delta: float = 1.0


class Path(NamedTuple):
    """Where a descent went: theta before the first step, and after every one."""

    thetas: Any  # (steps + 1, size)
    per_epoch: int  # steps
    ended: int | None  # the step after which the loss was inf or nan
    became: str  # "", "inf" or "nan"

    @property
    def epochs(self) -> Any:
        """Theta at the end of every epoch, the start first; where it broke off, that too."""
        import numpy as np

        whole = self.thetas[:: self.per_epoch]
        cut = (len(self.thetas) - 1) % self.per_epoch
        return np.concatenate([whole, self.thetas[-1:]]) if cut else whole


class Way(Protocol):
    """Somebody who takes steps."""

    def step(self, rows: slice) -> float:
        """Take a step; return the loss of the batch before it."""

    def theta(self) -> Any:
        """Return where it is, an array (size,) of its own."""

    def loss(self) -> float:
        """Return the loss over all points."""


class Manual:
    """The gradient by hand and the optimizer by hand."""

    def __init__(self, problem: Problem, recipe: Recipe) -> None:
        self.problem, self.recipe = problem, recipe
        self.at = problem.start
        self.taken, self.state = 0, dict[str, Any]()

    def step(self, rows: slice) -> float:
        model, recipe = self.problem.model, self.recipe
        phi, y = self.problem.phi[rows], self.problem.y[rows]
        r = formulas.residual(model.predict(self.at, phi), y, recipe.loss)
        slope = formulas.slope(r, recipe.loss, recipe.delta)
        gradient = model.gradient(self.at, phi, slope)
        self.taken += 1
        rule = RULES[recipe.optimizer]
        self.at = self.at - rule(gradient, self.state, self.taken, recipe.lr, recipe.momentum)
        return formulas.value(r, recipe.loss, recipe.delta)

    def theta(self) -> Any:
        return self.at

    def loss(self) -> float:
        return full_losses(self.problem, self.recipe, [self.at])[0]


def batches(points: int, batch: int) -> list[slice]:
    """Return the batches of an epoch, in the order of the data."""
    return [slice(first, min(first + batch, points)) for first in range(0, points, batch)]


def descend(problem: Problem, recipe: Recipe, how: str = "manual") -> Path:
    """Go down for `recipe.epochs` epochs, or to the step after which the loss is inf or nan.

    That is the loss of the next batch, or, at the end of an epoch, of all points.
    """
    import numpy as np

    order = batches(len(problem.y), recipe.batch)
    steps = recipe.epochs * len(order)
    thetas = np.empty((steps + 1, problem.model.size), problem.start.dtype)
    thetas[0] = problem.start
    way = _way(problem, recipe, how)
    with np.errstate(all="ignore"), _told(steps) as told:  # overflow is what we watch for
        for step in range(steps):
            if step % _TOLD == 0:
                told(step)
            loss = way.step(order[step % len(order)])
            if not math.isfinite(loss):
                return _broken_off(problem, recipe, thetas[: step + 1], len(order), _word(loss))
            thetas[step + 1] = way.theta()
        loss = way.loss()
    ended = None if math.isfinite(loss) else steps
    return Path(thetas, len(order), ended, "" if ended is None else _word(loss))


@contextmanager
def _told(steps: int) -> Iterator[Callable[[int], None]]:
    """Yield what shows how many steps are done: a bar on a terminal, if there are many."""
    if steps < 10 * _TOLD:
        yield lambda done: None
        return
    with output.progress(*_columns()) as bar:
        task = bar.add_task("steps", total=steps)
        yield lambda done: bar.update(task, completed=done, refresh=True)


def _columns() -> tuple[Any, ...]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    return TextColumn("steps"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()


def _broken_off(problem: Problem, recipe: Recipe, thetas: Any, per_epoch: int, word: str) -> Path:
    """Return the path to a batch with a loss of inf or nan, or to an epoch before with one."""
    ended = len(thetas) - 1
    for step in range(ended // per_epoch * per_epoch, 0, -per_epoch):
        (loss,) = full_losses(problem, recipe, [thetas[step]])
        if math.isfinite(loss):
            break
        ended, word = step, _word(loss)
    return Path(thetas[: ended + 1], per_epoch, ended, word)


def check(problem: Problem, recipe: Recipe) -> None:
    """Raise UsageError where the steps are more than can be kept."""
    steps = recipe.epochs * -(-len(problem.y) // recipe.batch)
    if steps * problem.model.size > _MOST:
        raise UsageError(
            f"{steps:,} steps of {problem.model.size} numbers are more than can be kept;"
            " ask for fewer --epochs or a larger --batch."
        )


def _way(problem: Problem, recipe: Recipe, how: str) -> Way:
    if how == "manual":
        return Manual(problem, recipe)
    from ptools_plugins.regress.torch_ways import Autograd, Module

    return (Autograd if how == "autograd" else Module)(problem, recipe)


def _word(loss: float) -> str:
    return "nan" if math.isnan(loss) else "inf"


def full_losses(problem: Problem, recipe: Recipe, thetas: Any) -> list[float]:
    """Return the loss over all points at every theta of `thetas` (k, size)."""
    import numpy as np

    with np.errstate(all="ignore"):
        return [
            formulas.value(
                formulas.residual(
                    problem.model.predict(theta, problem.phi), problem.y, recipe.loss
                ),
                recipe.loss,
                recipe.delta,
            )
            for theta in thetas
        ]


def full_gradient(problem: Problem, recipe: Recipe, theta: Any) -> Any:
    """Return the gradient over all points at theta."""
    import numpy as np

    with np.errstate(all="ignore"):
        r = formulas.residual(problem.model.predict(theta, problem.phi), problem.y, recipe.loss)
        return problem.model.gradient(
            theta, problem.phi, formulas.slope(r, recipe.loss, recipe.delta)
        )
