"""What is to be seen, whoever draws it: text and pictures are both made of these.

Cell, Grid     a number and how it looks; a matrix of them
Scene          rows of grids and signs, with a heading and what is said below
windows        a scene per window: input, kernel, products, sum, output so far
gradients      a scene per window: what it sends back, the input's gradient so far
product        a scene per column: the convolution as one matrix product (im2col)
summary        what comes last: the outputs side by side, or the whole gradients
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from ptools_plugins.convdemo.arithmetic import Demo

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

# How a cell looks. PAD: no number of the input; MARK: under the window; NOW: the output cell it
# makes; DONE: made before; BLANK: not made yet; KERNEL: a weight; BEST: what max takes.
PLAIN, PAD, MARK, MARK_PAD, KERNEL, BEST, NOW, DONE, BLANK = range(9)
MARKED = (MARK, MARK_PAD, BEST, NOW)


class Cell(NamedTuple):
    text: str
    look: int = PLAIN


class Grid(NamedTuple):
    """A matrix with a title; `frame` (top, bottom, left, right) surrounds the input in its padding."""

    title: str
    cells: list[list[Cell]]
    frame: tuple[int, int, int, int] | None = None


@dataclass
class Scene:
    """One picture: rows of grids with signs (*, =, ->) between them.

    The heading has two lines: the layer, and which of its scenes this is.
    """

    heading: str
    rows: list[list[Grid | str]]
    notes: list[str] = field(default_factory=list)


def number(value: int | float) -> str:
    """Return a number as it is shown: whole, or with four digits."""
    if isinstance(value, int) or (abs(value) < 1e6 and value.is_integer()):
        return str(int(value))
    text = f"{value:.0f}" if 1e4 <= abs(value) < 1e7 else f"{value:.4g}"
    return text.replace("e+", "e").replace("e0", "e").replace("e-0", "e-")


def plain(title: str, values: Array, look: int = PLAIN) -> Grid:
    """Return a grid of numbers that all look the same."""
    return Grid(title, [[Cell(number(v), look) for v in row] for row in values.tolist()])


def heading(demo: Demo) -> str:
    """Return the layer in PyTorch's words, and the sizes."""
    layer = demo.layer
    name = {"conv": "conv2d", "transpose": "conv_transpose2d"}.get(layer.op, f"{layer.op}_pool2d")
    shape, kernel = sized(layer.input.shape[1:]), sized(layer.kernel)
    parts = [f"{name}: input {shape}, kernel {kernel}, stride {_pair(layer.stride)}"]
    (top, bottom), (left, right) = layer.padding
    sides = (
        _pair((top, left)) if (top, left) == (bottom, right) else f"{top}+{bottom}x{left}+{right}"
    )
    mode = "" if layer.padding_mode == "zeros" else f" {layer.padding_mode}"
    parts.append(f"padding {sides}{mode}" if sides != "0" else "")
    parts.append(f"dilation {_pair(layer.dilation)}" if layer.dilation != (1, 1) else "")
    extra = layer.output_padding
    parts.append(f"output padding {_pair(extra)}" if extra != (0, 0) else "")
    parts.append(f"groups {layer.groups}" if layer.groups > 1 else "")
    parts.append("ceil" if layer.ceil else "")
    parts.append(layer.after or "")
    return f"{', '.join(part for part in parts if part)} -> {sized(demo.shape[1:])}"


def sized(shape: tuple[int, ...]) -> str:
    """(3, 5) -> 3x5"""
    return "x".join(map(str, shape))


def _pair(values: tuple[int, int]) -> str:
    return str(values[0]) if values[0] == values[1] else sized(values)
