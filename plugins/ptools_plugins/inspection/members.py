"""dir() in groups: what a module or a class has, each with a line; private names and strangers hidden.

members(holder, ...)   Member by Member, in the order of GROUPS
kind_of(value)         class, function, module ... in a word
summary_of(value)      the first sentence of its docstring; of a plain value the value
is_foreign(...)        whether a module only imported it: `math` in torch.nn.functional
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ptools.errors import one_line
from ptools_plugins.inspection.docstrings import docstring, summary
from ptools_plugins.inspection.finding import get, has
from ptools_plugins.inspection.signatures import is_method, of

GROUPS = ("subpackages", "classes", "functions", "methods", "attributes", "constants")
_PLAIN = (str, bytes, int, float, complex, bool, tuple, list, dict, set, frozenset, type(None))


@dataclass(frozen=True)
class Member:
    """A name that a module or a class has; `value` is None for a submodule that is not imported."""

    name: str
    group: str
    summary: str
    value: Any = None
    defined: str = ""  # the class that a member is inherited from


def members(holder: Any, *, private: bool = False) -> list[Member]:
    """Return what `holder` has, in groups, sorted by name; foreign names count as private ones."""
    found: dict[str, Member] = {}
    for name in _names(holder):
        if name.startswith("_") and not private:
            continue
        value = get(holder, name)
        if not has(holder, name) or (not private and is_foreign(holder, name, value)):
            continue
        found[name] = _member(holder, name, value)
    if isinstance(holder, ModuleType):
        for name, text in _on_disk(holder, private):
            found.setdefault(name, Member(name, "subpackages", text))
    order = {group: at for at, group in enumerate(GROUPS)}
    return sorted(found.values(), key=lambda one: (order[one.group], one.name.lower(), one.name))


def _names(holder: Any) -> list[str]:
    try:
        return [name for name in dir(holder) if isinstance(name, str)]
    except Exception:  # a stranger's __dir__
        return []


def _member(holder: Any, name: str, value: Any) -> Member:
    group = _group(holder, value)
    defined = ""
    if isinstance(holder, type):
        owner = next((kind for kind in holder.__mro__ if name in vars(kind)), holder)
        defined = "" if owner is holder else owner.__name__
    return Member(name, group, summary_of(value, name), value, defined)


def _group(holder: Any, value: Any) -> str:
    if isinstance(value, ModuleType):
        return "subpackages"
    if isinstance(value, type):
        return "classes"
    if callable(value):
        return "functions" if isinstance(holder, ModuleType) else "methods"
    return "constants" if isinstance(holder, ModuleType) else "attributes"


def is_foreign(holder: Any, name: str, value: Any) -> bool:
    """Return whether a module only imported what it has under this name, and does not export it."""
    if not isinstance(holder, ModuleType) or name in (get_all(holder) or ()):
        return False
    if name == "TYPE_CHECKING":
        return True
    top = holder.__name__.partition(".")[0]
    if isinstance(value, ModuleType):
        return not value.__name__.startswith(f"{holder.__name__}.")
    where = get(value, "__module__", None)
    if type(value).__module__ in ("typing", "__future__") or where in ("typing", "__future__"):
        return True
    if isinstance(value, type) or (callable(value) and has(value, "__name__")):
        own = isinstance(where, str) and where.partition(".")[0].lstrip("_") != top.lstrip("_")
        return own and where != "builtins"
    return False


def get_all(module: ModuleType) -> list[str] | None:
    """Return what a module says it exports, None where it says nothing."""
    found = get(module, "__all__") if has(module, "__all__") else None
    return [str(name) for name in found] if isinstance(found, (list, tuple)) else None


def kind_of(value: Any) -> str:
    """Return what something is, in a word or two."""
    import inspect

    if isinstance(value, ModuleType):
        return "package" if has(value, "__path__") else "module"
    if isinstance(value, type):
        return "exception" if issubclass(value, BaseException) else "class"
    if inspect.ismethod(value) or type(value).__name__.endswith(
        ("method_descriptor", "wrapper_descriptor")
    ):
        return "method"
    if inspect.isroutine(value):
        return "method" if is_method(value) else "function"
    if isinstance(value, property) or inspect.isdatadescriptor(value):
        return "property"
    return type(value).__name__


def summary_of(value: Any, name: str = "") -> str:
    """Return the first sentence of a docstring; of a plain value, itself; else how it is called."""
    if isinstance(value, _PLAIN) or not _documented(value):
        return _shown(value) if not callable(value) and not isinstance(value, property) else ""
    own = value.__name__ if isinstance(value, type) else name  # its docstring knows this one
    text = summary(docstring(value), own)
    if not text and isinstance(value, ModuleType):
        return _contents(vars(value).items(), value.__name__)
    if text or not callable(value):
        return re.sub(r"^(?:Alias|alias) (?:of|for) ", "Alias of ", text)
    lines = of(value, name).lines
    return one_line(lines[0]) if lines else ""


def _contents(items: Iterable[tuple[str, Any]], module: str) -> str:
    """Return what a module without a docstring defines: `Adam, adam`."""
    names = [
        name
        for name, value in items
        if not name.startswith("_")
        and (isinstance(value, type) or callable(value))
        and str(get(value, "__module__", "")).startswith(module)
    ]
    if not names:
        names = [
            name
            for name, value in items
            if isinstance(value, ModuleType) and value.__name__ == f"{module}.{name}"
        ]
    return one_line(", ".join(names[:12]), 100)


def _documented(value: Any) -> bool:
    """Whether a docstring would be of the value itself, not of what kind of thing it is."""
    if isinstance(value, (type, ModuleType, property)) or callable(value):
        return True
    return docstring(value) not in ("", docstring(type(value)))


def _shown(value: Any) -> str:
    try:
        return one_line(repr(value), 120)
    except Exception:  # a stranger's __repr__
        return f"a {type(value).__name__}"


def _on_disk(module: ModuleType, private: bool) -> Iterator[tuple[str, str]]:
    """Yield the submodules of a package that are there, with their first line; none is imported.

    vars() are asked: torch's __getattr__ imports torch.onnx and others when their names are.
    """
    import pkgutil

    try:
        found_there = list(pkgutil.iter_modules([str(path) for path in module.__path__]))
    except Exception:  # no package, or a stranger's __path__
        return
    for found in found_there:
        if found.name not in vars(module) and (private or not found.name.startswith("_")):
            yield found.name, _head(found)


def _head(found: Any) -> str:
    """Return the first sentence of the docstring in a module's file, else what it defines."""
    import ast

    try:
        spec = found.module_finder.find_spec(found.name, None)
        tree = ast.parse(spec.loader.get_source(spec.name) or "")
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        names = [one.name for one in tree.body if isinstance(one, kinds)]
        defined = ", ".join(name for name in names if not name.startswith("_"))
        return summary(ast.get_docstring(tree)) or one_line(defined, 100)
    except Exception:  # compiled, unreadable, or no Python
        return ""
