"""The formulas by hand: losses with their slopes, and what every optimizer takes off theta.

    mse    r^2
    l1     |r|
    huber  r^2/2 up to |r| = delta, and delta*(|r| - delta/2) beyond (F.huber_loss)

r is the residual, prediction minus y; every loss is a mean over the points of the batch.

A rule of RULES is called with the gradient, its own state and the number of the step (from 1), and
written with operators only: it takes arrays and tensors. The defaults are those of torch.optim, whose
steps these are (SGD without dampening, Adam and RMSprop as in their documentation).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["LOSSES", "OPTIMIZERS", "RULES", "near", "of_each", "residual", "slope", "value"]

LOSSES = ("mse", "l1", "huber")


# -- losses -------------------------------------------------------------------------------------------


def near(dtype: Any) -> float:
    """Return the share of a prediction below which a residual of l1 is rounding, and counts as 0.

    The sign of rounding errors is no gradient: it would differ from one way to the other.
    """
    import numpy as np

    return 1e-10 if np.dtype(dtype).itemsize == 8 else 1e-6


def residual(prediction: Any, y: Any, loss: str) -> Any:
    """Return prediction - y (n,), for l1 without what is only rounding."""
    r = prediction - y
    if loss == "l1":
        r[abs(r) <= near(r.dtype) * (abs(prediction) + abs(y))] = 0
    return r


def value(r: Any, loss: str, delta: float) -> float:
    """Return the loss of the residuals r (n,); inf or nan where it overflows."""
    return float(of_each(r, loss, delta).mean())


def of_each(r: Any, loss: str, delta: float) -> Any:
    """Return the loss of every residual, of any shape."""
    import numpy as np

    if loss == "mse":
        return r * r
    size = abs(r)
    if loss == "l1":
        return size
    return np.where(size <= delta, r * r / 2, delta * (size - delta / 2))


def slope(r: Any, loss: str, delta: float) -> Any:
    """Return dL/dprediction (n,)."""
    import numpy as np

    if loss == "mse":
        return 2 * r / len(r)
    if loss == "l1":
        return np.sign(r) / len(r)
    return np.clip(r, -delta, delta) / len(r)


# -- optimizers ---------------------------------------------------------------------------------------

State = dict[str, Any]
Rule = Callable[[Any, State, int, float, float], Any]


def sgd(g: Any, state: State, step: int, lr: float, momentum: float) -> Any:
    """lr * g"""
    return lr * g


def heavy_ball(g: Any, state: State, step: int, lr: float, momentum: float) -> Any:
    """v = momentum * v + g; lr * v"""
    state["v"] = momentum * state["v"] + g if step > 1 else g
    return lr * state["v"]


def adam(g: Any, state: State, step: int, lr: float, momentum: float) -> Any:
    """Kingma and Ba, 2015: means of g and g^2, corrected for their start at 0."""
    beta1, beta2, eps = 0.9, 0.999, 1e-8
    state["m"] = beta1 * state.get("m", 0 * g) + (1 - beta1) * g
    state["v"] = beta2 * state.get("v", 0 * g) + (1 - beta2) * (g * g)
    root = state["v"] ** 0.5 / (1 - beta2**step) ** 0.5
    return lr / (1 - beta1**step) * state["m"] / (root + eps)


def rmsprop(g: Any, state: State, step: int, lr: float, momentum: float) -> Any:
    """Hinton's lecture: g over the root of the mean of its square."""
    alpha, eps = 0.99, 1e-8
    state["v"] = alpha * state.get("v", 0 * g) + (1 - alpha) * (g * g)
    return lr * g / (state["v"] ** 0.5 + eps)


RULES: dict[str, Rule] = {"sgd": sgd, "momentum": heavy_ball, "adam": adam, "rmsprop": rmsprop}
OPTIMIZERS = tuple(RULES)
