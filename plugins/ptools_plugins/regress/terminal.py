"""The fit and the loss, drawn in the terminal."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from ptools import output
from ptools_plugins.regress.canvas import COLOURS, Canvas
from ptools_plugins.regress.drawing import curve_of, level, line_xs
from ptools_plugins.regress.work import Study

__all__ = ["plot"]

_WIDEST, _HEIGHT, _LABEL = 80, 12, 9
_STROKES = "*+x#%@&~"


class Curve(NamedTuple):
    """One curve of a chart."""

    xs: Sequence[float]
    ys: Sequence[float]
    label: str


class Style(NamedTuple):
    """What can be shown here."""

    braille: bool
    colours: bool
    width: int


def style() -> Style:
    """Return what stdout can show: Braille in UTF-8, colours on a terminal without NO_COLOR."""
    braille = True
    try:
        "\u28ff".encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        braille = False
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDEST
    return Style(braille, output.coloured(), max(30, min(width, _WIDEST)))


def plot(study: Study) -> list[str]:
    """Return the lines of two charts: the points with the fitted line, and the loss by epoch."""
    chosen, lines = style(), list[str]()
    points = study.prepared.points
    several = len(study.descents) > 1
    if points.x.shape[1] == 1:
        x, y = points.x[:, 0], points.y
        xs = line_xs(study, 200)
        fits = [
            Curve(list(xs), list(curve_of(study, descent.theta, xs)), descent.plan.label)
            for descent in study.descents
        ]
        lines += ["", f"{points.target} over {points.columns[0]}"]
        lines += _chart(fits, chosen, points=(list(x), list(y)), letters=several)
    losses = [
        Curve(
            range(len(descent.losses)),
            [level(value) for value in descent.losses],
            descent.plan.label,
        )
        for descent in study.descents
    ]
    lines += ["", "loss by epoch, logarithmic"]
    lines += _chart(losses, chosen, logarithmic=True, letters=several)
    if several:
        lines += ["", _legend(losses, chosen)]
    return lines


def _legend(curves: Sequence[Curve], chosen: Style) -> str:
    """Return which letter, or stroke, is which curve."""
    words = []
    for place, curve in enumerate(curves):
        sign = _sign(place, chosen)
        if chosen.colours:
            sign = f"\x1b[{COLOURS[place % 8]}m{sign}\x1b[0m"
        words.append(f"{sign} {curve.label}")
    return " " * _LABEL + "   ".join(words)


def _sign(place: int, chosen: Style) -> str:
    return chr(ord("a") + place) if chosen.braille else _STROKES[place % len(_STROKES)]


def _chart(
    curves: Sequence[Curve],
    chosen: Style,
    *,
    points: tuple[Sequence[float], Sequence[float]] = ((), ()),
    logarithmic: bool = False,
    letters: bool,
) -> list[str]:
    """Return a chart with its axes: the least and the largest number at each."""
    every_x = [*points[0], *(x for curve in curves for x in curve.xs)]
    ys = list(points[1]) or [y for curve in curves for y in curve.ys if math.isfinite(y)]
    low_x, high_x = _span(every_x)
    low_y, high_y = _span(ys)
    if not logarithmic:  # a little air above and below the points
        low_y, high_y = low_y - 0.05 * (high_y - low_y), high_y + 0.05 * (high_y - low_y)
    canvas = Canvas(chosen.width - _LABEL - 2, _HEIGHT, braille=chosen.braille)

    def place(x: float, y: float) -> tuple[float, float]:
        return (x - low_x) / (high_x - low_x), (y - low_y) / (high_y - low_y)

    for number, curve in enumerate(curves):
        there = [place(x, y) for x, y in zip(curve.xs, curve.ys, strict=True) if math.isfinite(y)]
        there = _thinned(there, 4 * canvas.width)
        canvas.line(
            [x for x, _ in there], [y for _, y in there], number, _STROKES[number % len(_STROKES)]
        )
        if letters and chosen.braille and there:
            for share in (0.12, 0.45, 0.8):  # shifted, so that letters of close curves do not hide
                at = there[min(len(there) - 1, int(len(there) * (share + 0.03 * number)))]
                canvas.mark(*at, _sign(number, chosen), number)
    for x, y in zip(*points, strict=True):
        canvas.mark(*place(x, y), "\N{WHITE CIRCLE}" if chosen.braille else "o", None)
    return _framed(canvas, chosen, (low_x, high_x), (low_y, high_y), logarithmic)


def _thinned(points: list[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    step = max(1, len(points) // most)
    return [*points[::step], points[-1]] if points else points


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = float(min(values, default=0.0)), float(max(values, default=1.0))
    if low == high:
        room = abs(low) * 0.1 or 1.0
        return low - room, high + room
    return low, high


def _framed(
    canvas: Canvas,
    chosen: Style,
    x: tuple[float, float],
    y: tuple[float, float],
    logarithmic: bool,
) -> list[str]:
    """Return the canvas with its axes and the numbers at their ends."""
    side, corner, floor = ("\u2502", "\u2514", "\u2500") if chosen.braille else ("|", "+", "-")
    labels = {0: y[1], _HEIGHT // 2: (y[0] + y[1]) / 2, _HEIGHT - 1: y[0]}
    lines = []
    for number, row in enumerate(canvas.rows(colours=chosen.colours)):
        value: Any = labels.get(number)
        if value is not None:
            number = 10**value if logarithmic else value
            value = next(text for text in (f"{number:.3g}", f"{number:.2g}", f"{number:.0e}")
                         if len(text) < _LABEL)  # fmt: skip
        lines.append(f"{value or '':>{_LABEL - 1}} {side}{row}")
    lines.append(" " * _LABEL + corner + floor * canvas.width)
    left, right = f"{x[0]:.4g}", f"{x[1]:.4g}"
    gap = canvas.width + 1 - len(left) - len(right)
    lines.append(" " * _LABEL + left + " " * gap + right)
    return lines
