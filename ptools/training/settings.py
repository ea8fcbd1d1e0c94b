"""What a training is told to do: two recipes, and every part of them can be set.

Settings          everything but the data; `chosen(recipe, ...)` fills a recipe in
DataOptions       how the images are found, split and read
RECIPES           what the two recipes set; RATES: the learning rate, by optimiser
parse(options)    the two of them from a command's options
warnings(...)     what is allowed, but probably not meant
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ptools.errors import UsageError

__all__ = ["RATES", "RECIPES", "DataOptions", "Settings", "parse", "warnings"]

RATES: dict[str, dict[str, float]] = {
    "fast": {"sgd": 0.05, "adam": 0.002, "adamw": 0.002, "rmsprop": 0.001},
    "plain": {"sgd": 0.01, "adam": 0.001, "adamw": 0.001, "rmsprop": 0.001},
}
RECIPES: dict[str, dict[str, Any]] = {
    "fast": {},  # the defaults of Settings
    "plain": {
        "momentum": 0.0,
        "nesterov": False,
        "weight_decay": 0.0,
        "schedule": "step:5:0.1",
        "label_smoothing": 0.0,
        "normalise": False,
        "amp": "off",
        "channels_last": False,
    },
}
_MOMENTUM = {"adam": 0.9, "adamw": 0.9, "rmsprop": 0.0}  # of adam: beta1
_DECAY = {"adam": 0.0, "adamw": 0.01, "rmsprop": 0.0}  # torch's own


@dataclass(frozen=True)
class Settings:
    """What to do. The defaults are the recipe `fast`.

    lr               the peak of the schedule; one cycle (Smith & Topin, arXiv:1708.07120) by default
    momentum         of sgd and rmsprop; beta1 of adam and adamw
    label_smoothing  Szegedy et al., arXiv:1512.00567. On the digits it raised the worst of 30 seeds from
                     97.2 to 98.6 %: so few validation images rank the epochs badly, it keeps them calm
    amp              auto, off, bf16, fp16; `hardware.decide` makes one of the others of auto
    channels_last    None: where the model has convolutions
    batch_size       of one step, over all processes
    accumulate       batches per optimiser step
    workers          that decode pictures; None: see ptools.data.workers
    time_budget      seconds; save_every: seconds between two checkpoints within an epoch
    find_lr          `--lr find`: look for it before the first step, and take what is found
    """

    recipe: str = "fast"
    epochs: int = 8
    batch_size: int = 64
    lr: float = 0.05
    optimizer: str = "sgd"
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    schedule: str = "onecycle"
    loss: str = "ce"
    label_smoothing: float = 0.1
    class_weights: str = "none"
    dropout: float | None = None
    init: str = "default"
    normalise: bool = True
    augment: str = "none"
    amp: str = "auto"
    channels_last: bool | None = None
    compile: bool = False
    grad_clip: float | None = None
    accumulate: int = 1
    patience: int | None = None
    time_budget: float | None = None
    seed: int = 0
    deterministic: bool = False
    device: str = "cpu"
    workers: int | None = None
    save_every: float = 30.0
    shard: bool = False
    find_lr: bool = False
    save_model: bool = False

    @classmethod
    def chosen(cls, recipe: str = "fast", **given: Any) -> Settings:
        """Return the recipe with what was given; None means not given. Raises UsageError."""
        if recipe not in RECIPES:
            raise UsageError(f"no recipe is called '{recipe}'; there are fast and plain.")
        given = {name: value for name, value in given.items() if value is not None}
        if given.get("lr") == "find":
            given |= {"find_lr": True}
            del given["lr"]
        values = {**RECIPES[recipe], **_suited(recipe, given), **given}
        return cls(recipe=recipe, **values)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Settings:
        """Return what `asdict` made a document of; what it does not know is left alone."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in document.items() if name in known})


def _suited(recipe: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults that follow from the optimiser and the loss that were given."""
    optimizer = given.get("optimizer", "sgd")
    values: dict[str, Any] = {"lr": RATES[recipe][optimizer]}
    if optimizer != "sgd":
        values |= {
            "momentum": _MOMENTUM[optimizer],
            "weight_decay": _DECAY[optimizer],
            "nesterov": False,
        }
    elif not given.get("momentum", 1.0):
        values["nesterov"] = False  # it is defined for a momentum only
    if given.get("loss", "ce") != "ce":
        values["label_smoothing"] = 0.0
    return values


@dataclass(frozen=True)
class DataOptions:
    """How the images are found, split and read: what `ptools.data.load` takes."""

    data_dir: Path | None = None
    val: float | None = None
    size: tuple[int, int] | None = None
    cache: str = "auto"
    strict: bool = False
    labels: Path | None = None
    limit: int | None = None
    channels: int | None = None

    def document(self) -> dict[str, Any]:
        """Return it for JSON. Paths are made absolute: a run may be resumed from elsewhere."""
        return {
            name: str(value.resolve()) if isinstance(value, Path) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> DataOptions:
        values = {field.name: document.get(field.name, field.default) for field in fields(cls)}
        for name in ("data_dir", "labels"):
            values[name] = Path(values[name]) if values[name] else None
        values["size"] = tuple(values["size"]) if values["size"] else None
        return cls(**values)


def parse(options: Mapping[str, Any]) -> tuple[Settings, DataOptions]:
    """Return what the options of a command say. Raises TypeError for one that is none of them."""
    names = {field.name for field in fields(DataOptions)}
    data = {k: v for k, v in options.items() if k in names and v is not None}
    rest = {k: v for k, v in options.items() if k not in names and v is not None}
    return Settings.chosen(rest.pop("recipe", "fast"), **rest), DataOptions(**data)


def warnings(settings: Settings) -> list[str]:
    """Return what is allowed, but probably not meant, a line each."""
    found: list[str] = []
    if settings.schedule == "onecycle":
        late = "one cycle reaches its accuracy at its end, and is worse than others before it"
        if settings.patience is not None:
            found.append(
                f"--patience may stop too early: {late}; --schedule cosine or plateau suits it."
            )
        if settings.time_budget is not None:
            found.append(
                f"a run that --time-budget stops is cut off: {late}; choose --epochs to fit it."
            )
    if settings.schedule == "plateau" and settings.epochs < 5:
        found.append(f"--schedule plateau needs more than {settings.epochs} epochs to see one.")
    return found
