"""What is wrong with a backward, in words: where it can be known.

explained(error, ...)   an exception of autograd or of backward itself
reason(f, ...)          a Jacobian that is wrong
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ptools.errors import cause
from ptools_plugins.gradcheck import jacobian
from ptools_plugins.gradcheck.target import where

if TYPE_CHECKING:
    from ptools_plugins.gradcheck.jacobian import Difference, Function

__all__ = ["explained", "reason"]


def explained(error: Exception, names: list[str], x: list[Tensor]) -> str:
    """Return what an exception of backward means."""
    text = str(error)
    if match := re.search(r"invalid gradient at index (\d+) - got (\[.*?\]).*?(\[.*?\])", text):
        return (
            f"backward returns a gradient of shape {match[2]} for input {int(match[1]) + 1}, "
            f"which is {match[3]}"
        )
    if match := re.search(r"incorrect number of gradients \(expected (\d+), got (\d+)\)", text):
        return (
            f"backward returns {match[2]} gradients and forward takes {match[1]} arguments: "
            "return one for each, None for what has no derivative"
        )
    if "does not require grad" in text:
        return "an output is cut off from the inputs: detach, .data, numpy or rounding on the way"
    return f"backward fails: {cause(error)}{where(error)}"


def reason(
    f: Function, x: list[Tensor], blind: list[str], found: Difference, *, twice: bool
) -> str | None:
    """Return a reason that can be known; None where only the numbers speak.

    `blind` are the inputs that autograd found no way to; `twice`: `f` is a backward itself.
    """
    assert found.element is not None
    if not math.isfinite(found.worst):
        return "backward returns nan or inf"
    if (name := found.element.input) in blind:
        if twice:
            return f"autograd does not see that backward depends on {name}: is it detached there?"
        return f"backward returns None for {name}, whose derivative is not 0"
    if found.factor is not None:
        text = f"every element is {found.factor:g} times the derivative"
        return text if twice else f"{text} (if it is meant so: --times {found.factor:g})"
    if not _proportional(f, x):
        return "backward is not proportional to the gradient it gets: does it multiply by it?"
    return None


def _proportional(f: Function, x: list[Tensor]) -> bool:
    """Return whether twice the gradient from above gives twice the gradient below."""
    leaves = [t.detach().clone().requires_grad_() for t in x]
    outputs = [y for y in f(leaves) if y.requires_grad]
    found = []
    for scale in (1.0, 2.0):
        v = [torch.full_like(y, scale) for y in outputs]
        grads = torch.autograd.grad(outputs, leaves, v, retain_graph=True, allow_unused=True)
        found.append(jacobian.flat([g for g in grads if g is not None]))
    return torch.allclose(2 * found[0], found[1])
