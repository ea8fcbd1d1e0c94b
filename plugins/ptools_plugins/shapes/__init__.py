"""Show every shape in a network, or why it does not fit.

One layer by numbers, a chain of layers, or a whole model:

\b
  --in 32 --k 5 --p 2              the size that comes out, and the formula
  --in 32 --out 16 --k 3           the settings that give 16
  --in 3x32x32 "Conv2d(3, 8, 5)"   a chain of layers; ? is filled in
  --in 3x224x224 --model resnet18  a dry run: shapes, parameters, MACs

Where a model does not fit you get the layer, the cause, and a repair that was tried.
"""

from __future__ import annotations

from typing import Any

import click

from ptools import output
from ptools.errors import UsageError
from ptools.options import Duration, FilePath, InputSpec, Sizes, Whole, Words, examples, json_option

_EPILOG = examples(
    "ptools shapes --in 32 --k 5 --p 2",
    "ptools shapes --in 32 --out 16 --k 3",
    'ptools shapes --in 3x32x32 "Conv2d(3, 8, 5)" "Flatten()" "Linear(?, 10)"',
    "ptools shapes --model resnet18 --in 3x224x224 --depth 1",
)
_OPERATIONS = ("conv", "maxpool", "avgpool", "lppool", "transpose", "unfold")
_FLOATS = ("float32", "float64", "float16", "bfloat16")
_CALCULATOR = ("kernel", "stride", "padding", "dilation", "op", "ceil", "output_padding", "wanted")
_NETWORK = ("batch", "train", "dtype", "depth", "field", "graph", "loss", "targets", "patience")


@click.command(epilog=_EPILOG)
@click.argument("layers", nargs=-1, metavar="[LAYER]...")
@click.option(
    "--in", "--input", "inputs", type=InputSpec(), multiple=True, required=True,
    help="Input: 32, 3x32x32, 16:int64; several for a model.",
)  # fmt: skip
@click.option("--k", "--kernel", "kernel", type=Sizes(), help="Kernel size.")
@click.option(
    "--s", "--stride", "stride", type=Sizes(), help="Stride.  [default: 1; pooling: kernel]"
)
@click.option(
    "--p", "--padding", "padding", type=Sizes(least=0, words=("same",)),
    help="Padding on both sides, or 'same'.  [default: 0]",
)  # fmt: skip
@click.option("--d", "--dilation", "dilation", type=Sizes(), help="Dilation.  [default: 1]")
@click.option("--op", type=click.Choice(_OPERATIONS), default="conv", help="Kind of layer.")
@click.option("--ceil", is_flag=True, help="Round up (ceil_mode of pooling).")
@click.option("--output-padding", type=Sizes(least=0), help="Of a transposed convolution.")
@click.option("--out", "--output", "wanted", type=Sizes(), help="Find what gives this size.")
@click.option("--model", help="resnet18, net.py:Net, a name of 'ptools list models'.")
@click.option(
    "--batch", type=Words(Whole(1), "none"), default="1",
    help="Put before each --in; none: shapes as they stand.",
)  # fmt: skip
@click.option("--train", is_flag=True, help="Train mode instead of eval mode.")
@click.option("--dtype", type=click.Choice(_FLOATS), help="Of weights and inputs.")
@click.option("--depth", type=Whole(0), help="Fold modules that lie deeper.  [default: all]")
@click.option("--rf", "field", is_flag=True, help="Receptive field, stride and centre.")
@click.option("--graph", metavar="LOGDIR", type=FilePath(), help="Write the graph for TensorBoard.")
@click.option("--loss", help="Check the loss as well: CrossEntropyLoss.")
@click.option(
    "--target", "targets", type=InputSpec(), multiple=True,
    help="What the loss compares with, as it stands: 64:int64.",
)  # fmt: skip
@click.option(
    "--patience", type=Duration(), default="10s", help="How long repairs are tried: 60s, 2m."
)
@json_option
@click.pass_context
def command(ctx: click.Context, /, as_json: bool, **options: Any) -> None:
    _known(options["layers"])
    if options["model"] or options["layers"]:
        network = {name: options[name] for name in (*_NETWORK, "model", "layers", "inputs")}
        if not options["model"]:
            _refuse(ctx, ("patience",), "is for --model: layers are repaired on paper, at once")
        _refuse(ctx, _CALCULATOR, "is of the calculator: leave --model and the layers out")
        _network(ctx, network, as_json)
    else:
        _refuse(ctx, _NETWORK, "is for a model: add --model NAME, or layers")
        _calculator({name: options[name] for name in (*_CALCULATOR, "inputs")}, as_json)


def _known(layers: tuple[str, ...]) -> None:
    """A stray word is no layer, whatever else is wrong."""
    import os

    for text in layers:
        if text != "-" and "(" not in text and not os.path.exists(text):  # noqa: PTH110
            raise UsageError(
                f"'{text}' is no layer: write \"Conv2d(3, 8, 5)\", a file's name, or -."
            )


def _refuse(ctx: click.Context, names: tuple[str, ...], why: str) -> None:
    """An option that would do nothing is an error; one from ptools.toml may wait for its turn."""
    for parameter in ctx.command.params:
        if parameter.name in names:
            source = ctx.get_parameter_source(parameter.name)
            if source is click.core.ParameterSource.COMMANDLINE:
                raise UsageError(f"{parameter.opts[0]} {why}.")


def _calculator(given: dict[str, Any], as_json: bool) -> None:
    from ptools_plugins.shapes import calculator

    inputs = given.pop("inputs")
    if len(inputs) > 1 or inputs[0].dtype:
        raise UsageError("the calculator takes one size, such as --in 32 or --in 32x48.")
    given["size"] = inputs[0].shape
    if given["wanted"] is None:
        del given["wanted"]
        report, show = calculator.calculate(**given), calculator.show
    else:
        report, show = calculator.invert(**given), calculator.show_solutions
    if as_json:
        output.document(report)
    else:
        show(report)


def _network(ctx: click.Context, given: dict[str, Any], as_json: bool) -> None:
    from ptools_plugins.shapes import network, show

    depth = given.pop("depth")
    explicit = ctx.get_parameter_source("batch") is not click.core.ParameterSource.DEFAULT
    with output.aside():  # the model may be anybody's code
        report = network.study(**given, choose_batch=not explicit)
    if as_json:
        output.document(report.document())
    else:
        show.report(report, depth=depth)
    if report.failure is not None:
        if report.failure.gave_up:
            output.note("No repair was found in time; --patience 2m looks longer.")
        if ctx.find_root().params.get("debug") and report.traceback:
            output.note(report.traceback)
        ctx.exit(1)
