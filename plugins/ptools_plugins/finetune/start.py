"""Where a finetuning starts: a run of ptools, published weights, a file, or nothing.

where(...)   what was asked for -> a Start
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptools.errors import FileError, UsageError

if TYPE_CHECKING:
    from ptools.models import Blueprint
    from ptools.models.pretrained import Pretrained

__all__ = ["Start", "where"]


@dataclass(frozen=True)
class Start:
    """The network to build and what to fill it with.

    model       its name, with the arguments that its weights need
    file        the weights; None: it starts as it initialises itself
    published   where `file` is to be downloaded from, if it is not there
    append      a layer is added behind the last one
    head        what the network's blueprint says of its last layer
    dropout     of the run it comes from
    classes     what its outputs mean, where that is known
    shape       (C, H, W) its weights were trained on, where that is known
    statistics  mean and std of the images they were trained on
    """

    model: str
    file: Path | None = None
    published: Pretrained | None = None
    append: bool = False
    head: str = "replace"
    dropout: float | None = None
    classes: tuple[str, ...] | None = None
    shape: tuple[int, int, int] | None = None
    statistics: tuple[list[float], list[float]] | None = None


def where(run: Path | None, model: str | None, weights: str | None, head: str | None) -> Start:
    """Return the start that was asked for; nothing is downloaded. Raises UsageError, FileError."""
    if run and (model or weights):
        raise UsageError(f"{run} has a model and weights of its own; leave out --model, --weights.")
    if not run and not (model and weights):
        raise UsageError(
            "name a run to start from, or --model M and --weights DEFAULT, FILE or none."
        )
    if run:
        return _of_run(run, head)
    assert model is not None
    assert weights is not None
    found = _of_weights(model, weights)
    return replace(found, append=True, head="append") if head == "append" else found


def _of_weights(model: str, weights: str) -> Start:
    from ptools.models import pretrained

    if weights == "none":
        return Start(model)
    path = Path(weights)
    if path.exists():
        return Start(model, file=path)
    if not pretrained.is_a_name(weights):
        raise UsageError(f"{weights} does not exist; --weights is a file, DEFAULT, or none.")
    found = pretrained.weights(model, weights)
    return Start(
        found.spec,
        file=found.path,
        published=found,
        shape=(len(found.mean), found.crop, found.crop),
        statistics=(list(found.mean), list(found.std)),
    )


def _of_run(run: Path, head: str | None) -> Start:
    """Return what best.pth of a run says. Raises FileError where it is none."""
    from ptools import checkpoints
    from ptools.models import Blueprint, check_named

    if run.is_dir() and not (run / "best.pth").is_file():
        raise FileError(f"{run} has no best.pth: no epoch of it was finished.")
    file = run / "best.pth" if run.is_dir() else run
    kept = checkpoints.load(file)
    if not isinstance(kept, dict) or "blueprint" not in kept:
        raise FileError(
            f"{file} does not say which network it is of: use --model M --weights {file}."
        )
    plan = Blueprint.of(kept["blueprint"])
    check_named(plan.model)
    start = Start(
        plan.model,
        file=file,
        head="append" if plan.head == "append" else "replace",
        dropout=plan.dropout,
        classes=tuple(kept["classes"]),
        shape=plan.shape,
        statistics=_numbers(kept, file),
    )
    if head != "append":
        return start
    return replace(start, model=_whole(plan, run), append=True, head="append")


def _whole(plan: Blueprint, run: Path) -> str:
    """Return the name of a run's model with its outputs in it: a layer is to come after the last one."""
    from ptools import models, registry

    name, _ = models.literals(plan.model)
    if plan.head == "append" or (plan.head == "replace" and not models.is_sized(plan.model)):
        raise UsageError(
            f"the last layer of {run} is not the model's own any more; use --head replace."
        )
    if not models.is_sized(plan.model):
        return plan.model
    key = "classes" if name in registry.owners(registry.MODELS) else "num_classes"
    return models.with_arguments(plan.model, **{key: plan.classes})


def _numbers(kept: dict[str, Any], file: Path) -> tuple[list[float], list[float]]:
    try:
        return [float(v) for v in kept["mean"]], [float(v) for v in kept["std"]]
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(f"{file} does not say how its images were normalised.") from error
