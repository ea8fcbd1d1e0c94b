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

from ptools import __version__, output
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
    from ptools.training import Epoch, Running, Settings

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
    try:
        with output.aside():  # the model and the data may be anybody's code
            run = train(**options, on_start=screen.start, watch=screen.watch)
    finally:
        screen.stop()
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
    record = _Record(folder, images, net, model, settings)
    on_start(images, net, folder)
    interrupted = False
    try:
        training.fit(
            net, images, settings, on_batch=watch, on_epoch=lambda e: watch(record.keep(e))
        )
    except KeyboardInterrupt:
        interrupted = True
    finally:
        record.close()
    return record.finish(interrupted)


def _name(data: str, model: str) -> str:
    """Return `digits-cnn-bn`, whatever a data set or a model is called."""
    from pathlib import Path

    words = f"{Path(data).stem}-{model.partition('(')[0].rpartition(':')[2]}"
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in words)


class _Record:
    """The run folder: whole after every epoch, so that an interruption loses at most one."""

    def __init__(
        self, folder: Path, images: ImageSet, net: nn.Module, model: str, settings: Settings
    ) -> None:
        import torch

        from ptools.training.events import EventFile

        self.folder, self.images, self.net, self.model = folder, images, net, model
        self.settings, self.epochs = settings, list[Any]()
        self.best: Epoch | None = None
        for old in (
            folder / "best.pt",
            folder / "metrics.json",
            *folder.glob("events.out.tfevents*"),
        ):
            old.unlink(missing_ok=True)  # of an earlier run, under --force
        versions = {"ptools": __version__, "torch": str(torch.__version__)}
        self._write(
            "config.json", {"data": images.name, "model": model, **asdict(settings), **versions}
        )
        self.events = EventFile(folder)

    def keep(self, epoch: Epoch) -> Epoch:
        """Write down one epoch; keep its weights if they are the best so far."""
        self.epochs.append(epoch)
        curves = {
            "loss/train": epoch.loss,
            "loss/val": epoch.val_loss,
            "accuracy/train": epoch.accuracy,
            "accuracy/val": epoch.val_accuracy,
            "lr": epoch.lr,
        }
        self.events.scalars(epoch.epoch, curves)
        if self.best is None or _rank(epoch) > _rank(self.best):
            self.best = epoch
            self._save_best()
        self._write("metrics.json", {"epochs": [asdict(e) for e in self.epochs]})
        return epoch

    def _save_best(self) -> None:
        from ptools import checkpoints

        mean, std = self.images.statistics()
        content = {
            "state_dict": {k: v.cpu() for k, v in self.net.state_dict().items()},
            "model": self.model,
            "classes": list(self.images.classes),
            "shape": list(self.images.shape),
            "mean": mean,
            "std": std,
        }
        checkpoints.save(content, self.folder / "best.pt", force=True)

    def _write(self, name: str, value: dict[str, Any]) -> None:
        import json

        from ptools import files

        files.write(self.folder / name, json.dumps(value, indent=2) + "\n", force=True)

    def close(self) -> None:
        self.events.close()

    def finish(self, interrupted: bool) -> Run:
        """Measure the best weights on the test images, unless there was no time for either."""
        from ptools import checkpoints
        from ptools.data import Batches
        from ptools.training import score

        loss = accuracy = None
        if self.best is not None and not interrupted:
            kept = checkpoints.load(self.folder / "best.pt", device=self.settings.device)
            self.net.load_state_dict(kept["state_dict"])
            test = Batches(
                self.images.test,
                self.images.statistics(),
                batch_size=1024,
                device=self.settings.device,
            )
            loss, accuracy = score(self.net, test)
            done = {"epochs": [asdict(e) for e in self.epochs]}
            self._write("metrics.json", {**done, "test_loss": loss, "test_accuracy": accuracy})
        return Run(
            folder=str(self.folder),
            data=self.images.name,
            model=self.model,
            parameters=sum(p.numel() for p in self.net.parameters()),
            epochs=self.epochs,
            best_epoch=self.best.epoch if self.best else None,
            test_loss=loss,
            test_accuracy=accuracy,
            test_images=len(self.images.test),
            interrupted=interrupted,
        )


def _rank(epoch: Epoch) -> tuple[float, float]:
    return epoch.val_accuracy, -epoch.val_loss


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
            self.bar.console.print(_line(now), highlight=False, markup=False)
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
