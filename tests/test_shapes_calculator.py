"""ptools shapes by numbers: what PyTorch gives, the formula filled in, and the inverse question."""

from __future__ import annotations

import itertools
import math
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.sizes import configurations, ours, pytorch
from ptools.errors import PtoolsError, UsageError, one_line
from ptools.testing import HEAVY, Run
from ptools.tracing import inverse
from ptools.tracing.sizes import OPERATIONS, POOLING, UNDILATED
from ptools_plugins.shapes.calculator import calculate, invert

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
        ("--in 32 --kernel 3 --dilation 2", "28"),
        ("--in 32x48 --k 3 --s 2 --p 1", "16x24"),
        ("--in 16x32x48 --k 3x5x7 --p 1x2x3", "16x32x48"),
        ("--in 32 --k 3 --d 2", "28"),
        ("--in 32 --k 5x7 --p same", "32x32"),
        ("--in 32 --k 4 --p same", "32"),
        ("--in 224 --k 7 --s 2 --p 3", "112"),
        ("--in 32 --k 2 --op maxpool", "16"),
        ("--in 32 --k 2 --op lppool", "16"),
        ("--in 33 --k 2 --op lppool --ceil", "17"),
        ("--in 112 --k 3 --s 2 --op maxpool --ceil", "56"),
        ("--in 112 --k 3 --s 2 --p 1 --op maxpool", "56"),
        ("--in 5 --k 2 --s 2 --p 1 --op avgpool --ceil", "3"),
        ("--in 7 --k 4 --s 2 --p 1 --op transpose", "14"),
        ("--in 7 --k 3 --s 2 --p 1 --output-padding 1 --op transpose", "14"),
        ("--in 10x12 --k 3 --op unfold", "8x10"),
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
        "d": [1, 1],
    }
    assert expected.items() <= done.document.items()


def test_unfold_counts_the_blocks(ptools: Run) -> None:
    done = ptools("shapes", "--in", "10x12", "--k", "3x2", "--s", "2", "--op", "unfold")
    assert (done.stdout.splitlines()[-1], done.stderr) == ("L = 4 * 6 = 24", "")
    assert calculate((10, 12), (3, 2), (2,), op="unfold")["blocks"] == 24
    done = ptools("shapes", "--in", "10", "--k", "3", "--op", "unfold")
    assert done.stdout.splitlines()[-1] == "L = 8"
    assert "two dimensions only" in done.stderr


def test_the_filled_formula_is_the_result(ptools: Run) -> None:
    """What stands left of `=` in every line is Python arithmetic that gives what stands right."""
    for args in ("--in 31x48 --k 3 --s 2 --p 1", "--in 5x9 --k 2 --op maxpool --p 1 --ceil",
                 "--in 7x8 --k 4 --s 3 --p 1 --op transpose", "--in 9 --k 4 --p same",
                 "--in 31x48 --k 3 --op lppool", "--in 31x48 --k 3 --p 1 --op avgpool"):  # fmt: skip
        lines = ptools("shapes", *args.split()).stdout.splitlines()
        assert len(lines) >= 3
        for line in lines[2:]:
            left, right = line.strip().removeprefix("= ").partition("  (")[0].rsplit(" = ", 1)
            value = eval(left, {"floor": math.floor, "ceil": math.ceil})  # the test's own text
            assert value == int(right)
            assert right in lines[0].split("x")


def test_a_formula_has_only_what_the_layer_has() -> None:
    steps = {op: calculate((9,), (3,), op=op)["steps"][0] for op in OPERATIONS}
    assert steps["conv"] == steps["maxpool"] == steps["unfold"] == FORMULA
    assert steps["avgpool"] == "out = floor((in + 2*p - k) / s) + 1"
    assert steps["lppool"] == "out = floor((in - k) / s) + 1"
    assert steps["transpose"] == "out = (in - 1)*s - 2*p + d*(k - 1) + output_padding + 1"


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
        ("--in 2 --k 3 --op avgpool", "use --p 1 or a smaller --k."),
        ("--in 2 --k 3 --op lppool", "input has only 2; use a smaller --k."),
        ("--in 32 --k 2 --p 2 --op maxpool", "at most half the kernel"),
        ("--in 32 --k 2 --d 2 --op avgpool", "avgpool has no dilation"),
        ("--in 32 --k 2 --d 2 --op lppool", "lppool has no dilation"),
        ("--in 32 --k 2 --p 1 --op lppool", "lppool has no padding"),
        ("--in 2x9x9 --k 3 --op lppool --ceil", "LPPool3d takes no input (2) smaller"),
        ("--in 2x9x9 --k 3 --p 1 --op avgpool", "AvgPool3d takes no input (2) smaller"),
        ("--in 32 --k 2 --ceil", "--ceil is for pooling"),
        ("--in 32 --k 2 --ceil --op unfold", "--ceil is for pooling"),
        ("--in 32 --k 2 --output-padding 1", "--op transpose"),
        ("--in 32 --k 2 --output-padding 1 --op transpose", "smaller than the stride"),
        ("--in 1 --k 2 --p 2 --op transpose", "smaller --p"),
        ("--in 32 --k 3 --s 2 --p same", "stride 1"),
        ("--in 32 --k 3 --p same --op unfold", "for conv"),
        ("--in 32 --k 3 --p same --op transpose", "for conv"),
        ("--in 3x32x32 --k 5", "leave it out: --in 32x32."),
        ("--in 32x32 --k 3x3x3", "--in has 2 dimensions but --k has 3"),
        ("--in 1x3x32x32 --k 3", "at most 3"),
        ("--in 32", "give --k (the kernel), or --out"),
    ],
)
def test_misfits(args: str, says: str, ptools: Run) -> None:
    done = ptools("shapes", *args.split())
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_sizes_from_elsewhere_are_checked() -> None:
    """A Python caller, or an --in that may also be a tensor's shape, has no parser before it."""
    for size in ((), (0,), (8, 0), (1, 2, 3, 4)):
        with pytest.raises(UsageError, match="at least 1"):
            calculate(size, (1,))
        with pytest.raises(UsageError, match="at least 1"):
            invert(size, (1,))


def test_channels_taken_for_a_dimension_are_noted(ptools: Run) -> None:
    done = ptools("shapes", "--in", "3x32x32", "--k", "3", "--p", "1")
    assert done.stdout.splitlines()[0] == "3x32x32"
    assert "leave it out: --in 32x32" in done.stderr
    assert ptools("shapes", "--in", "16x32x32", "--k", "3").stderr == ""
    assert ptools("shapes", "--in", "3x32x32", "--k", "1x3x3").stderr == ""


def test_the_padding_that_is_advised_fits(ptools: Run) -> None:
    for size, kernel in ((2, 5), (3, 6), (1, 9)):
        error = ptools("shapes", "--in", str(size), "--k", str(kernel)).stderr
        padding = error.partition("use --p ")[2].split()[0]
        args = ("--in", str(size), "--k", str(kernel), "--p", padding)
        assert ptools("shapes", *args).exit_code == 0
        args = ("--in", str(size), "--k", str(kernel), "--p", str(int(padding) - 1))
        assert ptools("shapes", *args).exit_code == 2


# -- PyTorch is the judge ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_sizes_are_those_of_pytorch() -> None:
    """10,000 random layers of every kind; `python -m benchmarks.sizes` asks 100,000."""
    asked = list(configurations(10_000, seed=1))
    assert {given["op"] for given in asked} == set(OPERATIONS)
    assert {len(given["size"]) for given in asked} == {1, 2, 3}
    verdicts = [(given, pytorch(given), ours(given)) for given in asked]
    wrong = [f"{given}: PyTorch {e}, ptools {f}" for given, e, f in verdicts if e != f]
    assert wrong == []
    refused = sum(expected is None for _, expected, _ in verdicts)
    assert 1000 < refused < 5000  # both kinds are asked for


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_sizes_are_those_of_tensors_that_exist() -> None:
    """The meta device and the CPU have code of their own for the same shape."""
    for given in configurations(300, seed=2):
        assert ours(given) == pytorch(given, "cpu"), given


# -- the inverse equals brute force ------------------------------------------------------------------

Option = tuple[int, int, int | str, int, int]  # k, s, p, d, output_padding


def _count(op: str, n: int, option: Option, ceil: bool) -> int:
    """Count the windows by placing them: no formula of the code that is tested."""
    k, s, p, d, more = option
    span = d * (k - 1) + 1
    left, right = ((span - 1) // 2, span // 2) if p == "same" else (int(p), int(p))
    if op == "transpose":
        first, last = -left, -left + (n - 1) * s
        return last + span - first - left - right + more
    end = n + right - span  # the last start at which a window ends inside
    return len(range(-left, min(n, end + s) if ceil else end + 1, s))


def _brute(op: str, n: int, out: int, ceil: bool, dims: int, given: dict[str, Any],
           every: set[int], steady: set[int]) -> set[Option]:  # fmt: skip
    """Try all that the head of ptools/tracing/inverse.py allows along one dimension."""
    windows, elements = (n, out) if op == "transpose" else (out, n)
    found = set()
    for k in [given["k"]] if given["k"] else sorted({*range(1, 12), *every}):
        tile = not given["k"] and k > 11
        undilated = k == 1 or op in UNDILATED or tile
        for d in [given["d"]] if given["d"] else [1] if undilated else range(1, 5):
            span = d * (k - 1) + 1
            half = (k if op in POOLING else span) // 2
            least = given["s"] or 1
            reach = _count(op, n, (k, least, half, d, 0), False)
            more = (reach > out if op == "transpose" else reach < out) and op not in POOLING
            paddings = [p for p in range(span) if p <= (span - 1 if more else half)]
            paddings = [p for p in paddings if p <= 64 or (2 * p == span - 1)]
            if op == "lppool" or tile:
                paddings = [0]
            strides = [s for s in range(1, elements + span + 1)
                       if s <= 11 or s == k or s in every]  # fmt: skip
            strides = [s for s in strides if s <= max(span, math.ceil(elements / windows))]
            if tile:
                strides = [k]
            for p in [given["p"]] if given["p"] is not None else paddings:
                if given["s"] or p == "same":
                    strides = [given["s"] or 1]
                elif windows == 1:
                    strides = [*steady, *_single(op, n, out, (k, 1, p, d, given["o"] or 0), ceil)]
                for s in strides:
                    if given["p"] is None and p > half and s != least:
                        continue
                    if given["o"] is not None:
                        grown = [given["o"]]
                    else:
                        grown = list(range(min(s, 12))) if op == "transpose" else [0]
                    for o in grown:
                        option = (k, s, p, d, o)
                        if _count(op, n, option, ceil) == out and _legal(op, n, dims, option):
                            found.add(option)
    return found


def _single(op: str, n: int, out: int, option: Option, ceil: bool) -> list[int]:
    """Return the stride to list where one window is all there is: the default, else the smallest."""
    k, _, p, d, o = option
    if op == "transpose":
        return [1 if o < d else o + 1]
    usual = k if op in POOLING else 1
    several = (s for s in itertools.chain([usual], range(1, 200)))
    return [next((s for s in several if _count(op, n, (k, s, p, d, o), ceil) == out), 1)]


def _legal(op: str, n: int, dims: int, option: Option) -> bool:
    k, s, p, d, o = option
    if op in POOLING and 2 * int(p) > k:
        return False
    return o < max(s, d) and not (dims == 3 and op in UNDILATED and n < k)


def _brute_all(setting: dict[str, Any]) -> tuple[list[set[Option]], Iterator[tuple[Option, ...]]]:
    """Return the solutions of every dimension, and those of all: the same, or else combinations."""
    op, sizes, wanted = setting["op"], setting["size"], setting["wanted"]
    every, steady = set(), set()
    for n, out in zip(sizes, wanted, strict=True):
        windows, elements = (n, out) if op == "transpose" else (out, n)
        ratios = {elements // windows, math.ceil(elements / windows)} - {0}
        every |= ratios
        steady |= ratios if windows > 1 else set()
    each = []
    for i, (n, out) in enumerate(zip(sizes, wanted, strict=True)):
        given = {name: v[i] if isinstance(v, tuple) else v for name, v in setting["given"].items()}
        each.append(_brute(op, n, out, setting["ceil"], len(sizes), given, every, steady))
    free = [i for i, name in enumerate("kspdo") if setting["given"][name] is None]
    lists: list[dict[tuple[Any, ...], Option]] = [
        {tuple(option[i] for i in free): option for option in options} for options in each
    ]
    if common := set.intersection(*(set(some) for some in lists)):
        return each, (tuple(some[values] for some in lists) for values in common)
    asked = [
        (n, out, *(v[i] if isinstance(v, tuple) else v for v in setting["given"].values()))
        for i, (n, out) in enumerate(zip(sizes, wanted, strict=True))
    ]  # dimensions that ask the same get the same
    distinct = list(dict.fromkeys(asked))
    choices = itertools.product(*(each[asked.index(question)] for question in distinct))
    places = [distinct.index(question) for question in asked]
    return each, (tuple(choice[place] for place in places) for choice in choices)


def _settings(count: int, dims: int, seed: int) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    settings = []
    for _ in range(count):
        op = draw.choice(OPERATIONS)
        size = tuple(draw.randint(1, 40) for _ in range(dims))
        if draw.random() < 0.5:
            size = size[:1] * dims
        ratio = draw.choice((0.07, 0.25, 0.3, 0.5, 0.5, 0.9, 1, 1, 1.1, 2))
        ratio = 1 / ratio if op == "transpose" else ratio
        shift = draw.choice((-1, 0, 0, 1))
        given: dict[str, Any] = dict.fromkeys("kspdo")
        for name, low, high in (("k", 1, 13), ("s", 1, 13), ("p", 0, 5), ("d", 1, 5), ("o", 0, 2)):
            lacks = (name in "pd" and op == "lppool") or (name == "d" and op == "avgpool")
            if draw.random() < 0.3 and not lacks and (name != "o" or op == "transpose"):
                given[name] = tuple(draw.randint(low, high) for _ in range(dims))
                if draw.random() < 0.7:
                    given[name] = given[name][:1] * dims
        if op == "conv" and draw.random() < 0.1:
            given.update(p="same", s=None)
        wanted = tuple(max(1, round(n * ratio) + shift) for n in size)
        if draw.random() < 0.2:
            wanted = (1, *wanted[1:])
        ceil = op in POOLING and draw.random() < 0.5
        settings.append({"size": size, "wanted": wanted, "op": op, "ceil": ceil, "given": given})
    return settings


def _solve(setting: dict[str, Any]) -> inverse.Answer:
    given = setting["given"]
    return inverse.solve(
        setting["size"], setting["wanted"], setting["op"], given["k"], given["s"], given["p"],
        given["d"], setting["ceil"], given["o"],
    )  # fmt: skip


@pytest.mark.parametrize(("dims", "count"), [(1, 600), (2, 150), (3, 60)])
def test_the_inverse_equals_brute_force(dims: int, count: int) -> None:
    solved = 0
    for setting in _settings(count, dims, seed=dims):
        answer = _solve(setting)
        found = [
            tuple(
                (w.kernel, w.stride, "same" if setting["given"]["p"] == "same" else w.padding[0],
                 w.dilation, w.output_padding) for w in windows
            )
            for windows in answer.solutions
        ]  # fmt: skip
        each, expected = _brute_all(setting)
        assert len(found) == len(set(found))
        if answer.complete:
            assert set(found) == set(expected), setting
        else:
            several = list(itertools.islice(expected, inverse.COMBINATIONS + 1))
            assert len(found) <= inverse.COMBINATIONS < len(several), setting
            assert all(
                o in some for options in found for o, some in zip(options, each, strict=True)
            )
        solved += bool(found)
    assert count / 3 < solved < count


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_every_solution_is_a_layer_of_pytorch() -> None:
    for dims, seed in ((1, 11), (2, 12), (3, 13)):
        for setting in _settings(40, dims, seed):
            op, same = setting["op"], setting["given"]["p"] == "same"
            for windows in _solve(setting).solutions[:20]:
                given = {
                    "size": setting["size"],
                    "kernel": tuple(w.kernel for w in windows),
                    "stride": tuple(w.stride for w in windows),
                    "padding": "same" if same else tuple(w.padding[0] for w in windows),
                    "dilation": tuple(w.dilation for w in windows),
                    "op": op,
                    "ceil": setting["ceil"],
                    "output_padding": tuple(w.output_padding for w in windows),
                }
                lacks = {"lppool": ("padding", "dilation"), "avgpool": ("dilation",)}.get(op, ())
                given.update(dict.fromkeys(lacks))
                if op != "transpose":
                    given["output_padding"] = None
                assert pytorch(given) == list(setting["wanted"]), given


# -- simplest first ----------------------------------------------------------------------------------


def _first(op: str, size: int, wanted: int, count: int = 1, **held: int) -> list[str]:
    report = invert((size,), (wanted,), op=op, **{n: (v,) for n, v in held.items()})  # type: ignore[arg-type]
    names = ("k", "s", "p", "d", "output_padding")
    default = {"p": 0, "d": 1, "output_padding": 0}
    return [
        " ".join(
            f"{name}={solution[name][0]}"
            for name in names
            if name in solution and solution[name][0] != default.get(name)
        )
        for solution in report["solutions"][:count]
    ]


@pytest.mark.parametrize(
    ("op", "size", "wanted", "first"),
    [
        ("conv", 32, 32, ["k=3 s=1 p=1", "k=1 s=1", "k=5 s=1 p=2", "k=7 s=1 p=3"]),
        ("conv", 32, 16, ["k=3 s=2 p=1", "k=5 s=2 p=2", "k=7 s=2 p=3"]),
        ("conv", 32, 28, ["k=5 s=1", "k=7 s=1 p=1"]),  # LeNet
        ("conv", 32, 30, ["k=3 s=1"]),
        ("conv", 32, 31, ["k=2 s=1"]),
        ("conv", 224, 112, ["k=3 s=2 p=1"]),
        ("conv", 224, 56, ["k=4 s=4"]),  # Swin, ConvNeXt
        ("conv", 224, 14, ["k=16 s=16"]),  # ViT
        ("conv", 224, 7, ["k=32 s=32"]),
        ("conv", 7, 1, ["k=7 s=1"]),
        ("conv", 4, 1, ["k=4 s=1"]),  # the discriminator of DCGAN
        ("maxpool", 32, 16, ["k=2 s=2", "k=3 s=2 p=1"]),
        ("maxpool", 112, 56, ["k=2 s=2", "k=3 s=2 p=1"]),
        ("maxpool", 55, 27, ["k=2 s=2", "k=3 s=2"]),  # AlexNet has the second
        ("maxpool", 32, 32, ["k=3 s=1 p=1"]),  # Inception
        ("maxpool", 7, 1, ["k=7 s=7"]),
        ("avgpool", 224, 7, ["k=32 s=32"]),
        ("lppool", 32, 16, ["k=2 s=2", "k=1 s=2"]),
        ("unfold", 224, 14, ["k=16 s=16"]),
        ("unfold", 32, 32, ["k=3 s=1 p=1"]),
        ("transpose", 16, 32, ["k=2 s=2", "k=4 s=2 p=1"]),  # U-Net, DCGAN
        ("transpose", 7, 14, ["k=2 s=2", "k=4 s=2 p=1"]),
        ("transpose", 1, 4, ["k=4 s=1"]),
        ("transpose", 14, 27, ["k=3 s=2 p=1"]),
        ("transpose", 16, 64, ["k=4 s=4"]),
        ("transpose", 16, 224, ["k=14 s=14"]),
        ("transpose", 32, 32, ["k=3 s=1 p=1"]),
    ],
)
def test_the_simplest_comes_first(op: str, size: int, wanted: int, first: list[str]) -> None:
    assert _first(op, size, wanted, len(first)) == first


def test_what_is_known_from_practice_is_found() -> None:
    assert _first("conv", 227, 55, kernel=11) == ["k=11 s=4"]  # AlexNet
    assert _first("conv", 224, 112, kernel=7) == ["k=7 s=2 p=3"]  # ResNet
    assert _first("conv", 500, 500, kernel=201) == ["k=201 s=1 p=100"]
    assert _first("conv", 32, 34, kernel=3) == ["k=3 s=1 p=2"]  # "full" padding
    assert _first("conv", 224, 7, kernel=3) == ["k=3 s=32"]
    assert _first("conv", 33, 33, dilation=12) == ["k=3 s=1 p=12 d=12"]  # DeepLab
    assert _first("transpose", 16, 32, kernel=3) == ["k=3 s=2 p=1 output_padding=1"]
    assert "k=1 s=2" in _first("conv", 32, 16, 12)  # the shortcut of ResNet


def test_where_the_stride_changes_nothing_it_is_the_usual_one() -> None:
    strides = {(s["k"][0], s["s"][0]) for s in invert((7,), (1,), op="maxpool")["solutions"]}
    assert (7, 7) in strides
    assert (7, 1) not in strides
    assert _first("conv", 7, 1, kernel=6) == ["k=6 s=2"]  # 1 would give 2 windows
    assert _first("transpose", 1, 5, output_padding=1) == ["k=4 s=2 output_padding=1"]


def test_windows_that_touch_half_of_the_input_come_first() -> None:
    found = _first("conv", 7, 1, 99, kernel=3)
    assert found[0] == "k=3 s=3 d=2"
    assert found.index("k=3 s=5") > found.index("k=3 s=1 d=3")


def test_dilation_comes_last_of_what_reads_the_input() -> None:
    dilations = [s["d"][0] for s in invert((32,), (16,))["solutions"]]
    assert dilations == sorted(dilations)
    assert set(dilations) == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("size", "wanted", "given", "first"),
    [
        ((32, 32), (16, 16), {}, ([3, 3], [2, 2], [1, 1])),
        ((32, 48), (16, 48), {}, ([3, 3], [2, 1], [1, 1])),
        ((64, 128), (4, 4), {}, ([16, 32], [16, 32], [0, 0])),
        ((8, 224, 224), (8, 112, 112), {}, ([3, 3, 3], [1, 2, 2], [1, 1, 1])),
        ((32, 32), (32, 32), {"kernel": (3, 5)}, ([3, 5], [1, 1], [1, 2])),
        ((32, 32), (16,), {"kernel": (3,)}, ([3, 3], [2, 2], [1, 1])),
        ((32,), (16, 16), {}, ([3, 3], [2, 2], [1, 1])),
        ((7, 14), (1, 2), {}, ([7, 7], [7, 7], [0, 0])),
        ((100, 104), (7, 8), {}, ([13, 13], [13, 13], [0, 0])),
        ((32, 15), (16, 15), {"op": "maxpool"}, ([3, 3], [2, 1], [1, 1])),
    ],
)
def test_several_dimensions(
    size: tuple[int, ...], wanted: tuple[int, ...], given: dict[str, Any], first: tuple[Any, ...]
) -> None:
    solution = invert(size, wanted, **given)["solutions"][0]
    assert (solution["k"], solution["s"], solution["p"]) == first


def test_the_same_value_everywhere_where_there_is_one() -> None:
    report = invert((32, 48), (16, 24))
    assert report["complete"]
    assert all(len(set(s[name])) == 1 for s in report["solutions"] for name in "kspd")


def test_too_many_combinations_are_cut_and_said_so(ptools: Run) -> None:
    report = invert((16, 32, 48), (16, 16, 48))
    assert report["complete"] is False
    assert 1000 < len(report["solutions"]) <= inverse.COMBINATIONS
    for i in range(3):  # every dimension keeps a choice
        settings = {tuple(s[name][i] for name in "kspd") for s in report["solutions"]}
        assert len(settings) > 10
    done = ptools("shapes", "--in", "16x32x48", "--out", "16x16x48")
    assert "only the simplest were combined" in done.stderr


def test_same_padding_that_is_uneven_is_a_pair() -> None:
    report = invert((32,), (32,), kernel=(4,), padding="same")
    assert report["solutions"][0] == {"k": [4], "s": [1], "p": [[1, 2]], "d": [1]}
    assert report["held"] == {"k": [4], "p": "same"}


def test_one_dimension_is_not_tried_number_by_number() -> None:
    settings = [((32,), (16,), "conv"), ((500,), (3,), "conv"), ((16,), (64,), "transpose"),
                ((10**18,), (5 * 10**17,), "conv"), ((10**9,), (1,), "maxpool")]  # fmt: skip
    begun = time.process_time()
    for size, wanted, op in settings:
        invert(size, wanted, op=op)
    invert((10**9,), (2,), kernel=(5 * 10**8,))
    invert((10**9,), (10**9 + 1,), stride=(10**9,), padding=(5 * 10**17,), kernel=(10**9,))
    assert time.process_time() - begun < 10  # no speed test: to try every number takes for ever


# -- the inverse on the command line -----------------------------------------------------------------


def test_the_issue_example(ptools: Run) -> None:
    done = ptools("shapes", "--in", "32", "--out", "16", "--k", "3")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "k  s  p  d",
        "3  2  1  1",
        "3  2  2  2",
        "3  2  3  3",
        "3  2  4  4",
    ]
    assert done.stderr == ""


def test_the_inverse_as_json_lists_all(ptools: Run) -> None:
    document = ptools("shapes", "--in", "32", "--out", "16", "--json").document
    assert document["in"] == [32]
    assert document["out"] == [16]
    assert document["solutions"][0] == {"k": [3], "s": [2], "p": [1], "d": [1]}
    done = ptools("shapes", "--in", "32", "--out", "16")
    shown = len(done.stdout.splitlines()) - 1
    assert done.stderr == f"and {len(document['solutions']) - shown} more (--json lists all).\n"


def test_a_transposed_solution_has_its_output_padding(ptools: Run) -> None:
    args = ("shapes", "--in", "16", "--out", "32", "--k", "3", "--op", "transpose")
    assert ptools(*args).stdout.splitlines()[:2] == [
        "k  s  p  d  output-padding",
        "3  2  1  1  1",
    ]
    assert ptools(*args, "--json").document["solutions"][0]["output_padding"] == [1]


def test_dimensions_that_differ_are_written_as_they_are_typed(ptools: Run) -> None:
    lines = ptools("shapes", "--in", "32x48", "--out", "16x48").stdout.splitlines()
    assert lines[1].split() == ["3", "2x1", "1", "1"]


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        ("--in 32 --out 20 --k 3 --s 2 --p 1", 1, "try --out 16, or leaving out --p."),
        ("--in 32 --out 17 --k 3 --s 2 --p 1", 1, "try --out 16, or leaving out --k or --p."),
        ("--in 32 --out 300", 1, "--op transpose"),
        ("--in 300 --out 2 --op transpose", 1, "--op conv"),
        ("--in 32 --out 16 --p same", 1, "try --out 32, or leaving out --p."),
        ("--in 32x40 --out 16x17 --k 3 --s 2 --p 1 --d 1", 1, "--out 16x20"),
        ("--in 32 --out 16 --op avgpool --d 2", 2, "avgpool has no dilation"),
        ("--in 32 --out 16 --op lppool --p 1", 2, "lppool has no padding"),
        ("--in 32 --out 16 --ceil", 2, "--ceil is for pooling"),
        ("--in 32 --out 16 --output-padding 1", 2, "--op transpose"),
        ("--in 32 --out 32 --p same --s 2", 2, "stride 1"),
        ("--in 32x32 --out 16x16x16", 2, "--in has 2 dimensions but --out has 3"),
    ],
)
def test_where_nothing_fits(args: str, code: int, says: str, ptools: Run) -> None:
    done = ptools("shapes", *args.split())
    assert (done.exit_code, done.stdout) == (code, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_advice_of_a_failed_search_works() -> None:
    """What it says is near, or in the way, is so; and the line is short enough to be printed whole."""
    told = 0
    for setting in [s for dims in (1, 2, 3) for s in _settings(60, dims, 20 + dims)]:
        given = {
            "kernel": "k",
            "stride": "s",
            "padding": "p",
            "dilation": "d",
            "output_padding": "o",
        }
        held = {name: setting["given"][short] for name, short in given.items()}
        where = {"size": setting["size"], "op": setting["op"], "ceil": setting["ceil"]}
        try:
            invert(wanted=setting["wanted"], **where, **held)
        except PtoolsError as error:
            assert not isinstance(error, UsageError)
            message = str(error)
            assert one_line(message) == message
            if len(setting["size"]) == 1 and "--out " in message:
                near = message.partition("--out ")[2].replace(", or", ".").partition(".")[0]
                for size in near.split(" or "):
                    assert invert(wanted=(int(size),), **where, **held)["solutions"]
                    told += 1
            if len(setting["size"]) == 1 and "leaving out --k" in message:
                assert invert(wanted=setting["wanted"], **where, **{**held, "kernel": None})
    assert told > 10


def test_the_inverse_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from ptools_plugins.shapes.calculator import calculate, invert, show, show_solutions\n"
        "show(calculate((32,), (3,))); show_solutions(invert((32,), (16,)))\n"
        "print('MODULES', *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stderr.rpartition("MODULES")[2].split()) & set(HEAVY)
