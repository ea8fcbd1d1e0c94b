"""What was asked for -> Demos: defaults, random numbers, and which option belongs to which operation.

demos(**asked)       the whole of it; with nothing asked, the three classic ones
layer_of(asked, x)   the layer alone, for an input that is there already (a photo)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ptools.errors import UsageError, suggestion
from ptools_plugins.convdemo import reading
from ptools_plugins.convdemo.arithmetic import Demo
from ptools_plugins.convdemo.layer import Layer, Pair, insist_divides

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

_WINDOWS, _CELLS = 10_000, 4_000_000
_CLASSIC: tuple[Mapping[str, Any], ...] = ({}, {"stride": (2,)}, {"padding": (1,)})
# option -> the operations that have it in PyTorch
_OF = {
    "padding_mode": ("conv",),
    "dilation": ("conv", "max", "transpose"),
    "groups": ("conv", "transpose"),
    "out_channels": ("conv", "transpose"),
    "bias": ("conv", "transpose"),
    "output_padding": ("transpose",),
    "ceil": ("max", "avg"),
    "exclude_pad": ("avg",),
    "im2col": ("conv", "transpose"),
}


def demos(**asked: Any) -> list[Demo]:
    """Return the layers with their numbers, computed. Raises UsageError where PyTorch refuses.

    Options as on the command line, all of them optional: input, kernel, bias (text), stride,
    padding, dilation, output_padding (tuples of one or two), op, padding_mode, groups,
    out_channels, ceil, exclude_pad, relu, sigmoid, seed.
    """
    shape = [asked.get(name) for name in ("input", "kernel", "op", *_GEOMETRY)]
    if all(value in (None, False) for value in shape):
        return [_checked(_demo({**asked, **more})) for more in _CLASSIC]
    return [_checked(_demo(asked))]


_GEOMETRY = (
    "stride", "padding", "dilation", "padding_mode", "groups", "out_channels", "ceil",
    "output_padding", "bias",
)  # fmt: skip


def _demo(asked: Mapping[str, Any]) -> Demo:
    op = asked.get("op") or "conv"
    default = reading.SMALL if op == "transpose" else reading.INPUT
    text = default if asked.get("input") is None else asked["input"]
    return Demo(layer_of(asked, input_of(text, asked.get("seed") or 0)))


def input_of(text: str, seed: int) -> Array:
    """Return (C, H, W): the numbers of `text`, or random ones where it is a size."""
    size = reading.size(text)
    if size is None:
        return reading.planes(text, "--input")
    shape = (1, *(size * 2 if len(size) == 1 else size))[-3:]
    return reading.drawn(shape, 0, 9, f"input {seed}")


def _checked(demo: Demo) -> Demo:
    """Refuse what nobody can look at."""
    if demo.count > _WINDOWS:
        raise UsageError(
            f"{demo.count:,} windows are too many to look at (at most {_WINDOWS:,}): "
            "take a smaller input or a larger stride."
        )
    layer, weight = demo.layer, demo.weight
    cells = (
        demo.count * layer.kernel[0] * layer.kernel[1] * (1 if weight is None else weight.shape[1])
    )
    if cells > _CELLS:
        raise UsageError(
            f"{cells:,} products are too many to look at (at most {_CELLS:,}): take a smaller kernel."
        )
    return demo


def layer_of(asked: Mapping[str, Any], image: Array) -> Layer:
    """Return the layer that was asked for on an input (C, H, W)."""
    op = asked.get("op") or "conv"
    for name, operations in _OF.items():
        asks_nothing = asked.get(name) in (None, False, "zeros") or (name, asked[name]) == (
            "groups",
            1,
        )
        if op not in operations and not asks_nothing:
            raise UsageError(
                f"--{name.replace('_', '-')} is of {' and '.join(operations)}, not of {op}."
            )
    if asked.get("relu") and asked.get("sigmoid"):
        raise UsageError("--relu and --sigmoid: take one of them.")
    groups = asked.get("groups") or 1
    kernel, weight = _kernel(asked, op, image.shape[0], groups)
    stride = pair(asked.get("stride")) or (kernel if op in ("max", "avg") else (1, 1))
    dilation = pair(asked.get("dilation")) or (1, 1)
    return Layer(
        op, image, kernel, weight,
        bias=None if asked.get("bias") is None else reading.numbers(asked["bias"], "--bias"),
        stride=stride,
        padding=_padding(asked.get("padding"), op, kernel, stride, dilation),
        dilation=dilation,
        padding_mode=asked.get("padding_mode") or "zeros",
        groups=groups,
        output_padding=pair(asked.get("output_padding")) or (0, 0),
        ceil=bool(asked.get("ceil")),
        count_pad=not asked.get("exclude_pad"),
        after="relu" if asked.get("relu") else "sigmoid" if asked.get("sigmoid") else None,
    )  # fmt: skip


def pair(value: tuple[int, ...] | None) -> Pair | None:
    """(2,) -> (2, 2)"""
    if value is not None and max(value) > 1_000:
        raise UsageError(f"{max(value)} is too large to be looked at; at most 1,000.")
    return None if value is None else (value[0], value[-1])


def _padding(value: Any, op: str, kernel: Pair, stride: Pair, dilation: Pair) -> tuple[Pair, Pair]:
    if value == "same":
        if op != "conv" or stride != (1, 1):
            raise UsageError(
                "--padding same is of conv with stride 1: write the padding as a number."
            )
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        top, left = (total // 2 for total in totals)  # PyTorch puts the odd one at the end
        return (top, totals[0] - top), (left, totals[1] - left)
    if value == "valid" and op != "conv":
        raise UsageError("--padding valid is of conv: write --padding 0.")
    rows, columns = (pair(value) if isinstance(value, tuple) else None) or (0, 0)
    return (rows, rows), (columns, columns)


def _kernel(
    asked: Mapping[str, Any], op: str, channels: int, groups: int
) -> tuple[Pair, Array | None]:
    text, seed = asked.get("kernel"), asked.get("seed") or 0
    size = None if text is None else reading.size(text)
    if op in ("max", "avg"):
        if text is not None and (size is None or len(size) > 2):
            raise UsageError(f"--kernel '{text[:40]}': pooling has a size, such as 2 or 2x3.")
        if size and not all(1 <= side <= 1_000 for side in size):
            raise UsageError(f"--kernel {text}: every size must be from 1 to 1,000.")
        return pair(size or (2,)) or (2, 2), None
    if text is None and channels * groups * (asked.get("out_channels") or 1) == 1:
        text = reading.KERNEL
    if text is None:
        size = (3, 3)
    planes = _planes(text, size, asked, op, channels, groups, seed)
    return (planes.shape[2], planes.shape[3]), planes


def _planes(
    text: str | None, size: tuple[int, ...] | None, asked: Mapping[str, Any],
    op: str, channels: int, groups: int, seed: int,
) -> Array:  # fmt: skip
    """Return the weight in PyTorch's shape: random of a size, by name, or as written."""
    insist_divides(groups, channels, "input")
    outs = asked.get("out_channels")
    if size is not None:
        outs = outs or groups
        if len(size) > 2:
            raise UsageError(f"--kernel {text}: a size is 3 or 3x5; --out-channels says how many.")
        insist_divides(groups, outs, "output")
        split = (channels, outs // groups) if op == "transpose" else (outs, channels // groups)
        return reading.drawn((*split, size[0], size[-1]), -2, 2, f"kernel {seed}")
    assert text is not None
    if text in reading.NAMED:
        plane = reading.planes(reading.NAMED[text], "--kernel")
        if channels > 1 and groups == 1:
            raise UsageError(
                f"--kernel {text} is one plane and the input has {channels} channels: "
                f"add --groups {channels} to apply it to each."
            )
        found = plane.repeat(channels if op == "transpose" else groups, 0)
    elif re.fullmatch(r"[a-zA-Z][\w-]*", text):
        raise UsageError(
            f"--kernel '{text[:40]}' is none of {', '.join(reading.NAMED)}, and no numbers."
            f"{suggestion(text, list(reading.NAMED))}"
        )
    else:
        found = reading.planes(text, "--kernel")
    # conv: O x C/groups planes; transposed: C x O/groups
    unit = channels if op == "transpose" else channels // groups
    if len(found) % unit:
        raise UsageError(
            f"--kernel has {len(found)}, but a group has {unit} channels: "
            f"write {unit} planes, or a multiple of that, with | between them."
        )
    first = channels if op == "transpose" else len(found) // unit
    weight = found.reshape(first, -1, *found.shape[1:])
    made = weight.shape[1] * groups if op == "transpose" else first
    if outs and outs != made:
        raise UsageError(f"--out-channels {outs}: the kernel has planes for {made}; leave it out.")
    return weight
