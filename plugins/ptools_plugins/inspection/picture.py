"""--png: the histogram of every tensor of a file, on one sheet.

draw(seen)   PNG bytes

A panel is a line of the tree of keys: alike neighbours share one, and so do the tensors of a module
where there are more than fit. matplotlib's Figure alone is used, never pyplot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from io import BytesIO
from typing import Any

from ptools.errors import PtoolsError
from ptools.matching.apply import text as shape_text
from ptools_plugins.inspection.contents import Item
from ptools_plugins.inspection.figures import Stats, blocks
from ptools_plugins.inspection.opening import Seen
from ptools_plugins.inspection.outline import Line, outline

PANELS, COLUMNS = 24, 4
_BINS = 60  # at most
_LONG = 30  # letters of a title
_BAR, _MEAN = "#4c78a8", "#e4572e"


def draw(found: Seen) -> bytes:
    """Return the sheet as PNG. Raises PtoolsError where no tensor has real numbers to draw."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [panel for panel in _panels(found) if panel[2].min is not None]
    if not panels:
        raise PtoolsError(f"{found.contents.path} has no floating-point tensor to draw.")
    rows = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(10, 1.55 * rows + 0.4), layout="constrained", dpi=90)
    for place, (name, items, stats) in enumerate(panels, 1):
        _panel(figure.add_subplot(rows, COLUMNS, place), name, items, stats)
    content = BytesIO()
    FigureCanvasAgg(figure).print_png(content)  # type: ignore[no-untyped-call]
    return content.getvalue()


def _panels(found: Seen) -> Iterator[tuple[str, list[Item], Stats]]:
    """Yield name, tensors and figures of every panel: floating-point tensors of more than one number."""
    depth = len(found.contents.where)  # which all keys have in front
    real = [
        item
        for item in found.items
        if item.dtype.startswith(("float", "bfloat")) and item.numel > 1
        and item.parts[:depth] == found.contents.where
    ]  # fmt: skip
    assert found.figures is not None
    short = [replace(item, parts=item.parts[depth:]) for item in real]
    for name, line in _named(outline(short, PANELS)):
        stats = found.figures.of(item.key for item in line.items)
        if stats is not None:
            yield name, list(line.items), stats


def _named(lines: Iterable[Line]) -> Iterator[tuple[str, Line]]:
    """Yield the lines that are no headings, with all the names above them."""
    above: list[str] = []
    for line in list(lines):
        above = [*above[: line.depth], line.name]
        if not line.heading:
            yield ".".join(above), line


def _panel(axes: Any, name: str, items: list[Item], stats: Stats) -> None:
    """Draw one histogram, its mean as a line; the numbers beside it are mean and standard deviation."""
    counts, edges = histogram(items, stats)
    axes.stairs(counts, edges, fill=True, color=_BAR)
    axes.axvline(stats.mean, color=_MEAN, linewidth=0.9)
    shape = shape_text(items[0].shape) if len(items) == 1 else f"{len(items)} tensors"
    short = name if len(name) <= _LONG else "..." + name[3 - _LONG :]
    axes.set_title(short.replace("$", r"\$"), fontsize=7.5, loc="left", pad=3)
    spread = "" if stats.std is None else f" ± {stats.std:.2g}"
    bad = f", {stats.nan:,} nan" if stats.nan else ""
    axes.set_xlabel(f"{shape}: {stats.mean:.2g}{spread}{bad}", fontsize=6.5, labelpad=1)
    axes.tick_params(labelsize=6, length=2, pad=1)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=4)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def histogram(items: Iterable[Item], stats: Stats) -> tuple[Any, Any]:
    """Return counts and edges over the finite numbers of some tensors, read block by block."""
    import numpy as np

    low, high = stats.min or 0.0, stats.max or 0.0
    if low == high:  # a single value: bars need some room
        low, high = low - 0.5, high + 0.5
    bins = max(8, min(_BINS, int(2 * stats.count ** (1 / 3))))  # the Rice rule
    edges = np.linspace(low, high, bins + 1)
    counts = np.zeros(bins, dtype=np.int64)
    for item in items:
        for block in blocks(item.tensor):
            values = block.astype("f8")
            counts += np.histogram(values[np.isfinite(values)], edges)[0]
    return counts, edges
