"""The matrix of all derivatives, twice: as backward says, and by differences.

analytical(f, x)     a row per element of the outputs, from backward
numerical(f, x)      a column per element of the inputs: (f(x + eps) - f(x - eps)) / (2 eps)
compare(...)         where they are not the same: the first element, kinks, a common factor

A function here takes and returns lists of float64 tensors. Jacobians are (inputs, outputs), flattened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    Function = Callable[[Sequence[Tensor]], list[Tensor]]

__all__ = ["Difference", "Wrong", "analytical", "compare", "flat", "numerical"]


@dataclass(frozen=True)
class Wrong:
    """An element of the Jacobian that backward has wrong.

    `left` and `right` are the one-sided differences: where they differ the function has a kink.
    """

    input: str
    index: tuple[int, ...]
    value: float
    output: str
    output_index: tuple[int, ...]
    analytical: float
    numerical: float
    left: float
    right: float


@dataclass(frozen=True)
class Difference:
    """What came of comparing: `worst` is the largest |analytical - numerical|.

    `wrong` elements of `total` are outside the tolerance, `kinks` of them where the function has no
    derivative; `element` is the first that is no kink, or else the first kink. `factor` is what every
    element is times the derivative, where that is one number.
    """

    worst: float
    total: int
    wrong: int = 0
    kinks: int = 0
    element: Wrong | None = None
    factor: float | None = None

    def document(self) -> dict[str, Any]:
        return asdict(self)


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """Return all elements in one vector."""
    return torch.cat([t.reshape(-1) for t in tensors])


def numerical(f: Function, x: list[Tensor], eps: float) -> Tensor:
    """Return the Jacobian (inputs, outputs) by central differences."""
    rows = [
        (_moved(f, x, which, at, eps) - _moved(f, x, which, at, -eps)) / (2 * eps)
        for which, tensor in enumerate(x)
        for at in range(tensor.numel())
    ]
    return torch.stack(rows)


def _moved(f: Function, x: list[Tensor], which: int, at: int, by: float) -> Tensor:
    """Return the outputs with one element of one input moved."""
    moved = [t.detach().clone() for t in x]
    moved[which].view(-1)[at] += by
    return flat(f(moved)).detach()


def analytical(f: Function, x: list[Tensor]) -> tuple[Tensor, list[int]]:
    """Return the Jacobian (inputs, outputs) from backward, and which inputs got no gradient at all."""
    leaves = [t.detach().clone().requires_grad_() for t in x]
    outputs = flat(f(leaves))
    columns, given = [], [False] * len(x)
    for element in outputs:
        if not element.requires_grad:
            raise RuntimeError("does not require grad")
        grads = torch.autograd.grad(element, leaves, retain_graph=True, allow_unused=True)
        given = [g or grad is not None for g, grad in zip(given, grads, strict=True)]
        columns.append(
            flat([torch.zeros_like(t) if g is None else g for g, t in zip(grads, x, strict=True)])
        )
    return torch.stack(columns, 1), [i for i, got in enumerate(given) if not got]


def compare(
    f: Function, x: list[Tensor], names: tuple[list[str], Sequence[str]],
    matrices: tuple[Tensor, Tensor], *, eps: float, atol: float, rtol: float,
) -> Difference:  # fmt: skip
    """Compare (analytical, numerical), as torch does: |a - n| <= atol + rtol |n|.

    `names` are those of the inputs and of the outputs; of the latter none is enough.
    """
    a, n = matrices
    apart = (a - n).abs()
    wrong = ~(apart <= atol + rtol * n.abs())  # nan is wrong
    worst = float(apart.nan_to_num(nan=torch.inf).max()) if apart.numel() else 0.0
    if not wrong.any():
        return Difference(worst, a.numel())
    shapes = [tuple(t.shape) for t in f(x)]
    found: list[tuple[bool, Wrong]] = []
    kinks = 0
    for row in wrong.any(1).nonzero().flatten().tolist():
        left, right, kink = _sides(f, x, row, a[row], eps, atol, rtol)
        kinks += int((wrong[row] & kink).sum())
        mistakes = wrong[row] & ~kink
        if not found or (found[0][0] and mistakes.any()):
            column = int((mistakes if mistakes.any() else wrong[row]).nonzero()[0])
            sides = float(left[column]), float(right[column])
            one = _wrong(x, names, shapes, row, column, matrices, sides)
            found = [(not mistakes.any(), one)]
    return Difference(worst, a.numel(), int(wrong.sum()), kinks, found[0][1], _factor(a, n, atol))


def _sides(
    f: Function, x: list[Tensor], row: int, a: Tensor, eps: float, atol: float, rtol: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the differences to the left and to the right of one input element, and where it has a kink.

    That is where they differ and backward, `a`, gives a slope from one to the other; or where they
    grow as the step becomes smaller: it jumps there.
    """
    which, at = _place([t.numel() for t in x], row)
    here = flat(f(x)).detach()
    left, right, near_left, near_right = (
        (_moved(f, x, which, at, by) - here) / by for by in (-eps, eps, -eps / 2, eps / 2)
    )
    slack = 10 * (atol + rtol * torch.maximum(left.abs(), right.abs()))
    low, high = torch.minimum(left, right) - slack, torch.maximum(left, right) + slack
    bends = ((left - right).abs() > slack) & (low <= a) & (a <= high)
    pairs = ((left, near_left), (right, near_right))
    jumps = [near.abs() > 1.5 * far.abs() + slack for far, near in pairs]
    return left, right, bends | jumps[0] | jumps[1]


def _wrong(
    x: list[Tensor], names: tuple[list[str], Sequence[str]], shapes: list[tuple[int, ...]],
    row: int, column: int, matrices: tuple[Tensor, Tensor], sides: tuple[float, float],
) -> Wrong:  # fmt: skip
    which, at = _place([t.numel() for t in x], row)
    output, place = _place([int(torch.Size(s).numel()) for s in shapes], column)
    a, n = (float(m[row, column]) for m in matrices)
    count = len(shapes)
    known = names[1] or ["output" if count == 1 else f"output {i + 1}" for i in range(count)]
    return Wrong(
        input=names[0][which],
        index=_index(tuple(x[which].shape), at),
        value=float(x[which].reshape(-1)[at]),
        output=known[output],
        output_index=_index(shapes[output], place),
        analytical=a,
        numerical=n,
        left=sides[0],
        right=sides[1],
    )


def _place(sizes: list[int], at: int) -> tuple[int, int]:
    """Return which of several vectors an element of all is in, and where."""
    for which, size in enumerate(sizes):
        if at < size:
            return which, at
        at -= size
    raise IndexError(at)


def _index(shape: tuple[int, ...], at: int) -> tuple[int, ...]:
    index: list[int] = []
    for size in reversed(shape):
        at, rest = divmod(at, size)
        index.insert(0, rest)
    return tuple(index)


def _factor(a: Tensor, n: Tensor, atol: float) -> float | None:
    """Return the c, not 0, for which a = c n everywhere; None where there is none."""
    large = n.abs() > 100 * atol
    if not large.any():
        return None
    ratios = a[large] / n[large]
    factor = float(ratios.median())
    same = (a - factor * n).abs() <= abs(factor) * (atol + 1e-5 * n.abs())
    return round(factor, 6) if same.all() and abs(factor) > 1e-3 else None
