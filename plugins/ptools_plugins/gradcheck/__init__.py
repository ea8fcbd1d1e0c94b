"""Check the backward of a function against numbers.

FUNCTION is file.py:Name or package.module:Name - a torch.autograd.Function, a function, or a
torch.nn.Module such as net.py:Net(3), whose parameters are checked too - or a ready example: exp,
grad-reverse. Exit code 0: both derivatives are right; 1: one is wrong; 3: the function has a kink
where it was looked at.
"""

# target      what is checked, and with which tensors
# jacobian    all derivatives twice, and where they differ
# work        both orders, and torch's own checks
# reasons     what is wrong, in words
# show        the report and the picture
# ready       exp and grad-reverse

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ptools import files, output
from ptools.errors import UsageError
from ptools.options import (
    FilePath,
    InputSpec,
    Positive,
    examples,
    force_option,
    json_option,
    seed_option,
)

if TYPE_CHECKING:
    from pathlib import Path

    from ptools.tracing.inputs import Input
    from ptools_plugins.gradcheck.work import Report

_EPILOG = examples(
    "ptools gradcheck exp --in 4x3",
    "ptools gradcheck grad-reverse --in 4x3 --args 0.5 --times -0.5",
    "ptools gradcheck torch.nn.functional:gelu --json",
)


class Range(click.ParamType):  # type: ignore[type-arg]
    """Two numbers, the lower one first: 0.1,2."""

    name = "range"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        if isinstance(value, tuple):
            return value
        try:
            low, high = map(float, str(value).split(","))
        except ValueError:
            self.fail(f"'{value}' is no range: write two numbers, as in 0.1,2.", param, ctx)
        if not -1e9 <= low <= high <= 1e9:
            self.fail(f"'{value}' is no range: the lower number comes first.", param, ctx)
        return low, high

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "LOW,HIGH"


@click.command(epilog=_EPILOG)
@click.argument("function")
@click.option(
    "--in",
    "inputs",
    type=InputSpec(),
    multiple=True,
    default=["4x3"],
    show_default="4x3",
    help="A tensor that goes in, float64; once for each. 16:int64:100 has no gradient.",
)
@click.option(
    "--args",
    default="",
    show_default=False,
    help="Other arguments, literals; _ is a tensor: '_, 2, True'.",
)
@click.option("--range", "between", type=Range(), help="Values of the inputs, not normal ones.")
@click.option(
    "--times",
    type=float,
    default=1.0,
    metavar="FACTOR",
    help="Backward should be so many times the derivative.",
)
@click.option(
    "--order",
    type=click.Choice(["1", "2"]),
    default="2",
    show_default=True,
    help="1: leave the second derivative alone.",
)
@click.option("--eps", type=Positive(1), default=1e-6, show_default=True, help="Step sideways.")
@click.option(
    "--atol", type=Positive(), default=1e-5, show_default=True, help="Absolute tolerance."
)
@click.option(
    "--rtol", type=Positive(), default=1e-5, show_default=True, help="Relative tolerance."
)
@click.option("--png", type=FilePath(), help="Also draw both Jacobians and their difference.")
@seed_option
@force_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    function: str,
    png: Path | None,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    if not abs(options["times"]) <= 1e9:
        raise UsageError(f"--times {options['times']} is no factor: give a finite number.")
    if png is not None:
        files.place(png, force=force, end=".png")
    with output.aside():  # the function may be anybody's code
        done = gradcheck(function, **options)
    from ptools_plugins.gradcheck import show

    if png is not None:
        files.write(png, show.picture(done), force=force)
    if as_json:
        output.document(done.document())
    else:
        show.report(done, options["eps"])
    if done.exit_code:
        ctx.exit(done.exit_code)


def gradcheck(
    function: str,
    inputs: Sequence[Input],
    *,
    args: str = "",
    between: tuple[float, float] | None = None,
    times: float = 1.0,
    order: str = "2",
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-5,
    seed: int = 0,
) -> Report:
    """Check `function` on tensors of `inputs` (tracing's Input); return a Report.

    See ptools_plugins.gradcheck.target.find and work.check. Raises UsageError and PtoolsError.
    """
    from ptools.training import hardware

    hardware.import_torch()
    from ptools_plugins.gradcheck import target, work

    found = target.find(function, inputs, args=args, between=between, seed=seed)
    tolerance = work.Tolerance(eps, atol, rtol)
    return work.check(found, times=times, second=order == "2", tolerance=tolerance)
