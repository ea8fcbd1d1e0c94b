"""What a person sees of a training: the conversation while it runs, two lines of result.

Screen            on stderr: what is trained, a line per epoch, and a bar where there is a terminal
result(run)       on stdout: the accuracy on the test images, the run folder
interrupted(run)  on stderr: what an interrupted run has left
logdir(run)       the folder to show in TensorBoard
"""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from ptools import output
from ptools.training import Epoch

if TYPE_CHECKING:
    from rich.progress import Progress
    from torch import nn

    from ptools.data import ImageSet
    from ptools.training import Running
    from ptools.training.session import Run

__all__ = ["Screen", "interrupted", "logdir", "result"]


class Screen:
    """The conversation; `start` and `watch` are what Session.run calls."""

    def __init__(self) -> None:
        self.bar: Progress | None = None
        self.drawn = 0.0

    def start(self, images: ImageSet, net: nn.Module, folder: Path) -> None:
        shape = "x".join(map(str, images.shape))
        counts = f"{len(images.train)} train, {len(images.val)} validation, {len(images.test)} test"
        parameters = sum(p.numel() for p in net.parameters())
        output.note(f"{images.name}: {counts} images of {shape}, {len(images.classes)} classes")
        output.note(f"{parameters:,} parameters; writing to {folder}\n")
        output.note("epoch   loss  accuracy  val loss  val accuracy  seconds")
        self.bar = output.progress(*_columns())
        self.task = self.bar.add_task("", total=None, loss=0.0, accuracy=0.0)
        self.bar.start()

    def watch(self, now: Running | Epoch) -> None:
        """Print a line per epoch; draw the bar at most 10 times a second, as reading a loss costs."""
        assert self.bar is not None
        if isinstance(now, Epoch):
            self.bar.console.print(_line(now), highlight=False, markup=False, soft_wrap=True)
        elif not self.bar.disable and (monotonic() - self.drawn > 0.1 or now.done == now.total):
            self.drawn = monotonic()
            measured: dict[str, Any] = {"loss": now.loss, "accuracy": now.accuracy}
            self.bar.update(
                self.task, completed=now.done, total=now.total, refresh=True, **measured
            )

    def stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()


def _columns() -> tuple[Any, ...]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    text = TextColumn("loss {task.fields[loss]:.4f}  accuracy {task.fields[accuracy]:.2%}")
    return BarColumn(), MofNCompleteColumn(), text, TimeRemainingColumn()


def _line(epoch: Epoch) -> str:
    return (
        f"{epoch.epoch:5d} {epoch.loss:6.4f} {epoch.accuracy:9.2%} {epoch.val_loss:9.4f} "
        f"{epoch.val_accuracy:13.2%} {epoch.seconds:8.1f}"
    )


def result(run: Run) -> None:
    """Print what the run measured and where it is."""
    if run.test_accuracy is not None:
        right = round(run.test_accuracy * run.test_images)
        output.result(
            f"test accuracy  {run.test_accuracy:.2%}  ({right} of {run.test_images} images that training "
            f"never saw)"
        )
    output.result(f"run folder     {run.folder}")


def interrupted(run: Run) -> None:
    """Say what an interrupted run has left."""
    output.note(f"Interrupted after {len(run.epochs)} epochs; what was done is in {run.folder}.")


def logdir(run: Run) -> Path:
    """Return what to show in TensorBoard: all runs beside each other, or the one of --out."""
    folder = Path(run.folder)
    return folder.parent if folder.parent.name == "runs" else folder
