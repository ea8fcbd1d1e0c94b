"""ptools shapes: the number PyTorch gives, the formula filled in, misfits refused as PyTorch does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptools.errors import UsageError
from ptools.testing import Run
from ptools_plugins.shapes import shapes

FORMULA = "out = floor((in + 2*p - d*(k - 1) - 1) / s) + 1"


def test_the_readme_example(ptools: Run) -> None:
    assert ptools("shapes", "--in", "32", "--k", "5", "--p", "2").stdout.splitlines() == [
        "32",
        FORMULA,
        "    = floor((32 + 2*2 - 1*(5 - 1) - 1) / 1) + 1 = 32",
    ]


@pytest.mark.parametrize(
    ("args", "out"),
    [
        ("--in 32 --k 5", "28"),
        ("--in 32 --kernel 3 --stride 2 --padding 1", "16"),
        ("--in 32x48 --k 3 --s 2 --p 1", "16x24"),
        ("--in 16x32x48 --k 3x5x7 --p 1x2x3", "16x32x48"),
        ("--in 32 --k 3 --d 2", "28"),
        ("--in 32 --k 5x7 --p same", "32x32"),
        ("--in 32 --k 4 --p same", "32"),
        ("--in 224 --k 7 --s 2 --p 3", "112"),
        ("--in 32 --k 2 --op maxpool", "16"),
        ("--in 112 --k 3 --s 2 --op maxpool --ceil", "56"),
        ("--in 112 --k 3 --s 2 --p 1 --op maxpool", "56"),
        ("--in 5 --k 2 --s 2 --p 1 --op avgpool --ceil", "3"),
        ("--in 7 --k 4 --s 2 --p 1 --op transpose", "14"),
        ("--in 7 --k 3 --s 2 --p 1 --output-padding 1 --op transpose", "14"),
        ("--in 32×48 --k 3", "30x46"),
        ("--in 32,48 --k 3", "30x46"),
    ],
)
def test_known_sizes(args: str, out: str, ptools: Run) -> None:
    assert ptools("shapes", *args.split()).stdout.splitlines()[0] == out


def test_json(ptools: Run) -> None:
    done = ptools("shapes", "--in", "32x48", "--k", "5", "--p", "2", "--s", "2", "--json")
    expected = {
        "in": [32, 48],
        "out": [16, 24],
        "op": "conv",
        "k": [5, 5],
        "s": [2, 2],
        "p": [2, 2],
    }
    assert expected.items() <= done.document.items()


def test_the_filled_formula_is_the_result(ptools: Run) -> None:
    """What stands left of `=` in every line is Python arithmetic that gives what stands right."""
    import math

    for args in ("--in 31x48 --k 3 --s 2 --p 1", "--in 5x9 --k 2 --op maxpool --p 1 --ceil",
                 "--in 7x8 --k 4 --s 3 --p 1 --op transpose", "--in 9 --k 4 --p same"):  # fmt: skip
        lines = ptools("shapes", *args.split()).stdout.splitlines()
        assert len(lines) >= 3
        for line in lines[2:]:
            left, right = line.strip().removeprefix("= ").partition("  (")[0].rsplit(" = ", 1)
            value = eval(left, {"floor": math.floor, "ceil": math.ceil})  # the test's own text
            assert value == int(right)
            assert right in lines[0].split("x")


def test_the_window_that_would_start_in_the_padding(ptools: Run) -> None:
    args = ("--k", "2", "--p", "1", "--op", "maxpool", "--ceil")
    assert "padding)" not in ptools("shapes", "--in", "6", "--s", "2", *args).stdout
    out = ptools("shapes", "--in", "4", "--s", "3", *args).stdout
    assert out.splitlines()[0] == "2"
    assert "- 1 = 2  (a window may not start in the padding)" in out


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ("--in 2 --k 5", "--p 2"),
        ("--in 32 --k 5 --d 10", "--p 5"),
        ("--in 3 --k 3 --d 4 --op maxpool", "use a smaller --k or --d"),
        ("--in 2 --k 3 --op maxpool", "use --p 1 or"),
        ("--in 32 --k 2 --p 2 --op maxpool", "at most half the kernel"),
        ("--in 32 --k 2 --d 2 --op avgpool", "avgpool has no dilation"),
        ("--in 32 --k 2 --ceil", "--ceil is for pooling"),
        ("--in 32 --k 2 --output-padding 1", "--op transpose"),
        ("--in 32 --k 2 --output-padding 1 --op transpose", "smaller than the stride"),
        ("--in 1 --k 2 --p 2 --op transpose", "smaller --p"),
        ("--in 32 --k 3 --s 2 --p same", "stride 1"),
    ],
)
def test_misfits(args: str, says: str, ptools: Run) -> None:
    done = ptools("shapes", *args.split())
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_padding_that_is_advised_fits(ptools: Run) -> None:
    for size, kernel in ((2, 5), (3, 6), (1, 9)):
        error = ptools("shapes", "--in", str(size), "--k", str(kernel)).stderr
        padding = error.partition("use --p ")[2].split()[0]
        args = ("--in", str(size), "--k", str(kernel), "--p", padding)
        assert ptools("shapes", *args).exit_code == 0
        args = ("--in", str(size), "--k", str(kernel), "--p", str(int(padding) - 1))
        assert ptools("shapes", *args).exit_code == 2


# -- PyTorch is the judge ----------------------------------------------------------------------------


def _torch_size(given: dict[str, Any]) -> list[int]:
    """Return what PyTorch makes of it, or raise what PyTorch raises."""
    import torch
    from torch import nn

    dims, op = len(given["size"]), given["op"]
    sizes = {"kernel_size": given["kernel"], "stride": given["stride"], "padding": given["padding"]}
    if op == "conv":
        layer = getattr(nn, f"Conv{dims}d")(1, 1, **sizes, dilation=given["dilation"])
    elif op == "transpose":
        layer = getattr(nn, f"ConvTranspose{dims}d")(
            1, 1, **sizes, dilation=given["dilation"], output_padding=given["output_padding"]
        )
    else:
        more = {"dilation": given["dilation"]} if op == "maxpool" else {}
        kind = {"maxpool": "MaxPool", "avgpool": "AvgPool"}[op]
        layer = getattr(nn, f"{kind}{dims}d")(**sizes, ceil_mode=given["ceil"], **more)
    with torch.device("meta"):
        return list(layer.to("meta")(torch.empty(1, 1, *given["size"])).shape[2:])


@st.composite
def layers(draw: st.DrawFn) -> dict[str, Any]:
    dims = draw(st.integers(1, 3))

    def sizes(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(dims))

    op = draw(st.sampled_from(["conv", "maxpool", "avgpool", "transpose"]))
    return {
        "size": sizes(1, 40),
        "kernel": sizes(1, 7),
        "stride": sizes(1, 5),
        "padding": sizes(0, 4),
        "dilation": (1,) * dims if op == "avgpool" else sizes(1, 3),
        "op": op,
        "ceil": op in ("maxpool", "avgpool") and draw(st.booleans()),
        "output_padding": sizes(0, 3) if op == "transpose" else (0,) * dims,
    }


@settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))
@given(layers())
def test_sizes_are_those_of_pytorch(given: dict[str, Any]) -> None:
    expected: list[int] | None
    try:
        expected = _torch_size(given)
        if (
            min(expected) < 1
        ):  # a transposed convolution may give an empty tensor; we call it a misfit
            expected = None
    except RuntimeError:
        expected = None
    try:
        found = shapes(**given)["out"]
    except UsageError:
        found = None
    assert found == expected
