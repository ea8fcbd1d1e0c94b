"""Train a network on images and keep the best weights.

Without arguments it trains a small CNN on 1,797 real digits that came with the installation:
no download, seconds on a laptop. It leaves a run folder:

\b
  config.toml           everything that was set: ptools train --config RUN
  metrics.json, .csv    loss and accuracy of every epoch and of the test
  best.pth              weights of the epoch that was best on other images
  last.ckpt             what it takes to go on: ptools train --resume RUN
  events.out.tfevents*  the curves and the graph for TensorBoard
  *.png                 curves, confusion matrix, the surest mistakes
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ptools import output
from ptools.errors import UsageError
from ptools.options import (
    FilePath,
    examples,
    force_option,
    json_option,
    training_options,
)
from ptools.sections import Sectioned, Sections

if TYPE_CHECKING:
    from pathlib import Path

    from ptools.training import Epoch, Running
    from ptools.training.run import Run
    from ptools.training.session import Session

_EPILOG = examples(
    "ptools train",
    "ptools train --model mlp --epochs 20 --lr 0.02",
    "ptools train --out runs/mine --seed 1 --json",
    "ptools train --resume runs/mine --epochs 12",
)


@click.command(cls=Sections, epilog=_EPILOG)
@click.option("--model", cls=Sectioned, section="Data", default="cnn-bn",
              help="A name of 'ptools list models', or net.py:Net.")  # fmt: skip
@click.option("--data", cls=Sectioned, section="Data", default="digits",
              help="A data set by name, a folder of classes, or a CSV file.")  # fmt: skip
@training_options
@click.option("--resume", cls=Sectioned, section="Run", metavar="RUN",
              type=FilePath(exists=True, file_okay=False),
              help="Go on with a run; nothing else is repeated.")  # fmt: skip
@click.option("--config", cls=Sectioned, section="Run", metavar="FILE|RUN",
              type=FilePath(exists=True),
              help="Set everything as a config.toml has it; options win over it.")  # fmt: skip
@click.option("--find-lr", cls=Sectioned, section="Run", is_flag=True,
              help="Try learning rates, show them, train nothing.")  # fmt: skip
@click.option("--out", type=FilePath(), show_default="runs/DATA-MODEL-N", help="Run folder.")
@force_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    as_json: bool,
    find_lr: bool,
    resume: Path | None,
    config: Path | None,
    **options: Any,
) -> None:
    from ptools.training import screen

    if config:
        options = _configured(ctx, config, options, resume)
    if find_lr:
        return _find(ctx, options, as_json)
    shown = screen.Screen()
    if resume:
        options = {name: options[name] for name in _given(ctx, options)}
    with screen.conversation(ctx):
        try:
            run = train(resume=resume, **options, on_start=shown.start, watch=shown.watch)
        finally:
            shown.stop()  # in here: rich puts back the sys.stdout that it met
    if run.already:
        output.note(
            f"{run.folder} is finished, with {len(run.epochs)} epochs; --epochs goes on with it."
        )
    if shown.silent:
        pass
    elif as_json:
        output.document(run.document())
    else:
        _print(run)
    if run.interrupted:
        if not shown.silent:
            screen.interrupted(run)
        ctx.exit(130)
    return None


def _given(ctx: click.Context, options: dict[str, Any]) -> list[str]:
    """Return the options that stand on the command line, not in ptools.toml."""
    typed = click.core.ParameterSource.COMMANDLINE
    return [name for name in options if ctx.get_parameter_source(name) is typed]


def _configured(
    ctx: click.Context, config: Path, options: dict[str, Any], resume: Path | None
) -> dict[str, Any]:
    """Return the options with those of a config.toml below what stands on the command line."""
    from ptools.training import configured

    if resume:
        raise UsageError(
            "--resume goes on with a run, --config begins a new one; give one of them."
        )
    found, typed = configured.read(config), set(_given(ctx, options))
    if "recipe" in typed:
        raise UsageError("a config.toml holds a recipe with all its parts; leave --recipe out.")
    values = dict(options)
    for param in ctx.command.params:
        if param.name in found and param.name not in typed:
            value = configured.typed(param.name, found.pop(param.name))
            values[param.name] = param.type_cast_value(ctx, value)
    return values | {name: found[name] for name in configured.INTERNAL if name in found}


def train(
    *,
    data: str | None = None,
    model: str | None = None,
    resume: Path | None = None,
    out: Path | None = None,
    force: bool = False,
    watch: Callable[[Running | Epoch], object] = lambda _: None,
    on_start: Callable[[Session, Path], object] = lambda *_: None,
    **options: Any,
) -> Run:
    """Train, keep the best weights, measure them once on the test images.

    `options` are those of `ptools.training.Settings` and `DataOptions`: epochs=3, recipe="plain".
    `watch` is called after every batch and every epoch. Raises UsageError, FileError, PtoolsError.
    """
    from ptools.training import distributed, resuming
    from ptools.training.run import finished
    from ptools.training.session import prepare
    from ptools.training.settings import parse

    with distributed.join(options.pop("device", None)) as (team, device):
        if resume:
            _alone(out, force)
            given = {**options, "data": data, "model": model, "device": device}
            session = resuming.resume(resume, team=team, **given)
            if run := finished(resume, session):
                return run
        else:
            settings, how = parse({**options, "device": device or "auto"})
            session = prepare(data or "digits", model or "cnn-bn", settings, options=how, team=team)
        return session.run(out=out, force=force, watch=watch, on_start=on_start)


def _alone(out: Path | None, force: bool) -> None:
    if out or force:
        raise UsageError("--resume writes to the run itself; --out and --force say otherwise.")


def _find(ctx: click.Context, options: dict[str, Any], as_json: bool) -> None:
    """Show learning rates and what came of them; the last line is what to type."""
    from ptools.training import finding, screen
    from ptools.training.session import prepare
    from ptools.training.settings import parse

    data, model = options.pop("data"), options.pop("model")
    for name in ("out", "force"):
        options.pop(name)
    with screen.conversation(ctx):
        settings, how = parse(options)
        found = finding.find(prepare(data, model, settings, options=how))
    if as_json:
        tried = [{"lr": lr, "loss": loss} for lr, loss in found.tried]
        return output.document({"lr": found.lr, "tried": tried})
    rows = [(f"{lr:.2g}", f"{loss:.4f}") for lr, loss in found.rows()]
    output.table(["lr", "loss"], rows, right=["lr", "loss"])
    output.result(f"suggestion: --lr {found.lr:g}")
    return None


def _print(run: Run) -> None:
    from ptools.training import screen

    screen.result(run)
    if not run.interrupted:
        near = output.program
        output.note("\nNext:")
        output.note(f"  {near('tensorboard')} --logdir {screen.logdir(run)}")
        output.note(f"  {near('ptools')} predict {shlex.quote(run.folder)} PICTURE")
        output.note(f"  {near('ptools')} runs")
