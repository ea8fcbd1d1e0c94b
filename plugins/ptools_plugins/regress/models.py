"""What is fitted: a line, a plane, a polynomial or a small network, as one flat vector theta.

    linear          y = w.x + b           theta = w (f,), b
    linear-no-bias  y = w.x               theta = w (f,)
    poly:3          a line in x, x^2, x^3
    mlp, mlp:16     tanh, one hidden layer theta = W1 (h, f), b1 (h,), w2 (h,), b2

That is the order of the parameters of nn.Linear and nn.Sequential too. `predict` is written with
operators only, so that it takes arrays of NumPy and tensors of PyTorch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ptools.errors import UsageError

__all__ = ["Model", "parse"]

_HIDDEN = 8
_MOST_DEGREE = 12
_MOST_HIDDEN = 256


class Model(NamedTuple):
    """A model of `columns` columns of x; `columns` is 0 until the data are known."""

    kind: str  # linear, linear-no-bias, poly, mlp
    degree: int = 1
    hidden: int = 0
    columns: int = 1

    @property
    def text(self) -> str:
        tail = {"poly": f":{self.degree}", "mlp": f":{self.hidden}"}.get(self.kind, "")
        return self.kind + tail

    @property
    def linear(self) -> bool:
        """Whether the prediction is linear in theta, so that mse is quadratic."""
        return self.kind != "mlp"

    @property
    def bias(self) -> bool:
        return self.kind != "linear-no-bias"

    @property
    def inputs(self) -> int:
        """How many features a point has."""
        return self.columns * self.degree

    @property
    def size(self) -> int:
        """How many numbers theta has."""
        if self.kind == "mlp":
            return self.hidden * (self.inputs + 2) + 1
        return self.inputs + self.bias

    def features(self, x: Any) -> Any:
        """Return x (n, columns) with its powers: (n, inputs)."""
        import numpy as np

        if self.degree == 1:
            return x
        with np.errstate(over="ignore"):  # too large a power is told with the data's scale
            return np.concatenate([x**power for power in range(1, self.degree + 1)], axis=1)

    def parts(self, theta: Any) -> tuple[Any, ...]:
        """Return theta as its arrays, views of it: (w, b), (w,) or (W1, b1, w2, b2)."""
        f, h = self.inputs, self.hidden
        if self.kind == "mlp":
            first, second = h * f, h * f + h
            w1 = theta[:first].reshape(h, f)
            return w1, theta[first:second], theta[second : second + h], theta[second + h]
        return (theta[:f], theta[f]) if self.bias else (theta[:f],)

    def predict(self, theta: Any, phi: Any, tanh: Callable[[Any], Any] | None = None) -> Any:
        """Return the predictions (n,) for features phi (n, inputs)."""
        if self.kind != "mlp":
            w, *b = self.parts(theta)
            return phi @ w + b[0] if b else phi @ w
        w1, b1, w2, b2 = self.parts(theta)
        return (tanh or _tanh())(phi @ w1.T + b1) @ w2 + b2

    def gradient(self, theta: Any, phi: Any, slope: Any) -> Any:
        """Return dL/dtheta for slope = dL/dprediction (n,): the chain rule, by hand."""
        import numpy as np

        if self.kind != "mlp":
            dw = slope @ phi
            return np.append(dw, slope.sum()) if self.bias else dw
        w1, b1, w2, _ = self.parts(theta)
        h = np.tanh(phi @ w1.T + b1)  # (n, h)
        dz = np.outer(slope, w2) * (1 - h * h)  # (n, h): through tanh
        return np.concatenate([(dz.T @ phi).ravel(), dz.sum(0), h.T @ slope, [slope.sum()]])

    def names(self, columns: Sequence[str]) -> list[str]:
        """Return what the numbers of theta are called; of a network they have no names."""
        if self.kind == "mlp":
            return []
        if len(columns) == 1:
            weights = [f"w{power}" for power in range(1, self.degree + 1)]
            weights = ["w"] if self.degree == 1 else weights
        else:
            weights = [
                f"w_{column}" + (f"^{power}" if power > 1 else "")
                for power in range(1, self.degree + 1)
                for column in columns
            ]
        return [*weights, "b"] if self.bias else weights

    def formula(self, columns: Sequence[str], target: str = "y") -> str:
        """Return the model as a formula: `y = w*x + b`."""
        if self.kind == "mlp":
            return f"{target} = w2.tanh(W1.x + b1) + b2, {self.hidden} hidden, {self.size} numbers"
        terms = [
            f"{name}*{column}" + (f"^{power}" if power > 1 else "")
            for name, (power, column) in zip(
                self.names(columns),
                [(p, c) for p in range(1, self.degree + 1) for c in columns],
                strict=False,
            )
        ]
        if len(terms) > 6:
            terms = [terms[0], terms[1], "...", terms[-1]]
        return f"{target} = " + " + ".join([*terms, "b"] if self.bias else terms)

    def first(self, seed: int) -> Any:
        """Return the values to start from, float64: uniform as in nn.Linear, +-1/sqrt(inputs)."""
        import numpy as np

        draw = np.random.default_rng(seed)
        if self.kind != "mlp":
            return draw.uniform(-1, 1, self.size) / math.sqrt(self.inputs)
        split = self.hidden * (self.inputs + 1)
        bounds = np.full(self.size, 1 / math.sqrt(self.hidden))
        bounds[:split] = 1 / math.sqrt(self.inputs)
        return draw.uniform(-1, 1, self.size) * bounds


def _tanh() -> Callable[[Any], Any]:
    import numpy as np

    return np.tanh


def parse(text: str) -> Model:
    """Return the model of a name: linear, linear-no-bias, poly:3, mlp, mlp:16."""
    match = re.fullmatch(r"(linear|linear-no-bias|poly|mlp)(?::([0-9]{1,4}))?", text.strip())
    if match is None or (match[2] and match[1].startswith("linear")):
        raise UsageError(f"'{text}' is no model: linear, linear-no-bias, poly:3 or mlp:8.")
    kind, number = match[1], int(match[2] or 0)
    if kind == "poly":
        if not 1 <= number <= _MOST_DEGREE:
            raise UsageError(f"'{text}': write the degree, poly:1 to poly:{_MOST_DEGREE}.")
        return Model(kind, degree=number)
    if kind == "mlp":
        if match[2] and not 1 <= number <= _MOST_HIDDEN:
            raise UsageError(f"'{text}': 1 to {_MOST_HIDDEN} hidden units, such as mlp:8.")
        return Model(kind, hidden=number or _HIDDEN)
    return Model(kind)
