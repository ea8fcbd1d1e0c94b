"""What a person sees of a training: the conversation while it runs, two lines of result.

conversation(ctx) a block for the work of a command: prints aside, errors told once, SIGTERM heard
Screen            on stderr: what is trained, a line per epoch, and a bar where there is a terminal
result(run)       on stdout: accuracy and loss on images that were not trained on, best epoch, run folder
interrupted(run)  on stderr: what an interrupted run has left, and how to go on
logdir(run)       the folder to show in TensorBoard
"""

from __future__ import annotations

import random
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from ptools import output
from ptools.training import Epoch

if TYPE_CHECKING:
    import click
    from rich.progress import Progress

    from ptools.training import Running
    from ptools.training.run import Run
    from ptools.training.session import Session

__all__ = ["Screen", "conversation", "interrupted", "logdir", "result"]

_FEW = 20  # classes that are shown one by one
_NONE = "-"  # where there are no validation images


@contextmanager
def conversation(ctx: click.Context) -> Iterator[None]:
    """Do the work of a training command: the model and the data may be anybody's code.

    What is printed goes to stderr, SIGTERM ends it as Ctrl-C does, and of several processes that fail
    alike one says so.
    """
    from ptools.training import distributed, signals

    with signals.interruptible(), output.aside():
        try:
            yield
        except Exception as error:
            if not distributed.is_told(error):
                raise
            ctx.exit(getattr(error, "exit_code", 1))


class Screen:
    """The conversation; `start` and `watch` are what Session.run calls."""

    def __init__(self) -> None:
        self.bar: Progress | None = None
        self.due = 0.0  # when the bar is drawn again
        self.silent = False

    def start(self, session: Session, folder: Path) -> None:
        """Say what is trained on what, and where it is written."""
        self.silent = not session.team.main
        if self.silent:
            return
        images = session.images
        shape = "x".join(map(str, images.shape))
        named = (("train", images.train), ("validation", images.val), ("test", images.test))
        counts = ", ".join(f"{len(part)} {name}" for name, part in named if part is not None)
        output.note(f"{images.name}: {counts} images of {shape}, {len(images.classes)} classes")
        for text in (*images.notes, *_notes(session)):
            output.note(text)
        parameters = sum(p.numel() for p in session.net.parameters())
        output.note(f"{parameters:,} parameters; writing to {folder}\n")
        output.note("epoch   loss  accuracy  val loss  val accuracy  seconds")
        if not sys.stderr.isatty():
            return  # rich costs a tenth of a second
        self.bar = output.progress(*_columns())
        self.task = self.bar.add_task("", total=None, loss=0.0, accuracy=0.0)
        self.bar.start()

    def watch(self, now: Running | Epoch) -> None:
        """Print a line per epoch; draw the bar, for a 100th of the time: 10 times a second to once."""
        if self.silent:
            return
        if isinstance(now, Epoch):
            if self.bar is None:
                output.note(_line(now))
            else:  # the loop keeps its random numbers from what an epoch's end draws
                self.bar.console.print(_line(now), highlight=False, markup=False, soft_wrap=True)
        elif self.bar is not None and (monotonic() > self.due or now.done == now.total):
            begun = monotonic()
            measured: dict[str, Any] = {"loss": now.loss, "accuracy": now.accuracy}
            numbers = random.getstate()  # rich draws some, and the model may as well
            self.bar.update(
                self.task, completed=now.done, total=now.total, refresh=True, **measured
            )
            random.setstate(numbers)
            ended = monotonic()
            self.due = ended + min(max(0.1, 100 * (ended - begun)), 1.0)

    def stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()


def _notes(session: Session) -> list[str]:
    """Return what is worth knowing of the settings, a line each."""
    from ptools.training.settings import warnings

    settings, team, found = session.settings, session.team, []
    if session.resumed:
        epoch, batch = session.resumed["epoch"], session.resumed["batch"]
        found.append(f"going on with {session.folder}: epoch {epoch}, after {batch} batches of it")
    if session.images.val is None:
        found.append("no validation images: the weights of the last epoch are kept")
    if team.ranks > 1:
        each = -(-settings.batch_size // team.ranks)
        found.append(
            f"{team.ranks} processes; each step takes {settings.batch_size} images, {each} in each"
        )
    return found + [f"Warning: {text}" for text in warnings(settings)]


def _columns() -> tuple[Any, ...]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    text = TextColumn("loss {task.fields[loss]:.4f}  accuracy {task.fields[accuracy]:.2%}")
    return BarColumn(), MofNCompleteColumn(), text, TimeRemainingColumn()


def _line(epoch: Epoch) -> str:
    if epoch.val_loss is None or epoch.val_accuracy is None:
        val = f"{_NONE:>9} {_NONE:>13}"
    else:
        val = f"{epoch.val_loss:9.4f} {epoch.val_accuracy:13.2%}"
    return f"{epoch.epoch:5d} {epoch.loss:6.4f} {epoch.accuracy:9.2%} {val} {epoch.seconds:8.1f}"


def result(run: Run) -> None:
    """Print what the run measured and where it is."""
    if run.accuracy is not None:
        right = round(run.accuracy * run.images)
        about = "that training never saw" if run.measured_on == "test" else "that chose the weights"
        name = f"{run.measured_on} accuracy"
        output.result(f"{name:13}  {run.accuracy:.2%}  ({right} of {run.images} images {about})")
        output.result(f"{f'{run.measured_on} loss':13}  {run.loss:.4f}")
    if run.best_epoch is not None and not run.interrupted:
        output.result(f"best epoch     {run.best_epoch} of {len(run.epochs)}")
        output.result(f"seconds        {run.seconds:.1f}")
    output.result(f"run folder     {run.folder}")
    if run.per_class and len(run.per_class) <= _FEW and run.accuracy != 1:
        worst = sorted(run.per_class, key=lambda row: (row["accuracy"] is None, row["accuracy"]))
        rows = [
            f"{r['class']} {r['right']}/{r['images']}" for r in worst if r["right"] < r["images"]
        ]
        output.note(f"by class, the worst first: {', '.join(rows)}")


def interrupted(run: Run) -> None:
    """Say what an interrupted run has left, and how to go on with it."""
    program = output.program("ptools")
    output.note(
        f"Interrupted after {len(run.epochs)} epochs; go on with: {program} train --resume "
        f"{shlex.quote(run.folder)}"
    )


def logdir(run: Run) -> Path:
    """Return what to show in TensorBoard: all runs beside each other, or the one of --out."""
    folder = Path(run.folder)
    return folder.parent if folder.parent.name == "runs" else folder
