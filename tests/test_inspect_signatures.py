"""ptools inspect knows how to call at least 99 % of what torch offers, builtins too."""

from __future__ import annotations

import importlib
import inspect
import re
import warnings
from typing import Any

import pytest

from ptools_plugins.inspection.signatures import Signatures, of

MODULES = (
    "torch", "torch.nn", "torch.nn.functional", "torch.optim", "torch.linalg", "torchvision.transforms.v2",
    "torch.Tensor", "torch.fft", "torch.special",
)  # fmt: skip
_NOTHING = re.compile(r"\w+\(\*args(: Any)?, \*\*kwargs(: Any)?\)( -> .*)?")


def public(name: str) -> dict[str, Any]:
    """Return what dir() of a module or class has that can be called."""
    if name == "torch.Tensor":
        holder: Any = importlib.import_module("torch").Tensor
    else:
        holder = importlib.import_module(name)
    names = [one for one in dir(holder) if not one.startswith("_")]
    with warnings.catch_warnings(action="ignore"):
        found = {one: getattr(holder, one) for one in names}
    return {one: value for one, value in found.items() if callable(value)}


def known_to_python(value: Any) -> bool:
    try:
        return str(inspect.signature(value)) not in ("(*args, **kwargs)", "(self, *args, **kwargs)")
    except (ValueError, TypeError):
        return False


@pytest.mark.parametrize("name", MODULES)
def test_the_share_of_public_callables_with_a_signature(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Classes that nobody can construct have none: they are told apart, and not counted."""
    found = {one: of(value, one) for one, value in public(name).items()}
    can = {one: signature for one, signature in found.items() if not signature.closed}
    known = [one for one, signature in can.items() if signature.lines]
    says = [one for one in known if not _NOTHING.fullmatch(can[one].lines[0])]
    python = sum(known_to_python(value) for value in public(name).values())
    missing = sorted({*can} - {*known})
    with capsys.disabled():
        print(
            f"\n{name}: {len(known)} of {len(can)} ({len(known) / len(can):.2%}); "
            f"inspect.signature alone {python}; (*args, **kwargs) {len(known) - len(says)}; "
            f"no constructor {len(found) - len(can)}; unknown {missing}"
        )
    assert len(known) >= 0.99 * len(can)
    assert len(says) >= 0.98 * len(can)
    for one in known:
        assert all(re.match(rf"{re.escape(one)}\(", line) for line in can[one].lines), can[one]


@pytest.mark.parametrize(
    ("where", "name", "source", "line"),
    [
        ("torch", "zeros", "docstring",
         "zeros(*size, *, out=None, dtype=None, layout=torch.strided, device=None, requires_grad=False)"
         " -> Tensor"),
        ("torch.nn.functional", "conv2d", "docstring",
         "conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1) -> Tensor"),
        ("torch.Tensor", "view", "docstring", "view(*shape) -> Tensor"),
        ("torch.nn.functional", "max_pool2d", "docstring",
         "max_pool2d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False,"
         " return_indices=False)"),
        ("torch.nn", "Linear", "Python",
         "Linear(in_features: int, out_features: int, bias: bool = True, device=None, dtype=None)"),
        ("torch.nn", "Sigmoid", "Python", "Sigmoid()"),
        ("torch", "OutOfMemoryError", "Python", "OutOfMemoryError(*args)"),
        ("torch.Tensor", "relu_", "type stub", "relu_() -> Tensor"),
        ("torch.Tensor", "arccosh", "docstring", "arccosh() -> Tensor"),  # of an alias of acosh
    ],
)  # fmt: skip
def test_signatures_from_every_source(where: str, name: str, source: str, line: str) -> None:
    found = of(public(where)[name], name)
    assert found.source == source
    assert found.lines[0] == line


def test_operator_schemas_where_nothing_else_is_left() -> None:
    from ptools_plugins.inspection.signatures import _schemas

    torch = public("torch")
    assert _schemas(torch["conv_tbc"], "conv_tbc")[0] == (
        "conv_tbc(self: Tensor, weight: Tensor, bias: Tensor, pad: int=0) -> Tensor"
    )
    assert _schemas(public("torch.Tensor")["relu_"], "relu_") == ["relu_() -> Tensor"]


def test_every_overload_of_max_and_what_is_closed() -> None:
    assert of(public("torch")["max"], "max").lines == [
        "max(input, *, out=None) -> Tensor",
        "max(input, dim, keepdim=False, *, out=None) -> (Tensor, LongTensor)",
        "max(input, other, *, out=None) -> Tensor",
    ]
    assert of(public("torch")["dtype"], "dtype") == Signatures(closed=True)


def test_a_closed_class_really_is() -> None:
    closed = [(name, value) for name, value in public("torch").items() if of(value, name).closed]
    assert len(closed) > 20
    for name, value in closed:
        with pytest.raises(TypeError):
            print(value(), name)


def test_strange_objects_do_no_harm() -> None:
    class Odd:
        @property
        def __signature__(self) -> Any:
            raise RuntimeError

        def __call__(self) -> None: ...

        def __repr__(self) -> str:
            raise RuntimeError

    assert of(Odd(), "odd").lines in ([], ["odd()"])

    odd = Odd()

    def function(default: Any = odd, *, key: int = 3) -> str: ...  # type: ignore[empty-body]

    assert of(function, "function").lines == [
        "function(default: Any = Odd, *, key: int = 3) -> str"
    ]


@pytest.mark.slow
def test_every_card_fits_a_screen_and_has_no_marks_left() -> None:
    """Every callable of these modules; what torch itself writes wrongly is listed."""
    from ptools_plugins.inspection.cards import card
    from ptools_plugins.inspection.finding import Found
    from ptools_plugins.inspection.show import card_lines

    marks = re.compile(r":(math|attr|class|func|meth|ref):|``|\\(frac|text|left|right)")
    left = []
    for module in (
        "torch.nn",
        "torch.nn.functional",
        "torch.optim",
        "torch.linalg",
        "torch.Tensor",
    ):
        for name, value in public(module).items():
            with warnings.catch_warnings(action="ignore"):  # of names that are deprecated
                lines = card_lines(card(Found(f"{module}.{name}", value)))
            assert len(lines) <= 40, name
            assert max(map(len, lines)) <= 80, name
            assert all(line.isprintable() for line in lines), name
            left += [name] if marks.search("\n".join(lines)) else []
    assert len(left) <= 5, left
