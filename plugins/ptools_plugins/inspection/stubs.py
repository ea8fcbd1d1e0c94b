"""torch's own type stubs (.pyi), for what is compiled and has no docstring.

signatures(value, name)   those of a function, a method of Tensor or a class, read as text

The stubs have 1.5 MB: only the few lines that are asked for are parsed.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import Any

from ptools_plugins.inspection.finding import get

_END = re.compile(r":\s*(\.\.\.|\"\"\"|r\"\"\"|#|$)", re.M)
_FILES = ("_C/__init__.pyi", "_C/_VariableFunctions.pyi", "_C/_nn.pyi")


def signatures(value: Any, name: str) -> list[str]:
    """Return what the stubs say of something compiled in torch."""
    import inspect
    import sys

    if "torch" not in sys.modules or inspect.isfunction(value) or inspect.ismethod(value):
        return []
    if isinstance(value, type):
        return _of_class(value, name)
    owner = get(value, "__objclass__", None)
    if isinstance(owner, type):
        return _found(_class(owner.__name__), name, indent=4, show=name)
    if type(value).__name__ != "builtin_function_or_method":
        return []
    own = get(value, "__name__", name)  # it may be known under another one here
    of_cpu = re.sub(r"(?<=autocast)_(ipu|xla)(?=_)", "_cpu", name)  # one signature for all
    names = [name, own, of_cpu]
    found = (_found(text, one, indent=0, show=name) for one in names for text in _texts())
    return next(filter(None, found), [])


def _of_class(value: type, name: str) -> list[str]:
    """Return the signatures of the constructor of a class, or of the first base that has one."""
    if value.__module__.partition(".")[0] != "torch" and not _is_legacy(value):
        return []
    if _inherits_python(value):
        return []
    for kind in value.__mro__[:-1]:
        text = _class(kind.__name__)
        for maker in ("__init__", "__new__"):
            if found := _found(text, maker, indent=4, show=name):
                return [re.sub(r" -> (None|Self)$", "", one) for one in found]
    return [f"{name}(*size)", f"{name}(data)"] if _is_legacy(value) else []


def _inherits_python(value: type) -> bool:
    """Whether the constructor is Python's: what a stub would say is of somebody else."""
    import inspect

    return inspect.isfunction(value.__init__)  # type: ignore[misc]


def _is_legacy(value: type) -> bool:
    """Whether it is torch.FloatTensor or one of its kind, made of sizes or of data."""
    return type(value).__name__ == "tensortype"


@cache
def _texts() -> tuple[str, ...]:
    from pathlib import Path

    import torch

    folder = Path(torch.__file__).parent
    return tuple(p.read_text("utf-8") for f in _FILES if (p := folder / f).is_file())


@cache
def _class(name: str) -> str:
    """Return the text of a class in the stubs, "" where it has none."""
    for text in _texts():
        if match := re.search(rf"^class {re.escape(name)}\b", text, re.M):
            end = re.compile(r"^(?=\S)(?![)#])", re.M).search(text, match.end() + 1)
            return text[match.start() : end.start() if end else len(text)]
    return ""


def _found(text: str, name: str, *, indent: int, show: str) -> list[str]:
    """Return the signatures of a function in a text, at an indentation."""
    found = []
    for start, opening in _defined(text, indent).get(name, ()):
        stop = _END.search(text, _closed(text, opening))
        if stop and (one := _parsed(text[start : stop.start()].strip(), show)):
            found.append(one)
    return found


@cache
def _defined(text: str, indent: int) -> dict[str, list[tuple[int, int]]]:
    """Return where each function of a text begins, and its parenthesis."""
    places: dict[str, list[tuple[int, int]]] = {}
    for match in re.finditer(rf"^ {{{indent}}}def (\w+)\(", text, re.M):
        places.setdefault(match[1], []).append((match.start(), match.end() - 1))
    return places


def _closed(text: str, start: int) -> int:
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if depth == 0:
            return at
    return len(text)


def _parsed(head: str, show: str) -> str:
    try:
        (function,) = ast.parse(f"{head}: ...").body
    except (SyntaxError, ValueError):
        return ""
    assert isinstance(function, ast.FunctionDef)
    places = function.args.posonlyargs or function.args.args
    if places and places[0].arg in ("self", "cls"):
        del places[0]
    returned = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    text = f"({ast.unparse(function.args)}){returned}"
    text = re.sub(r"\b_(int|float|bool|device|dtype|layout|size|complex|qscheme)\b", r"\1", text)
    text = re.sub(r"\btorch\.(?=[A-Z])", "", text)
    text = re.sub(r"(: [^,=()]+?)=(?=\S)", r"\1 = ", text)
    return f"{show}{text.replace('(/, ', '(')}"
