"""Train a network that starts from somebody's weights.

It starts from RUN, a run folder or best.pth of ptools; or from --model with --weights:
DEFAULT (torchvision's, downloaded once), any checkpoint FILE (nothing in it is run; what
surely belongs to the model is loaded, whatever the tensors are called there), or none.
The last layer gets the classes of the data. What is frozen does not move, BatchNorm's
statistics included; with a frozen backbone its features are computed once. It leaves a
run folder as 'ptools train' does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ptools import output
from ptools.options import (
    FilePath,
    Positive,
    Whole,
    examples,
    force_option,
    json_option,
    training_options,
)
from ptools.sections import Sections, section

if TYPE_CHECKING:
    from pathlib import Path

    from ptools.training import Epoch, Running
    from ptools.training.finetuning import Plan
    from ptools.training.frozen import Frozen
    from ptools.training.run import Run
    from ptools.training.session import Session
    from ptools.training.weights import Loaded

_EPILOG = examples(
    "ptools train --model cnn --out old",
    "ptools finetune old --data digits --freeze backbone",
    "ptools finetune --model cnn --weights old/best.pth --freeze 0 --freeze 2",
)

_options = section(
    "Start and freeze",
    ("--model", str, None, "A name of 'ptools list models', or net.py:Net."),
    ("--weights", str, None, "DEFAULT (torchvision's), a checkpoint file, or none."),
    ("--source-key", str, None, "The state_dict inside a file of several: model.ema."),
    ("--accept", click.Choice(["likely"]), None, "Load likely matches too."),
    ("--head", click.Choice(["replace", "append"]), "where the classes differ: replace",
     "A new last layer, or one more after it."),
    ("--freeze-manifest", FilePath(exists=True, dir_okay=False), None,
     "Freeze what 'ptools partial-load --freeze' wrote."),
    ("--unfreeze-at", Whole(2), None, "Epoch from which on what was frozen trains."),
    ("--lr-backbone", Positive(1e6), "that of --lr", "Learning rate of all but the last layer."),
    ("--views", Whole(1, 10_000), None, "Cache features of so many augmentations of each image."),
)  # fmt: skip


@click.command(cls=Sections, epilog=_EPILOG)
@click.argument("run", type=FilePath(exists=True), required=False)
@click.option(
    "--data", default="digits", help="A data set by name, a folder of classes, or a CSV file."
)
@click.option(
    "--freeze", metavar="backbone|none|PATTERN", multiple=True,
    help="All but the last layer; nothing; or parameters and modules: 'layer?'.",
)  # fmt: skip
@_options
@training_options
@click.option("--out", type=FilePath(), show_default="runs/DATA-MODEL-N", help="Run folder.")
@force_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, /, as_json: bool, accept: str | None, source_key: str | None, **options: Any
) -> None:
    from ptools.training import screen

    shown = screen.Screen()
    options |= {"key": source_key, "accept_likely": accept == "likely"}
    with screen.conversation(ctx):
        try:
            done = finetune(**options, tell=_tell, on_start=shown.start, watch=shown.watch)
        finally:
            shown.stop()  # in here: rich puts back the sys.stdout that it met
    if not shown.silent:
        output.document(done.document()) if as_json else _print(done)
    if done.run.interrupted:
        if not shown.silent:
            screen.interrupted(done.run)
        ctx.exit(130)


@dataclass(frozen=True)
class Finetuned:
    """The run, and what it started from: what was loaded and frozen (None: nothing), what trained how."""

    run: Run
    loaded: Loaded | None
    frozen: Frozen | None
    plan: Plan

    def document(self) -> dict[str, Any]:
        """Return it for JSON: what `ptools train` says, and `loaded`, `frozen` and `finetune`."""
        return self.run.document() | {
            "loaded": self.loaded.document() if self.loaded else None,
            "frozen": self.frozen.document() if self.frozen else None,
            "finetune": self.plan.document(),
        }


def finetune(
    *,
    run: Path | None = None,
    model: str | None = None,
    weights: Path | str | None = None,
    key: str | None = None,
    accept_likely: bool = False,
    head: str | None = None,
    freeze: Sequence[str] = (),
    freeze_manifest: Path | None = None,
    unfreeze_at: int | None = None,
    lr_backbone: float | None = None,
    views: int | None = None,
    data: str = "digits",
    out: Path | None = None,
    force: bool = False,
    watch: Callable[[Running | Epoch], object] = lambda _: None,
    tell: Callable[[Any], object] = lambda _: None,
    on_start: Callable[[Session, Path], object] = lambda *_: None,
    **options: Any,
) -> Finetuned:
    """Build, load, freeze, train, measure the best weights once on the test images.

    It starts from `run`, or from `model` and `weights`: "DEFAULT", a file, "none". `freeze` are patterns
    (fnmatch) of parameters or modules, or "backbone". `options` are those of `ptools train`. `tell` is
    given a Loaded, a Frozen and notes (str) before anything is written, `watch` every batch and epoch.
    Raises UsageError, FileError, PtoolsError.
    """
    from ptools.training import distributed
    from ptools_plugins.finetune import start as starts
    from ptools_plugins.finetune import work

    with distributed.join(options.pop("device", None)) as (team, device):
        start = starts.where(run, model, str(weights) if weights else None, head)
        wish = work.wished(freeze, freeze_manifest, unfreeze_at, lr_backbone, views)
        settings, how = work.parsed({**options, "device": device or "auto"}, start)
        work.check(start, out, force, wish, settings)
        if start.published:
            start.published.fetch(tell)
        session = work.prepared(data, start, settings, how, team, wish)
        loaded = work.load(session, start, key, accept_likely=accept_likely, fresh=bool(head))
        if loaded:
            tell(loaded)
        frozen, plan = work.freeze(session, start, wish, loaded, tell)
        done = session.run(out=out, force=force, watch=watch, on_start=on_start)
    return Finetuned(done, loaded, frozen, plan)


def _tell(news: Any) -> None:
    """Print what was loaded or frozen, or a note."""
    from ptools.training.frozen import Frozen
    from ptools.training.weights import Loaded
    from ptools_plugins.finetune import show

    if isinstance(news, Loaded):
        show.tell_loaded(news)
    elif isinstance(news, Frozen):
        show.tell_frozen(news)
    else:
        output.note(news)


def _print(done: Finetuned) -> None:
    from ptools.training import screen

    screen.result(done.run)
    if not done.run.interrupted:
        near = output.program
        output.note("\nNext:")
        output.note(f"  {near('tensorboard')} --logdir {screen.logdir(done.run)}")
