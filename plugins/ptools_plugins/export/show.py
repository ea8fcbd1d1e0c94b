"""What a person sees of it: the ends, the checks, size and latency; and the same as a picture."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from ptools import output
from ptools_plugins.export.verify import LIMIT

if TYPE_CHECKING:
    from ptools_plugins.export.verify import Check
    from ptools_plugins.export.work import Exported

__all__ = ["picture", "report"]

_AFTER = {"onnx": "ONNX", "torch-export": "torch.export", "tensorrt": "TensorRT"}


def report(done: Exported) -> None:
    """Print what was written and how it compares."""
    opset = f", opset {done.opset}" if done.opset else ""
    output.result(f"{done.file}: {done.model}{opset}")
    output.result(f"  {_ends(done.inputs)} -> {_ends(done.outputs)}")
    output.result()
    heads = ["compared on", "samples", "relative difference", "other top-1"]
    rows = [[c.on, c.samples, f"{c.worst:.1e}", "-" if c.differ is None else c.differ]
            for c in done.checks]  # fmt: skip
    output.table(heads, rows, right=heads[1:])
    output.result(
        f"\nThe limit is {LIMIT:g} of the largest output of a sample, and no other top-1."
    )
    for check in done.checks:
        if check.right:
            before, after = (f"{right / check.samples:.2%}" for right in check.right)
            output.result(f"accuracy on {check.on}: {before} before, {after} after")
    output.result()
    _costs(done)


def _ends(ends: dict[str, list[Any]]) -> str:
    return ", ".join(f"{name} ({', '.join(map(str, shape))})" for name, shape in ends.items())


def _costs(done: Exported) -> None:
    heads = ["", "PyTorch", _AFTER[done.format], ""]
    slow, fast = done.milliseconds
    rows = [
        ["size", *map(output.size, done.bytes), f"{done.bytes[1] / done.bytes[0]:.2f}x"],
        ["latency", f"{slow:.3f} ms", f"{fast:.3f} ms", _speed(slow / fast)],
    ]
    output.table(heads, rows, right=heads[1:3])
    threads = f"{done.threads} thread{'s' * (done.threads > 1)}"
    output.result(f"Latency of one sample: medians of {done.runs} runs in turns, {threads}.")


def _speed(ratio: float) -> str:
    return f"{ratio:.1f}x faster" if ratio >= 1 else f"{1 / ratio:.1f}x slower"


def picture(done: Exported) -> bytes:
    """Return a PNG: how far the outputs are apart, with the limit; latency and size of both."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.8), dpi=100, layout="constrained")
    apart, latency, size = figure.subplots(1, 3, width_ratios=(2.2, 1, 1))
    _apart(apart, done.checks)
    both = ["PyTorch", _AFTER[done.format]]
    for axes, values, title in (
        (latency, done.milliseconds, "latency of one sample, ms"),
        (size, [n / 1e6 for n in done.bytes], "size, MB"),
    ):
        bars = axes.bar(both, values, color=["#8a8f98", "#1f77b4"], width=0.6)
        axes.bar_label(bars, fmt="%.3g", padding=2)
        axes.set_title(title, fontsize=10)
        axes.margins(y=0.2)
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _apart(axes: Any, checks: list[Check]) -> None:
    names = [check.on for check in checks]
    least = 1e-9  # what is equal to the bit has no logarithm
    axes.set_xscale("log")
    axes.set_xlim(least / 2, 1e-2)
    for row, check in enumerate(checks):
        worst = max(check.worst, least)
        axes.plot([least / 2, worst], [row, row], color="#c8ccd2", zorder=1)
        axes.plot([worst], [row], "o", color="#1f77b4", zorder=2)
        text = f"{check.worst:.1e}" if check.worst else "0"
        axes.annotate(text, (worst, row), xytext=(7, 4), textcoords="offset points", fontsize=9)
    axes.axvline(LIMIT, color="#d62728", linestyle="--")
    axes.annotate("limit", (LIMIT, len(names) - 0.55), xytext=(4, 0), textcoords="offset points",
                  color="#d62728", fontsize=9)  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.3)
    axes.set_title("largest relative difference of the outputs", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
