"""Output sizes of convolution, pooling, transposed convolution and unfolding. Whole numbers, no torch.

Source: the Shape sections of torch.nn.Conv2d, MaxPool2d, AvgPool2d, LPPool2d, ConvTranspose2d and
Unfold, and the rule of ATen's pooling_output_shape for ceil_mode: the last window must start inside
the input or its left padding.

nn.Unfold itself takes two dimensions. In one or three its blocks are counted in the same way, which
is what Tensor.unfold along every padded dimension gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ptools.errors import UsageError

OPERATIONS = ("conv", "maxpool", "avgpool", "lppool", "transpose", "unfold")
POOLING = ("maxpool", "avgpool", "lppool")
UNDILATED = ("avgpool", "lppool")


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


def default_stride(op: str, kernel: int) -> int:
    """Return the stride of a layer that was given none, as in PyTorch."""
    return kernel if op in POOLING else 1


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
        padded = "" if op == "lppool" else f" ({size} + padding {left} + {right})"
        raise UsageError(
            f"the kernel covers {window.span} elements but the {'padded ' if padded else ''}input "
            f"has only {last + window.span}{padded}; use {_advice(op, size, window)}."
        )
    return out


def _advice(op: str, size: int, window: Window) -> str:
    """Return what to change where the kernel is too large, as far as this kind of layer has it."""
    padding = -(-(window.span - size) // 2)
    most = {"lppool": 0, "maxpool": window.kernel // 2, "avgpool": window.kernel // 2}
    more = f"--p {padding} or " if padding <= most.get(op, padding) else ""
    return f"{more}a smaller --k" + ("" if op in UNDILATED else " or --d")


def _transposed(size: int, window: Window) -> int:
    if window.output_padding >= max(window.stride, window.dilation):
        raise UsageError(
            f"--output-padding {window.output_padding} must be smaller than the stride "
            f"({window.stride}) or the dilation ({window.dilation}); use a smaller one."
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
    return _windows(op, window, "in", padding, "d*(k - 1) - 1", "k", "s")


def filled(op: str, size: int, window: Window) -> str:
    """Return the formula with this layer's numbers in it."""
    left, right = window.padding
    padding = f"2*{left}" if left == right else f"{left} + {right}"
    dilated = f"{window.dilation}*({window.kernel} - 1)"
    if op == "transpose":
        return f"({size} - 1)*{window.stride} - {padding} + {dilated} + {window.output_padding} + 1"
    return _windows(
        op, window, str(size), padding, f"{dilated} - 1", str(window.kernel), str(window.stride)
    )


def _windows(
    op: str, window: Window, size: str, padding: str, dilated: str, kernel: str, stride: str
) -> str:
    """Write out how often the window fits; what the layer has not is not in its formula."""
    padded = size if op == "lppool" else f"{size} + {padding}"
    covered = kernel if op in UNDILATED else dilated
    return f"{'ceil' if window.ceil else 'floor'}(({padded} - {covered}) / {stride}) + 1"


def dropped(op: str, size: int, window: Window) -> bool:
    """Return whether ceil's extra window was taken away again."""
    if not window.ceil or op == "transpose":
        return False
    last = size + sum(window.padding) - window.span
    return output_size(op, size, window) != -(-last // window.stride) + 1


def check_options(op: str, window: Window) -> None:
    """Refuse the options that this kind of layer does not have. Raises UsageError."""
    if op == "lppool" and any(window.padding):
        raise UsageError("lppool has no padding; leave --p out or use --op avgpool.")
    if op in UNDILATED and window.dilation != 1:
        raise UsageError(f"{op} has no dilation; leave --d out or use --op maxpool.")
    if window.ceil and op not in POOLING:
        raise UsageError(f"--ceil is for pooling; {op} always rounds down, so leave it out.")
    if window.output_padding and op != "transpose":
        raise UsageError("--output-padding is for --op transpose; leave it out.")


def check(op: str, size: Sequence[int], windows: Sequence[Window]) -> None:
    """Refuse what PyTorch refuses for this kind of layer. Raises UsageError."""
    for elements, window in zip(size, windows, strict=True):
        check_options(op, window)
        if op in UNDILATED and len(windows) == 3 and elements < window.kernel:
            name = {"avgpool": "AvgPool3d", "lppool": "LPPool3d"}[op]
            raise UsageError(
                f"{name} takes no input ({elements}) smaller than its kernel ({window.kernel}), "
                f"whatever the padding; use a smaller --k."
            )
        if op in POOLING and 2 * max(window.padding) > window.kernel:
            raise UsageError(
                f"pooling allows a padding of at most half the kernel: --p {window.kernel // 2} "
                f"for --k {window.kernel}."
            )
