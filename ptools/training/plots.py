"""Pictures of a run, as PNG bytes: its curves, what it takes for what, its worst mistakes.

curves(history)               loss, accuracy and learning rate, epoch by epoch
confusion(classes, counts)    true against predicted, with the counts in the cells
mistakes(found, images, ...)  the surest wrong answers, as a contact sheet

matplotlib's Figure alone is used, never pyplot: no window, no global state, and half the import.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

from ptools.training.history import Epoch, best
from ptools.training.scoring import Mistake

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

__all__ = ["DRAWN", "confusion", "curves", "mistakes"]

DRAWN = 200  # classes: of more, a confusion cannot be looked at
_COUNTED = 25  # classes up to which the counts are written into the cells
_NAMED = 60  # classes up to which the axes bear names
_LONG = 18  # letters of a class name
_TRAIN, _VAL = "#4c78a8", "#e4572e"


def curves(history: Sequence[Epoch]) -> bytes:
    """Draw loss, accuracy and learning rate of every epoch; a ring marks the weights that are kept."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure = _figure(10, 3.4)
    at = [epoch.epoch for epoch in history]
    kept = best(history)
    panels: tuple[tuple[str, list[float], list[float]], ...] = (
        ("loss", [e.loss for e in history], _there(e.val_loss for e in history)),
        ("accuracy", [e.accuracy for e in history], _there(e.val_accuracy for e in history)),
    )
    mark = "o" if len(history) == 1 else ""
    for place, (name, train, val) in enumerate(panels, 1):
        axes = figure.add_subplot(1, 3, place)
        axes.plot(at, train, color=_TRAIN, marker=mark, label="train")
        shown = train
        if val:
            axes.plot(at, val, color=_VAL, marker=mark, label="validation")
            shown = val
        ring = shown[at.index(kept.epoch)]
        axes.plot(
            [kept.epoch], [ring], "o", color=_VAL, fillstyle="none", markersize=9, label="kept"
        )
        axes.set_title(name)
        axes.legend(frameon=False, fontsize=8)
        if name == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes = figure.add_subplot(1, 3, 3)
    axes.plot(at, [e.lr for e in history], color="0.35", marker=mark)
    axes.set_title("learning rate at the epoch's beginning", fontsize=10)
    for axes in figure.axes:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def confusion(classes: Sequence[str], counts: Sequence[Sequence[int]]) -> bytes:
    """Draw counts (true, predicted); the colour is the share of the row, so that rare classes show."""
    import numpy as np

    table = np.asarray(counts)
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    count = len(classes)
    side = min(3 + 0.42 * count, 16)
    figure = _figure(side + 0.6, side, layout="compressed")
    axes = figure.add_subplot()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(picture, ax=axes, fraction=0.046, label="share of the class")
    if count <= _NAMED:
        names = [_short(name) for name in classes]
        size = 9 if count <= _COUNTED else 6
        axes.set_xticks(range(count), names, rotation=90 if max(map(len, names)) > 3 else 0)
        axes.set_yticks(range(count), names)
        axes.tick_params(length=0, labelsize=size)
    if count <= _COUNTED:
        for row, column in zip(*table.nonzero(), strict=True):
            colour = "white" if shares[row, column] > 0.6 else "black"
            text = f"{table[row, column]}"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    right = int(table.trace())
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"{right:,} of {int(table.sum()):,} right")
    return _png(figure)


def mistakes(
    found: Sequence[Mistake], images: Tensor, classes: Sequence[str], *, sure: bool = True
) -> bytes:
    """Draw the images, uint8 (N, C, H, W), of `found`: label -> answer, and its probability.

    `sure`: the scores are probabilities.
    """
    columns = min(6, len(found))
    tall, wide = (1.45 * side / max(images.shape[2:]) for side in images.shape[2:])
    each, row = 1.75, tall + 0.7  # inches, as all here
    width, height = max(each * columns, 3.2), 0.45 - row * (-len(found) // columns)
    figure = _figure(width, height, layout=None)
    figure.suptitle(
        "the surest mistakes: true \N{RIGHTWARDS ARROW} predicted", fontsize=11, y=1 - 0.12 / height
    )
    axes = figure.add_axes((0, 0, 1, 1))  # one for all: of 24 each would cost 15 ms
    axes.set_axis_off()
    for place, (mistake, image) in enumerate(zip(found, images, strict=True)):
        x = width / 2 + each * (place % columns - (columns - 1) / 2)  # the middle
        y = 0.95 + row * (place // columns)  # the top
        axes.text(x, y - 0.05, _verdict(mistake, classes, sure), ha="center", fontsize=8)
        pixels = image.permute(1, 2, 0).numpy()  # (H, W, C)
        axes.imshow(
            pixels if pixels.shape[2] == 3 else pixels[:, :, 0],
            extent=(x - wide / 2, x + wide / 2, y + tall, y),
            cmap="gray", vmin=0, vmax=255,
        )  # fmt: skip
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="auto")
    return _png(figure)


def _verdict(mistake: Mistake, classes: Sequence[str], sure: bool) -> str:
    label, answer = (_short(classes[i]) for i in (mistake.label, mistake.predicted))
    score = f"{mistake.score:.1%}" if sure else f"{mistake.score:.3g}"
    arrow = " \N{RIGHTWARDS ARROW} " if len(label + answer) < 15 else "\n\N{RIGHTWARDS ARROW} "
    return f"{label}{arrow}{answer}\n{score}"


def _there(values: Iterable[float | None]) -> list[float]:
    """Return the values, or none where there were no validation images."""
    return [value for value in values if value is not None]


def _figure(
    width: float,
    height: float,
    layout: Literal["constrained", "compressed"] | None = "constrained",
) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout)


def _png(figure: Figure) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    made = BytesIO()
    FigureCanvasAgg(figure).print_png(made)  # type: ignore[no-untyped-call]
    return made.getvalue()


def _short(name: Any) -> str:
    """Return a class name that fits; a $ would begin a formula."""
    text = str(name).replace("$", r"\$")
    return text if len(text) <= _LONG else text[: _LONG - 1] + "\N{HORIZONTAL ELLIPSIS}"
