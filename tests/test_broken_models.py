"""Every broken network fails as it states and its repairs work; every sound one runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.broken_models import CASES, HEADER
from tests.sound_models import SOUND

Case = dict[str, Any]
BROKEN = {case["id"]: case for case in CASES}
RIGHT = {case["id"]: case for case in SOUND}
FAILS = [name for name, case in BROKEN.items() if case["where"] != "silent"]
SILENT = [name for name, case in BROKEN.items() if case["where"] == "silent"]


def tensor(shape: tuple[int, ...], dtype: str, below: int | None = None) -> Tensor:
    kind: torch.dtype = getattr(torch, dtype)
    if kind.is_floating_point and not below:
        return torch.randn(shape, dtype=torch.float32).to(kind)
    values = torch.randint(below or (256 if dtype == "uint8" else 2), shape)
    if below:
        values.view(-1)[-1] = below - 1
    return values.to(kind)


def inputs_of(case: Case) -> list[Tensor]:
    specs = case.get("inputs", [case["input"]])
    return [tensor(shape, dtype, case.get("below")) for shape, dtype in specs]


def namespace(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "broken"}
    exec(HEADER + code, names)
    return names


def build(case: Case, code: str | None = None) -> nn.Module:
    torch.manual_seed(0)
    net = namespace(code or case["code"])["Net"]()
    assert isinstance(net, nn.Module)
    return net.train(case["mode"] == "train")


def evaluate(expression: str, **values: Any) -> Any:
    names = namespace("")
    return eval(expression, {**names, **values})


def repaired(case: Case) -> str:
    code: str = case["code"]
    for old, new in case["fix"]:
        assert case["code"].count(old) == code.count(old) == 1, f"{old!r} must occur exactly once"
        code = code.replace(old, new, 1)
    return code


def frames(error: BaseException) -> Iterator[Any]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def failing_layer(net: nn.Module, error: BaseException) -> str:
    names = {id(module): name for name, module in net.named_modules()}
    layer = ""
    for frame in frames(error):
        if frame.f_code.co_name in {"forward", "_forward_unimplemented"}:
            layer = names.get(id(frame.f_locals.get("self")), layer)
    return layer


def shapes_in(value: Any) -> Iterator[list[int]]:
    if isinstance(value, Tensor):
        yield list(value.shape)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from shapes_in(item)


def seen_shapes(net: nn.Module) -> dict[str, list[list[int]]]:
    """Shapes (and greatest integers) into every module and out, filled as the network runs."""
    seen: dict[str, list[list[int]]] = {}
    for name, module in net.named_modules():
        shapes = seen[name] = []

        def before(_: nn.Module, args: Any, shapes: list[list[int]] = shapes) -> None:
            shapes.extend(shapes_in(args))
            whole = (v for v in args if isinstance(v, Tensor) and v.dtype == torch.int64)
            shapes.extend([int(v.max())] for v in whole)

        def after(_: nn.Module, __: Any, out: Any, shapes: list[list[int]] = shapes) -> None:
            shapes.extend(shapes_in(out))

        module.register_forward_pre_hook(before)
        module.register_forward_hook(after)
    return seen


def numbers(text: str) -> set[str]:
    return set(re.findall(r"(?<![a-z\d])\d+", text))  # not the 64 of float64


def facts_of(case: Case) -> set[str]:
    return numbers(f"{case['expected']} {case['got']}")


def failure(action: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:
        action()
    return caught.value


def loss_by_name(case: Case, out: Any) -> Any:
    return getattr(nn, case["loss_name"])()(out, tensor(*case["target"]))


def test_the_ids_are_unique_and_the_fields_known() -> None:
    assert len(BROKEN) == len(CASES)
    assert len(RIGHT) == len(SOUND)
    known = (
        "id kind code input inputs below mode loss loss_name target where layer expected got fix"
    )
    known += " fix_input fix_loss say"
    for case in CASES:
        assert case.keys() <= set(known.split()), case["id"]
        assert case["fix"] or case.get("fix_input") or case.get("fix_loss"), case["id"]
        assert all(case[key] for key in ("kind", "expected", "got", "say")), case["id"]
        assert case["mode"] in {"eval", "train"}
        assert ("loss_name" in case) == ("target" in case) == ("loss" in case), case["id"]
        assert case.get("inputs", [case["input"]])[0] == case["input"], case["id"]


@pytest.mark.parametrize("name", FAILS)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_it_fails_as_stated(name: str) -> None:
    case = BROKEN[name]
    if case["where"] == "ctor":
        assert case["layer"] == ""
        error = failure(lambda: build(case))
        assert facts_of(case) <= numbers(str(error)) | numbers(case["code"])
        return
    net = build(case)
    inputs = inputs_of(case)
    if case["where"] == "loss":
        assert case["layer"] == ""
        out = net(*inputs)
        failure(lambda: evaluate(case["loss"], out=out))
        failure(lambda: loss_by_name(case, out))
        shape, _, below = case["target"]
        shapes = [*shapes_in(out), *shapes_in(inputs), list(shape)]
        classes = {str(n + step) for shape in shapes for n in shape for step in (0, -1)}
        facts = numbers(f"{shapes} {(below or 1) - 1}") | classes | {"0", str(prod(shape))}
        assert facts_of(case) <= facts
        return
    seen = seen_shapes(net)
    error = failure(lambda: net(*inputs))
    assert failing_layer(net, error) == case["layer"]
    with torch.no_grad():  # some modules go another way without gradients
        assert failing_layer(net, failure(lambda: net(*inputs))) == case["layer"]
    layer = net.get_submodule(case["layer"])
    state = [list(value.shape) for value in layer.state_dict().values()]
    below = [shapes for key, shapes in seen.items() if key.startswith(case["layer"])]
    facts = numbers(f"{error} {layer!r} {state} {below}")
    assert numbers(case["got"]) <= facts
    assert numbers(case["expected"]) <= facts | (set() if case["layer"] else numbers(case["code"]))
    if not list(layer.children()) and (shape := re.fullmatch(r"\[[\d, ]+\]", case["got"])):
        assert shape.group() in map(str, [*seen[case["layer"]], *state])


def wrong_shape(case: Case, net: nn.Module, out: Any) -> bool:
    return list(out.shape) != list(case["target"][0])


def not_registered(case: Case, net: nn.Module, out: Any) -> bool:
    owner, _, attribute = case["layer"].rpartition(".")
    held = getattr(net.get_submodule(owner), attribute)
    items = held.values() if isinstance(held, (dict, nn.ModuleDict)) else held
    inside = [
        p for item in items for p in (item.parameters() if isinstance(item, nn.Module) else [item])
    ]
    kind = type(held).__name__
    assert kind in {case["got"], case["expected"].removeprefix("nn.")}
    registered = {id(p) for p in net.parameters()}
    assert inside
    missing = not registered & {id(p) for p in inside}
    assert missing == (kind == case["got"])
    return missing


def samples_mix(case: Case, net: nn.Module, out: Any) -> bool:
    (x,) = inputs_of(case)
    other = x.clone()
    other[0] += 1
    return not torch.allclose(net(x)[1:], net(other)[1:], atol=1e-5)


def already_probabilities(case: Case, net: nn.Module, out: Tensor) -> bool:
    big = net(100 * inputs_of(case)[0])
    return bool(((big >= 0) & (big <= 1)).all())


IS_WRONG: dict[str, Callable[[Case, nn.Module, Any], bool]] = {
    "silent_broadcast": wrong_shape,
    "unregistered_modules": not_registered,
    "unregistered_parameters": not_registered,
    "batch_mixed": samples_mix,
    "double_softmax": already_probabilities,
}


@pytest.mark.parametrize("name", SILENT)
def test_it_is_silently_wrong(name: str) -> None:
    case = BROKEN[name]
    net = build(case)
    out = net(*inputs_of(case))
    if "loss" in case:
        with pytest.warns(UserWarning) if "broadcast" in case["kind"] else torch.enable_grad():
            assert evaluate(case["loss"], out=out).isfinite()
            assert loss_by_name(case, out).isfinite()
    is_wrong = IS_WRONG[case["kind"]]
    assert is_wrong(case, net, out)
    if case["fix"]:
        net = build(case, repaired(case))
        assert not is_wrong(case, net, net(*inputs_of(case)))


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.filterwarnings("error:Using a target size")
def test_the_repairs_work(name: str) -> None:
    case = BROKEN[name]
    if case["fix"]:
        out = build(case, repaired(case))(*inputs_of(case))
        if "loss" in case:
            loss = evaluate(case["loss"], out=out)
            assert loss.isfinite()
            loss.backward()
    if "fix_input" in case:
        first, *rest = inputs_of(case)
        net = build(case)
        out = net(evaluate(case["fix_input"], x=first), *rest)
        if "loss" in case:
            assert evaluate(case["loss"], out=out).isfinite()
    if "fix_loss" in case:
        out = build(case)(*inputs_of(case))
        assert evaluate(case["fix_loss"], out=out).isfinite()


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
@pytest.mark.filterwarnings("error:Using a target size")
def test_the_sound_ones_run(name: str) -> None:
    case = RIGHT[name]
    known = "id code input inputs below mode loss loss_name target"
    assert case.keys() <= set(known.split())
    assert case.get("inputs", [case["input"]])[0] == case["input"]
    net = build(case)
    with torch.no_grad():
        net(*inputs_of(case))
    out = net(*inputs_of(case))
    if "loss" in case:
        assert evaluate(case["loss"], out=out).isfinite()
    assert ("loss_name" in case) == ("target" in case)
    if "target" in case:
        assert loss_by_name(case, out).isfinite()
