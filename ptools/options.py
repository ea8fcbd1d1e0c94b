"""Shared options and parameter types, written once.

Who uses what:

    json_option       --json                                all but plugins new
    force_option      --force                               all that write a file or a folder
    seed_option       --seed                                convdemo, finetune, gradcheck, partial-load,
                                                            regress, tb-images, train
    device_option     --device auto|cpu|cuda[:i]|mps|xpu    finetune, predict, train
    Sizes             32, 3x5, 32x48x64 -> tuple of int     convdemo, shapes, tb-images
    InputSpec         3x32x32, 16:int64 -> tracing's Input  export, gradcheck, partial-load, shapes
    Words             another type, or one of some words    regress, shapes
    Whole             a whole number in a range             most
    Positive          a finite number above zero            convdemo, device, finetune, gradcheck,
                                                            plugins, regress, train
    Number            a number in a range                   finetune, regress, train
    Duration          90s, 10m, 2h -> seconds               finetune, shapes, train
    FilePath          a path -> pathlib.Path                all but device and list
    training_options  what a training is told to do         finetune, train
    examples(...)     the examples that end every --help    all

Headings in a long --help are in ptools.sections.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ptools.sections import section

F = TypeVar("F", bound=Callable[..., Any])


def examples(*lines: str) -> str:
    """Return the epilog of a command: its examples, one a line, left as they are by click."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


class Sizes(click.ParamType):  # type: ignore[type-arg]  # generic only in newer clicks
    """Whole numbers joined by x, one per dimension: `32`, `3x5`, `32x48x64`."""

    name = "sizes"

    def __init__(self, *, least: int = 1, most: int = 3, words: tuple[str, ...] = ()) -> None:
        self.least, self.most, self.words = least, most, words

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...] | str:
        if isinstance(value, tuple):
            return value
        text = str(value).strip()
        if text in self.words:
            return text
        if not re.fullmatch(r"-?[0-9]{1,18}([x×,]-?[0-9]{1,18})*", text):
            also = "".join(f", or '{word}'" for word in self.words)
            self.fail(
                f"'{value}' is no size: write 32, or 32x48 for two dimensions{also}.", param, ctx
            )
        sizes = tuple(int(part) for part in re.split("[x×,]", text))
        if len(sizes) > self.most:
            self.fail(f"'{value}' has {len(sizes)} dimensions; at most {self.most}.", param, ctx)
        if min(sizes) < self.least:
            self.fail(f"'{value}': every size must be at least {self.least}.", param, ctx)
        return sizes

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "N[xN[xN]]"


class InputSpec(click.ParamType):  # type: ignore[type-arg]
    """A tensor that goes into a model: `3x32x32`, `16:int64`, `16:int64:1000` (0 to 999)."""

    name = "input"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from ptools.errors import UsageError
        from ptools.tracing.inputs import Input, parse

        if isinstance(value, Input):
            return value
        try:
            return parse(str(value))
        except UsageError as error:
            return self.fail(str(error), param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "N[xN...][:DTYPE]"


class Words(click.ParamType):  # type: ignore[type-arg]
    """A value of another type, or one of a few words, which stay as they are."""

    def __init__(self, other: click.ParamType, *words: str) -> None:  # type: ignore[type-arg]
        self.other, self.words = other, words
        self.name = "|".join([other.name, *words])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value in self.words else self.other.convert(value, param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        other = self.other.get_metavar(param, ctx)  # type: ignore[arg-type]
        return "|".join([other or "VALUE", *self.words])


class Whole(click.ParamType):  # type: ignore[type-arg]
    """A whole number of at least `least`. Unlike click.IntRange it keeps --help free of its limits."""

    name = "whole number"

    def __init__(self, least: int, most: int = 2**63 - 1) -> None:
        self.least, self.most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).strip()
        if not re.fullmatch(r"[+-]?[0-9]{1,30}", text):
            self.fail(f"'{value}' is no whole number.", param, ctx)
        if not self.least <= int(text) <= self.most:
            self.fail(f"{value} is not in the range {self.least} to {self.most}.", param, ctx)
        return int(text)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "N"


class Positive(click.ParamType):  # type: ignore[type-arg]
    """A finite number above zero, and not above `most`; nan passes every test of click.FloatRange."""

    name = "positive number"

    def __init__(self, most: float = 1e9) -> None:
        self.most = most

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            number = float(value)
        except ValueError:
            self.fail(f"'{value}' is no number.", param, ctx)
        if not 0 < number <= self.most:
            self.fail(f"{value} is not above 0 and at most {self.most:g}.", param, ctx)
        return number

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "NUMBER"


class Number(click.ParamType):  # type: ignore[type-arg]
    """A finite number from `least` on and below `under`; nan passes every test of click.FloatRange."""

    name = "number"

    def __init__(self, least: float = 0, under: float = 1e9) -> None:
        self.least, self.under = least, under

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            number = float(value)
        except ValueError:
            self.fail(f"'{value}' is no number.", param, ctx)
        if not self.least <= number < self.under:
            self.fail(f"{value} is not from {self.least:g} to below {self.under:g}.", param, ctx)
        return number

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "NUMBER"


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A time: 90, 90s, 10m or 2h -> seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smh]?)", str(value).strip())
        seconds = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match else 0
        if not seconds:
            self.fail(f"'{value}' is no time: 90, 90s, 10m or 2h.", param, ctx)
        return seconds

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "TIME"


class FilePath(click.Path):
    """A path, as a pathlib.Path. pathlib is imported for a value, not for every --help."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from pathlib import Path

        return Path(str(super().convert(value, param, ctx)))


class Device(click.ParamType):  # type: ignore[type-arg]
    """A torch device by name: auto, cpu, cuda, cuda:1, mps, xpu."""

    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if re.fullmatch(r"auto|cpu|mps|(cuda|xpu)(:[0-9]{1,3})?", str(value)):
            return str(value)
        return self.fail(
            f"'{value}' is no device: auto, cpu, cuda, cuda:1, mps or xpu.", param, ctx
        )

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "auto|cpu|cuda[:N]|mps|xpu"


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
force_option = click.option("--force", is_flag=True, help="Overwrite what exists.")
seed_option = click.option("--seed", type=Whole(0), default=0, help="Seed of everything random.")
device_option = click.option(
    "--device",
    type=Device(),
    default="auto",
    help="Where to compute; auto takes a GPU if one works.",
)


# -- training ------------------------------------------------------------------------------------


def training_options(function: F) -> F:
    """Add what `train` and `finetune` have in common; the command is one of `Sections`."""
    for decorate in reversed(_training()):
        function = decorate(function)
    return function


def _training() -> list[Callable[[Any], Any]]:
    data, recipe, run = _data(), _recipe(), _run()
    return [data, recipe, run, _in_run(seed_option), _in_run(device_option)]


def _data() -> Callable[[Any], Any]:
    return section(
        "Data",
        (
            "--val",
            Number(0, 1),
            "the set's own, or 0.1",
            "Share held out to choose the weights; 0: none.",
        ),
        ("--limit", Whole(1), None, "Train on so many images only."),
        ("--size", Sizes(most=2), "that of the pictures", "Height x width of the images."),
        ("--augment", str, "none", "none, flip, flip-crop, trivial, or 'ColorJitter(0.4)'."),
        ("--labels", FilePath(exists=True), None, "A folder of label files of the same names."),
        ("--data-dir", FilePath(), None, "Where downloads lie: ./data, or the cache folder."),
        (
            "--cache",
            click.Choice(["auto", "ram", "none"]),
            "auto",
            "Keep decoded pictures in memory.",
        ),
        ("--workers", Whole(0, 512), "by their number", "Processes that decode pictures."),
        ("--strict", bool, None, "Stop at the first bad picture."),
    )


def _recipe() -> Callable[[Any], Any]:
    words = click.Choice
    return section(
        "Recipe",
        ("--recipe", words(["fast", "plain"]), "fast", "Defaults of what follows; plain: the tutorials'."),
        ("--epochs", Whole(1, 100_000), "8", "Passes over the images."),
        ("--batch-size", Whole(1, 1_000_000), "64", "Images per step, of all processes."),
        ("--lr", Words(Positive(1e6), "find"), "by recipe and optimizer", "Peak learning rate."),
        ("--optimizer", words(["sgd", "adam", "adamw", "rmsprop"]), "sgd", "What takes the steps."),
        ("--momentum", Number(0, 1), "fast 0.9, plain 0", "Nesterov's in fast; beta1 of adam."),
        ("--weight-decay", Number(0), "fast 5e-4, plain 0", "Pull of the weights to zero."),
        ("--schedule", str, "fast onecycle, plain step:5:0.1",
         "none, step:5:0.1, cosine, onecycle, plateau: the learning rate's course."),
        ("--loss", words(["ce", "bce", "mse", "l1", "huber"]), "ce", "The last four: of one-hot labels."),
        ("--label-smoothing", Number(0, 1), "fast 0.1, plain 0", "Share given to all classes."),
        ("--class-weights", words(["none", "balanced"]), "none", "Rare classes weigh as much."),
        ("--dropout", Number(0, 1), "the model's", "Probability of every Dropout."),
        ("--init", words(["default", "xavier", "kaiming", "orthogonal"]), "default", "First weights."),
        ("--grad-clip", Positive(), None, "Longest gradient."),
        ("--accumulate", Whole(1, 1_000_000), "1", "Batches per step of the optimizer."),
    )  # fmt: skip


def _run() -> Callable[[Any], Any]:
    return section(
        "Run",
        ("--patience", Whole(1, 100_000), None, "Epochs without a better one before it stops."),
        ("--time-budget", Duration(), None, "Stop after so long: 90s, 10m, 2h."),
        (
            "--amp",
            click.Choice(["auto", "off", "bf16", "fp16"]),
            "auto",
            "Mixed precision; auto: if native.",
        ),
        ("--compile", bool, None, "torch.compile the model."),
        ("--deterministic", bool, None, "Only operations that repeat to the bit."),
        ("--save-every", Number(0), "30", "Seconds between checkpoints within an epoch."),
        ("--shard", bool, None, "Split the model over the processes (FSDP)."),
        ("--save-model", bool, None, "Also write model.pth: the whole module, pickled."),
    )


def _in_run(decorate: Callable[[F], F]) -> Callable[[F], F]:
    """Move a shared option under the heading Run, and let it tell whether it was given."""

    def moved(function: F) -> F:
        function = decorate(function)
        params: list[Any] = function.__click_params__  # type: ignore[attr-defined]
        params[-1].section = "Run"
        return function

    return moved
