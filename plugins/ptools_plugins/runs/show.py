"""What a person sees of runs: a table, or two runs side by side."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from ptools import output
from ptools.errors import one_line
from ptools_plugins.runs.comparing import Comparison
from ptools_plugins.runs.reading import UNFINISHED, Found, Listing

_NONE = "-"
_LONG = 32  # a name for which no column is given up
_MOST = 10  # classes that are shown
_NAME = 22  # two such columns, and the others of a comparison, are 80 characters
_RIGHT = ("epochs", "best", "val", "test", "loss", "seconds", "age")
_DROPPED = ("loss", "best", "seconds", "age", "data", "model")  # in this order, where it is narrow


def listing(found: Listing, folders: Sequence[Path]) -> None:
    """Print a row per run; say how to make one, or how to go on with the newest that is unfinished."""
    program = output.program("ptools")
    if not found.runs:
        where = ", ".join(map(str, folders))
        output.note(f"No runs in {where}; this makes one: {program} train")
        return
    columns = _columns(found.runs)
    output.table(list(columns), list(zip(*columns.values(), strict=True)), right=_RIGHT)
    left = [run for run in found.runs if run.state == UNFINISHED and run.last]
    if left:
        newest = max(left, key=lambda run: run.written)
        output.note(f"To go on with one: {program} train --resume {quote(newest.run)}")


def _columns(runs: list[Found]) -> dict[str, list[str]]:
    """Return the columns that a terminal has room for; a pipe has room for all."""
    columns = {head: [cell(run) for run in runs] for head, cell in _CELLS.items()}
    same = [head for head in ("data", "model") if len({*columns[head]}) == 1 < len(runs)]
    for head in dict.fromkeys([*same, *_DROPPED]):
        names = [name[:_LONG] for name in columns["run"]]  # a longer one is folded
        shown = {**columns, "run": names}
        if output.fits(list(shown), zip(*shown.values(), strict=True)):
            break
        del columns[head]
    return columns


def _data(run: Found) -> str:
    """Return a name; of the folder or file of images, which is kept with its whole path, the last."""
    return _text(run.data.replace("\\", "/").rstrip("/").rpartition("/")[2] or run.data)


def _model(run: Found) -> str:
    name = _text(run.model)
    return f"{name[:19]}…" if len(name) > 20 and sys.stdout.isatty() else name


def _epochs(run: Found) -> str:
    return str(run.epochs) if run.wanted is None else f"{run.epochs}/{run.wanted}"


def _loss(run: Found) -> str:
    return _fixed(run.val_loss if run.test_loss is None else run.test_loss)


def _age(run: Found) -> str:
    """Return how long ago it wrote last: `5 s`, `3 min`, `2 h`, `4 d`."""
    seconds = max(0.0, time.time() - run.written)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"


_CELLS: dict[str, Callable[[Found], str]] = {
    "run": lambda run: _text(run.run),
    "data": _data,
    "model": _model,
    "epochs": _epochs,
    "best": lambda run: _text(run.best_epoch),
    "val": lambda run: _percent(run.val_accuracy),
    "test": lambda run: _percent(run.test_accuracy),
    "loss": _loss,
    "seconds": lambda run: f"{run.seconds:.1f}",
    "age": _age,
    "state": lambda run: run.state,
}


def comparison(found: Comparison) -> None:
    """Print what was set differently, the results, and the classes that differ most."""
    heads = _heads(found.runs)
    if found.settings:
        rows = [(_text(name), *map(_text, pair)) for name, pair in found.settings.items()]
        output.table(("setting", *heads), rows)
    else:
        output.result("The settings are the same.")
    output.result()
    output.table(("result", *heads, "difference"), _results(found), right=(*heads, "difference"))
    if found.classes:
        output.result()
        rows = [
            (_text(name), _percent(a), _percent(b), _points(b - a))
            for name, (a, b) in list(found.classes.items())[:_MOST]
        ]
        on = f"class ({found.runs[0].measured_on})"
        output.table((on, *heads, "difference"), rows, right=(*heads, "difference"))
    if len(found.classes) > _MOST:
        output.note(f"{len(found.classes) - _MOST} more classes differ less; --json has them.")
    for doubt in found.doubts:
        output.note(doubt)


def _heads(runs: tuple[Found, Found]) -> list[str]:
    """Return what the columns are called: the folders, or A and B with a line on each."""
    names = [_text(run.run) for run in runs]
    if max(map(len, names)) <= _NAME and names[0] != names[1]:
        return names
    for letter, name in zip("AB", names, strict=True):
        output.result(f"{letter}  {name}")
    output.result()
    return ["A", "B"]


def _results(found: Comparison) -> list[tuple[str, ...]]:
    a, b = found.runs
    rows: list[tuple[str, ...]] = [
        ("state", a.state, b.state, ""),
        ("epochs", _epochs(a), _epochs(b), ""),
        ("best epoch", _text(a.best_epoch), _text(b.best_epoch), ""),
    ]
    for name, pair in found.measures.items():
        if pair == (None, None):
            continue
        cell, change = _FORMATS[name.rpartition("_")[2]]
        difference = found.difference(name)
        shown = "" if difference is None else change(difference)
        rows.append((name.replace("_", " "), cell(pair[0]), cell(pair[1]), shown))
    if found.reached and found.target is not None:
        first, second = (f"epoch {epoch}, {spent:.1f} s" for epoch, spent in found.reached)
        rows.append((f"to {_percent(found.target)} val", first, second, ""))
    return rows


def _text(value: Any) -> str:
    """Return a value as a setting is written, on one line; - for none."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value)) or _NONE
    return _NONE if value in (None, "") else one_line(value, 200)


def _percent(value: float | None) -> str:
    return _NONE if value is None else f"{value:.2%}"


def _points(value: float) -> str:
    return f"{100 * value:+.2f} points"


def _fixed(value: float | None) -> str:
    return _NONE if value is None else f"{value:.4f}"


def _seconds(value: float | None) -> str:
    return _NONE if value is None else f"{value:.1f}"


_FORMATS: dict[str, tuple[Callable[[float | None], str], Callable[[float], str]]] = {
    "accuracy": (_percent, _points),
    "loss": (_fixed, "{:+.4f}".format),
    "seconds": (_seconds, "{:+.1f}".format),
}
