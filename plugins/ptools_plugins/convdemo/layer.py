"""A layer with its numbers, and how its input lies before the windows: padded, or stretched.

    Layer       what PyTorch's layer has, and the input
    Line        one axis of the input as the windows see it
    lay(layer)  the two lines, rows and columns; raises what PyTorch refuses

A transposed convolution is a convolution too: its input stretched (stride - 1 zeros between cells)
and padded with dilation * (kernel - 1) - padding, its kernel turned by 180 degrees, with stride 1
(Dumoulin and Visin, A guide to convolution arithmetic for deep learning, arXiv:1603.07285). So one
kind of window serves all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ptools.errors import UsageError

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

Pair = tuple[int, int]
MODES = ("zeros", "reflect", "replicate", "circular")
OPS = ("conv", "max", "avg", "transpose")


@dataclass(frozen=True)
class Layer:
    """An operation of torch.nn.functional and what it is given; pairs are (rows, columns)."""

    op: str
    input: Array  # (C, H, W)
    kernel: Pair
    weight: Array | None = None  # (O, C/groups, *kernel); transposed: (C, O/groups, *kernel)
    bias: Array | None = None  # (O,)
    stride: Pair = (1, 1)
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0))  # (top, bottom), (left, right)
    dilation: Pair = (1, 1)
    padding_mode: str = "zeros"
    groups: int = 1
    output_padding: Pair = (0, 0)
    ceil: bool = False
    count_pad: bool = True  # avg: padding counts in the divisor
    after: str | None = None  # relu, sigmoid

    @property
    def pools(self) -> bool:
        return self.weight is None

    @property
    def channels(self) -> int:
        """How many planes come out."""
        if self.weight is None:
            return int(self.input.shape[0])
        if self.op == "transpose":
            return int(self.weight.shape[1]) * self.groups
        return int(self.weight.shape[0])


class Line(NamedTuple):
    """One axis: where each place gets its value, and where the windows stand."""

    source: tuple[int, ...]  # index in the input; -1: nothing but 0 (max: minus infinity)
    real: tuple[bool, ...]  # the input itself, not its padding
    windows: int  # the size of the output
    step: int
    taps: int
    dilation: int

    def window(self, index: int) -> list[int]:
        """Return the places under a window; ceil may put some beyond the end: len(source) or more."""
        return [index * self.step + tap * self.dilation for tap in range(self.taps)]


def lay(layer: Layer) -> tuple[Line, Line]:
    """Return the lines of rows and of columns. Raises UsageError for what PyTorch refuses too."""
    _fits(layer)
    stretched = layer.op == "transpose"
    rows, columns = (_stretch(layer, axis) if stretched else _pad(layer, axis) for axis in (0, 1))
    return rows, columns


def _fits(layer: Layer) -> None:
    if layer.weight is None:
        return
    insist_divides(layer.groups, layer.input.shape[0], "input")
    if layer.op == "conv":
        insist_divides(layer.groups, layer.weight.shape[0], "output")
    if layer.bias is not None and len(layer.bias) != layer.channels:
        raise UsageError(
            f"--bias has {len(layer.bias)} numbers for the output's channels ({layer.channels}): "
            "write one for each."
        )


def insist_divides(groups: int, channels: int, of: str) -> None:
    """Raise UsageError where the channels cannot be split into groups of one size."""
    if channels % groups:
        raise UsageError(
            f"{groups} groups do not divide the {of}'s channels ({channels}): "
            "take --groups 1, or other channels."
        )


def _names(axis: int) -> str:
    return ("rows", "columns")[axis]


def _pad(layer: Layer, axis: int) -> Line:
    size, kernel = int(layer.input.shape[axis + 1]), layer.kernel[axis]
    stride, dilation = layer.stride[axis], layer.dilation[axis]
    before, after = layer.padding[axis]
    _allowed(layer, axis, size)
    covered = dilation * (kernel - 1) + 1
    room = size + before + after - covered
    if room < 0 and not (layer.ceil and -room < stride):
        padded = f"{size + before + after} {_names(axis)} with its padding"
        raise UsageError(
            f"the kernel covers {covered} {_names(axis)}, but the input has {padded}: "
            "take a smaller kernel or more padding."
        )
    windows = room // stride + 1
    if layer.ceil:
        windows = -(-room // stride) + 1
        if (windows - 1) * stride >= size + before:  # it would start in the padding at the end
            windows -= 1
    places = range(-before, size + after)
    source = tuple(_source(place, size, layer.padding_mode) for place in places)
    real = tuple(0 <= place < size for place in places)
    return Line(source, real, windows, stride, kernel, dilation)


def _allowed(layer: Layer, axis: int, size: int) -> None:
    """PyTorch's limits of padding."""
    most = max(layer.padding[axis])
    if layer.pools:
        half = layer.kernel[axis] // 2
        if most > half:
            raise UsageError(
                f"padding {most} is over half of the kernel's {layer.kernel[axis]} {_names(axis)}: "
                f"pooling allows at most {half} here."
            )
    limit = {"reflect": size - 1, "circular": size}.get(layer.padding_mode, most)
    if most > limit:
        raise UsageError(
            f"{layer.padding_mode} padding of {most} needs more than the input's {size} "
            f"{_names(axis)}: at most {limit} here."
        )


def _source(place: int, size: int, mode: str) -> int:
    if 0 <= place < size:
        return place
    if mode == "reflect":
        return -place if place < 0 else 2 * (size - 1) - place
    if mode == "replicate":
        return min(max(place, 0), size - 1)
    return place % size if mode == "circular" else -1


def _stretch(layer: Layer, axis: int) -> Line:
    size, kernel = int(layer.input.shape[axis + 1]), layer.kernel[axis]
    stride, dilation = layer.stride[axis], layer.dilation[axis]
    padding, extra = layer.padding[axis][0], layer.output_padding[axis]
    if extra and extra >= max(stride, dilation):
        raise UsageError(
            f"output padding {extra} must be smaller than the stride ({stride}) "
            f"or the dilation ({dilation})."
        )
    reach = dilation * (kernel - 1)
    windows = (size - 1) * stride - 2 * padding + reach + extra + 1
    if windows < 1:
        raise UsageError(
            f"nothing comes out: (input - 1) * stride - 2 * padding + dilation * (kernel - 1) + "
            f"output padding + 1 = {windows} {_names(axis)}; take less padding."
        )
    places = [place - reach + padding for place in range(windows + reach)]  # 0: the first cell
    hit = [0 <= place <= (size - 1) * stride and place % stride == 0 for place in places]
    source = tuple(place // stride if real else -1 for place, real in zip(places, hit, strict=True))
    return Line(source, tuple(hit), windows, 1, kernel, dilation)
