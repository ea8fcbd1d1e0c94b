"""Compute the output size of a layer.

The result comes first, then the formula, then the formula with your numbers in it. One value
counts for every dimension: --in 32x48 --k 3 is a 3x3 kernel. A pooling layer's stride is its
kernel unless --s says otherwise, as in PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ptools import output
from ptools.errors import UsageError
from ptools.options import Sizes, examples, json_option
from ptools.tracing.sizes import OPERATIONS

if TYPE_CHECKING:
    from ptools.tracing.sizes import Window

_EPILOG = examples(
    "ptools shapes --in 32 --k 5 --p 2",
    "ptools shapes --in 32x48 --k 3x5 --s 2 --p 1x2",
    "ptools shapes --in 112 --op maxpool --k 3 --s 2 --ceil",
)


@click.command(epilog=_EPILOG)
@click.option(
    "--in", "--input", "size", type=Sizes(), required=True, help="Input size: 32 or 32x48."
)
@click.option("--k", "--kernel", "kernel", type=Sizes(), required=True, help="Kernel size.")
@click.option(
    "--s", "--stride", "stride", type=Sizes(), help="Stride.  [default: 1; pooling: kernel]"
)
@click.option(
    "--p", "--padding", "padding", type=Sizes(least=0, words=("same",)), default="0",
    help="Padding on both sides, or 'same'.",
)  # fmt: skip
@click.option("--d", "--dilation", "dilation", type=Sizes(), default="1", help="Dilation.")
@click.option("--op", type=click.Choice(OPERATIONS), default="conv", help="Kind of layer.")
@click.option("--ceil", is_flag=True, help="Round up (ceil_mode of pooling).")
@click.option(
    "--output-padding", type=Sizes(least=0), default="0", help="Of a transposed convolution."
)
@json_option
def command(as_json: bool, **given: Any) -> None:
    report = shapes(**given)
    if as_json:
        output.document(report)
        return
    output.result("x".join(map(str, report["out"])))
    for line in report["steps"]:
        output.result(line)


def shapes(
    *,
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...] | None = None,
    padding: tuple[int, ...] | str = (0,),
    dilation: tuple[int, ...] = (1,),
    op: str = "conv",
    ceil: bool = False,
    output_padding: tuple[int, ...] = (0,),
) -> dict[str, Any]:
    """Return `in`, `out` and everything between as a plain dict; sizes are lists, one per dimension.

    Raises UsageError where the dimensions disagree or the layer does not fit the input.
    """
    from ptools.tracing import sizes

    stride = stride or (kernel if op in ("maxpool", "avgpool") else (1,))
    same = padding == "same"
    named = {"in": size, "k": kernel, "s": stride, "d": dilation, "output-padding": output_padding}
    named["p"] = (0,) if isinstance(padding, str) else padding
    full = _broadcast(named)
    windows = [
        sizes.Window(k, s, (p, p), d, ceil, o)
        for k, s, p, d, o in zip(
            *(full[n] for n in ("k", "s", "p", "d", "output-padding")), strict=True
        )
    ]
    if same:
        windows = [_same(op, window) for window in windows]
    sizes.check(op, full["in"], windows)
    out = [sizes.output_size(op, n, window) for n, window in zip(full["in"], windows, strict=True)]
    return {
        "in": list(full["in"]),
        "out": out,
        "op": op,
        "k": list(full["k"]),
        "s": list(full["s"]),
        "p": [w.padding[0] if w.padding[0] == w.padding[1] else list(w.padding) for w in windows],
        "d": list(full["d"]),
        "ceil": ceil,
        "output_padding": list(full["output-padding"]),
        "steps": _steps(op, full["in"], windows, out),
    }


def _broadcast(named: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Give every option one value per dimension. Raises UsageError where the counts disagree."""
    dimensions = max(map(len, named.values()))
    for name, value in named.items():
        if len(value) not in (1, dimensions):
            wide = next(n for n, v in named.items() if len(v) == dimensions)
            raise UsageError(
                f"--{name} has {len(value)} dimensions but --{wide} has {dimensions}; "
                f"give one value, or {dimensions}."
            )
    return {name: v * dimensions if len(v) == 1 else v for name, v in named.items()}


def _same(op: str, window: Window) -> Window:
    from dataclasses import replace

    from ptools.tracing.sizes import same_padding

    if op != "conv" or window.stride != 1:
        raise UsageError("--p same is for conv with stride 1, as in PyTorch; give a number.")
    return replace(window, padding=same_padding(window))


def _steps(op: str, size: tuple[int, ...], windows: list[Window], out: list[int]) -> list[str]:
    """Return the formula, then a line per dimension with its numbers; equal dimensions once."""
    from ptools.tracing import sizes

    uneven = next((w for w in windows if w.padding[0] != w.padding[1]), windows[0])
    lines = [f"out = {sizes.formula(op, uneven)}"]
    for n, window, result in dict.fromkeys(zip(size, windows, out, strict=True)):
        text = f"    = {sizes.filled(op, n, window)} = {result}"
        if sizes.dropped(op, n, window):
            text = text.replace(
                f"= {result}", f"- 1 = {result}  (a window may not start in the padding)"
            )
        lines.append(text)
    return lines
