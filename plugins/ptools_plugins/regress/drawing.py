"""What all pictures share: the fitted curve, the height of a loss on a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ptools_plugins.regress.work import Study

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["FLOOR", "curve_of", "level", "line_xs", "palette_of"]

FLOOR = 1e-16  # a loss below it is drawn there: it is rounding


def level(loss: float) -> float:
    """Return log10 of a loss, nan where it has none."""
    return math.log10(max(loss, FLOOR)) if math.isfinite(loss) else math.nan


def line_xs(study: Study, count: int) -> Any:
    """Return x over the points and a little more (count,); two for a straight line."""
    import numpy as np

    x = study.prepared.points.x[:, 0]
    low, high = float(x.min()), float(x.max())
    room = 0.04 * (high - low) or 0.5
    straight = study.prepared.problem.model.kind.startswith("linear")
    return np.linspace(low - room, high + room, 2 if straight else count)


def curve_of(study: Study, theta: Any, xs: Any) -> Any:
    """Return the predictions (k,) for x (k,): powers and --standardize as the model has them."""
    import numpy as np

    prepared = study.prepared
    phi = prepared.problem.model.features(xs[:, None])
    if prepared.scale is not None:
        phi = (phi - prepared.scale.mean) / prepared.scale.deviation
    with np.errstate(all="ignore"):
        return prepared.problem.model.predict(theta.astype("float64"), phi)


def palette_of(image: Image, kept: Sequence[str], count: int) -> Image:
    """Return a palette: the colours to keep, paler ones of them, and the commonest of an RGB image.

    Pillow's own averages neighbours: white is no longer white, and a thin red line turns purple. Only
    one colour of each box of 8 levels is taken, as Pillow looks a colour up by its box.
    """
    from PIL import Image as pillow
    from PIL import ImageColor

    counted = sorted(image.getcolors(image.width * image.height) or [], key=lambda pair: -pair[0])
    bright = [ImageColor.getrgb(colour)[:3] for colour in kept]
    pale = [tuple((level + 255) // 2 for level in colour) for colour in bright]
    boxes: dict[tuple[int, ...], tuple[int, ...]] = {}
    common: list[Any] = [colour for _, colour in counted]
    for colour in [(255, 255, 255), *bright, *pale, *common]:
        boxes.setdefault(tuple(level >> 3 for level in colour), colour)
    chosen = list(boxes.values())[:count]
    palette = pillow.new("P", (1, 1))
    palette.putpalette([level for colour in chosen for level in colour])
    return palette
