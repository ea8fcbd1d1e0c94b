"""ptools convdemo against PyTorch: every output, gradient and unfolded window, over random layers.

Whole numbers below 2**24 and their quotients are compared to the bit, in float32 and float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ptools.errors import UsageError
from ptools_plugins.convdemo.arithmetic import Demo
from ptools_plugins.convdemo.backward import flow, gradients
from ptools_plugins.convdemo.build import demos

small = st.integers(1, 3)
PAIR = st.tuples(small, small)


@st.composite
def asked(draw: Any, op: str) -> dict[str, Any]:
    """Options of a layer, as the command line has them; some are refused, by PyTorch too."""
    groups = draw(small) if op in ("conv", "transpose") else 1
    channels = groups * draw(st.integers(1, 2))
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    kh, kw = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    most = {"max": kh // 2, "avg": kh // 2, "conv": 4, "transpose": 2}[op]
    found: dict[str, Any] = {
        "op": op,
        "input": f"{channels}x{height}x{width}",
        "kernel": f"{kh}x{kw}",
        "stride": draw(PAIR),
        "padding": (draw(st.integers(0, most)), draw(st.integers(0, most))),
        "seed": draw(st.integers(0, 9999)),
    }
    if op in ("conv", "transpose"):
        outs = groups * draw(st.integers(1, 2))
        found |= {"groups": groups, "out_channels": outs}
        if draw(st.booleans()):
            found["bias"] = " ".join(str(draw(st.integers(-5, 5))) for _ in range(outs))
    if op != "avg":
        found["dilation"] = draw(PAIR)
    if op == "conv":
        found["padding_mode"] = draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
        if draw(st.integers(0, 4)) == 0:
            found |= {"padding": draw(st.sampled_from(["same", "valid"])), "stride": (1, 1)}
    if op == "transpose":
        room = max(min(found["stride"]), min(found["dilation"]))
        found["output_padding"] = draw(st.sampled_from([(0, 0), (room - 1, 0), (0, room)]))
    if op in ("max", "avg"):
        found["ceil"] = draw(st.booleans())
        found["exclude_pad"] = op == "avg" and draw(st.booleans())
    after = draw(st.sampled_from([None, None, "relu"]))
    return found | ({after: True} if after else {})


def tensor(array: Any, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.tensor(np.ascontiguousarray(array), dtype=dtype)


def numbers(options: dict[str, Any]) -> tuple[Any, Any, Any]:
    """The same numbers for PyTorch, made without the layer: it may be one that is refused."""
    from ptools_plugins.convdemo import reading
    from ptools_plugins.convdemo.build import _planes, input_of

    image = input_of(options["input"], options["seed"])
    if options["op"] in ("max", "avg"):
        return image, None, None
    size = reading.size(options["kernel"])
    weight = _planes(
        options["kernel"],
        size,
        options,
        options["op"],
        len(image),
        options["groups"],
        options["seed"],
    )
    bias = options.get("bias")
    return image, weight, None if bias is None else np.array(bias.split(), int)


def by_torch(options: dict[str, Any], x: torch.Tensor, w: Any, b: Any) -> torch.Tensor:
    """What PyTorch makes of the same options."""
    op, stride, padding = options["op"], options["stride"], options["padding"]
    x = x[None]
    height, width = (int(side) for side in options["kernel"].split("x"))
    kernel = height, width
    if op == "max":
        found = F.max_pool2d(x, kernel, stride, padding, options["dilation"], options["ceil"])
    elif op == "avg":
        count = not options["exclude_pad"]
        found = F.avg_pool2d(x, kernel, stride, padding, options["ceil"], count)
    elif op == "transpose":
        more = options["output_padding"], options["groups"], options["dilation"]
        found = F.conv_transpose2d(x, w, b, stride, padding, *more)
    else:
        layer = torch.nn.Conv2d(
            x.shape[1], w.shape[0], kernel, stride, padding, options["dilation"],
            options["groups"], b is not None, options["padding_mode"], dtype=x.dtype,
        )  # fmt: skip
        found = layer._conv_forward(x, w, b)
    return F.relu(found[0]) if options.get("relu") else found[0]


def refused(options: dict[str, Any]) -> bool:
    try:
        image, weight, bias = numbers(options)
        by_torch(
            options, tensor(image), *(None if a is None else tensor(a) for a in (weight, bias))
        )
    except (RuntimeError, ValueError):
        return True
    return False


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("op", ["conv", "max", "avg", "transpose"])
@pytest.mark.parametrize("examples", [80, pytest.param(600, marks=pytest.mark.slow)])
def test_every_number_is_that_of_torch_to_the_bit(op: str, examples: int) -> None:
    ran = refusals = 0

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None)
    @given(asked(op))
    def check(options: dict[str, Any]) -> None:
        nonlocal ran, refusals
        if refused(options):
            with pytest.raises(UsageError):
                demos(**options)[0].output.any()
            refusals += 1
            return
        compare(options, demos(**options)[0])
        ran += 1

    check()
    assert ran > examples / 4 and refusals > examples / 16, (ran, refusals)


def compare(options: dict[str, Any], demo: Demo) -> None:
    image, weight, bias = numbers(options)
    x = tensor(image).requires_grad_()
    w = None if weight is None else tensor(weight).requires_grad_()
    b = None if bias is None else tensor(bias).requires_grad_()
    out = by_torch(options, x, w, b)
    assert demo.output.shape == tuple(out.shape)
    assert np.array_equal(demo.output, out.detach().numpy())
    single = [None if a is None else tensor(a, torch.float32) for a in (image, weight, bias)]
    lowered = by_torch(options, *single).numpy()  # type: ignore[arg-type]
    assert np.array_equal(demo.output.astype(np.float32), lowered)
    _windows_add_up(demo)
    if not np.isfinite(demo.output).all():
        return  # a dilated window of padding only: PyTorch's gradient is undefined
    out.sum().backward()  # type: ignore[no-untyped-call]
    found = gradients(demo)
    assert x.grad is not None and np.array_equal(found.input, x.grad.numpy())
    if w is not None:
        assert w.grad is not None and np.array_equal(found.weight, w.grad.numpy())  # type: ignore[arg-type]
    if b is not None:
        assert b.grad is not None and np.array_equal(found.bias, b.grad.numpy())  # type: ignore[arg-type]
    if demo.layer.op == "conv":
        _unfolds(demo)


def _windows_add_up(demo: Demo) -> None:
    """What a window shows is what its number is made of."""
    for number in range(demo.count):
        window = demo.window(number)
        counted = window.products[:, window.counts]
        if demo.layer.op == "max":
            before = counted.max() if counted.size else -np.inf
        else:
            before = counted.sum() / window.divisor if demo.layer.op == "avg" else counted.sum()
        assert window.before == before + (window.bias or 0)
        assert window.value == (max(window.before, 0) if demo.layer.after else window.before)


def _unfolds(demo: Demo) -> None:
    """The columns are those of F.unfold on the padded input, the product is the output."""
    layer = demo.layer
    width = demo.weight.shape[1]  # type: ignore[union-attr]
    for group in range(layer.groups):
        _, columns, product = demo.unfolded(group)
        laid = tensor(demo.laid[group * width : (group + 1) * width])[None]
        theirs = F.unfold(laid, layer.kernel, layer.dilation, 0, layer.stride)
        assert np.array_equal(columns, theirs[0].numpy())
        outs = layer.channels // layer.groups
        bias = 0 if layer.bias is None else layer.bias[group * outs : (group + 1) * outs, None]
        before = demo.before[group * outs : (group + 1) * outs].reshape(outs, -1)
        assert np.array_equal(product + bias, before)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(asked("conv"))
def test_sigmoid_and_its_gradient_are_those_of_torch(options: dict[str, Any]) -> None:
    options = {**options, "relu": False, "sigmoid": True, "bias": None}
    if refused(options):
        return
    image, weight, _ = numbers(options)
    x = tensor(image).requires_grad_()
    out = torch.sigmoid(by_torch({**options, "relu": False}, x, tensor(weight), None))
    demo = demos(**options)[0]
    np.testing.assert_allclose(demo.output, out.detach().numpy(), rtol=1e-14, atol=1e-300)
    out.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    np.testing.assert_allclose(gradients(demo).input, x.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_the_transposed_convolution_is_one_product_too() -> None:
    demo = demos(op="transpose", input="4x3x5", kernel="3x2", stride=(2, 3), groups=2, seed=4)[0]
    products = [demo.unfolded(group)[2].reshape(-1, *demo.shape[1:]) for group in (0, 1)]
    assert np.array_equal(np.concatenate(products), demo.output)


def test_the_flow_ends_at_the_gradient() -> None:
    demo = demos(stride=(2,), padding=(1,))[0]
    *_, last = flow(demo)
    assert np.array_equal(last.input, gradients(demo).input)
    corner = next(iter(flow(demo)))
    assert corner.lost == 5  # of the 9 products, those on the padding


def test_floats_are_within_rounding() -> None:
    demo = demos(input="0.1 0.2 0.3; 1.5 2.5 3.5", kernel="0.1 1/3")[0]
    x, w = tensor(demo.layer.input)[None], tensor(demo.layer.weight)
    np.testing.assert_allclose(demo.output, F.conv2d(x, w)[0].numpy(), rtol=1e-15)
