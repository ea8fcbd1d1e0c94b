"""Signatures of everything that can be called, those included where inspect.signature fails.

of(value, name)     Signatures: the lines, and where they are from
is_method(value)    whether a function was defined in a class

Asked in this order: Python itself; overloads; the first lines of the docstring, as torch's and numpy's
compiled functions have them; the type stubs that torch ships; its operator schemas. `(*args, **kwargs)`
is an answer only where nobody has a better one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ptools_plugins.inspection import stubs
from ptools_plugins.inspection.docstrings import docstring, without_signature
from ptools_plugins.inspection.finding import get, has

_DISALLOW_INSTANTIATION = 1 << 7  # of CPython's type flags
MOST = 8  # overloads that are kept
_ANYTHING = re.compile(r"\((self, )?\*args(: Any)?, \*\*kwargs(: Any)?\)( -> .*)?")
_PYTHON, _OVERLOADS, _DOC, _STUB, _SCHEMA = (
    "Python",
    "overloads",
    "docstring",
    "type stub",
    "operator schema",
)


@dataclass(frozen=True)
class Signatures:
    """How to call something. `lines` are whole: `relu(input) -> Tensor`; none where nothing is known.

    `source` says who knew; `closed` is a class that only its own library makes objects of.
    """

    lines: list[str] = field(default_factory=list)
    source: str = ""
    closed: bool = False


def of(value: Any, name: str, *, method: bool = False) -> Signatures:
    """Return the signatures of something callable, called by its short `name`.

    Of a `method`, and of what was defined in a class, without its self.
    """
    if isinstance(value, type) and _is_closed(value):
        return Signatures(closed=True)
    found = _python(value, method)
    if found and not _ANYTHING.fullmatch(found):
        return Signatures([f"{name}{found}"], _PYTHON)
    if _is_bare_module(value):
        return Signatures([f"{name}()"], _PYTHON)
    asked: list[tuple[str, Callable[[Any, str], list[str]]]] = [
        (_OVERLOADS, _overloads),
        (_DOC, _docstring),
        (_STUB, stubs.signatures),
        (_SCHEMA, _schemas),
    ]
    anything = Signatures([f"{name}{found}"], _PYTHON) if found else Signatures()
    for source, ask in asked:
        lines = list(dict.fromkeys(ask(value, name)))
        better = [line for line in lines if not _ANYTHING.fullmatch(line[len(name) :])]
        if better:
            return Signatures(better[:MOST], source)
        if lines and not anything.lines:
            anything = Signatures(lines[:1], source)
    if anything.lines:
        return anything
    if isinstance(value, type) and issubclass(value, BaseException):
        return Signatures([f"{name}(*args)"], _PYTHON)
    return Signatures()


def _is_bare_module(value: Any) -> bool:
    """Whether it is a torch.nn.Module without __init__: Module's own refuses every argument."""
    import sys

    nn = sys.modules.get("torch.nn")
    kind: Any = value
    if nn is None or not (isinstance(value, type) and issubclass(value, nn.Module)):
        return False
    return vars(nn.Module)["__init__"] is kind.__init__


def is_method(value: Any) -> bool:
    """Return whether a function was defined in a class."""
    inside = str(get(value, "__qualname__", "")).rpartition(".")[0]
    return bool(inside) and not inside.endswith("<locals>") and has(value, "__code__")


# -- Python's own --------------------------------------------------------------------------------------


def _python(value: Any, method: bool = False) -> str:
    """Return the signature that Python knows, or ""."""
    import inspect

    try:
        text = _written(inspect.signature(value))
        return (
            re.sub(r"^\((self|cls)(, |(?=\)))", "(", text) if method or is_method(value) else text
        )
    except Exception:  # no signature, or a stranger's property that raises anything
        return ""


def _written(signature: Any) -> str:
    """Return a signature as text, types and defaults as people write them."""
    parts: list[str] = []
    starred = False
    parameters = list(signature.parameters.values())
    for at, one in enumerate(parameters):
        if one.kind is one.VAR_POSITIONAL:
            starred = True
        elif one.kind is one.KEYWORD_ONLY and not starred:
            parts.append("*")
            starred = True
        parts.append(_parameter(one))
        behind = parameters[at + 1].kind if at + 1 < len(parameters) else None
        if one.kind is one.POSITIONAL_ONLY and behind is not one.POSITIONAL_ONLY:
            parts.append("/")
    returned = signature.return_annotation
    known = returned is not signature.empty and returned is not None
    return f"({', '.join(parts)})" + (f" -> {_type(returned)}" if known else "")


def _parameter(one: Any) -> str:
    stars = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
    typed = f": {_type(one.annotation)}" if one.annotation is not one.empty else ""
    if one.default is one.empty:
        return f"{stars}{one.name}{typed}"
    equals = " = " if typed else "="
    return f"{stars}{one.name}{typed}{equals}{_default(one.default)}"


def _type(annotation: Any) -> str:
    """Return an annotation without the modules that it is from."""
    import inspect
    import typing

    if typing.get_origin(annotation) is typing.Union:
        return " | ".join(map(_type, typing.get_args(annotation)))
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"ForwardRef\('([^']*)'\)", r"\1", text).replace("NoneType", "None")
    text = re.sub(r"(?<![\w.])(?:[a-zA-Z_]\w*\.)+(?=[A-Za-z_])", "", text)
    return re.sub(r"Optional\[([^\[\]]*)\]", r"\1 | None", text)


def _default(value: Any) -> str:
    if isinstance(value, type) or callable(value):
        return str(get(value, "__name__", type(value).__name__))
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a stranger's __repr__
        return "..."
    text = re.sub(r"<(?:\w+\.)*(\w+\.\w+): [^<>]*>", r"\1", text)  # an Enum's
    return text if len(text) <= 60 and " at 0x" not in text else "..."


def _overloads(value: Any, name: str) -> list[str]:
    """Return the signatures that @overload declared."""
    import inspect
    import typing

    called: Any = value
    if isinstance(value, type):
        called = called.__init__
    if not inspect.isfunction(called):
        return []
    found = [_written(inspect.signature(one)) for one in typing.get_overloads(called)]
    return [f"{name}{re.sub(r'^[(]self(, )?', '(', one)}" for one in found]


# -- of others -------------------------------------------------------------------------------------------


def _docstring(value: Any, name: str) -> list[str]:
    """Return the signatures that the docstring begins with; of an alias, under its own name."""
    doc = docstring(value)
    found, _ = without_signature(doc, name)
    if not found and not isinstance(value, type) and not _is_python(value):
        found, _ = without_signature(doc)
    if not found and isinstance(value, type):
        found = _constructor(value) or without_signature(doc, value.__name__)[0]
    return [_spaced(f"{name}{one[one.index('(') :]}") for one in found]


def _constructor(value: type) -> list[str]:
    """Return the signatures of a class of pybind11: its __init__ lists them, one of them or several."""
    doc = docstring(value.__init__)  # type: ignore[misc]
    lines = re.findall(r"^(?:\d+\. )?__init__(\(self: .*)$", doc, re.M)
    cut = (re.sub(r"^\(self: [\w.]+(?:, )?", "(", one) for one in lines)
    return [re.sub(r" -> None$", "", one) for one in cut]


def _is_python(value: Any) -> bool:
    import inspect

    return inspect.isfunction(value) or inspect.ismethod(value)


def _is_closed(value: type) -> bool:
    """Whether a class has no constructor: nobody but its library makes its objects."""
    if value.__flags__ & _DISALLOW_INSTANTIATION:
        return True
    compiled = any(kind.__name__ == "pybind11_object" for kind in value.__mro__)
    return compiled and "Initialize self." in docstring(value.__init__)  # type: ignore[misc]


def _spaced(text: str) -> str:
    """Return `f(a, b=1)` for `f(a,b=1)`, and types without their modules."""
    text = re.sub(r",(?=[^\s)\]])", ", ", text)
    text = re.sub(r"\b(?:torch\._C|typing|collections\.abc)\.(?=[A-Za-z_])", "", text)
    return text.replace("SupportsInt | SupportsIndex", "int").replace(
        "SupportsFloat | SupportsIndex", "float"
    )


def _schemas(value: Any, name: str) -> list[str]:
    """Return torch's operator schemas of a compiled function, those that write to `out` last."""
    if isinstance(value, type) or _is_python(value) or not _of_torch(value):
        return []
    import torch

    try:
        found = [str(s) for s in torch._C._jit_get_schemas_for_operator(f"aten::{name}")]
    except RuntimeError:  # no such operator
        return []
    found.sort(key=lambda text: ".out(" in text or "_out(" in text)
    return list(_readable(found, name, method=type(value).__name__ == "method_descriptor"))


def _of_torch(value: Any) -> bool:
    import sys

    owner = get(value, "__self__", None) or get(value, "__objclass__", None)
    where = f"{get(value, '__module__', '')} {owner!r}"[:400]
    return "torch" in sys.modules and "torch" in where.lower()


def _readable(schemas: list[str], name: str, *, method: bool) -> Iterator[str]:
    """Yield schemas as Python would write them: aten::f.out(Tensor(a!) self) -> f(Tensor self)."""
    for text in schemas:
        text = re.sub(r"^aten::\w+(\.\w+)?", name, text)
        text = re.sub(r"\((\w[\w|]*)?!?( -> [\w*|]+)?\)(?=[\s\[?,)]|$)", "", text)
        text = text.replace("SymInt", "int").replace("ScalarType", "dtype")
        if method:
            text = re.sub(r"\(Tensor self(, )?", "(", text)
        yield re.sub(r"([\w\[\]?]+) (\w+)(?==|,|\))", r"\2: \1", text)
