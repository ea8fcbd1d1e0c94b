"""Gradients, window by window: where each output's gradient goes.

    upstream(demo)     what comes back to each output cell: 1, or the activation's derivative
    flow(demo)         Step after step, in the order of the windows
    gradients(demo)    all of them: by the input, the weight and the bias

They are those of `output.sum().backward()`. A pooling window gives each of its cells an equal share
(avg), or its first largest cell everything (max), as PyTorch does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ptools_plugins.convdemo.arithmetic import Demo, Window

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


class Step(NamedTuple):
    """What one window sends back; arrays as in Window.patch, and the sum over all windows so far."""

    window: Window
    gradient: int | float  # of its output cell
    shares: Array  # (c, kh, kw): gradient * weight
    lost: int  # cells with a share that lie on zeros of the padding, or between
    input: Array  # (C, H, W): the input's gradient so far


class Gradients(NamedTuple):
    """Of the sum of all outputs."""

    output: Array  # (O, h, w), before the activation
    input: Array  # (C, H, W)
    weight: Array | None  # as Layer.weight
    bias: Array | None  # (O,)
    reached: Array  # (C, H, W): how many windows send the cell something


def upstream(demo: Demo) -> Array:
    """Return the gradient of the outputs' sum before the activation, (O, h, w)."""
    import numpy as np

    if demo.layer.after == "relu":
        return (demo.before > 0).astype(int)
    if demo.layer.after == "sigmoid":
        return np.asarray(demo.output * (1 - demo.output))
    return np.ones(demo.shape, int)


def flow(demo: Demo) -> Iterator[Step]:
    """Yield what each window sends back; `input` is one array that grows."""
    import numpy as np

    back = upstream(demo)
    whole = [back, *([] if demo.weight is None else [demo.weight])]
    exact = demo.layer.op != "avg" and all(array.dtype.kind == "i" for array in whole)
    total = np.zeros(demo.layer.input.shape, int if exact else float)
    for number in range(demo.count):
        window = demo.window(number)
        shares = _shares(demo, window, back[window.at].item())
        yield Step(window, back[window.at].item(), shares, _add(demo, window, shares, total), total)


def _shares(demo: Demo, window: Window, gradient: int | float) -> Array:
    import numpy as np

    if window.weight is not None:
        return np.asarray(gradient * window.weight)
    if demo.layer.op == "avg":
        return np.where(window.counts, gradient / window.divisor, 0.0)[None]
    shares = np.zeros(window.patch.shape, type(gradient))
    if largest := window.largest():
        shares[(0, *largest)] = gradient
    return shares


def sources(demo: Demo, window: Window) -> list[tuple[int, int, int, int]]:
    """Return (row, column) in the window and (row, column) of the input it comes from."""
    rows, columns = demo.lines
    return [
        (ky, kx, rows.source[y], columns.source[x])
        for ky, y in enumerate(window.rows)
        for kx, x in enumerate(window.columns)
        if y < len(rows.source) and x < len(columns.source)
        if rows.source[y] >= 0 and columns.source[x] >= 0
    ]


def _add(demo: Demo, window: Window, shares: Array, total: Array) -> int:
    """Add the shares to the input cells they belong to; return how many belong to none."""
    found = sources(demo, window)
    for ky, kx, y, x in found:
        total[window.channels.start : window.channels.stop, y, x] += shares[:, ky, kx]
    return int((window.counts.sum() - len(found)) * len(shares)) if demo.layer.op != "max" else 0


def gradients(demo: Demo) -> Gradients:
    """Return the gradients of the sum of all outputs."""
    import numpy as np

    back = upstream(demo)
    reached = np.zeros(demo.layer.input.shape, int)
    weight = None
    if demo.weight is not None:
        weight = np.zeros(demo.weight.shape, np.result_type(back, demo.layer.input))
    total: Array = np.zeros(demo.layer.input.shape, int)
    for step in flow(demo):
        window, total = step.window, step.input
        channels = slice(window.channels.start, window.channels.stop)
        for ky, kx, y, x in sources(demo, window):
            reached[channels, y, x] += step.shares[:, ky, kx] != 0
        if weight is not None:
            weight[window.at[0]] += window.patch * step.gradient
    bias = None if demo.layer.bias is None else back.sum((1, 2))
    return Gradients(back, total, _as_given(demo, weight), bias, reached)


def _as_given(demo: Demo, weight: Array | None) -> Array | None:
    """Turn the gradient of a transposed convolution's weight back to (C, O/groups, kh, kw)."""
    if weight is None or demo.layer.op == "conv":
        return weight
    groups, (_, width, kh, kw) = demo.layer.groups, weight.shape
    split = weight[..., ::-1, ::-1].reshape(groups, -1, width, kh, kw)
    return split.swapaxes(1, 2).reshape(groups * width, -1, kh, kw)
