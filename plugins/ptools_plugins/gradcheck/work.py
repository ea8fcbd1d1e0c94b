"""Both derivatives, checked by torch and once more by us, who name the element.

check(...)   -> Report
Report       what was checked and what came of it: `first` and `second`
Order        one of them: ok, wrong, kink, or not checked, and why
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ptools.errors import PtoolsError, one_line
from ptools_plugins.gradcheck import jacobian
from ptools_plugins.gradcheck.jacobian import Difference
from ptools_plugins.gradcheck.reasons import explained, reason
from ptools_plugins.gradcheck.target import Target, called

if TYPE_CHECKING:
    from ptools_plugins.gradcheck.jacobian import Function

__all__ = ["Order", "Report", "Tolerance", "check"]

OK, WRONG, KINK, SKIPPED = "ok", "wrong", "kink", "not checked"


@dataclass(frozen=True)
class Tolerance:
    """Half the width of the differences, and how far apart is still equal.

    torch's own rtol, 1e-3, lets a derivative pass that is wrong by 0.1 %; in float64 that is no noise.
    """

    eps: float = 1e-6
    atol: float = 1e-5
    rtol: float = 1e-5


@dataclass(frozen=True, eq=False)
class Order:
    """The first or the second derivative. `says` is the reason in words, where there is one.

    `torch` is the first line of what torch.autograd's own check objects to; None: it passes. The
    `jacobians` are (analytical, numerical), each (inputs, outputs).
    """

    state: str
    says: str | None = None
    torch: str | None = None
    found: Difference | None = None
    jacobians: tuple[Tensor, Tensor] | None = None

    def document(self) -> dict[str, Any]:
        found = self.found.document() if self.found else {}
        return {"state": self.state, "says": self.says, "torch": self.torch} | found


@dataclass(frozen=True, eq=False)
class Report:
    """What was checked: `inputs` and `outputs` are names with shapes; `times` is what was expected."""

    name: str
    kind: str
    inputs: dict[str, list[int]]
    outputs: list[list[int]]
    times: float
    first: Order
    second: Order

    @property
    def exit_code(self) -> int:
        """0: right; 1: wrong; 3: there is no derivative here, decide where to look instead."""
        states = {self.first.state, self.second.state}
        return 1 if WRONG in states else 3 if KINK in states else 0

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "times": self.times,
            "passed": self.exit_code == 0,
            "first": self.first.document(),
            "second": self.second.document(),
        }


def check(
    target: Target,
    *,
    times: float = 1.0,
    second: bool = True,
    tolerance: Tolerance | None = None,
) -> Report:
    """Check backward against differences; `times`: it should be so many times the derivative.

    Raises PtoolsError where forward fails or returns nothing that has a derivative.
    """
    tolerance = tolerance or Tolerance()
    f, x, names = _function(target, times)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, on whole numbers: they have no gradient
        outputs = f(x)
        _usable(target.name, outputs)
        theirs = partial(_objection, torch.autograd.gradcheck, f, x, tolerance)
        if changed := _changed(target):
            says = f"forward changes {changed} in place: say ctx.mark_dirty, or work on a clone"
            first = Order(WRONG, says)
        else:
            first = _order(f, x, names, tolerance, theirs)
        if not second or first.state != OK:
            why = {KINK: "the first has a kink", WRONG: "the first is wrong"}.get(
                first.state, "--order 1"
            )
            twice = Order(SKIPPED, why)
        else:
            twice = _second(f, x, names, tolerance)
    return Report(
        name=target.name,
        kind=target.kind,
        inputs={n: list(t.shape) for n, t in zip(target.names, target.tensors, strict=True)},
        outputs=[list(t.shape) for t in outputs],
        times=times,
        first=first,
        second=twice,
    )


def _usable(name: str, outputs: list[Tensor]) -> None:
    """Raise PtoolsError where differences would say nothing."""
    if any(t.dtype != torch.float64 for t in outputs):
        kinds = ", ".join(str(t.dtype).removeprefix("torch.") for t in outputs)
        raise PtoolsError(
            f"{name} returns {kinds} for float64: rounding would hide the derivative; "
            "keep the dtype of the input in forward."
        )
    if not all(t.isfinite().all() for t in outputs):
        raise PtoolsError(
            f"{name} returns nan or inf: choose inputs it is defined for, as in --range 0.1,2."
        )


def _changed(target: Target) -> str | None:
    """Return the name of an input that forward changes without a word; None where it changes none."""
    from torch.utils import _pytree

    leaves = [
        t.clone().requires_grad_() if t.is_floating_point() else t.clone() for t in target.tensors
    ]
    tensors = [t.clone() for t in leaves]
    try:
        found = _pytree.tree_leaves(target.call(*tensors))
    except Exception:  # it ran without gradients: what autograd objects to is told by `_order`
        return None
    for name, before, after in zip(target.names, target.tensors, tensors, strict=True):
        if not after.equal(before) and not any(one is after for one in found):
            return name
    return None


def _function(target: Target, times: float) -> tuple[Function, list[Tensor], list[str]]:
    """Return it as a function of its float64 inputs; the value, not the gradient, is `times` as large."""
    places = [i for i, t in enumerate(target.tensors) if t.is_floating_point()]

    def f(x: Sequence[Tensor]) -> list[Tensor]:
        tensors = list(target.tensors)
        for place, tensor in zip(places, x, strict=True):
            tensors[place] = tensor.clone()  # forward may change it in place
        outputs = called(target, tensors)
        if times == 1:
            return outputs
        return [y + ((times - 1) * y).detach() for y in outputs]

    return f, [target.tensors[i] for i in places], [target.names[i] for i in places]


def _order(
    f: Function, x: list[Tensor], names: list[str], tolerance: Tolerance,
    objection: Callable[[], str | None], results: Sequence[str] = (),
) -> Order:  # fmt: skip
    """Check one derivative of `f`; `objection` asks torch, `results` are the names of its outputs."""
    if not _same(f, x):
        return Order(
            WRONG, "forward gives two results for one input: is there dropout or noise in it?"
        )
    try:
        a, unused = jacobian.analytical(f, x)
        again, _ = jacobian.analytical(f, x)
    except PtoolsError:
        raise
    except Exception as error:  # backward is anybody's code
        return Order(WRONG, explained(error, names, x))
    if not a.equal(again) and not (a.isnan() & again.isnan()).any():
        return Order(WRONG, "backward gives two results for one gradient: is there noise in it?")
    n = jacobian.numerical(f, x, tolerance.eps)
    if not n.isfinite().all():
        raise PtoolsError(
            f"the function is nan or inf {tolerance.eps:g} beside its inputs: choose inputs inside "
            "its domain, as in --range 0.1,2."
        )
    found = jacobian.compare(f, x, (names, results), (a, n), **asdict(tolerance))
    objects = objection()
    state, says = OK, None
    if found.wrong:
        state = KINK if found.kinks == found.wrong else WRONG
        blind = [names[which] for which in unused]
        says = None if state == KINK else reason(f, x, blind, found, twice=bool(results))
    elif objects:
        state, says = WRONG, f"torch objects: {objects}"
    return Order(state, says, objects, found, (a, n))


def _same(f: Function, x: list[Tensor]) -> bool:
    pairs = zip(f(x), f(x), strict=True)
    return all(a.shape == b.shape and a.equal(b) for a, b in pairs)


def _objection(
    theirs: Any, f: Function, x: list[Tensor], tolerance: Tolerance, *v: tuple[Tensor, ...]
) -> str | None:
    """Return what torch's own check, one of two, says in its first line; None where it passes."""
    leaves = tuple(t.detach().clone().requires_grad_() for t in x)
    try:
        theirs(lambda *x: tuple(f(x)), leaves, *v, **asdict(tolerance))
    except (Exception, SystemExit) as error:
        return one_line(str(error).partition("\n")[0], 200)
    return None


# -- the second derivative ----------------------------------------------------------------------------


def _second(f: Function, x: list[Tensor], names: list[str], tolerance: Tolerance) -> Order:
    """Check the derivative of backward, by the inputs and by the gradient that it is given."""
    random = torch.Generator().manual_seed(1)
    v = [torch.randn(t.shape, generator=random, dtype=torch.float64) for t in f(x)]
    backward = partial(_backward, f, len(x))
    values = [*x, *v]
    grads = backward(values)
    if any(_once(g.grad_fn) for g in grads if g is not None):
        return Order(SKIPPED, "backward is marked once_differentiable")
    if not any(g is not None and g.requires_grad for g in grads):
        says = (
            "backward's result is cut off from the graph (detach, .data, numpy or no_grad in it): "
            "a second derivative would be silently 0"
        )
        return Order(WRONG, says)
    many = len(v) > 1
    incoming = [f"grad of output {i + 1}" if many else "grad of output" for i in range(len(v))]
    results = [f"grad of {name}" for name, g in zip(names, grads, strict=True) if g is not None]
    v_leaves = tuple(t.clone().requires_grad_() for t in v)
    theirs = partial(_objection, torch.autograd.gradgradcheck, f, x, tolerance, v_leaves)

    def given(values: Sequence[Tensor]) -> list[Tensor]:
        return [g for g in backward(values) if g is not None]

    return _order(given, values, [*names, *incoming], tolerance, theirs, results)


def _backward(f: Function, count: int, values: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    """Return the gradients of `count` inputs; the rest of `values` is what comes from above."""
    with torch.enable_grad():
        leaves = [t if t.requires_grad else t.detach().requires_grad_() for t in values]
        pairs = zip(f(leaves[:count]), leaves[count:], strict=True)
        ys, gs = zip(*[(y, g) for y, g in pairs if y.requires_grad], strict=True)
        return torch.autograd.grad(ys, leaves[:count], gs, create_graph=True, allow_unused=True)


def _once(node: Any) -> bool:
    """Return whether a graph has the node that once_differentiable puts there, to fail in backward."""
    seen, waiting = set(), [node]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if type(node).__name__ == "Error":
            return True
        seen.add(node)
        waiting += [following for following, _ in node.next_functions]
    return False
