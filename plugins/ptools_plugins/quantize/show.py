"""What a person sees: both schemes side by side, the values, the layers, sizes and accuracies.

tensor(study, ...)    one tensor: range, scale, zero point, codes, errors, then its values
model(found)          the layers, the most damaged first, and the sizes
applied(found, ...)   the file that was written, and the accuracies
Bar                   progress on a terminal
"""

from __future__ import annotations

import sys
from math import isinf
from time import monotonic
from typing import TYPE_CHECKING, Any

from ptools import output
from ptools.errors import one_line
from ptools_plugins.quantize.arithmetic import SCHEMES

if TYPE_CHECKING:
    from rich.progress import Progress

    from ptools_plugins.quantize.network import Model
    from ptools_plugins.quantize.work import Settings, Tensor

__all__ = ["Bar", "applied", "model", "tensor"]

_MOST = 32  # values, channels
_SOME = 8  # values of a layer
_LAYERS = 40
_WIDE = 34  # characters of a layer's name


class Bar:
    """A progress bar on a terminal, for what takes longer than a second; `watch` is called often."""

    def __init__(self) -> None:
        self.bar: Progress | None = None
        self.begun = self.drawn = monotonic()

    def watch(self, done: int, total: int) -> None:
        """Draw it at most 10 times a second; it is over when all is done: others may follow."""
        now = monotonic()
        if done >= total:
            self.stop()
        elif sys.stderr.isatty() and now - self.begun > 1 and now - self.drawn > 0.1:
            self.drawn = now
            self._draw(done, total)

    def _draw(self, done: int, total: int) -> None:
        if self.bar is None:
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn

            self.bar = output.progress(TextColumn("weights"), BarColumn(), TaskProgressColumn())
            self.task = self.bar.add_task("", total=total)
            self.bar.start()
        self.bar.update(self.task, completed=done, refresh=True)

    def stop(self) -> None:
        if self.bar is not None:
            self.bar.update(self.task, completed=self.bar.tasks[0].total, refresh=True)
            self.bar.stop()
            self.bar = None


# -- one tensor ------------------------------------------------------------------------------------


def tensor(found: Tensor, settings: Settings, values: Any, *, typed: bool) -> None:
    """Print one tensor; `values` are its numbers, all of them shown where they were typed."""
    shape = "x".join(map(str, found.shape))
    many = "number" if found.shape == (1,) else "numbers"
    name = f"{one_line(found.name, 60)}, " if found.name else ""
    how = "per tensor" if found.axis is None else f"per channel of dimension {found.axis}"
    output.paragraph(f"{name}{shape} {many}, {settings.bits} bits, {how}, range {settings.rule}")
    output.result()
    _sides(found)
    if found.axis is not None:
        output.result()
        _channels(found)
    output.result()
    _values(found, values, _MOST if typed else _SOME)
    output.result()
    _formula(found, values)


def _sides(found: Tensor) -> None:
    """Print a row for each quantity, a column for each scheme."""
    halves = [found.halves[scheme] for scheme in SCHEMES]
    rows: list[list[str]] = []
    if len(halves[0].low) == 1:
        rows += [
            ["range", *(_span(half.low[0], half.high[0]) for half in halves)],
            ["scale", *(f"{half.affine.scale[0]:.7g}" for half in halves)],
            ["zero_point", *(str(half.affine.zero_point[0]) for half in halves)],
        ]
    rows.append(["codes", *(_span(h.affine.grid.first, h.affine.grid.last) for h in halves)])
    if len(halves[0].low) == 1:
        reach = [_span(half.affine.low[0], half.affine.high[0]) for half in halves]
        rows.append(["reaches", *reach])
    rows += [
        ["clipped", *(str(half.whole.clipped) for half in halves)],
        ["max error", *(f"{half.whole.worst:.4g}" for half in halves)],
        ["mean squared", *(f"{half.whole.mse:.4g}" for half in halves)],
        ["SQNR", *(_db(half.whole.sqnr, " dB") for half in halves)],
    ]
    output.table(["", *SCHEMES], rows)


def _channels(found: Tensor) -> None:
    """Print a row for each channel."""
    a, b = (found.halves[scheme] for scheme in SCHEMES)
    heads = ["channel", "symmetric", "scale", "dB", "affine", "scale", "zero", "dB"]
    rows: list[list[object]] = [
        [
            place,
            f"±{a.high[place]:.4g}",
            f"{a.affine.scale[place]:.5g}",
            _db(a.row(place).sqnr),
            _span(b.low[place], b.high[place], "..", 4),
            f"{b.affine.scale[place]:.5g}",
            b.affine.zero_point[place],
            _db(b.row(place).sqnr),
        ]
        for place in range(min(len(a.low), _MOST))
    ]
    if not output.fits(heads, rows):  # what is left out is the larger end of the affine range
        heads = ["channel", "sym. scale", *heads[3:]]
        rows = [row[:1] + row[2:] for row in rows]
    output.table(heads, rows, right=heads)
    _more(len(a.low) - len(rows), "channels")


def _values(found: Tensor, values: Any, most: int) -> None:
    """Print a row for each number: its code, what comes back, and the error, of both."""
    from ptools_plugins.quantize.work import back, codes

    columns = []
    for scheme in SCHEMES:
        half = found.halves[scheme]
        coded = codes(values, half, found.axis).reshape(-1)[:most]
        columns.append((coded, back(values, half, found.axis).reshape(-1)[:most]))
    flat = values.reshape(-1)
    rows = []
    for place, x in enumerate(flat[:most].tolist()):
        cells = [f"{x:.6g}"]
        for coded, returned in columns:
            value = float(returned[place])
            cells += [str(coded[place]), f"{value:.6g}", f"{value - x:+.2g}" if value - x else "0"]
        rows.append(cells)
    heads = ["x", "code", "symmetric", "error", "code", "affine", "error"]
    output.table(heads, rows, right=heads)
    if most == _MOST:
        _more(flat.size - len(rows), "numbers")


def _formula(found: Tensor, values: Any) -> None:
    """Print the arithmetic, with the first number worked out."""
    from ptools_plugins.quantize.work import back, codes

    output.result("code  = clamp(round(x * (1 / scale)) + zero_point, first, last)")
    output.result("value = (code - zero_point) * scale")
    half = found.halves["affine"]
    x, scale, zero = values.reshape(-1)[0], half.affine.scale[0], half.affine.zero_point[0]
    code = codes(values, half, found.axis).reshape(-1)[0]
    value = back(values, half, found.axis).reshape(-1)[0]
    plus = f"+ {zero}" if zero >= 0 else f"- {-int(zero)}"
    minus = f"- {zero}" if zero >= 0 else f"+ {-int(zero)}"
    begin = f"affine, x = {x:.6g}:  "
    output.result(f"{begin}code  = clamp(round({x * (1 / scale):.6g}) {plus}) = {code}")
    output.result(f"{' ' * len(begin)}value = ({code} {minus}) * {scale:.6g} = {value:.6g}")


def _more(count: int, what: str) -> None:
    if count > 0:
        output.note(f"{count:,} more {what}; --json has all of them.")


# -- a network -------------------------------------------------------------------------------------


def model(found: Model) -> None:
    """Print a row for each layer, the most damaged first, and the sizes."""
    asked = found.settings
    per = "tensor" if asked.per == "tensor" else f"channel of dimension {asked.axis}"
    share = found.quantised / found.numbers if found.numbers else 0
    output.paragraph(
        f"{asked.bits} bits per {per}, range {asked.rule}: {len(found.layers)} weights, {share:.1%} of "
        "all numbers"
    )
    output.result()
    rows = _layers(found)
    _more(len(found.layers) - len(rows), "layers, less damaged")
    output.result()
    codes = "int8" if asked.bits == 8 else f"{asked.bits} bits in int8"
    output.result(
        f"tensors  {output.size(found.before)} -> {output.size(found.after)}, "
        f"{found.before / found.after:.2f} times smaller: {asked.scheme}, {codes}"
    )
    for name, why in list(found.left.items())[:5]:
        output.note(f"{one_line(name, 80)} stays as it is: it {why}.")


def _layers(found: Model) -> list[list[str]]:
    """Print the layers; a terminal that is too narrow has no largest errors."""
    alone = found.applied.get("alone")
    heads = ["layer", "shape", "sym. dB", "affine dB"]
    heads += ["alone", "changed", "shift"] if alone else ["sym. error", "affine error"]
    layers = found.layers
    if alone:
        layers = sorted(layers, key=lambda layer: -alone[layer.name]["shift"])
    rows = [[*_layer(one), *_effect(one, alone)] for one in layers[:_LAYERS]]
    if not alone and not output.fits(heads, rows):
        heads, rows = heads[:4], [row[:4] for row in rows]
    output.table(heads, rows, right=heads[2:])
    return rows


def _layer(layer: Tensor) -> list[str]:
    name = one_line(layer.name, 200)
    if sys.stdout.isatty() and len(name) > _WIDE:
        name = f"…{name[1 - _WIDE :]}"
    sqnr = (_db(layer.halves[scheme].whole.sqnr) for scheme in SCHEMES)
    return [name, "x".join(map(str, layer.shape)), *sqnr]


def _effect(layer: Tensor, alone: dict[str, Any] | None) -> list[str]:
    """Return its largest errors, or what it does to the answers when it alone is in codes."""
    if alone is None:
        return [f"{layer.halves[scheme].whole.worst:.3g}" for scheme in SCHEMES]
    one = alone[layer.name]
    return [f"{one['accuracy']:.2%}", f"{one['changed']:,}", f"{one['shift']:.2g}"]


def applied(found: Model) -> None:
    """Print the file that was written, and the accuracies."""
    done = found.applied
    if "accuracy" in done:
        before, after = done["accuracy"]["before"], done["accuracy"]["after"]
        output.result(
            f"accuracy {before:.2%} -> {after:.2%} of {done['accuracy']['images']:,} images, "
            f"{done['accuracy']['changed']:,} answers changed"
        )
    if "written" in done:
        one = done["written"]
        output.result(
            f"file     {output.size(one['before'])} -> {output.size(one['after'])}: {one['file']}"
        )
    if "torchao" in done:
        output.result()
        _kernels(done["torchao"])


def _kernels(timings: list[dict[str, Any]]) -> None:
    """Print what torchao's kernels cost and change."""
    first = timings[0]["milliseconds"]
    heads = ["torchao", "Linear layers", "ms, batch of 64", "faster", "output changed by"]
    rows = [
        [
            one["kernels"],
            one["layers"] or "-",
            f"{one['milliseconds']:.3g}",
            f"{first / one['milliseconds']:.2f}x",
            f"{one['difference']:.2%}",
        ]
        for one in timings
    ]
    output.table(heads, rows, right=heads[1:])


def _db(value: float, unit: str = "") -> str:
    return "exact" if isinf(value) and value > 0 else f"{value:.1f}{unit}"


def _span(low: Any, high: Any, word: str = " to ", digits: int = 6) -> str:
    return f"{low:.{digits}g}{word}{high:.{digits}g}"
