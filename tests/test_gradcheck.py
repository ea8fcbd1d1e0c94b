"""ptools gradcheck: what is right passes, and of what is wrong the first element is named."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ptools.errors import UsageError
from ptools.testing import Run
from ptools.tracing.inputs import Input
from ptools_plugins.gradcheck import gradcheck, jacobian
from ptools_plugins.gradcheck.work import Report

pytestmark = pytest.mark.usefixtures("place")

OPS = """
import torch
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

def made(backward, forward=lambda x: x**2):
    class Made(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return forward(x)

        @staticmethod
        def backward(ctx, grad):
            return backward(ctx.saved_tensors[0], grad)
    return Made

def one_element(x, grad):
    found = (2 * x * grad).clone()
    found[1, 2] += 1e-3 * grad[1, 2]
    return found

Square = made(lambda x, g: 2 * x * g)
OneElement = made(one_element)
Half = made(lambda x, g: x * g)
Ignores = made(lambda x, g: 2 * x)
Nothing = made(lambda x, g: None)
Shape = made(lambda x, g: (2 * x * g).sum(0))
Count = made(lambda x, g: (2 * x * g, g))
Raises = made(lambda x, g: g.nonsense)
Noisy = made(lambda x, g: 2 * x * g * torch.rand(1, dtype=x.dtype))
NoisyForward = made(lambda x, g: 2 * x * g, lambda x: x**2 + torch.rand_like(x))
Nan = made(lambda x, g: 2 * x * g * float("nan"))
Cut = made(lambda x, g: (2 * x * g).detach())
HalfCut = made(lambda x, g: 2 * x.detach() * g)
InPlace = made(lambda x, g: g, lambda x: x.mul_(1.5))

class Dirty(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad

class Once(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        return 2 * ctx.saved_tensors[0] * grad

class Power(Function):
    @staticmethod
    def forward(ctx, x, p, weight):
        ctx.save_for_backward(x, weight)
        ctx.p = p
        return x**p * weight

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        return grad * ctx.p * x ** (ctx.p - 1) * weight, None, grad * x**ctx.p

class WithSetup(Function):
    @staticmethod
    def forward(x):
        return x**2

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad):
        return 2 * ctx.saved_tensors[0] * grad

class SecondInput(Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y, x + y

    @staticmethod
    def backward(ctx, one, two):
        x, y = ctx.saved_tensors
        return one * y + two, one * x + 3 * two

class Net(nn.Module):
    def __init__(self, inputs=3):
        super().__init__()
        self.fc = nn.Linear(inputs, 2)

    def forward(self, x):
        return self.fc(x).tanh()

def detached(x): return x.detach() * 2
def whole(x): return x.argmax(1)
def single(x): return x.float() * 2
def relu(x): return x.relu()
def bent(x): return torch.where(x == 0, 0, x.abs()) + Half.apply(x)
def embedding(ids, weight): return nn.functional.embedding(ids, weight)
def scaled(x, *, by): return x * by
def fails(x): return x @ x
def several(x): return x * 2, {"sum": x.sum(), "ids": x.argmax()}
number = 5
"""


@pytest.fixture(autouse=True)
def _ops(place: Path) -> None:
    Path("ops.py").write_text(OPS)


def checked(name: str, *shapes: str, **options: object) -> Report:
    from ptools.tracing.inputs import parse

    inputs = [parse(shape) for shape in shapes or ("4x3",)]
    spec = name if ":" in name or name in ("exp", "grad-reverse") else f"ops.py:{name}"
    return gradcheck(spec, inputs, **options)  # type: ignore[arg-type]


# -- what is right ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shapes", "options"),
    [
        ("exp", ("4x3",), {}),
        ("exp", ("",), {}),
        ("grad-reverse", ("4x3",), {"times": -1.0}),
        ("grad-reverse", ("2",), {"args": "0.5", "times": -0.5}),
        ("Square", ("4x3",), {}),
        ("WithSetup", ("4x3",), {}),
        ("Dirty", ("4x3",), {}),
        ("Power", ("2x2", "2"), {"args": "_, 3, _"}),
        ("Net(4)", ("2x4",), {}),
        ("embedding", ("3:int64:5", "5x2"), {}),
        ("scaled", ("3",), {"args": "by=2.5"}),
        ("scaled", ("3", "3"), {"args": "_, by=_"}),
        ("several", ("2x3",), {}),
        ("relu", ("4x3",), {}),
        ("torch.nn:LSTMCell(2, 2)", ("1x2",), {}),
        ("torch:log", ("3",), {"between": (0.1, 2.0)}),
    ],
)
def test_what_is_right_passes(name: str, shapes: tuple[str, ...], options: dict[str, str]) -> None:
    shapes = tuple(shape or "1" for shape in shapes)
    done = checked(name, *shapes, **options)
    assert (done.first.state, done.first.torch) == ("ok", None), done.document()
    assert (done.second.state, done.second.torch) == ("ok", None), done.document()
    assert done.first.found
    assert done.first.found.worst < 1e-6
    assert done.exit_code == 0


def test_inputs_have_the_names_that_forward_gives_them() -> None:
    assert list(checked("Power", "2", "2", args="_, 3, _").inputs) == ["x", "weight"]
    assert list(checked("WithSetup").inputs) == ["x"]
    assert list(checked("Net(3)").inputs) == ["x", "fc.weight", "fc.bias"]


@settings(max_examples=20, deadline=None)
@given(shape=st.lists(st.integers(1, 3), min_size=1, max_size=3), seed=st.integers(0, 2**40))
def test_jacobians_are_those_of_torch(shape: list[int], seed: int) -> None:
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))

    def f(values: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        value = values[0]
        return [value.sin().cumsum(0), value.prod()]

    wanted = torch.autograd.functional.jacobian(lambda v: jacobian.flat(f([v])), x)  # type: ignore[no-untyped-call]
    wanted = wanted.flatten(1).T
    found, unused = jacobian.analytical(f, [x])
    assert torch.allclose(found, wanted)
    assert unused == []
    assert torch.allclose(jacobian.numerical(f, [x], 1e-6), wanted, atol=1e-7)


# -- what is wrong ---------------------------------------------------------------------------------


def test_the_first_wrong_element_is_named_with_both_numbers() -> None:
    done = checked("OneElement")
    assert done.exit_code == 1
    found = done.first.found
    assert found
    assert (found.wrong, found.total, found.kinks) == (1, 144, 0)
    one = found.element
    assert one
    assert (one.input, one.index, one.output, one.output_index) == ("x", (1, 2), "output", (1, 2))
    assert one.numerical == pytest.approx(2 * one.value, abs=1e-8)
    assert one.analytical == pytest.approx(2 * one.value + 1e-3, abs=1e-12)
    assert done.second.says == "the first is wrong"


def test_torchs_own_tolerance_lets_it_pass() -> None:
    assert checked("OneElement", rtol=1e-3).exit_code == 0


def test_the_second_input_of_the_second_output() -> None:
    one = checked("SecondInput", "2x2", "2x2").first.found
    assert one
    assert one.element
    assert (one.element.input, one.element.index) == ("y", (0, 0))
    assert (one.element.output, one.element.output_index) == ("output 2", (0, 0))
    assert (one.element.analytical, one.wrong) == (3, 4)
    assert one.element.numerical == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Half", "every element is 0.5 times the derivative (if it is meant so: --times 0.5)"),
        ("Ignores", "backward is not proportional to the gradient it gets"),
        ("Nothing", "backward returns None for x, whose derivative is not 0"),
        ("Shape", "backward returns a gradient of shape [3] for input 1, which is [4, 3]"),
        ("Count", "backward returns 2 gradients and forward takes 1 arguments"),
        ("Raises", "backward fails: AttributeError: 'Tensor' object has no attribute 'nonsense'"),
        ("Noisy", "backward gives two results for one gradient"),
        ("NoisyForward", "forward gives two results for one input"),
        ("torch.nn:Dropout()", "forward gives two results for one input"),
        ("Nan", "backward returns nan or inf"),
        ("InPlace", "forward changes x in place: say ctx.mark_dirty"),
        ("detached", "an output is cut off from the inputs"),
    ],
)
def test_what_is_wrong_is_said_in_words(name: str, says: str) -> None:
    done = checked(name)
    assert (done.first.state, done.exit_code) == ("wrong", 1)
    assert done.first.says
    assert says in done.first.says
    assert done.second.state == "not checked"


def test_where_backward_fails_is_told() -> None:
    line = next(n for n, text in enumerate(OPS.splitlines(), 1) if text.startswith("Raises"))
    assert (checked("Raises").first.says or "").endswith(f"(ops.py:{line})")


@pytest.mark.parametrize(
    ("name", "state", "code", "says"),
    [
        ("Once", "not checked", 0, "backward is marked once_differentiable"),
        ("Cut", "wrong", 1, "backward's result is cut off from the graph"),
        ("HalfCut", "wrong", 1, "autograd does not see that backward depends on x"),
    ],
)
def test_the_second_derivative(name: str, state: str, code: int, says: str) -> None:
    done = checked(name)
    assert done.first.state == "ok"
    assert (done.second.state, done.exit_code) == (state, code)
    assert says in (done.second.says or "")
    assert checked(name, order="1").exit_code == 0


def test_a_kink_is_no_mistake() -> None:
    done = checked("relu", between=(0.0, 0.0))
    assert (done.first.state, done.exit_code) == ("kink", 3)
    found = done.first.found
    assert found
    assert found.element
    assert found.kinks == found.wrong == 12
    sides = found.element.left, found.element.right
    assert sides == pytest.approx((0, 1))
    assert found.element.numerical == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["torch:floor", "torch:sign", "torch:ceil"])
def test_a_jump_is_no_mistake(name: str) -> None:
    done = checked(name, "2", between=(0.0, 0.0))
    assert (done.first.state, done.exit_code) == ("kink", 3)


def test_the_second_derivative_may_jump_where_the_first_bends() -> None:
    done = checked(
        "torch:abs", "2", between=(0.0, 0.0)
    )  # by central differences 0, as backward says
    assert (done.first.state, done.second.state, done.exit_code) == ("ok", "kink", 3)


def test_a_mistake_beside_a_kink_is_a_mistake() -> None:
    done = checked("bent", "2")
    assert (done.first.state, done.exit_code) == ("wrong", 1)


@pytest.mark.parametrize("factor", [-1.0, 2.0, 0.125])
def test_times_is_what_backward_should_be(factor: float) -> None:
    scale = -factor
    assert checked("grad-reverse", args=f"{scale}", times=factor).exit_code == 0
    done = checked("grad-reverse", args=f"{scale}", times=factor * 1.01)
    assert done.exit_code == 1
    assert done.first.found
    assert done.first.found.factor == pytest.approx(1 / 1.01, rel=1e-4)


# -- the command -----------------------------------------------------------------------------------


def test_the_report(ptools: Run) -> None:
    done = ptools("gradcheck", "ops.py:OneElement")
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[0] == "ops.py:OneElement (autograd.Function): x 4x3 -> 4x3"
    assert lines[2] == "first derivative   wrong       1 of 144 elements of the Jacobian"
    assert lines[3].startswith("  input            x[1, 2] = -1.39859")
    assert lines[4] == "  output           output[1, 2]"
    assert lines[5].split()[:2] == ["analytical", "-2.7961908"]
    assert lines[6].split()[:2] == ["numerical", "-2.7971908"]
    assert max(map(len, lines)) <= 80
    assert done.stderr == ""


def test_grad_reverse_is_wrong_on_purpose(ptools: Run) -> None:
    done = ptools("gradcheck", "grad-reverse", "--in", "4x3")
    assert done.exit_code == 1
    assert "every element is -1 times the derivative (if it is meant so: --times -1)" in done.stdout
    assert "wrong on purpose as a derivative, and right as a tool" in done.stdout
    assert ptools("gradcheck", "grad-reverse", "--times", "-1").exit_code == 0


def test_json_has_everything(ptools: Run) -> None:
    done = ptools(
        "gradcheck", "ops.py:Power", "--in", "2", "--in", "2", "--args", "_, 2, _", "--json"
    )
    document = done.document
    assert document["passed"] is True
    assert document["inputs"] == {"x": [2], "weight": [2]}
    assert document["first"]["total"] == 8
    wrong = ptools("gradcheck", "ops.py:OneElement", "--json").document["first"]
    assert wrong["element"]["index"] == [1, 2]
    assert math.isclose(
        wrong["element"]["analytical"] - wrong["element"]["numerical"], 1e-3, rel_tol=1e-3
    )


def test_the_seed_chooses_the_inputs() -> None:
    values = []
    for seed in (0, 0, 1):
        found = checked("Half", seed=seed).first.found
        assert found
        assert found.element
        values.append(found.element.value)
    assert values[0] == values[1] != values[2]


def test_the_picture(ptools: Run) -> None:
    assert ptools("gradcheck", "ops.py:Half", "--png", "a.png").exit_code == 1
    assert Image.open("a.png").size == (900, 320)
    again = ptools("gradcheck", "ops.py:Half", "--png", "a.png")
    assert (again.exit_code, again.stdout) == (1, "")
    assert "a.png exists; choose another name or add --force" in again.stderr
    assert ptools("gradcheck", "ops.py:Half", "--png", "a.png", "--force").exit_code == 1
    none = ptools("gradcheck", "ops.py:Shape", "--png", "b.png")
    assert "there is no Jacobian to draw" in none.stderr


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (
            ["expp"],
            2,
            "'expp' names nothing to check: write file.py:MyFunction. Did you mean 'exp'?",
        ),
        (["exp", "--png", "no/e.png"], 1, "no does not exist; make that folder first"),
        (["nothing.py:F"], 2, "nothing.py does not exist"),
        (["ops.py:Missing"], 2, "ops.py:Missing cannot be imported: AttributeError"),
        (["torch:reluu"], 2, "Did you mean 'relu'?"),
        (["torch.nn:Linear"], 2, 'write its arguments into the name: "torch.nn:Linear(3, 2)"'),
        (["torch:add"], 1, "give --in once for each tensor"),
        (["exp", "--png", "x.jpg"], 2, "x.jpg: the name must end in .png"),
        (["ops.py:number"], 2, "ops.py:number is of type int; name an autograd.Function"),
        (["ops.py:Square(3)"], 2, "give its arguments with --args"),
        (["ops.py:Net(x)"], 2, "must be literals"),
        (["exp", "--in", "3:int64"], 2, "all inputs are whole numbers and have no derivative"),
        (["exp", "--in", "3:float32"], 2, "float32 is too coarse"),
        (["exp", "--in", "100x100"], 2, "10,000 numbers to differentiate by"),
        (["exp", "--in", "zero"], 2, "'zero' is no size"),
        (["exp", "--args", "x"], 2, "must be literals, and _ for a tensor"),
        (["exp", "--args", "_, _"], 2, "has 2 places for 1 tensors"),
        (["exp", "--args", "a=1"], 2, "apply() takes no arguments by name"),
        (["exp", "--range", "2,1"], 2, "the lower number comes first"),
        (["exp", "--range", "2"], 2, "write two numbers, as in 0.1,2"),
        (["exp", "--times", "nan"], 2, "--times nan is no factor"),
        (["ops.py:fails"], 1, "fails in forward: RuntimeError: mat1 and mat2 shapes cannot be"),
        (["ops.py:whole"], 1, "returns int64: only float outputs have a derivative"),
        (["ops.py:single"], 1, "returns float32 for float64"),
        (["torch:log"], 1, "returns nan or inf: choose inputs it is defined for"),
        (["torch:sqrt", "--range", "0,0"], 1, "choose inputs inside its domain"),
        (["torch:outer", "--in", "40", "--in", "40"], 2, "returns 1,600 numbers"),
    ],
)
def test_wrong_input_is_one_line(args: list[str], code: int, says: str, ptools: Run) -> None:
    done = ptools("gradcheck", *args)
    assert (done.exit_code, done.stdout) == (code, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_arguments_are_never_run(ptools: Run) -> None:
    done = ptools("gradcheck", "exp", "--args", "__import__('os').mkdir('made')")
    assert done.exit_code == 2
    assert not Path("made").exists()


def test_half_precision_is_refused() -> None:
    with pytest.raises(UsageError, match="bfloat16 is too coarse"):
        gradcheck("exp", [Input((2,), "bfloat16")])


def test_the_page_shows_what_is_printed(ptools: Run) -> None:
    page = (Path(__file__).parent.parent / "docs" / "gradcheck.md").read_text()
    code = page.partition("```python\n")[2].partition("```")[0]
    shown = page.partition("```text\n$ ")[2].partition("```")[0]
    Path("ops.py").write_text(code)
    command, _, printed = shown.partition("\n")
    done = ptools(*shlex.split(command)[1:])
    assert (done.stdout, done.exit_code) == (printed, 1)
