"""The descent as an animation: the line turns, and the loss goes down beside it.

matplotlib draws once what does not move. Pillow draws the rest on it, frame by frame, at twice the size
and scaled down, so that lines are smooth: a frame costs milliseconds where matplotlib needs tens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from ptools_plugins.regress import pictures
from ptools_plugins.regress.drawing import FLOOR, curve_of, line_xs, palette_of
from ptools_plugins.regress.scan import Scan
from ptools_plugins.regress.work import Study

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["frames", "gif"]

_FRAMES = 40
_PLAYED, _SHORT, _LONG, _LAST = 4000, 120, 500, 2500  # milliseconds: all, a frame, the last one
_TWICE = 2
_COLOURS = 96  # of the palette: few, for a small file
_STEPS = 2000  # of a path


class Panel(NamedTuple):
    """A panel of the sheet: where it lies in pixels, and where a point of it does."""

    box: tuple[int, int, int, int]
    at: Callable[[Any, Any], list[tuple[float, float]]]  # relative to the box


class Sheet(NamedTuple):
    """What does not move."""

    image: Image
    left: Panel
    right: Panel
    font: Any


def gif(study: Study, scan: Scan | None) -> bytes:
    """Return the animation as the bytes of a GIF that plays for ever."""
    from PIL import Image

    drawn = frames(study, scan)
    kept = [*pictures.COLOURS[: len(study.descents)], pictures.STAR]
    palette = palette_of(drawn[-1], kept, _COLOURS)
    flat = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in drawn]
    each = max(_SHORT, min(_LONG, _PLAYED // len(flat)))
    made = BytesIO()
    flat[0].save(
        made, "GIF", save_all=True, append_images=flat[1:], loop=0, optimize=True,
        duration=[each] * (len(flat) - 1) + [_LAST],
    )  # fmt: skip
    return made.getvalue()


def frames(study: Study, scan: Scan | None) -> list[Image]:
    """Return the frames, RGB: every epoch at first, then ever fewer."""
    sheet = _sheet(study, scan)
    return [_frame(sheet, study, scan, epoch) for epoch in _epochs(study, scan)]


def _epochs(study: Study, scan: Scan | None) -> list[int]:
    """Return the epochs that are shown; on a map none after all that run away have left it."""
    import numpy as np

    last = max(
        len(descent.losses)
        if scan is None or descent.failure is None
        else len(pictures.trail(descent, scan)) // descent.path.per_epoch + 1
        for descent in study.descents
    )
    last = min(last, max(len(descent.losses) for descent in study.descents)) - 1
    spread = np.geomspace(1, last + 1, _FRAMES) - 1
    early = range(min(last, 8) + 1)
    return sorted({*early, *(round(epoch) for epoch in spread)})


def _sheet(study: Study, scan: Scan | None) -> Sheet:
    from pathlib import Path

    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image, ImageFont

    figure = pictures.figure_of(8.0, 4.0, dpi=100 * _TWICE)
    figure.suptitle(" ", fontsize=12)  # room for the epoch
    left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    pictures.fit(left, study, paths=False)
    if scan is None:
        pictures.losses(right, study, paths=False)
    elif scan.b is None:
        pictures.over_w(right, scan, study, paths=False)
    else:
        pictures.landscape(right, scan, study, paths=False)
    _legend(figure, left, right)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    size = canvas.get_width_height()
    image = Image.frombuffer("RGBA", size, bytes(canvas.buffer_rgba())).convert("RGB")
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    font = ImageFont.truetype(fonts / "DejaVuSansMono.ttf", 12 * _TWICE)
    return Sheet(image, _panel(left, image), _panel(right, image), font)


def _legend(figure: Any, *panels: Any) -> None:
    """Put one legend below the panels: within them the lines would run over it."""
    handles: dict[str, Any] = {}
    for axes in panels:
        if axes.get_legend() is not None:
            axes.get_legend().remove()
        found = axes.get_legend_handles_labels()
        handles = {**dict(zip(found[1], found[0], strict=True)), **handles}
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=5, frameon=False,
        fontsize=8,
    )  # fmt: skip


def _panel(axes: Any, image: Image) -> Panel:
    """Return where the axes lie, and their own transform of data to pixels; y grows downwards."""
    import numpy as np

    box = axes.bbox
    corner = (round(box.x0), image.height - round(box.y1))
    end = (round(box.x1), image.height - round(box.y0))
    height = image.height

    def at(xs: Any, ys: Any) -> list[tuple[float, float]]:
        pixels = axes.transData.transform(np.column_stack([xs, ys]))
        pixels = pixels[np.isfinite(pixels).all(1)]
        far = np.clip(pixels, -1e5, 1e5)  # of a descent that runs away
        return [(float(x) - corner[0], height - float(y) - corner[1]) for x, y in far]

    return Panel((*corner, *end), at)


def _frame(sheet: Sheet, study: Study, scan: Scan | None, epoch: int) -> Image:
    from PIL import ImageDraw

    image = sheet.image.copy()
    _on(image, sheet.left, lambda draw: _lines(draw, sheet.left, study, epoch))
    _on(image, sheet.right, lambda draw: _way(draw, sheet.right, study, scan, epoch))
    ImageDraw.Draw(image).text(
        (image.width / 2, 16 * _TWICE), _caption(study, epoch), "#22313f", sheet.font, anchor="mm"
    )
    return image.reduce(_TWICE)


def _on(image: Image, panel: Panel, paint: Callable[[Any], None]) -> None:
    """Paint inside a panel only: what leaves it is cut off at its edge."""
    from PIL import ImageDraw

    part = image.crop(panel.box)
    paint(ImageDraw.Draw(part))
    image.paste(part, panel.box)


def _caption(study: Study, epoch: int) -> str:
    only = study.descents[0]
    if len(study.descents) > 1:
        return f"epoch {epoch}"
    theta, loss = only.path.epochs[epoch], only.losses[epoch]
    names = study.prepared.names
    pairs = zip(names, theta, strict=True) if 0 < len(names) <= 3 else ()
    values = "   ".join(f"{name} = {float(value):<8.4g}" for name, value in pairs)
    width = len(str(len(only.losses) - 1))  # of one length: a text that trembles cannot be read
    return f"epoch {epoch:>{width}}   {values}   loss {loss:<9.3g}"


def _lines(draw: Any, panel: Panel, study: Study, epoch: int) -> None:
    """Draw the fitted curves of one epoch."""
    several = study.prepared.points.x.shape[1] > 1
    xs = None if several else line_xs(study, 200)
    for place, descent in enumerate(study.descents):
        theta = descent.path.epochs[min(epoch, len(descent.losses) - 1)]
        if several:
            right, ys = pictures.against(study, theta)
            for point in panel.at(right, ys):
                _dot(draw, point, pictures.COLOURS[place], 4 if len(ys) <= 200 else 2)
            continue
        ys = curve_of(study, theta, xs)
        _stroke(draw, panel.at(xs, ys), pictures.COLOURS[place], 2)


def _way(draw: Any, panel: Panel, study: Study, scan: Scan | None, epoch: int) -> None:
    """Draw how far the descents have come: over the epochs, over w, or on the map."""
    for place, descent in enumerate(study.descents):
        colour = pictures.COLOURS[place]
        if scan is None:
            until = min(epoch, len(descent.losses) - 1) + 1
            points = panel.at(range(until), [_height(loss) for loss in descent.losses[:until]])
        else:
            until = min(epoch * descent.path.per_epoch + 1, _STEPS)
            thetas = pictures.trail(descent, scan)[:until]
            other = (
                [_height(loss) for loss in pictures.heights(study, descent)[: len(thetas)]]
                if scan.b is None
                else thetas[:, 1]
            )
            points = panel.at(thetas[:, 0], other)
        _stroke(draw, points, colour, 1)
        if scan is not None:
            for point in points[:60]:
                _dot(draw, point, colour, 2.2)
        if points:
            _dot(draw, points[-1], colour, 4.5)


def _height(loss: float) -> float:
    return max(loss, FLOOR) if math.isfinite(loss) else math.nan


def _stroke(draw: Any, points: Sequence[tuple[float, float]], colour: str, width: float) -> None:
    if len(points) > 1:
        draw.line(points, colour, round(width * _TWICE), "curve")


def _dot(draw: Any, point: tuple[float, float], colour: str, radius: float) -> None:
    x, y = point
    r = radius * _TWICE
    draw.ellipse((x - r, y - r, x + r, y + r), colour, "white", 1 + (radius > 3))
