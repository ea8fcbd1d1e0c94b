"""The views of a demo: Scenes, one after the other.

windows        a scene per window: input, kernel, products, sum, output so far
gradients      a scene per window: what it sends back, the input's gradient so far
product        a scene per column: the convolution as one matrix product (im2col)
summary        what comes last: the outputs side by side, or the whole gradients
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ptools_plugins.convdemo import backward
from ptools_plugins.convdemo.arithmetic import Demo, Window
from ptools_plugins.convdemo.scenes import (
    BEST,
    BLANK,
    DONE,
    KERNEL,
    MARK,
    MARK_PAD,
    NOW,
    PAD,
    PLAIN,
    Cell,
    Grid,
    Scene,
    heading,
    number,
    plain,
    sized,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


# -- forward -----------------------------------------------------------------------------------------


def windows(demo: Demo, numbers: Iterable[int] | None = None) -> Iterator[Scene]:
    """Yield a scene per window, in the order of the output; or of those with these numbers."""
    inputs = [_input(demo, channel) for channel in range(len(demo.layer.input))]
    name, many = "output", demo.layer.channels
    outputs = [plain(_named(name, many, at), v, DONE) for at, v in enumerate(demo.output)]
    for index in range(demo.count) if numbers is None else numbers:
        yield _window(demo, index, inputs, outputs)


def _window(demo: Demo, index: int, inputs: list[Grid], outputs: list[Grid]) -> Scene:
    window = demo.window(index)
    out, y, x = window.at
    grids: list[list[Grid | str]] = []
    for position, channel in enumerate(window.channels):
        row: list[Grid | str] = [_marked(demo, window, inputs[channel])]
        if window.weight is None:
            row += ["->", _pool(demo, window)]
        else:
            row += ["*", _kernel(demo, window, position)]
            row += ["=", plain("products", window.products[position])]
        if position == 0:
            row += ["->", _so_far(outputs[out], y, x)]
        grids.append(row)
    where = f"[{out}, {y}, {x}]" if demo.layer.channels > 1 else f"[{y}, {x}]"
    head = f"window {index + 1} of {demo.count}: output{where}"
    return Scene(f"{heading(demo)}\n{head}", grids, _sum(demo, window))


def _kernel(demo: Demo, window: Window, position: int) -> Grid:
    """The weights between a channel of the group and this output channel."""
    assert window.weight is not None
    name = "kernel, turned" if demo.layer.op == "transpose" else "kernel"
    many = demo.layer.channels * len(window.channels)
    return plain(_named(name, many, window.at[0], position), window.weight[position], KERNEL)


def _named(name: str, count: int, *index: int) -> str:
    return name if count == 1 else f"{name}[{', '.join(map(str, index))}]"


def _input(demo: Demo, channel: int) -> Grid:
    """The input as the windows see it: padded or stretched."""
    rows, columns = demo.lines
    cells = []
    for real_row, line in zip(rows.real, demo.laid[channel].tolist(), strict=True):
        row = []
        for real, value in zip(columns.real, line, strict=True):
            inside = real and real_row
            hidden = demo.layer.op == "max" and not inside
            row.append(Cell("" if hidden else number(value), PLAIN if inside else PAD))
        cells.append(row)
    name = "input, stretched" if demo.layer.op == "transpose" else "input"
    return Grid(_named(name, len(demo.layer.input), channel), cells, _frame(demo))


def _marked(demo: Demo, window: Window, grid: Grid) -> Grid:
    """The input with the window on it."""
    cells, best = list(grid.cells), _best(demo, window)
    for y in window.rows:
        if y >= len(cells):
            continue
        cells[y] = list(cells[y])
        for x in window.columns:
            if x < len(cells[y]):
                cell = cells[y][x]
                look = MARK if cell.look == PLAIN else MARK_PAD
                cells[y][x] = Cell(cell.text, BEST if (y, x) == best else look)
    return grid._replace(cells=cells)


def _frame(demo: Demo) -> tuple[int, int, int, int] | None:
    """Where the input ends and its padding begins; None without any padding."""
    found: list[int] = []
    for line in demo.lines:
        places = [place for place, real in enumerate(line.real) if real]
        if not places:
            return None
        found += [places[0], places[-1]]
    sizes = [len(line.source) - 1 for line in demo.lines]
    return None if found == [0, sizes[0], 0, sizes[1]] else (found[0], found[1], found[2], found[3])


def _best(demo: Demo, window: Window) -> tuple[int, int] | None:
    """The place max takes: the first largest."""
    best = window.largest() if demo.layer.op == "max" else None
    return None if best is None else (window.rows[best[0]], window.columns[best[1]])


def _pool(demo: Demo, window: Window) -> Grid:
    best = _best(demo, window)
    rows = []
    for ky, line in enumerate(window.patch[0].tolist()):
        row = []
        for kx, value in enumerate(line):
            place = window.rows[ky], window.columns[kx]
            text = number(value) if window.counts[ky, kx] else ""
            row.append(Cell(text, BEST if place == best else PLAIN if text else PAD))
        rows.append(row)
    return Grid("window", rows)


def _so_far(whole: Grid, y: int, x: int) -> Grid:
    """The output up to the cell that is made now; blanks for what comes after."""
    blank, row = Cell("", BLANK), whole.cells[y]
    now = [*row[:x], Cell(row[x].text, NOW), *[blank] * (len(row) - x - 1)]
    rest = [[blank] * len(row) for _ in whole.cells[y + 1 :]]
    return whole._replace(cells=[*whole.cells[:y], now, *rest])


def added(values: list[int | float]) -> str:
    """Return 1 + 4 - 2 + 0."""
    text = number(values[0])
    for value in values[1:]:
        text += f" - {number(-value)}" if value < 0 else f" + {number(value)}"
    return text


def _sum(demo: Demo, window: Window) -> list[str]:
    layer = demo.layer
    if layer.op == "max":
        counted = window.patch[0][window.counts].tolist()
        notes = [f"max({', '.join(map(number, counted))}) = {number(window.before)}"]
    elif layer.op == "avg":
        counted = window.patch[0][window.counts].tolist() or [0]
        notes = [f"({added(counted)}) / {window.divisor} = {number(window.before)}"]
    else:
        planes = window.products.reshape(len(window.products), -1).tolist()
        many = len(planes) > 1
        notes = [
            f"{f'channel {channel}: ' if many else ''}{added(plane)} = {number(total)}"
            for channel, plane, total in zip(window.channels, planes, window.sums, strict=True)
        ]
        if many or window.bias is not None:
            bias = [] if window.bias is None else [window.bias]
            words = "sum with bias" if bias else "sum"
            notes.append(f"{words}: {added([*window.sums, *bias])} = {number(window.before)}")
    if layer.after:
        notes.append(f"{layer.after}({number(window.before)}) = {number(window.value)}")
    return notes


# -- backward ----------------------------------------------------------------------------------------


def gradients(demo: Demo) -> Iterator[Scene]:
    """Yield a scene per window: its gradient, the kernel, what goes back, the sum so far."""
    for index, step in enumerate(backward.flow(demo)):
        window = step.window
        out, y, x = window.at
        reached = {(row, column) for _, _, row, column in backward.sources(demo, window)}
        rows: list[list[Grid | str]] = []
        for position, channel in enumerate(window.channels):
            row: list[Grid | str] = [_arriving(demo, window, step.gradient)] if not position else []
            if window.weight is not None:
                row += ["*", _kernel(demo, window, position)]
            share = plain("goes back", step.shares[position])
            row += ["=" if window.weight is not None else "->", share, "->"]
            grid = plain(_named("input's gradient", len(step.input), channel), step.input[channel])
            for r, c in reached:
                taken = demo.layer.op != "max" or _taken(demo, window, r, c)
                grid.cells[r][c] = Cell(grid.cells[r][c].text, MARK if taken else PLAIN)
            rows.append([*row, grid])
        where = f"[{out}, {y}, {x}]" if demo.layer.channels > 1 else f"[{y}, {x}]"
        head = f"window {index + 1} of {demo.count}, backward: output{where}"
        yield Scene(f"{heading(demo)}\n{head}", rows, [_told(demo, step.gradient, step.lost)])


def _taken(demo: Demo, window: Window, row: int, column: int) -> bool:
    """Whether an input cell is the one that max took."""
    best = _best(demo, window)
    rows, columns = demo.lines
    return best is not None and (rows.source[best[0]], columns.source[best[1]]) == (row, column)


def _arriving(demo: Demo, window: Window, gradient: int | float) -> Grid:
    out, y, x = window.at
    cells = [[Cell("", BLANK)] * demo.shape[2] for _ in range(demo.shape[1])]
    cells[y][x] = Cell(number(gradient), NOW)
    return Grid(_named("gradient", demo.layer.channels, out), cells)


def _told(demo: Demo, gradient: int | float, lost: int) -> str:
    arrives = f"A gradient of {number(gradient)} arrives"
    if demo.layer.op == "max":
        return f"{arrives}; the largest cell gets it, the others get nothing."
    where = (
        "zeros between the cells or around them" if demo.layer.op == "transpose" else "the padding"
    )
    if not gradient:
        return f"{arrives}: {demo.layer.after} stops it here."
    return f"{arrives}" + (f"; what falls on {where} is lost ({lost})." if lost else ".")


# -- one matrix product --------------------------------------------------------------------------------


def product(demo: Demo, *, steps: bool) -> Iterator[Scene]:
    """Yield the matrix product of each group; with `steps` column by column."""
    height, width = demo.shape[1:]
    for group in range(demo.layer.groups):
        weight, columns, found = demo.unfolded(group)
        many = f" of group {group}" if demo.layer.groups > 1 else ""
        for at in range(height * width) if steps else [None]:
            row: list[Grid | str] = [
                plain(f"kernel, {sized(weight.shape)}", weight, KERNEL), "*",
                _columns(f"windows, {sized(columns.shape)}", columns, at), "=",
                _columns(f"output, {sized(found.shape)}", found, at, done=True),
            ]  # fmt: skip
            if at is None:
                head = f"im2col{many}: every column is a window, row by row"
            else:
                y, x = divmod(at, width)
                head = f"im2col{many}: column {at + 1} of {height * width} is the window of output[{y}, {x}]"
            notes = []
            if demo.layer.bias is not None or demo.layer.after:
                rest = [*(["the bias"] if demo.layer.bias is not None else []), demo.layer.after]
                notes.append(f"Without {' and '.join(part for part in rest if part)}.")
            yield Scene(f"{heading(demo)}\n{head}", [row], notes)


def _columns(title: str, values: Array, at: int | None, *, done: bool = False) -> Grid:
    """A matrix with one column marked; `done`: what is right of it is not there yet."""
    rows = []
    for line in values.tolist():
        row = [Cell(number(v), DONE if done else PLAIN) for v in line]
        if at is not None:
            row[at] = Cell(row[at].text, NOW if done else MARK)
            if done:
                row[at + 1 :] = [Cell("", BLANK)] * (len(row) - at - 1)
        rows.append(row)
    return Grid(title, rows)


# -- at the end --------------------------------------------------------------------------------------


def summary(demos: Sequence[Demo], *, backward: bool) -> Iterator[Scene]:
    """Yield the outputs of several demos side by side, or the whole gradients of each."""
    if backward:
        yield from (_all_gradients(demo) for demo in demos)
    elif len(demos) > 1:
        row: list[Grid | str] = []
        for demo in demos:
            name = heading(demo).partition("kernel ")[2].partition(", ")[2].partition(" ->")[0]
            row += [plain(name, demo.output[0], DONE)]
        yield Scene("The outputs", [row])


def _all_gradients(demo: Demo) -> Scene:
    """The gradients of the sum of the outputs, and how many windows reach each input cell."""
    found = backward.gradients(demo)
    rows: list[list[Grid | str]] = []
    for channel, values in enumerate(found.input):
        many = len(found.input)
        row: list[Grid | str] = [plain(_named("input's gradient", many, channel), values, DONE)]
        row.append(plain(_named("windows that reach it", many, channel), found.reached[channel]))
        if found.weight is not None:
            for index, planes in enumerate(found.weight):
                if channel < len(planes) and len(found.weight) * len(planes) == 1:
                    row.append(plain("kernel's gradient", planes[channel], KERNEL))
                elif channel == 0:
                    rows.append([
                        plain(f"kernel's gradient[{index}, {at}]", plane, KERNEL)
                        for at, plane in enumerate(planes)
                    ])  # fmt: skip
        rows.append(row)
    missed = int((found.reached == 0).sum())
    total = found.reached.size
    notes = [f"{total - missed} of {total} input cells get a gradient."]
    if missed:
        notes[0] += f" {missed} do not: they change no output here."
    return Scene(f"{heading(demo)}\nthe gradients of the sum of all outputs", rows, notes)
