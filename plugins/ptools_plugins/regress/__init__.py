"""Fit a line by gradient descent, and see every step.

Without arguments: y = 2x from three points, epoch by epoch. What a quadratic loss tells beforehand is
said beforehand: the critical and the best learning rate, the condition number, and, where the loss will
be inf, at which step. --how takes the steps by hand (manual, NumPy only), with autograd, or as an
nn.Module with an optimizer; --compare shows that they are the same steps. Several losses, optimizers or
learning rates, joined by commas, are compared on one picture.
\f
    asked        the options
    data         the points; csv_files: from a file
    models       the prediction and its gradient; formulas: losses and optimizers
    descent      the loop; torch_ways: its steps with PyTorch
    quadratic    Hessian, critical and best learning rate, closed form; predicting: the step of inf
    learning     the learning rate of --lr auto, why a descent diverged, the one to use
    work         prepare, run, compare; scan: brute force over w and b
    show         the tables; document: --json
    canvas       characters for pixels; terminal: --plot; pictures: --png; film: --gif; events: --logdir
"""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from ptools import files, output
from ptools.errors import PtoolsError
from ptools.options import examples, force_option, json_option
from ptools.sections import Sections
from ptools_plugins.regress import asked

if TYPE_CHECKING:
    from pathlib import Path

    from ptools_plugins.regress.data import Points
    from ptools_plugins.regress.scan import Scan
    from ptools_plugins.regress.work import Compared, Prepared, Study

__all__ = ["command", "regress"]

_EPILOG = examples(
    "ptools regress",
    "ptools regress --x 1,2,3 --y 2,4,6 --lr 0.01,0.1,best --plot",
    "ptools regress --line 2,0.5 --noise 1 --optimizer sgd,adam --plot",
)


@click.command(cls=Sections, epilog=_EPILOG)
@asked.options
@force_option
@json_option
@click.pass_context
def command(ctx: click.Context, /, as_json: bool, force: bool, **given: Any) -> None:
    from ptools_plugins.regress import show, work
    from ptools_plugins.regress.document import document
    from ptools_plugins.regress.scan import check, scan

    asked.refuse(ctx, given)
    spans = asked.spans(given)
    _ready(given, force=force)
    prepared = work.prepare(asked.points(given), asked.settings(given))
    if given["scan"]:
        check(prepared, spans[1])
    if not as_json:
        show.before(prepared)
    study = work.run(prepared)
    searched = scan(study, *spans) if given["scan"] else None
    compared = work.compare(prepared) if given["compare"] else []
    if as_json:
        output.document(document(study, searched, compared))
    else:
        _show(given, study, searched, compared)
    _save(given, study, searched, force)
    if study.failure:
        raise PtoolsError(study.failure)
    _agree(compared, prepared)


def regress(points: Points, **settings: Any) -> Study:
    """Fit points (`data.given`, `data.line`, `csv_files.read`) by gradient descent.

    The settings are those of `work.Settings`. A descent that diverged says why in its `failure`.
    Raises UsageError where the points are too few or the settings contradict each other.
    """
    from ptools_plugins.regress import work

    return work.run(work.prepare(points, work.Settings(**settings)))


def _show(given: dict[str, Any], study: Study, scan: Scan | None, compared: list[Compared]) -> None:
    from ptools_plugins.regress import show

    if compared:
        show.compared(compared, study, every=given["every"])
    else:
        show.epochs(study, every=given["every"])
    show.results(study)
    if scan:
        show.scanned(scan, study)
    if given["plot"]:
        from ptools_plugins.regress.terminal import plot

        for line in plot(study):
            output.result(line)


def _ready(given: dict[str, Any], *, force: bool) -> None:
    """Refuse a picture that cannot be written before anything runs."""
    for name in ("png", "gif"):
        path = given[name]
        if path is not None:
            files.place(path, force=force, end=f".{name}")


def _save(given: dict[str, Any], study: Study, scan: Scan | None, force: bool) -> None:
    """Write the pictures and the event files that are asked for."""
    saved: list[Path] = []
    if given["png"]:
        from ptools_plugins.regress.pictures import png

        files.write(given["png"], png(study, scan), force=force)
        saved.append(given["png"])
    if given["gif"]:
        from ptools_plugins.regress.film import gif

        files.write(given["gif"], gif(study, scan), force=force)
        saved.append(given["gif"])
    for path in saved:
        output.note(f"saved {path}")
    if given["logdir"]:
        from ptools_plugins.regress.events import write

        folder = write(study, given["logdir"])
        output.note(f"To see it: {output.program('tensorboard')} --logdir {quote(str(folder))}")


def _agree(compared: list[Compared], prepared: Prepared) -> None:
    """Raise PtoolsError where the three ways are further apart than rounding explains."""
    from ptools_plugins.regress.work import TOLERANCE

    allowed = TOLERANCE[prepared.settings.dtype]
    for one in compared:
        if one.worst > allowed:
            raise PtoolsError(
                f"{one.plan.label}: the three ways differ by {one.worst:.2g}, more than {allowed:g}:"
                " the descent multiplies rounding errors; use a smaller --lr."
            )
