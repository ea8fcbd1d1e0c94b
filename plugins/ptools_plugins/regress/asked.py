"""The options of `regress`, and what they ask for: points, settings, pictures.

None has a value of its own, so that one that would do nothing is told apart and refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ptools.errors import UsageError, suggestion
from ptools.options import FilePath, Number, Positive, Whole, Words, seed_option
from ptools.sections import Sectioned, section
from ptools_plugins.regress.formulas import LOSSES, OPTIMIZERS

if TYPE_CHECKING:
    from ptools_plugins.regress.data import Points
    from ptools_plugins.regress.work import Settings

__all__ = ["options", "points", "settings", "spans"]

F = TypeVar("F", bound=Callable[..., Any])

_WAYS = ("manual", "autograd", "module")


class Listed(click.ParamType):  # type: ignore[type-arg]  # generic only in newer clicks
    """Words joined by commas, each one of a few: `sgd,adam`."""

    def __init__(self, *words: str) -> None:
        self.words, self.name = words, "words"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        found = [word.strip() for word in str(value).split(",")]
        for word in found:
            if word not in self.words:
                near = suggestion(word, list(self.words))
                self.fail(f"'{word}' is none of {', '.join(self.words)}.{near}", param, ctx)
        return list(dict.fromkeys(found))

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"{'|'.join(self.words)}[,...]"


class Rates(click.ParamType):  # type: ignore[type-arg]
    """Learning rates joined by commas: `0.1`, `auto`, `0.01,0.1,best`."""

    name = "rates"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[float | str]:
        kind = Words(Positive(1e6), "auto", "best")
        found = [kind.convert(word.strip(), param, ctx) for word in str(value).split(",")]
        return list(dict.fromkeys(found))

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "NUMBER|auto|best[,...]"


class Numbers(click.ParamType):  # type: ignore[type-arg]
    """Finite numbers joined by commas: `1,2,3`."""

    name = "numbers"

    def __init__(self, count: int | None = None, shown: str = "N,N,...") -> None:
        self.count, self.shown = count, shown

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[float]:
        from ptools_plugins.regress.data import numbers

        found = numbers(str(value), param.opts[0] if param else "the list")
        if self.count and len(found) != self.count:
            self.fail(
                f"'{value}' has {len(found)} of {self.count} numbers: {self.shown}.", param, ctx
            )
        return found

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return self.shown


def options(function: F) -> F:
    """Add the options of `regress` to its command."""
    for decorate in reversed([_data, _descent, _pictures]):
        function = decorate(function)
    return function


def _data(function: F) -> F:
    function = section(
        "Points",
        ("--y", Numbers(), "2,4,6", "The values to fit."),
        ("--csv", FilePath(exists=True), None, "Read the points from a file."),
        ("--x-col", str, "all but y", "Columns of x: names, or numbers from 1; commas join."),
        ("--y-col", str, "the last", "Column of y."),
        ("--line", Numbers(2, "W,B"), None, "Make points of y = W*x + B, x from 0 to 10."),
        ("--points", Whole(1, 1_000_000), "50", "How many, with --line."),
        ("--noise", Number(), "0", "Their standard deviation around the line."),
        ("--standardize", bool, None, "Give every column mean 0 and deviation 1."),
    )(function)
    return click.option(
        "--x", "xs", type=Numbers(), multiple=True, cls=Sectioned, section="Points",
        show_default=False, help="A column of x; repeat it for more.  [default: 1,2,3]",
    )(function)  # fmt: skip


def _descent(function: F) -> F:
    function = _seed(function)
    return section(
        "Descent",
        ("--model", str, "linear", "linear, linear-no-bias, poly:3, mlp or mlp:16 (tanh)."),
        ("--how", click.Choice(_WAYS), "manual", "Who takes the steps: NumPy, autograd, an nn.Module."),
        ("--compare", bool, None, "All three, side by side; exit 1 where they differ."),
        ("--loss", Listed(*LOSSES), "mse", "Several are compared."),
        ("--delta", Positive(), "1", "Where huber becomes a straight line."),
        ("--optimizer", Listed(*OPTIMIZERS), "sgd", "Several are compared."),
        ("--momentum", Number(0, 1), "0.9", "Of --optimizer momentum."),
        ("--lr", Rates(), "auto", "auto: half the critical one; several are compared."),
        ("--batch", Words(Whole(1, 1_000_000_000), "full"), "full", "Points per step, in their order."),
        ("--epochs", Whole(1, 10_000_000), "200", "Passes over the points."),
        ("--init", Numbers(), "random", "Values to start from: w,b."),
        ("--dtype", click.Choice(["float64", "float32"]), "float64", "Of all numbers."),
    )(function)  # fmt: skip


def _seed(function: F) -> F:
    """Put the shared --seed under Descent."""
    function = seed_option(function)
    params: list[Any] = function.__click_params__  # type: ignore[attr-defined]
    params[-1].section = "Descent"
    return function


def _pictures(function: F) -> F:
    return section(
        "What to see",
        ("--every", Whole(1), "about 20 rows", "Print every so many epochs; 1: all of them."),
        ("--plot", bool, None, "Draw the fit and the loss in the terminal."),
        ("--scan", bool, None, "Brute force: the loss over w, or over w and b."),
        ("--w-range", Numbers(2, "LOW,HIGH"), "around the solution", "Of --scan."),
        ("--b-range", Numbers(2, "LOW,HIGH"), "around the solution", "Of --scan."),
        ("--png", FilePath(), None, "Save a picture: fit, loss and, with --scan, the landscape."),
        ("--gif", FilePath(), None, "Save the descent as an animation."),
        ("--logdir", FilePath(), None, "Write loss, w and b for TensorBoard into a folder here."),
    )(function)  # fmt: skip


def refuse(ctx: click.Context, given: dict[str, Any]) -> None:
    """Refuse options that would do nothing; what ptools.toml says may wait for its turn."""
    losses, optimizers = given["loss"] or ["mse"], given["optimizer"] or ["sgd"]
    _need(ctx, ("x_col", "y_col"), given["csv"] is not None, "--csv FILE")
    _need(ctx, ("points", "noise"), given["line"] is not None, "--line W,B")
    _need(ctx, ("w_range", "b_range"), given["scan"], "--scan")
    _need(ctx, ("delta",), "huber" in losses, "--loss huber")
    _need(ctx, ("momentum",), "momentum" in optimizers, "--optimizer momentum")
    _need(ctx, ("how",), not given["compare"], "no --compare, which runs all three")
    _need(ctx, ("every", "plot"), not ctx.params.get("as_json"), "no --json: that is one document")


def _need(ctx: click.Context, names: Sequence[str], there: Any, what: str) -> None:
    for param in ctx.command.params:
        if param.name in names and not there:
            source = ctx.get_parameter_source(str(param.name))
            if source is click.core.ParameterSource.COMMANDLINE:
                raise UsageError(f"{param.opts[0]} needs {what}.")


def points(given: dict[str, Any]) -> Points:
    """Return the points that are asked for: 1,2,3 and 2,4,6 where none are."""
    from ptools_plugins.regress import data

    here = given["xs"] or given["y"] is not None
    ways = [("--csv", given["csv"]), ("--line", given["line"]), ("--x and --y", here)]
    named = [name for name, value in ways if value]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} both give points: choose one of them.")
    if given["csv"] is not None:
        from ptools_plugins.regress.csv_files import read

        columns = [name.strip() for name in (given["x_col"] or "").split(",") if name.strip()]
        return read(given["csv"], columns, given["y_col"])
    if given["line"] is not None:
        w, b = given["line"]
        count, noise = given["points"] or 50, given["noise"] or 0.0
        return data.line(w, b, points=count, noise=noise, seed=given["seed"])
    y = given["y"] or [2.0, 4.0, 6.0]
    xs = given["xs"] or [[float(number) for number in range(1, len(y) + 1)]]
    if given["xs"] and given["y"] is None:
        raise UsageError("--x without --y: give one y for every x.")
    return data.given(xs, y)


def settings(given: dict[str, Any]) -> Settings:
    """Return what is asked for, the defaults filled in."""
    from ptools_plugins.regress.work import Settings

    names = {"losses": "loss", "optimizers": "optimizer", "lrs": "lr"}
    asked = {
        field: given[names.get(field, field)]
        for field in Settings._fields
        if given[names.get(field, field)] is not None
    }
    if asked.get("batch") == "full":
        del asked["batch"]
    return Settings(**asked)


def spans(given: dict[str, Any]) -> list[tuple[float, float] | None]:
    """Return the ranges of --scan, of w and of b."""
    found: list[tuple[float, float] | None] = []
    for name in ("w_range", "b_range"):
        span = given[name]
        if span and not span[0] < span[1]:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} {span[0]:g},{span[1]:g}: the first must be the smaller.")
        found.append(tuple(span) if span else None)
    return found
