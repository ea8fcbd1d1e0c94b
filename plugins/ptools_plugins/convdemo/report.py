"""A Demo as one document: all values, and every window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ptools_plugins.convdemo import scenes
from ptools_plugins.convdemo.arithmetic import Demo, Window
from ptools_plugins.convdemo.backward import gradients
from ptools_plugins.convdemo.layer import Layer

if TYPE_CHECKING:
    import numpy.typing as npt


def document(demo: Demo, *, im2col: bool = False, backward: bool = False) -> dict[str, Any]:
    """Return everything about a demo; arrays are nested lists."""
    layer = demo.layer
    found: dict[str, Any] = {
        "title": scenes.heading(demo),
        "torch": call(layer),
        "op": layer.op,
        "input": listed(layer.input),
        "weight": listed(layer.weight),
        "bias": listed(layer.bias),
        "kernel": layer.kernel,
        "stride": layer.stride,
        "padding": layer.padding,
        "dilation": layer.dilation,
        "padding_mode": layer.padding_mode,
        "groups": layer.groups,
        "output_padding": layer.output_padding,
        "ceil": layer.ceil,
        "activation": layer.after,
        "laid_out": listed(demo.laid),
        "output": listed(demo.output),
        "windows": [_window(demo, demo.window(number)) for number in range(demo.count)],
    }
    if im2col:
        names = ("weight", "columns", "product")
        found["im2col"] = [
            dict(zip(names, map(listed, demo.unfolded(group)), strict=True))
            for group in range(layer.groups)
        ]
    if backward:
        found["gradients"] = {
            name: listed(array) for name, array in gradients(demo)._asdict().items()
        }
    return found


def _window(demo: Demo, window: Window) -> dict[str, Any]:
    """Rows and columns count on `laid_out`; a cell that ceil put beyond it is left out of the sum."""
    found: dict[str, Any] = {
        "output": window.at,
        "channels": list(window.channels),
        "rows": window.rows,
        "columns": window.columns,
        "values": listed(window.patch),
        "counted": listed(window.counts),
        "value": window.value,
    }
    if window.weight is not None:
        found |= {"products": listed(window.products), "sums": window.sums, "bias": window.bias}
    if demo.layer.op == "avg":
        found["divisor"] = window.divisor
    if demo.layer.after:
        found["before_activation"] = window.before
    return found


def listed(array: npt.NDArray[Any] | None) -> Any:
    """Return an array as nested lists."""
    return None if array is None else array.tolist()


def call(layer: Layer) -> str:
    """Return the same in PyTorch, for x (C, H, W), w and b."""
    (top, bottom), (left, right) = layer.padding
    padding: tuple[int, int] = top, left
    x = "x[None]"
    if layer.padding_mode != "zeros" or (top, left) != (bottom, right):
        mode = {"zeros": "constant"}.get(layer.padding_mode, layer.padding_mode)
        x, padding = f"F.pad({x}, {(left, right, top, bottom)}, '{mode}')", (0, 0)
    if layer.weight is None:
        more = f"{layer.kernel}, {layer.stride}, {padding}"
        if layer.op == "max":
            text = f"F.max_pool2d({x}, {more}, {layer.dilation}, {layer.ceil})"
        else:
            text = f"F.avg_pool2d({x}, {more}, {layer.ceil}, {layer.count_pad})"
    else:
        weights = "w" if layer.bias is None else "w, b"
        more = f"{x}, {weights}, stride={layer.stride}, padding={padding}"
        if layer.op == "transpose":
            more += f", output_padding={layer.output_padding}"
            name = "conv_transpose2d"
        else:
            name = "conv2d"
        text = f"F.{name}({more}, dilation={layer.dilation}, groups={layer.groups})"
    return f"torch.{layer.after}({text})[0]" if layer.after else f"{text}[0]"
