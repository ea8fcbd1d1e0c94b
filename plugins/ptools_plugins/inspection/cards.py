"""An object on a card: how it is called, what it does, its parameters and shapes, where it is from.

card(found)      Card, of a class, a function, a method, a plain value
Origin, origin   the file and the line where something is defined
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ptools.errors import one_line
from ptools_plugins.inspection.docstrings import Doc, Parameter, docstring, parse
from ptools_plugins.inspection.finding import Found, get, shorter
from ptools_plugins.inspection.members import kind_of, members
from ptools_plugins.inspection.places import places
from ptools_plugins.inspection.signatures import Signatures, of


@dataclass(frozen=True)
class Origin:
    """Where something is defined. `shown` is for people: torch/nn/modules/conv.py:391, or a module."""

    shown: str
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True)
class Card:
    """What there is to say about an object.

    name         its full name
    kind         class, function, method ...
    signatures   how to call it, and who knew: `signature_source`; `closed`: nobody can
    forward      of a torch.nn.Module, the signature of its forward
    paragraph    the first paragraph of its docstring
    shape        the lines of its section of shapes, formulas as text
    bases        of a class, nearest first
    value        of a plain value, its repr
    own          names that a class defines itself; `inherited` counts the others
    see          where there is no docstring: what has the same name and may have one
    """

    name: str
    kind: str
    signatures: list[str]
    signature_source: str
    closed: bool
    forward: str
    paragraph: str
    parameters: list[Parameter]
    shape: list[str]
    bases: list[str]
    origin: Origin
    value: str | None
    own: list[str]
    inherited: int
    see: list[str]

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def card(found: Found) -> Card:
    """Return the card of an object."""
    value, short = found.value, found.short
    kind = kind_of(value)
    of_class = isinstance(value, type)
    called = callable(value) and not isinstance(value, property)
    method = isinstance(found.holder, type) and kind in ("function", "method")
    kind = "method" if method else kind
    signatures = of(value, short, method=method) if called else Signatures()
    doc = _doc(value, short)
    inside = members(value) if of_class else []
    return Card(
        name=found.name,
        kind=kind,
        signatures=signatures.lines,
        signature_source=signatures.source,
        closed=signatures.closed,
        forward=_forward(value),
        paragraph=doc.paragraph,
        parameters=doc.parameters,
        shape=doc.shape,
        bases=_bases(value) if of_class else [],
        origin=origin(found),
        value=None if called or kind == "property" else _repr(value),
        own=[member.name for member in inside if not member.defined],
        inherited=sum(bool(member.defined) for member in inside),
        see=[] if doc.paragraph else _namesakes(found),
    )


def _namesakes(found: Found) -> list[str]:
    """Return what else in torch has the name of something callable without a docstring."""
    if not callable(found.value) or found.name.partition(".")[0] != "torch":
        return []
    others = (place for place in places(found.short).found if "(" not in place.summary)
    return [place.name for place in others if place.name != found.name][:4]


def _doc(value: Any, name: str) -> Doc:
    """Return what is said of the value itself: the docstring of its class is not about it."""
    text = docstring(value)
    if not callable(value) and not isinstance(value, property) and text == docstring(type(value)):
        text = ""
    init = vars(value).get("__init__") if isinstance(value, type) else None
    found = parse(text or docstring(init), name) if init else parse(text, name)
    if init and not found.parameters:
        inside = parse(docstring(init), name)
        found = Doc(found.signatures, found.paragraph, inside.parameters, found.shape)
    return found


def _forward(value: Any) -> str:
    nn = sys.modules.get("torch.nn")
    if nn is None or not (isinstance(value, type) and issubclass(value, nn.Module)):
        return ""
    lines = of(get(value, "forward"), "forward", method=True).lines
    return lines[0] if lines else ""


def _bases(value: type) -> list[str]:
    kinds = [kind for kind in value.__mro__[1:] if kind is not object]
    return [
        kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        for kind in kinds
    ]


def _repr(value: Any) -> str:
    try:
        return one_line(repr(value), 2000)
    except Exception as error:  # a stranger's __repr__
        return f"(its repr raises {type(error).__name__})"


# -- where it is from ---------------------------------------------------------------------------------


def origin(found: Found) -> Origin:
    """Return where an object is defined; of what is compiled, the module it is in."""
    import inspect

    value = found.value
    target = value.fget if isinstance(value, property) and value.fget else value
    try:
        target = inspect.unwrap(target)
        file = inspect.getsourcefile(target) or inspect.getfile(target)
    except Exception:  # compiled, made at run time, or a stranger's
        return Origin(_module(found))
    try:
        line = None if inspect.ismodule(target) else inspect.getsourcelines(target)[1]
    except Exception:  # the source is not there
        file, line = _by_a_method(target) or (file, None)
    return Origin(shorter(file) + (f":{line}" if line else ""), str(Path(file).resolve()), line)


def _by_a_method(kind: Any) -> tuple[str, int | None] | None:
    """Return where a class is that says it is from elsewhere, as torch.Tensor does: where its methods are."""
    for method in vars(kind).values() if isinstance(kind, type) else ():
        code = get(method, "__code__", None)
        if code is not None and Path(code.co_filename).is_file():
            text = Path(code.co_filename).read_text("utf-8", "replace").splitlines()
            lines = (
                at for at, line in enumerate(text, 1) if line.startswith(f"class {kind.__name__}")
            )
            return code.co_filename, next(lines, None)
    return None


def _module(found: Found) -> str:
    value = found.value
    kind = value if isinstance(value, type) else type(value)
    owner = get(value, "__objclass__", None)
    where = get(value, "__module__", None) or get(owner, "__module__", None)
    if not callable(value):
        return f"an object of {kind.__module__}.{kind.__qualname__}".replace("of builtins.", "of ")
    if where is None and found.name.startswith("torch."):
        where = "torch._C"
    return f"compiled, in {where}" if where else "compiled"
