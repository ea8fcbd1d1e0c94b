"""Histograms of weights before and after, as a PNG: a row for each tensor, a column for each scheme.

png(tensors, ...)   bytes of the sheet

matplotlib's Figure alone is used, never pyplot: no window, no global state, and half the import.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from ptools_plugins.quantize.arithmetic import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from ptools_plugins.quantize.work import Half, Settings, Tensor

__all__ = ["png"]

_BEFORE, _AFTER, _INK = "#aebdcb", "#d1495b", "#22313f"
_BINS = 96
_FEW = 80  # values up to which every one is drawn


def png(tensors: Sequence[tuple[Tensor, Any]], settings: Settings) -> bytes:
    """Return the sheet of tensors, each with its values: a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = len(tensors)
    figure = Figure(figsize=(9.6, 2.5 * rows + 0.5), dpi=90, layout="constrained")
    panels = figure.subplots(rows, 2, squeeze=False)
    for place, (tensor, values) in enumerate(tensors):
        for axes, scheme in zip(panels[place], SCHEMES, strict=True):
            _panel(axes, tensor, scheme, values)
        panels[place][0].set_ylabel("each number" if values.size <= _FEW else "numbers")
    panels[-1][0].set_xlabel("value")
    panels[-1][1].set_xlabel("value")
    handles, labels = panels[0][0].get_legend_handles_labels()
    per = "tensor" if tensors[0][0].axis is None else "channel"
    title = f"{settings.bits} bits per {per}, range {settings.rule}"
    figure.legend(
        handles, labels, loc="outside upper right", ncols=3, frameon=False, fontsize=9, title=None
    )
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=_INK)
    FigureCanvasAgg(figure)
    made = BytesIO()
    figure.savefig(made, format="png")
    return made.getvalue()


def _panel(axes: Axes, tensor: Tensor, scheme: str, values: Any) -> None:
    import numpy as np

    from ptools_plugins.quantize.work import back

    half = tensor.halves[scheme]
    before, after = values.reshape(-1), back(values, half, tensor.axis).reshape(-1)
    low = min(float(before.min()), float(after.min()), float(half.low.min()))
    high = max(float(before.max()), float(after.max()), float(half.high.max()))
    room = 0.02 * (high - low) or 1.0
    edges = np.linspace(low - room, high + room, _BINS + 1)
    if before.size <= _FEW:
        _each(axes, before, after)
    else:
        counts = np.histogram(before, edges)[0]
        axes.stairs(counts, edges, fill=True, color=_BEFORE, label="before")
        _codes(axes, half, after, edges, counts.max())
    for place, end in enumerate((half.low.min(), half.high.max())):
        label = "range" if place == 0 else None
        axes.axvline(float(end), color=_INK, lw=0.9, ls=":", label=label)
    axes.set_xlim(edges[0], edges[-1])
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    name = f"{_short(tensor.name)}  " if tensor.name else ""
    sqnr = half.whole.sqnr
    told = "exact" if sqnr == float("inf") else f"{sqnr:.1f} dB"
    axes.set_title(f"{name}{scheme}, {told}".replace("$", r"\$"), fontsize=9, loc="left")


def _codes(axes: Axes, half: Half, after: Any, edges: Any, top: int) -> None:
    """Draw the values after: a line at each where they are few, else a histogram's outline."""
    import numpy as np

    found, counts = np.unique(after, return_counts=True)
    if len(found) <= _BINS // 3:
        axes.vlines(found, 0, counts * (top / counts.max()), color=_AFTER, lw=1.6,
                    label="after (own scale)")  # fmt: skip
        return
    axes.stairs(np.histogram(after, edges)[0], edges, color=_AFTER, lw=1.1, label="after")


def _each(axes: Axes, before: Any, after: Any) -> None:
    """Draw every number as a line, before above and after below, with what moved between them."""
    axes.vlines(before, 0.5, 1, color=_BEFORE, lw=2, label="before")
    axes.vlines(after, 0, 0.5, color=_AFTER, lw=2, label="after")
    axes.set_yticks([])


def _short(name: str) -> str:
    return name if len(name) <= 36 else f"…{name[-35:]}"
