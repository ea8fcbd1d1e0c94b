"""What a person or a program sees of it: tables, CSV, what was skipped, a bar."""

from __future__ import annotations

import csv
import io
import sys
from time import monotonic
from typing import TYPE_CHECKING

from ptools import output

if TYPE_CHECKING:
    from rich.progress import Progress

    from ptools_plugins.predict.result import Confusion, Prediction

__all__ = ["Bar", "table", "text", "warnings"]

_WIDE = 12  # classes whose confusion matrix is still a table
_FEW = 10


class Bar:
    """A progress bar on a terminal; `watch` is what predict calls after every batch."""

    def __init__(self) -> None:
        self.bar: Progress | None = None
        self.drawn = 0.0

    def watch(self, done: int, total: int) -> None:
        """Draw it at most 10 times a second, and on a terminal only: rich costs 0.1 s to import."""
        if not sys.stderr.isatty():
            return
        if self.bar is None:
            self.bar = output.progress(*_columns())
            self.task = self.bar.add_task("pictures", total=total)
            self.bar.start()
        if monotonic() - self.drawn > 0.1 or done == total:
            self.drawn = monotonic()
            self.bar.update(self.task, completed=done, refresh=True)

    def stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()


def _columns() -> tuple[object, ...]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    return TextColumn("pictures"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()


def warnings(done: Prediction) -> None:
    """Name the files that could not be read, the first ones one by one, and what is no answer."""
    files = done.skipped
    for one in files[:_FEW]:
        output.note(f"Warning: skipped {one.image}: {one.reason}")
    if len(files) > _FEW:
        output.note(f"Warning: skipped {len(files) - _FEW} more; --json names them all")
    if bad := int((~done.values.isfinite()).any(1).sum()):
        output.note(f"Warning: the network returned nan or inf for {bad} pictures; was it trained?")


def table(done: Prediction) -> None:
    """Print a row per picture, and what the labels say of the answers."""
    labelled, several = bool(done.labelled), done.top.shape[1] > 1
    heads = ["image", *["label"] * labelled, "class", done.measure, *["then"] * several]
    rows = []
    for image, label, top in done.answers():
        (name, value), *others = top
        then = ", ".join(f"{other} {_number(done, v)}" for other, v in others)
        rows.append(
            [image, *[label or "?"] * labelled, name, _number(done, value), *[then] * several]
        )
    output.table(heads, rows, right=(done.measure,))
    if done.confusion:
        output.result()
        _accuracy(done)
        _confusion(done.confusion)


def _number(done: Prediction, value: float) -> str:
    return f"{value:.1%}" if done.measure == "probability" else f"{value:.4g}"


def _accuracy(done: Prediction) -> None:
    of = f"{done.right} of {done.labelled} images in folders called after their class"
    output.result(f"accuracy  {done.accuracy:.2%}  ({of})")


def _confusion(confusion: Confusion) -> None:
    """Print the matrix where it can be read, else what was confused most."""
    names = confusion.classes
    heads = ["label", *names, "right"]
    counts = confusion.counts.tolist()
    totals = [sum(row) for row in counts]
    rows = [
        [name, *row, f"{row[index] / total:.1%}" if total else "-"]
        for index, (name, row, total) in enumerate(zip(names, counts, totals, strict=True))
    ]
    if len(names) <= _WIDE and output.fits(heads, rows):
        output.result()
        output.table(heads, rows, right=heads[1:])
    elif worst := confusion.worst:
        output.result()
        heads = ["label", "taken for", "times", "of"]
        output.table(heads, worst[:_FEW], right=heads[2:])


def text(done: Prediction) -> str:
    """Return the answers as CSV, with `label` where a folder names one."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    ranks = range(1, done.top.shape[1] + 1)
    columns = [f"{what}_{rank}" for rank in ranks for what in ("class", done.measure)]
    writer.writerow(["image", "label", *columns])
    for image, label, top in done.answers():
        cells = [cell for name, value in top for cell in (name, f"{value:.6g}")]
        writer.writerow([image, label or "", *cells])
    return file.getvalue().rstrip("\n")
