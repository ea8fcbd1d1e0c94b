"""What is checked: a name -> something that is called with tensors.

Target           the call, the tensors that go in and what they are called
find(spec, ...)  a ready example, or `file.py:Name` / `package.module:Name`: an autograd.Function,
                 a function, or a torch.nn.Module (its parameters are inputs, too)
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ptools import models
from ptools.errors import PtoolsError, UsageError, cause, suggestion

if TYPE_CHECKING:
    from ptools.tracing.inputs import Input

__all__ = ["READY", "Target", "find"]

READY = {"exp": "Exp", "grad-reverse": "GradReverse"}
MOST = 1000  # elements of all inputs, and of all outputs: the function is called twice for each


@dataclass(frozen=True, eq=False)
class Target:
    """`call(*tensors)` is what is checked. `names` are those of `tensors`, all float64 or integer."""

    name: str
    kind: str
    call: Callable[..., Any]
    names: list[str]
    tensors: list[Tensor]


def find(
    spec: str,
    inputs: Sequence[Input],
    *,
    args: str = "",
    between: tuple[float, float] | None = None,
    seed: int = 0,
) -> Target:
    """Return what is called `spec`, with tensors of `inputs` to call it with.

    `args` are the other arguments: literals, where `_` stands for the next tensor. Values are standard
    normal, or uniform in `between`. Raises UsageError.
    """
    _check(inputs)
    random = torch.Generator().manual_seed(seed % 2**63)
    tensors = [_tensor(one, between, random) for one in inputs]
    found = _find(spec)
    positional, named = _arguments(args, len(tensors))
    parameters: dict[str, Tensor] = {}
    if isinstance(found, type) and issubclass(found, torch.autograd.Function):
        if named:
            raise UsageError("apply() takes no arguments by name: give them by place in --args.")
        kind, call, signature = "autograd.Function", found.apply, _forward(found)
    elif isinstance(found, nn.Module):
        kind, module = "torch.nn.Module", found.double()
        parameters = {n: p.detach().clone() for n, p in module.named_parameters()}
        call, signature = _functional(module, list(parameters)), _parameters(module.forward)
    elif callable(found) and not isinstance(found, type):
        kind, call, signature = "function", found, _parameters(found)
    else:
        raise UsageError(
            f"{spec} is of type {type(found).__name__}; name an autograd.Function, a function or a Module."
        )
    names = _names(positional, named, signature)
    _small([*tensors, *parameters.values()], spec)
    return Target(
        name=spec,
        kind=kind,
        call=_filled(call, positional, named, len(tensors)),
        names=[*names, *parameters],
        tensors=[*tensors, *parameters.values()],
    )


# -- the function --------------------------------------------------------------------------------------


def _find(spec: str) -> Any:
    """Import it. A class of torch.nn.Module is built, with the arguments in its name."""
    from ptools_plugins.gradcheck import ready

    if spec in READY:
        return getattr(ready, READY[spec])
    place, colon, name = spec.partition("(")[0].rpartition(":")
    if not colon or not place or not name:
        hint = suggestion(spec, list(READY)) or f" The ready ones: {', '.join(READY)}."
        raise UsageError(f"'{spec}' names nothing to check: write file.py:MyFunction.{hint}")
    try:
        found = models.imported(place, name)
    except UsageError as error:
        if error.__cause__ is None:
            raise
        raise UsageError(
            f"{spec} cannot be imported: {cause(error.__cause__)}{_nearest(error.__cause__)}"
        ) from error
    if isinstance(found, type) and issubclass(found, nn.Module):
        try:
            return models.build(spec)
        except models.BuildError as error:
            way = "" if "(" in spec else f'; write its arguments into the name: "{spec}(3, 2)"'
            raise UsageError(f"{error}{way}.") from error
    if "(" in spec:
        raise UsageError(f"{place}:{name} is no Module: give its arguments with --args.")
    return found


def _nearest(error: BaseException) -> str:
    """Return the name that was meant, where a module lacks one."""
    if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        hint = suggestion(error.name or "", list(vars(error.obj)))
        return f".{hint}" if hint else ""
    return ""


def _forward(function: type[torch.autograd.Function]) -> list[str]:
    """Return the names of forward's inputs; ctx is the first where there is no setup_context."""
    names = _parameters(function.forward)
    own = any(
        "setup_context" in vars(c) for c in function.__mro__[:-1] if c.__module__[:5] != "torch"
    )
    return names if own else names[1:]


def _parameters(function: Callable[..., Any]) -> list[str]:
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of functions in C
        return []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [one.name for one in found if one.kind in kinds]


def _functional(module: nn.Module, names: list[str]) -> Callable[..., Any]:
    """Return the module as a function of its inputs and then its parameters."""

    def call(*values: Any, **named: Any) -> Any:
        count = len(values) - len(names)
        weights = dict(zip(names, values[count:], strict=True))
        return torch.func.functional_call(module, weights, values[:count], named)

    return call


# -- its arguments -------------------------------------------------------------------------------------

_SLOT = object()  # where a tensor goes


def _arguments(text: str, count: int) -> tuple[list[Any], dict[str, Any]]:
    """Parse `_, 2, eps=1e-5`: literals and places for tensors; without places the tensors come first."""
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError
        if any(keyword.arg is None for keyword in call.keywords):
            raise ValueError
        positional = [_value(node) for node in call.args]
        named = {k.arg: _value(k.value) for k in call.keywords if k.arg}
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise UsageError(
            f"--args '{text}' must be literals, and _ for a tensor: --args '_, 2, _, True'."
        ) from error
    slots = [value for value in [*positional, *named.values()] if value is _SLOT]
    if not slots:
        return [_SLOT] * count + positional, named
    if len(slots) != count:
        raise UsageError(f"--args '{text}' has {len(slots)} places for {count} tensors (--in).")
    return positional, named


def _value(node: ast.expr) -> Any:
    return _SLOT if isinstance(node, ast.Name) and node.id == "_" else ast.literal_eval(node)


def _filled(
    call: Callable[..., Any], positional: list[Any], named: dict[str, Any], count: int
) -> Callable[..., Any]:
    """Return `call` as a function of the tensors alone; those after `count` are a module's own."""

    def filled(*tensors: Tensor) -> Any:
        rest = iter(tensors[:count])
        values = [next(rest) if value is _SLOT else value for value in positional]
        others = {n: next(rest) if value is _SLOT else value for n, value in named.items()}
        return call(*values, *tensors[count:], **others)

    return filled


def _names(positional: list[Any], named: dict[str, Any], signature: list[str]) -> list[str]:
    names: list[str] = []
    for place, value in enumerate(positional):
        if value is _SLOT:
            known = place < len(signature)
            names.append(signature[place] if known else f"input {len(names) + 1}")
    return names + [name for name, value in named.items() if value is _SLOT]


# -- the tensors -----------------------------------------------------------------------------------


def _check(inputs: Sequence[Input]) -> None:
    """Raise UsageError for what cannot be differentiated."""
    floats = 0
    for one in inputs:
        if one.dtype in ("float32", "float16", "bfloat16", "complex64"):
            raise UsageError(
                f"--in {one}: {one.dtype} is too coarse to differentiate by differences of 1e-6; "
                "leave it out, float64 is taken."
            )
        floats += one.dtype in (None, "float64")
    if not floats:
        raise UsageError(
            "all inputs are whole numbers and have no derivative; give one of float64: --in 4x3."
        )


def _tensor(one: Input, between: tuple[float, float] | None, random: torch.Generator) -> Tensor:
    if one.dtype not in (None, "float64"):
        dtype = getattr(torch, one.dtype or "")
        below = one.below or (2 if one.dtype == "bool" else 1)
        return torch.randint(0, below, one.shape, generator=random).to(dtype)
    if between is None:
        return torch.randn(one.shape, generator=random, dtype=torch.float64)
    low, high = between
    return torch.rand(one.shape, generator=random, dtype=torch.float64) * (high - low) + low


def _small(tensors: list[Tensor], spec: str) -> None:
    count = sum(t.numel() for t in tensors if t.is_floating_point())
    if count > MOST:
        raise UsageError(
            f"{spec} has {count:,} numbers to differentiate by, and is called twice for each; "
            f"give smaller sizes, {MOST:,} in all at most: --in 4x3 shows as much."
        )


def where(error: BaseException, own: str = "ptools_plugins") -> str:
    """Return ` (ops.py:12)`, where in the user's code an exception came from; "" where nowhere."""
    import traceback
    from pathlib import Path

    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        parts = Path(frame.filename).parts
        if "torch" not in parts and own not in parts and not frame.filename.startswith("<"):
            return f" ({parts[-1]}:{frame.lineno})"
    return ""


def called(target: Target, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the floating-point outputs. Raises PtoolsError where the function fails or has none."""
    from torch.utils import _pytree

    try:
        found = target.call(*tensors)
    except (Exception, SystemExit) as error:  # the function is anybody's code
        lacks = ("positional argument", "combination of arguments")
        asks = isinstance(error, TypeError) and any(words in str(error) for words in lacks)
        way = "; give --in once for each tensor, and what else it takes with --args" if asks else ""
        raise PtoolsError(
            f"{target.name} fails in forward: {cause(error)}{where(error)}{way}"
        ) from error
    leaves = [leaf for leaf in _pytree.tree_leaves(found) if isinstance(leaf, Tensor)]
    floats = [leaf for leaf in leaves if leaf.is_floating_point()]
    if not floats:
        kinds = ", ".join(str(t.dtype).removeprefix("torch.") for t in leaves) or "no tensor"
        raise PtoolsError(f"{target.name} returns {kinds}: only float outputs have a derivative.")
    if (count := sum(t.numel() for t in floats)) > MOST:
        raise UsageError(
            f"{target.name} returns {count:,} numbers, and backward is called for each; give smaller "
            f"inputs, for {MOST:,} at most."
        )
    return floats
