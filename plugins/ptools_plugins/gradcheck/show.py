"""What a person sees: a line per derivative, the first wrong element, and the Jacobians drawn."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from ptools import output
from ptools.errors import PtoolsError

if TYPE_CHECKING:
    from ptools_plugins.gradcheck.jacobian import Wrong
    from ptools_plugins.gradcheck.work import Order, Report

__all__ = ["picture", "report"]

_PURPOSE = (
    "grad-reverse is wrong on purpose as a derivative, and right as a tool: backward turns the "
    "gradient round, so that the layers below learn the opposite (arXiv:1409.7495)."
)


def report(done: Report, eps: float) -> None:
    """Print what was checked and what came of it."""
    ends = ", ".join(f"{name} {_size(shape)}" for name, shape in done.inputs.items())
    outputs = ", ".join(map(_size, done.outputs))
    output.result(f"{done.name} ({done.kind}): {ends} -> {outputs}")
    if done.times != 1:
        output.result(f"backward should be {done.times:g} times the derivative")
    output.result()
    for title, order in (("first derivative", done.first), ("second derivative", done.second)):
        output.result(f"{title:<18} {order.state:<12}{_summary(order)}".rstrip())
        if order.found and order.found.element:
            _element(order, order.found.element, eps)
        if order.says and order.state == "wrong":
            output.paragraph(f"  {order.says}{'' if order.says.endswith('?') else '.'}")
    if done.name == "grad-reverse":
        output.result()
        output.paragraph(_PURPOSE)


def _size(shape: list[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _summary(order: Order) -> str:
    found = order.found
    if found is None:
        return order.says if order.says and order.state != "wrong" else ""
    if not found.wrong:
        return f"largest error {found.worst:.1e} of {found.total:,} elements"
    return f"{found.wrong:,} of {found.total:,} elements of the Jacobian"


def _element(order: Order, one: Wrong, eps: float) -> None:
    """Name the element with both numbers; at a kink with those of both sides."""
    place = _at(one.input, one.index)
    output.result(f"  input            {place} = {one.value:.8g}")
    output.result(f"  output           {_at(one.output, one.output_index)}")
    output.result(f"  analytical  {one.analytical:>16.8g}   what backward says")
    output.result(
        f"  numerical   {one.numerical:>16.8g}   (f(x + {eps:g}) - f(x - {eps:g})) / {2 * eps:g}"
    )
    if order.state == "kink":
        output.result(f"  from the left {one.left + 0.0:>14.8g}")
        output.result(f"  from the right {one.right + 0.0:>13.8g}")
        output.paragraph(
            f"  There is a kink or a jump at {place}, and no derivative: what backward says there is a "
            "choice. Look elsewhere: --seed 1, or --range LOW,HIGH."
        )


def _at(name: str, index: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(map(str, index))}]" if index else name


def picture(done: Report) -> bytes:
    """Return a PNG of both Jacobians and their difference: rows inputs, columns outputs.

    Raises PtoolsError where there are none, as backward fails.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    if done.first.jacobians is None:
        raise PtoolsError(f"there is no Jacobian to draw: {done.first.says}.")
    a, n = done.first.jacobians
    limit = max(float(matrix.abs().nan_to_num().max()) for matrix in (a, n, a - n)) or 1.0
    figure = Figure(figsize=(9, 3.2), dpi=100, layout="constrained")
    drawn = None
    titles = ("analytical: backward", "numerical: differences", "analytical - numerical")
    for axes, matrix, title in zip(figure.subplots(1, 3), (a, n, a - n), titles, strict=True):
        drawn = axes.imshow(matrix.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
        axes.set_title(title, fontsize=10)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("element of the output")
        axes.set_ylabel("element of the inputs")
    assert drawn is not None
    figure.colorbar(drawn, ax=figure.axes, shrink=0.9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
