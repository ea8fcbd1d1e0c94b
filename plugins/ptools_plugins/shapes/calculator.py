"""The calculator: one layer, forwards or backwards. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from ptools import output
from ptools.errors import PtoolsError, UsageError

if TYPE_CHECKING:
    from ptools.tracing.sizes import Window

Given = tuple[int, ...] | None

SHOWN = 12  # solutions on the screen; --json lists them all
NEAR = 16  # how far from the wanted size a failed search looks for one that works
_NAMES = {
    "k": "kernel",
    "s": "stride",
    "p": "padding",
    "d": "dilation",
    "output-padding": "output_padding",
}


def calculate(
    size: tuple[int, ...],
    kernel: Given = None,
    stride: Given = None,
    padding: tuple[int, ...] | str | None = None,
    dilation: Given = None,
    op: str = "conv",
    ceil: bool = False,
    output_padding: Given = None,
) -> dict[str, Any]:
    """Return `in`, `out` and everything between as a plain dict; sizes are lists, one per dimension.

    What is None has PyTorch's default. `unfold` also has `blocks`, the L of torch.nn.Unfold.
    Raises UsageError where the dimensions disagree or the layer does not fit the input.
    """
    from ptools.tracing import sizes

    if kernel is None:
        raise UsageError(
            "give --k (the kernel), or --out (the size that should come out), or layers, or --model."
        )
    full = _broadcast(
        {
            "in": size,
            "k": kernel,
            "s": stride or tuple(sizes.default_stride(op, k) for k in kernel),
            "p": (0,) if padding is None or isinstance(padding, str) else padding,
            "d": dilation or (1,),
            "output-padding": output_padding or (0,),
        }
    )
    windows = _windows(full, ceil)
    if padding == "same":
        windows = [_same(op, window) for window in windows]
    try:
        sizes.check(op, full["in"], windows)
        out = [sizes.output_size(op, n, w) for n, w in zip(full["in"], windows, strict=True)]
    except UsageError as error:
        raise UsageError(f"{error}{_channels(size, windows)}") from None
    return {
        "in": list(full["in"]),
        "out": out,
        "op": op,
        **_options(windows),
        "ceil": ceil,
        "output_padding": [window.output_padding for window in windows],
        **({"blocks": prod(out)} if op == "unfold" else {}),
        "steps": _steps(op, full["in"], windows, out),
    }


def invert(
    size: tuple[int, ...],
    wanted: tuple[int, ...],
    kernel: Given = None,
    stride: Given = None,
    padding: tuple[int, ...] | str | None = None,
    dilation: Given = None,
    op: str = "conv",
    ceil: bool = False,
    output_padding: Given = None,
) -> dict[str, Any]:
    """Return the settings that turn `size` into `wanted`: `solutions`, simplest first.

    What is not None is held fixed. `complete` is false where the dimensions need different
    settings and only the combinations of the simplest are listed. Raises UsageError where the
    dimensions disagree or PyTorch has no such layer, PtoolsError where nothing gives the size.
    """
    from ptools.tracing.inverse import solve

    given = {"k": kernel, "s": stride, "d": dilation, "output-padding": output_padding}
    given["p"] = None if isinstance(padding, str) else padding
    held = {name: value for name, value in given.items() if value is not None}
    full = _broadcast({"in": size, "out": wanted, **held})
    layer: dict[str, Any] = {_NAMES[name]: full[name] for name in held}
    if isinstance(padding, str):
        layer["padding"] = padding
    answer = solve(full["in"], full["out"], op, ceil=ceil, **layer)
    if not answer.solutions:
        raise _nothing(full["in"], full["out"], op, ceil, layer)
    return {
        "in": list(full["in"]),
        "out": list(full["out"]),
        "op": op,
        "ceil": ceil,
        "held": {
            flag.replace("-", "_"): v if isinstance(v := layer[name], str) else list(v)
            for flag, name in _NAMES.items()
            if name in layer
        },
        "complete": answer.complete,
        "solutions": [_solution(op, windows) for windows in answer.solutions],
    }


def show(report: Mapping[str, Any]) -> None:
    """Print what `calculate` returned: the size, the formula, the formula filled in."""
    output.result(_joined(report["out"]))
    for line in report["steps"]:
        output.result(line)
    if "blocks" in report:
        product = " * ".join(map(str, report["out"]))
        output.result(f"L = {product}" + (f" = {report['blocks']}" if "*" in product else ""))
    kernels = report["k"]
    if _looks_like_channels(report["in"]) and len(set(kernels)) == 1:
        output.note(
            f"{_joined(report['in'])} is taken as three dimensions{_without(report['in'])}."
        )
    if "blocks" in report and len(kernels) != 2:
        output.note("nn.Unfold itself takes two dimensions only; Tensor.unfold takes any.")


def show_solutions(report: Mapping[str, Any]) -> None:
    """Print what `invert` returned: a table of the simplest solutions."""
    solutions = report["solutions"]
    heads = [name for name in ("k", "s", "p", "d", "output_padding") if name in solutions[0]]
    rows = [[_setting(solution[name]) for name in heads] for solution in solutions[:SHOWN]]
    output.table([head.replace("_", "-") for head in heads], rows)
    if len(solutions) > SHOWN:
        output.note(f"and {len(solutions) - SHOWN} more (--json lists all).")
    if not report["complete"]:
        output.note("The dimensions need different settings; only the simplest were combined.")
    if _looks_like_channels(report["in"]):
        output.note(
            f"{_joined(report['in'])} is taken as three dimensions{_without(report['in'])}."
        )
    larger = any(2 * out > 3 * n for n, out in zip(report["in"], report["out"], strict=True))
    if larger and report["op"] != "transpose":
        output.note("--op transpose is the usual layer for a larger size.")


# -- one value per dimension -------------------------------------------------------------------------


def _broadcast(named: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Give every option one value per dimension. Raises UsageError where the counts disagree."""
    size = named["in"]
    if not 1 <= len(size) <= 3:
        raise UsageError(
            f"--in {_joined(size)} has {len(size)} dimensions; a layer has at least 1 and at most 3: "
            f"leave batch and channels out, --in {_joined(size[-2:]) or 32}."
        )
    if min(size) < 1:
        raise UsageError(f"--in {_joined(size)}: every size must be at least 1.")
    dimensions = max(map(len, named.values()))
    for name, value in named.items():
        if len(value) not in (1, dimensions):
            wide = next(n for n, v in named.items() if len(v) == dimensions)
            raise UsageError(
                f"--{name} has {len(value)} dimensions but --{wide} has {dimensions}; "
                f"give one value, or {dimensions}."
            )
    return {name: v * dimensions if len(v) == 1 else v for name, v in named.items()}


def _windows(full: Mapping[str, tuple[int, ...]], ceil: bool) -> list[Window]:
    """Return the window of every dimension of what `calculate` was given."""
    from ptools.tracing.sizes import Window

    names = ("k", "s", "p", "d", "output-padding")
    every = zip(*(full[name] for name in names), strict=True)
    return [Window(k, s, (p, p), d, ceil, more) for k, s, p, d, more in every]


def _same(op: str, window: Window) -> Window:
    from dataclasses import replace

    from ptools.tracing.sizes import same_padding

    if op != "conv" or window.stride != 1:
        raise UsageError("--p same is for conv with stride 1, as in PyTorch; give a number.")
    return replace(window, padding=same_padding(window))


def _options(windows: Sequence[Window]) -> dict[str, list[Any]]:
    """Return k, s, p and d; a padding that differs left and right is a list of both."""
    return {
        "k": [w.kernel for w in windows],
        "s": [w.stride for w in windows],
        "p": [w.padding[0] if w.padding[0] == w.padding[1] else list(w.padding) for w in windows],
        "d": [w.dilation for w in windows],
    }


def _solution(op: str, windows: Sequence[Window]) -> dict[str, list[Any]]:
    more = {"output_padding": [w.output_padding for w in windows]} if op == "transpose" else {}
    return {**_options(windows), **more}


# -- nothing fits ------------------------------------------------------------------------------------


def _nothing(
    size: tuple[int, ...], wanted: tuple[int, ...], op: str, ceil: bool, layer: dict[str, Any]
) -> PtoolsError:
    """Return the error that says what is near, and which option stands in the way."""
    from ptools.tracing.inverse import DILATION, KERNEL, solve

    dims = len(size)

    def solvable(at: int, out: int, held: dict[str, Any]) -> bool:
        """Ask one dimension alone; AvgPool3d must still know that it is one of three."""
        one: dict[str, Any] = {
            n: v if isinstance(v, str) else v[at : at + 1] * dims for n, v in held.items()
        }
        return bool(solve(size[at : at + 1] * dims, (out,) * dims, op, ceil=ceil, **one).solutions)

    at = next(i for i in range(dims) if not solvable(i, wanted[i], layer))
    n, out = size[at], wanted[at]
    sides = range(out - 1, max(out - NEAR, 1) - 1, -1), range(out + 1, out + NEAR + 1)
    near = (next((w for w in side if solvable(at, w, layer)), None) for side in sides)
    reachable = " or ".join(
        _joined([*wanted[:at], w, *wanted[at + 1 :]]) for w in near if w is not None
    )
    flags = {name: f"--{flag}" for flag, name in _NAMES.items() if name in layer}
    without = [
        f for n, f in flags.items() if solvable(at, out, {m: v for m, v in layer.items() if m != n})
    ]
    advice = [f"--out {reachable}"] if reachable else []
    advice += [f"leaving out {' or '.join(without)}"] if without else []
    advice += ["--op transpose, which makes larger"] if out > n and op != "transpose" else []
    advice += ["--op conv, which makes smaller"] if out < n and op == "transpose" else []
    held = "".join(
        f" {f} {layer[name] if isinstance(layer[name], str) else layer[name][at]}"
        for name, f in flags.items()
    )
    most = {"kernel": KERNEL, "dilation": DILATION}
    bounds = ", ".join(f"{name} to {value}" for name, value in most.items() if name not in layer)
    return PtoolsError(
        f"no {op}{held}{f' ({bounds})' if bounds else ''} makes {out} out of {n}; "
        f"try {', or '.join(advice) or 'two layers'}.{_channels(size, ())}"
    )


# -- words -------------------------------------------------------------------------------------------


def _looks_like_channels(size: Sequence[int]) -> bool:
    return len(size) == 3 and size[0] in (1, 3)


def _without(size: Sequence[int]) -> str:
    return f"; if {size[0]} is the number of channels, leave it out: --in {_joined(size[1:])}"


def _channels(size: Sequence[int], windows: Sequence[Window]) -> str:
    """Return a hint for an error where the first of three sizes looks like channels."""
    if not _looks_like_channels(size) or len({window.kernel for window in windows}) > 1:
        return ""
    return f" If {size[0]} is the number of channels, leave it out: --in {_joined(size[1:])}."


def _joined(values: Sequence[Any]) -> str:
    return "x".join(map(str, values))


def _setting(values: Sequence[Any]) -> str:
    """Return what to type: 3 where all dimensions agree, else 3x5; 1+2 is left and right."""
    texts = ["+".join(map(str, v)) if isinstance(v, list) else str(v) for v in values]
    return texts[0] if len(set(texts)) == 1 else _joined(texts)


def _steps(op: str, size: tuple[int, ...], windows: list[Window], out: list[int]) -> list[str]:
    """Return the formula, then a line per dimension with its numbers; equal dimensions once."""
    from ptools.tracing import sizes

    uneven = next((w for w in windows if w.padding[0] != w.padding[1]), windows[0])
    lines = [f"out = {sizes.formula(op, uneven)}"]
    for n, window, result in dict.fromkeys(zip(size, windows, out, strict=True)):
        text = f"    = {sizes.filled(op, n, window)}"
        if sizes.dropped(op, n, window):
            lines.append(f"{text} - 1 = {result}  (a window may not start in the padding)")
        else:
            lines.append(f"{text} = {result}")
    return lines
