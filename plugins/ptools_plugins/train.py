"""Train a network on images and keep the best weights.

Without arguments it trains a small CNN on 1,797 real digits that came with the installation:
no download, seconds on a laptop. It leaves a run folder:

\b
  config.json           everything that was set, to do it again
  metrics.json          loss and accuracy of every epoch and of the test
  best.pt               weights of the epoch that was best on other images
  events.out.tfevents*  the same curves for TensorBoard
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from ptools import output
from ptools.options import (
    FilePath,
    Positive,
    Whole,
    device_option,
    examples,
    force_option,
    json_option,
    seed_option,
)

if TYPE_CHECKING:
    from pathlib import Path

    from rich.progress import Progress
    from torch import nn

    from ptools.data import ImageSet
    from ptools.training import Epoch, Running
    from ptools.training.folder import RunFolder

_EPILOG = examples(
    "ptools train",
    "ptools train --model mlp --epochs 20 --lr 0.02",
    "ptools train --out runs/mine --seed 1 --json",
)


@click.command(epilog=_EPILOG)
@click.option("--data", default="digits", help="A data set by name: see 'ptools list datasets'.")
@click.option("--model", default="cnn-bn", help="A name of 'ptools list models', or net.py:Net.")
@click.option("--epochs", type=Whole(1, 100_000), default=8, help="Passes over the images.")
@click.option("--batch-size", type=Whole(1, 1_000_000), default=64, help="Images per step.")
@click.option("--lr", type=Positive(1e6), default=0.05, help="Peak learning rate.")
@seed_option
@device_option
@click.option("--out", type=FilePath(), show_default="runs/DATA-MODEL-N", help="Run folder.")
@force_option
@json_option
@click.pass_context
def command(ctx: click.Context, /, as_json: bool, **options: Any) -> None:
    screen = _Screen()
    with output.aside():  # the model and the data may be anybody's code
        try:
            run = train(**options, on_start=screen.start, watch=screen.watch)
        finally:
            screen.stop()  # in here: rich puts back the sys.stdout that it met
    if as_json:
        output.document(asdict(run))
    else:
        _print(run)
    if run.interrupted:
        output.note(
            f"Interrupted after {len(run.epochs)} epochs; what was done is in {run.folder}."
        )
        ctx.exit(130)


@dataclass(frozen=True)
class Run:
    """What a training run measured and where it left it."""

    folder: str
    data: str
    model: str
    parameters: int
    epochs: list[Epoch]
    best_epoch: int | None
    test_loss: float | None
    test_accuracy: float | None  # 0..1, of the best weights
    test_images: int
    interrupted: bool = False


def train(
    *,
    data: str = "digits",
    model: str = "cnn-bn",
    epochs: int = 8,
    batch_size: int = 64,
    lr: float = 0.05,
    seed: int = 0,
    device: str = "auto",
    out: Path | None = None,
    force: bool = False,
    watch: Callable[[Running | Epoch], None] = lambda _: None,
    on_start: Callable[[ImageSet, nn.Module, Path], None] = lambda *_: None,
) -> Run:
    """Train, keep the best weights, measure them once on the test images.

    `watch` is called after every batch and every epoch. Raises UsageError, FileError, PtoolsError.
    """
    from pathlib import Path

    from ptools import data as datasets
    from ptools import files, models, training
    from ptools.training.folder import RunFolder

    training.share_cores()
    import torch

    settings = training.Settings(
        epochs=epochs, batch_size=batch_size, lr=lr, seed=seed, device=training.pick_device(device)
    )
    images = datasets.load(data)
    torch.manual_seed(seed)
    net = models.build(model, classes=len(images.classes), shape=images.shape).to(settings.device)
    training.check(net, images, settings)
    folder = (
        files.claim(out, force=force) if out else files.claim_next(Path("runs"), _name(data, model))
    )
    run = RunFolder(folder, images, net, model, settings)
    loss = accuracy = None
    interrupted = False
    try:
        on_start(images, net, folder)
        training.fit(net, images, settings, on_batch=watch, on_epoch=lambda e: watch(run.keep(e)))
        loss, accuracy = run.test()
    except KeyboardInterrupt:
        interrupted = True
    finally:
        run.close()
    return _outcome(run, loss, accuracy, interrupted)


def _outcome(run: RunFolder, loss: float | None, accuracy: float | None, interrupted: bool) -> Run:
    return Run(
        folder=str(run.folder),
        data=run.images.name,
        model=run.model,
        parameters=sum(p.numel() for p in run.net.parameters()),
        epochs=run.epochs,
        best_epoch=run.best.epoch if run.best else None,
        test_loss=loss,
        test_accuracy=accuracy,
        test_images=len(run.images.test),
        interrupted=interrupted,
    )


def _name(data: str, model: str) -> str:
    """Return `digits-cnn-bn`, whatever a data set or a model is called."""
    from pathlib import Path

    words = f"{Path(data).stem}-{model.partition('(')[0].rpartition(':')[2]}"
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in words)


# -- what a person sees ----------------------------------------------------------------------------


class _Screen:
    """The conversation: what is trained, a line per epoch, and a bar where there is a terminal."""

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
        from time import monotonic

        from ptools.training import Epoch

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


def _print(run: Run) -> None:
    if run.test_accuracy is not None:
        right = round(run.test_accuracy * run.test_images)
        output.result(
            f"test accuracy  {run.test_accuracy:.2%}  ({right} of {run.test_images} images that training "
            f"never saw)"
        )
    output.result(f"run folder     {run.folder}")
    if not run.interrupted:
        from pathlib import Path

        near = output.program
        output.note("\nNext:")
        output.note(f"  {near('tensorboard')} --logdir {_logdir(Path(run.folder))}")
        output.note(f"  {near('ptools')} train --model mlp --epochs 20")
        output.note(f"  {near('ptools')} list models")


def _logdir(folder: Path) -> Path:
    """Return what to show in TensorBoard: all runs beside each other, or the one of --out."""
    return folder.parent if folder.parent.name == "runs" else folder
