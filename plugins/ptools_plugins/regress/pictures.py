"""The descent as a PNG: fit, loss by epoch, and, of a scan, the landscape with the path on it.

png(study, scan)        bytes of the whole sheet
fit, losses, landscape  its panels, which the film draws its frames on too: `paths=False` leaves out
                        what moves

matplotlib's Figure alone is used, never pyplot: no window, no global state, and half the import.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from ptools_plugins.regress.descent import full_losses
from ptools_plugins.regress.drawing import FLOOR, curve_of, line_xs, palette_of
from ptools_plugins.regress.scan import Scan, surface
from ptools_plugins.regress.work import Descent, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "against", "figure_of", "fit", "landscape", "losses", "png"]

COLOURS = (
    "#d1495b", "#2e6f95", "#3b8b5d", "#8d5a97", "#e08e2b", "#52616b", "#b5838d", "#1b998b",
)  # fmt: skip
_INK, STAR = "#22313f", "#ffd166"
_CEILING = 1e200  # of a loss that is drawn: the axis needs room above it
_DRAWN = 2000  # steps of a path, and points: more cannot be told apart
_DOTS = 60  # steps up to which each one has a dot
_LEVELS, _FINE = 16, 200  # of the contour map: its levels, and its cells along each axis


def png(study: Study, scan: Scan | None) -> bytes:
    """Return the sheet: two panels in a row, four in two rows where brute force has a map."""
    from PIL import Image

    flat = scan is None or scan.b is None
    rows, columns = (1, 2 + (scan is not None)) if flat else (2, 2)
    figure = figure_of(4.9 * columns, 3.9 * rows)
    panels = [figure.add_subplot(rows, columns, place) for place in range(1, rows * columns + 1)]
    fit(panels[0], study)
    losses(panels[1], study)
    if scan is not None:
        over_w(panels[2], scan, study)
        if scan.b is not None:
            landscape(panels[3], scan, study)
    canvas = _agg(figure)
    canvas.draw()
    image = Image.frombuffer("RGBA", canvas.get_width_height(), bytes(canvas.buffer_rgba()))
    image = image.convert("RGB")
    palette = palette_of(image, [*COLOURS[: len(study.descents)], STAR], 256)
    made = BytesIO()
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(made, "PNG", optimize=True)
    return made.getvalue()


def figure_of(width: float, height: float, dpi: int = 100) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=dpi, layout="constrained")


def _agg(figure: Figure) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    return FigureCanvasAgg(figure)


def fit(axes: Axes, study: Study, *, paths: bool = True) -> None:
    """Draw points and fitted curves; of several columns the prediction against the true value."""
    points = study.prepared.points
    if points.x.shape[1] > 1:
        _against(axes, study, paths)
    else:
        _curves(axes, study, paths)
    axes.legend(frameon=False, fontsize=8)
    _plain(axes)


def _curves(axes: Axes, study: Study, paths: bool) -> None:
    points = study.prepared.points
    x, y = points.x[:, 0], points.y
    some = slice(None, None, max(1, len(x) // _DRAWN))
    axes.plot(x[some], y[some], "o", color=_INK, markersize=_size(len(x)), alpha=0.85, zorder=3)
    xs = line_xs(study, 300)
    if study.closed is not None:
        axes.plot(xs, curve_of(study, study.closed, xs), "--", color=_INK, lw=1.1, zorder=5,
                  label="least squares, closed form")  # fmt: skip
    for place, descent in enumerate(study.descents):
        ys = curve_of(study, descent.theta, xs) if paths else xs * float("nan")
        axes.plot(
            xs,
            ys,
            color=COLOURS[place],
            lw=_width(place, study),
            label=_text(descent.plan.label),
            zorder=4,
        )
    low, high = float(y.min()), float(y.max())
    if not paths:  # the film begins with a line that may lie far off
        first = curve_of(study, study.prepared.problem.start, xs)
        low = max(min(low, float(first.min())), low - (high - low))
        high = min(max(high, float(first.max())), high + (high - low))
    room = 0.12 * (high - low) or 1.0
    axes.set_ylim(low - room, high + room)
    axes.set_xlim(float(xs[0]), float(xs[-1]))
    axes.set_xlabel(_text(points.columns[0]))
    axes.set_ylabel(_text(points.target))
    axes.set_title("points and fit")


def _against(axes: Axes, study: Study, paths: bool) -> None:
    y = study.prepared.points.y
    ends = [float(y.min()), float(y.max())]
    axes.plot(ends, ends, "--", color=_INK, lw=1.1, label="right")
    for place, descent in enumerate(study.descents):
        right, predicted = against(study, descent.theta)
        axes.plot(right if paths else [], predicted if paths else [], "o", color=COLOURS[place],
                  markersize=_size(len(y)), alpha=0.7, label=_text(descent.plan.label))  # fmt: skip
    room = 0.12 * (ends[1] - ends[0]) or 1.0
    axes.set_xlim(ends[0] - room, ends[1] + room)
    axes.set_ylim(ends[0] - 2 * room, ends[1] + 2 * room)
    axes.set_xlabel(_text(study.prepared.points.target))
    axes.set_ylabel("prediction")
    axes.set_title("prediction against value")


def against(study: Study, theta: Any) -> tuple[Any, Any]:
    """Return values and their predictions (k,), of at most 2000 points."""
    import numpy as np

    problem, y = study.prepared.problem, study.prepared.points.y
    some = slice(None, None, max(1, len(y) // _DRAWN))
    with np.errstate(all="ignore"):
        return y[some], problem.model.predict(theta, problem.phi[some])


def _width(place: int, study: Study) -> float:
    """Return the width of a line: the first ones are wider, so that they show under the others."""
    return 1.8 + 0.6 * min(3, len(study.descents) - 1 - place)


def _size(count: int) -> float:
    return 7.0 if count <= 20 else 4.5 if count <= 200 else 2.0


def losses(axes: Axes, study: Study, *, paths: bool = True) -> None:
    """Draw the loss of every epoch, on a logarithmic scale; inf and nan have no place on it."""
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    for place, descent in enumerate(study.descents):
        values = np.array(descent.losses)
        values = np.where(np.isfinite(values), np.clip(values, FLOOR, _CEILING), np.nan)
        some = slice(None, None, max(1, len(values) // _DRAWN))
        epochs = np.arange(len(values))
        style: dict[str, Any] = {"color": COLOURS[place], "lw": 1.8}
        axes.plot(epochs[some], values[some], alpha=1.0 if paths else 0.25,
                  label=_text(_ended(descent)), **style)  # fmt: skip
    floor = _floor(study)
    if floor is not None:
        axes.axhline(floor, ls="--", lw=1.1, color=_INK, label="least squares, closed form")
    axes.set_yscale("log")
    _readable(axes)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(
        MaxNLocator("auto", integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])
    )
    axes.set_title("loss")
    if len(study.descents) > 1 or study.failure or floor is not None:
        axes.legend(frameon=False, fontsize=8)
    _plain(axes)


def _readable(axes: Axes) -> None:
    """Write a range of few decades as plain numbers: 5, not 5 x 10^0."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    low, high = axes.get_ylim()
    if high / low < 100:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))


def _floor(study: Study) -> float | None:
    """Return the loss of the closed form, where it is the least there is, and not 0."""
    if study.closed is None or list(study.prepared.settings.losses) != ["mse"]:
        return None
    problem, recipe = study.prepared.problem, study.descents[0].plan.recipe
    loss = full_losses(problem, recipe, [study.closed])[0]
    return loss if loss > 1e-12 else None


def _ended(descent: Descent) -> str:
    if descent.path.ended is None:
        return descent.plan.label
    return f"{descent.plan.label}: {descent.path.became} at step {descent.path.ended:,}"


def over_w(axes: Axes, scan: Scan, study: Study, *, paths: bool = True) -> None:
    """Draw the loss over w; of a line without b with the steps of the descents on it."""
    axes.plot(scan.w, scan.curve, color=_INK, lw=2)
    axes.plot([scan.best_w], [scan.least], "*", color=STAR, markersize=14, zorder=5,
              markeredgecolor=_INK,
              label=f"brute force: w = {scan.best_w:.4g}")  # fmt: skip
    low, high = axes.get_ylim()
    if scan.b is None and paths:
        for place, descent in enumerate(study.descents):
            w = descent.path.thetas[:_DRAWN, 0]
            y = heights(study, descent)[:_DRAWN]
            axes.plot(w, y, "-", color=COLOURS[place], lw=1, marker="o", markersize=4, alpha=0.8,
                      label=_text(descent.plan.label))  # fmt: skip
    axes.set_ylim(low, high)
    axes.set_xlim(float(scan.w[0]), float(scan.w[-1]))
    axes.set_xlabel("w")
    axes.set_title(
        "loss over w" if scan.best_b is None else f"loss over w, at b = {scan.best_b:.4g}"
    )
    axes.legend(frameon=False, fontsize=8, loc="upper center")
    _plain(axes)


def heights(study: Study, descent: Descent) -> list[float]:
    """Return the loss after every step that is drawn."""
    return full_losses(study.prepared.problem, descent.plan.recipe, descent.path.thetas[:_DRAWN])


def landscape(axes: Axes, scan: Scan, study: Study, *, paths: bool = True) -> None:
    """Draw the loss over (w, b) as a contour map, and the paths of the descents on it."""
    import numpy as np

    assert scan.b is not None and scan.best_b is not None
    w, b = np.linspace(scan.w[0], scan.w[-1], _FINE), np.linspace(scan.b[0], scan.b[-1], _FINE)
    loss = surface(study.prepared.problem, study.descents[0].plan.recipe, w, b)
    least = float(loss.min())
    levels = least + (float(loss.max()) - least) * np.linspace(0, 1, _LEVELS) ** 3  # close below
    axes.contourf(w, b, loss, levels=levels, cmap="GnBu_r")
    axes.contour(w, b, loss, levels=levels, colors="white", linewidths=0.5)
    axes.plot([scan.best_w], [scan.best_b], "*", color=STAR, markeredgecolor=_INK,
              markersize=14, zorder=6)  # fmt: skip
    if paths:
        for place, descent in enumerate(study.descents):
            thetas = trail(descent, scan)
            axes.plot(thetas[:, 0], thetas[:, 1], "-", color=COLOURS[place], lw=0.9, zorder=4,
                      label=_text(descent.plan.label))  # fmt: skip
            dots = thetas[:_DOTS]
            axes.plot(dots[:, 0], dots[:, 1], "o", color=COLOURS[place], markersize=4, zorder=5,
                      markeredgecolor="white", markeredgewidth=0.4)  # fmt: skip
    axes.set_xlim(float(scan.w[0]), float(scan.w[-1]))
    axes.set_ylim(float(scan.b[0]), float(scan.b[-1]))
    axes.set_xlabel("w")
    axes.set_ylabel("b")
    axes.set_title("loss over (w, b)" + (", and the way down" if paths else ""))


def trail(descent: Descent, scan: Scan) -> Any:
    """Return the steps of a path (k, size) on the map; one that runs away ends outside of it."""
    import numpy as np

    thetas = descent.path.thetas[:_DRAWN]
    if descent.failure is None:
        return thetas
    outside = np.abs(thetas[:, 0] - scan.w.mean()) > np.ptp(scan.w) / 2
    if scan.b is not None:
        outside |= np.abs(thetas[:, 1] - scan.b.mean()) > np.ptp(scan.b) / 2
    return thetas[: int(outside.argmax()) + 1] if outside.any() else thetas


def _plain(axes: Axes) -> None:
    axes.grid(color="0.93")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _text(name: str) -> str:
    """Return a name in which a $ begins no formula."""
    return name.replace("$", r"\$")
