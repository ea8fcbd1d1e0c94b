"""--scalar "y=2*x": a curve for TensorBoard's Scalars, parsed as arithmetic, never run.

parse(text)    a Curve
Curve(x)       its value; what has no value is nan, what is too large inf
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass

from ptools.errors import UsageError, one_line, suggestion

__all__ = ["Curve", "parse"]

_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: math.pow,
}
_FUNCTIONS: dict[str, Callable[[float], float]] = {
    name: getattr(math, name)
    for name in ("sin", "cos", "tan", "tanh", "exp", "log", "log2", "log10", "sqrt", "atan")
} | {"abs": abs, "sigmoid": lambda x: 0.5 * (1 + math.tanh(x / 2)), "relu": lambda x: max(x, 0.0)}
_CONSTANTS = {"pi": math.pi, "e": math.e}
_LONG = 1000  # characters


@dataclass(frozen=True)
class Curve:
    """A formula in x, under the tag it is shown at."""

    tag: str
    text: str
    body: ast.expr

    def __call__(self, x: float) -> float:
        """Return the value at x; nan outside its domain, inf where it overflows."""
        try:
            return _value(self.body, x)
        except OverflowError:
            return math.inf
        except (ValueError, ZeroDivisionError):
            return math.nan


def parse(text: str) -> Curve:
    """Read `y=2*x`, or `2*x`, which is called y. Raises UsageError."""
    name, equals, formula = text.partition("=")
    if not equals:
        name, formula = "y", text
    name = name.strip()
    if not name or not name.isprintable() or "\n" in name:
        raise UsageError(f"--scalar '{one_line(text, 60)}' has no name; write it like y=2*x.")
    try:
        if len(text) > _LONG:
            raise ValueError
        body = ast.parse(formula.strip(), mode="eval").body
        _check(body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(
            f"--scalar '{one_line(text, 60)}' is no formula in x; write it like y=2*x or y=exp(-x/10)."
        ) from error
    return Curve(name, formula.strip(), body)


def _check(node: ast.expr) -> None:
    """Raise UsageError for an unknown word, ValueError for what is no arithmetic."""
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        _check(node.left)
        _check(node.right)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        _check(node.operand)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        _known(node.func.id, list(_FUNCTIONS))
        if len(node.args) != 1:
            raise ValueError
        _check(node.args[0])
    elif isinstance(node, ast.Name):
        _known(node.id, ["x", *_CONSTANTS])
    elif not (isinstance(node, ast.Constant) and type(node.value) in (int, float)):
        raise ValueError


def _known(word: str, words: list[str]) -> None:
    if word not in words:
        close = suggestion(word, words) or f" There are: {', '.join(words)}."
        raise UsageError(f"--scalar knows no '{one_line(word, 40)}'.{close}")


def _value(node: ast.expr, x: float) -> float:
    if isinstance(node, ast.BinOp):
        return _OPERATORS[type(node.op)](_value(node.left, x), _value(node.right, x))
    if isinstance(node, ast.UnaryOp):
        value = _value(node.operand, x)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)
        return _FUNCTIONS[node.func.id](_value(node.args[0], x))
    if isinstance(node, ast.Name):
        return x if node.id == "x" else _CONSTANTS[node.id]
    assert isinstance(node, ast.Constant)
    return float(node.value)  # type: ignore[arg-type]
