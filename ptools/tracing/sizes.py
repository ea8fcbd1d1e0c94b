"""Output sizes of convolution, pooling and transposed convolution. Whole numbers only, no torch.

Source: the Shape sections of torch.nn.Conv2d, MaxPool2d, AvgPool2d and ConvTranspose2d, and the
rule of ATen's pooling_output_shape for ceil_mode: the last window must start inside the input or
its left padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ptools.errors import UsageError

OPERATIONS = ("conv", "maxpool", "avgpool", "transpose")


@dataclass(frozen=True)
class Window:
    """A layer along one dimension. `padding` is (left, right); sizes are in elements."""

    kernel: int
    stride: int = 1
    padding: tuple[int, int] = (0, 0)
    dilation: int = 1
    ceil: bool = False
    output_padding: int = 0

    @property
    def span(self) -> int:
        """How many elements the dilated kernel covers."""
        return self.dilation * (self.kernel - 1) + 1


def output_size(op: str, size: int, window: Window) -> int:
    """Return the output size of `op` along one dimension. Raises UsageError where nothing fits."""
    if op == "transpose":
        return _transposed(size, window)
    left, right = window.padding
    last = size + left + right - window.span  # where the last window could start
    out = (-(-last // window.stride) if window.ceil else last // window.stride) + 1
    if window.ceil and (out - 1) * window.stride >= size + left:
        out -= 1  # the window would start in the right padding
    if out < 1:
        raise UsageError(
            f"the kernel covers {window.span} elements but the padded input has only "
            f"{last + window.span} ({size} + padding {left} + {right}); "
            f"use {_least_padding(op, size, window)}a smaller --k or --d."
        )
    return out


def _least_padding(op: str, size: int, window: Window) -> str:
    """Return the padding to advise, if this kind of layer allows as much."""
    padding = -(-(window.span - size) // 2)
    return "" if op != "conv" and 2 * padding > window.kernel else f"--p {padding} or "


def _transposed(size: int, window: Window) -> int:
    if window.output_padding >= max(window.stride, window.dilation):
        raise UsageError(
            f"--output-padding {window.output_padding} must be smaller than the stride "
            f"({window.stride}) or the dilation ({window.dilation})."
        )
    grown = (size - 1) * window.stride + window.span + window.output_padding
    out = grown - sum(window.padding)
    if out < 1:
        raise UsageError(
            f"the padding {window.padding[0]} + {window.padding[1]} removes all {grown} elements "
            f"of the output; use a smaller --p."
        )
    return out


def same_padding(window: Window) -> tuple[int, int]:
    """Return the (left, right) padding of `padding='same'`, as torch.nn.Conv2d splits it."""
    total = window.span - 1
    return total // 2, total - total // 2


def formula(op: str, window: Window) -> str:
    """Return the formula in the letters of PyTorch's documentation, for this kind of layer."""
    if op == "transpose":
        return "(in - 1)*s - 2*p + d*(k - 1) + output_padding + 1"
    padding = "p_left + p_right" if window.padding[0] != window.padding[1] else "2*p"
    return f"{_rounding(window)}((in + {padding} - d*(k - 1) - 1) / s) + 1"


def filled(op: str, size: int, window: Window) -> str:
    """Return the formula with this layer's numbers in it."""
    left, right = window.padding
    padding = f"2*{left}" if left == right else f"{left} + {right}"
    dilated = f"{window.dilation}*({window.kernel} - 1)"
    if op == "transpose":
        return f"({size} - 1)*{window.stride} - {padding} + {dilated} + {window.output_padding} + 1"
    return f"{_rounding(window)}(({size} + {padding} - {dilated} - 1) / {window.stride}) + 1"


def dropped(op: str, size: int, window: Window) -> bool:
    """Return whether ceil's extra window was taken away again."""
    if not window.ceil or op == "transpose":
        return False
    last = size + sum(window.padding) - window.span
    return output_size(op, size, window) != -(-last // window.stride) + 1


def _rounding(window: Window) -> str:
    return "ceil" if window.ceil else "floor"


def check(op: str, size: Sequence[int], windows: Sequence[Window]) -> None:
    """Refuse what PyTorch refuses for this kind of layer. Raises UsageError."""
    for elements, window in zip(size, windows, strict=True):
        if op == "avgpool" and len(windows) == 3 and elements < window.kernel:
            raise UsageError(
                f"AvgPool3d takes no input ({elements}) smaller than its kernel ({window.kernel}), "
                f"whatever the padding; use a smaller --k."
            )
        if op in ("maxpool", "avgpool") and 2 * max(window.padding) > window.kernel:
            raise UsageError(
                f"pooling allows a padding of at most half the kernel: --p {window.kernel // 2} "
                f"for --k {window.kernel}."
            )
        if op == "avgpool" and window.dilation != 1:
            raise UsageError("avgpool has no dilation; leave --d out or use --op maxpool.")
        if window.ceil and op not in ("maxpool", "avgpool"):
            raise UsageError(f"--ceil is for pooling; {op} always rounds down.")
        if window.output_padding and op != "transpose":
            raise UsageError("--output-padding is for --op transpose.")
