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
from dataclasses import asdict
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

    from torch import nn

    from ptools.data import ImageSet
    from ptools.training import Epoch, Running
    from ptools.training.session import Run

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
    from ptools.training import screen

    shown = screen.Screen()
    with output.aside():  # the model and the data may be anybody's code
        try:
            run = train(**options, on_start=shown.start, watch=shown.watch)
        finally:
            shown.stop()  # in here: rich puts back the sys.stdout that it met
    if as_json:
        output.document(asdict(run))
    else:
        _print(run)
    if run.interrupted:
        screen.interrupted(run)
        ctx.exit(130)


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
    from ptools.training.session import prepare

    session = prepare(
        data, model, epochs=epochs, batch_size=batch_size, lr=lr, seed=seed, device=device
    )
    return session.run(out=out, force=force, watch=watch, on_start=on_start)


def _print(run: Run) -> None:
    from ptools.training import screen

    screen.result(run)
    if not run.interrupted:
        near = output.program
        output.note("\nNext:")
        output.note(f"  {near('tensorboard')} --logdir {screen.logdir(run)}")
        output.note(f"  {near('ptools')} train --model mlp --epochs 20")
        output.note(f"  {near('ptools')} list models")
