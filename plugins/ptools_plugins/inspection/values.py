"""The value of an expression, under --eval: a tensor's shape, strides, device and gradient, or a repr.

evaluate(text)   Value; the expression runs, with torch, nn, F, np and every module it names
"""

from __future__ import annotations

import ast
import builtins
from dataclasses import asdict, dataclass, field
from typing import Any

from ptools import output
from ptools.errors import PtoolsError, UsageError, cause, one_line
from ptools_plugins.inspection.finding import ALIASES, importing

FEW = 1000  # elements that --json lists


@dataclass(frozen=True)
class Value:
    """What an expression is. `facts` are by name, in the order to show them; `text` is its repr.

    Of a tensor the facts are dtype, shape, strides, device, requires_grad, grad_fn, leaf, bytes, and
    what is odd about it. `elements` are its numbers, where they are few.
    """

    expression: str
    type: str
    text: str
    facts: dict[str, Any] = field(default_factory=dict)
    elements: Any = None

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def evaluate(text: str) -> Value:
    """Evaluate a Python expression, which runs its code. Raises UsageError, PtoolsError."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        why = getattr(error, "msg", None) or cause(error)
        raise UsageError(f"'{one_line(text, 100)}' is no Python expression: {why}.") from error
    names = _names(tree)
    try:
        with output.aside():
            value = eval(compile(tree, "<expression>", "eval"), names)
    except (Exception, SystemExit) as error:  # the expression is the user's code
        raise PtoolsError(f"'{one_line(text, 100)}' failed: {cause(error)}") from error
    return describe(text, value)


def _names(tree: ast.Expression) -> dict[str, Any]:
    """Return the modules that the expression names."""
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    bound = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    found: dict[str, Any] = {}
    for name in sorted(used - bound):
        if not hasattr(builtins, name):
            module = importing(ALIASES.get(name, name))
            if module is not None:
                found[name] = module
    return found


def describe(expression: str, value: Any) -> Value:
    """Return what a value is."""
    import sys

    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    try:
        if torch is not None and isinstance(value, torch.Tensor):
            return Value(expression, kind, _repr(value), _tensor(value), _elements(value))
        if torch is not None and isinstance(value, torch.nn.Module):
            return Value(expression, kind, _repr(value), _module(value))
        if numpy is not None and isinstance(value, numpy.ndarray):
            elements = value.tolist() if value.size <= FEW else None
            return Value(expression, kind, _repr(value), _array(value), elements)
    except Exception as error:  # a subclass of a stranger
        raise PtoolsError(
            f"'{one_line(expression, 100)}' cannot be shown: {cause(error)}"
        ) from error
    facts = {"length": len(value)} if hasattr(type(value), "__len__") else {}
    plain = value if isinstance(value, (str, int, float, bool, type(None))) else None
    return Value(expression, kind, _repr(value), facts, plain)


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:  # a stranger's __repr__
        return f"(its repr raises {cause(error)})"


def _tensor(value: Any) -> dict[str, Any]:
    """Return the facts of a tensor; of one without strides (sparse) those it has."""
    import torch

    strided = value.layout == torch.strided
    facts: dict[str, Any] = {
        "dtype": str(value.dtype).removeprefix("torch."),
        "shape": list(value.shape),
        "strides": list(value.stride()) if strided else None,
        "device": str(value.device),
        "requires_grad": value.requires_grad,
        "grad_fn": value.grad_fn.name() if value.grad_fn is not None else None,
        "leaf": value.is_leaf,
        "elements": value.numel(),
        "bytes": value.numel() * value.element_size() if strided else None,
    }
    if strided:
        facts["contiguous"] = value.is_contiguous()
        if value.device.type != "meta" and value.untyped_storage().nbytes() != facts["bytes"]:
            facts["storage bytes"] = value.untyped_storage().nbytes()
    else:
        facts["layout"] = str(value.layout).removeprefix("torch.")
    return facts | _figures(value, strided)


def _figures(value: Any, strided: bool) -> dict[str, Any]:
    """Return least and largest number, and how many are nan."""
    import torch

    if not strided or value.numel() == 0 or value.device.type == "meta" or value.is_complex():
        return {}
    try:
        given = value.detach()
        finite = given[~torch.isnan(given)] if given.is_floating_point() else given
        figures: dict[str, Any] = {}
        if finite.numel():
            figures = {"min": finite.min().item(), "max": finite.max().item()}
        nan = given.numel() - finite.numel()
        return figures | ({"nan": nan} if nan else {})
    except (RuntimeError, NotImplementedError):  # a dtype without min: float8
        return {}


def _elements(value: Any) -> Any:
    if value.numel() > FEW or value.device.type == "meta" or value.is_complex():
        return None
    try:
        return value.tolist()
    except (RuntimeError, NotImplementedError):
        return None


def _array(value: Any) -> dict[str, Any]:
    return {
        "dtype": str(value.dtype),
        "shape": list(value.shape),
        "strides": [step // max(value.itemsize, 1) for step in value.strides],
        "elements": value.size,
        "bytes": value.nbytes,
        "contiguous": bool(value.flags.c_contiguous),
        "owns its data": bool(value.flags.owndata),
    }


def _module(value: Any) -> dict[str, Any]:
    parameters = list(value.parameters())
    return {
        "parameters": sum(one.numel() for one in parameters),
        "trainable": sum(one.numel() for one in parameters if one.requires_grad),
        "buffers": sum(one.numel() for one in value.buffers()),
        "bytes": sum(one.numel() * one.element_size() for one in (*parameters, *value.buffers())),
        "training": value.training,
    }
