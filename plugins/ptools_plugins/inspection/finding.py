"""From what was typed to a Python object: torch.nn.Conv2d, nn.Conv2d, net.py:Net, numpy.linspace.

find(text)       Found, or None for a bare name that is no module: `places` knows where it is
is_name(text)    whether it is a name at all, and no expression
importing(name)  import a module; whatever goes wrong in it is one line
Absent           the error where a module or a class lacks a name
nearest(...)     the name that was meant; closest(...): several of them; same(...): two spellings of one

Importing a package runs its code, as Python's own import does; nothing else is run.
"""

from __future__ import annotations

import builtins
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ptools import output
from ptools.errors import PtoolsError, UsageError, cause, one_line

# What everybody calls them; asked only where nothing here has that name itself.
ALIASES = {
    "F": "torch.nn.functional",
    "nn": "torch.nn",
    "optim": "torch.optim",
    "v2": "torchvision.transforms.v2",
    "T": "torchvision.transforms",
    "transforms": "torchvision.transforms",
    "np": "numpy",
    "plt": "matplotlib.pyplot",
}
_WITHIN = ("torch", "torch.nn", "torchvision")  # where `Tensor.view` is looked for
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_MISSING = object()


@dataclass(frozen=True)
class Found:
    """An object and its full name; `holder` is the module or class that has it."""

    name: str
    value: Any
    holder: Any = None

    @property
    def short(self) -> str:
        """The last part of the name."""
        return self.name.rpartition(".")[2].rpartition(":")[2]


class Absent(PtoolsError):
    """A module or a class has no such name; the nearest one is told."""

    def __init__(self, found: Found, name: str) -> None:
        self.found, self.name = found, name
        known = [n for n in dir(found.value) if not n.startswith("_") or name.startswith("_")]
        self.close = nearest(name, known)
        super().__init__(self.told())

    def told(self, elsewhere: str = "") -> str:
        """Return the message; `elsewhere` is where torch has exactly this name."""
        said = f"{self.found.name} has no '{self.name}'"
        join = ":" if self.found.name.endswith(".py") else "."
        if self.close and (same(self.close, self.name) or not elsewhere):
            again = f"ptools inspect {self.found.name}{join}{self.close}"
            also = f", or {elsewhere}" if elsewhere else ""
            return f"{said}: did you mean {self.close}? {again}{also}"
        if elsewhere:
            return f"{said}: did you mean {elsewhere}? ptools inspect {elsewhere}"
        return f"{said}; what it has: ptools inspect {self.found.name}"


def is_name(text: str) -> bool:
    """Return whether a text is a dotted name, or one behind `file.py:` or `package.module:`."""
    place, colon, name = text.rpartition(":")
    if colon and not (place.endswith(".py") or _NAME.fullmatch(place)):
        return False
    return bool(_NAME.fullmatch(name)) or (not colon and text.endswith(".py"))


def find(text: str) -> Found | None:
    """Return the object called `text`; None where it is a bare name and no module.

    Raises Absent where it is not there, PtoolsError where an import fails or there is no such module.
    """
    place, colon, name = text.rpartition(":")
    if text.endswith(".py"):
        return Found(text, _file(text))
    if colon:
        module = _file(place) if place.endswith(".py") else _needed(place)
        return _inside(Found(place, module), name.split("."), f"{place}:")
    head, *rest = text.split(".")
    _see_here(head)
    found = importing(head)
    if found is not None:
        return _inside(Found(head, found), rest, f"{head}.")
    if head in ALIASES and rest:
        head = ALIASES[head]
        return _inside(Found(head, _needed(head)), rest, f"{head}.")
    if not rest:
        return None if head not in ALIASES else Found(ALIASES[head], _needed(ALIASES[head]))
    if hasattr(builtins, head):  # str.join
        return _inside(Found("builtins", builtins), [head, *rest], "builtins.")
    for within in _WITHIN:
        top = importing(within)
        if top is not None and get(top, head) is not _MISSING:
            return _inside(Found(within, top), [head, *rest], f"{within}.")
    raise PtoolsError(f"there is no module '{head}' here{_close_module(head)}.")


def get(holder: Any, name: str, absent: Any = _MISSING) -> Any:
    """Return an attribute, or `absent`: a stranger's __getattr__ may raise anything."""
    try:
        return getattr(holder, name)
    except Exception:
        return absent


def has(holder: Any, name: str) -> bool:
    """Return whether there is such an attribute."""
    return get(holder, name) is not _MISSING


def _inside(found: Found, names: list[str], prefix: str) -> Found:
    """Follow the names from an object on; submodules are imported on the way."""
    for name in names:
        value = get(found.value, name)
        if value is _MISSING and isinstance(found.value, ModuleType):
            module = importing(f"{found.value.__name__}.{name}")
            value = _MISSING if module is None else module
        if value is _MISSING:
            raise Absent(found, name)
        found = Found(f"{prefix}{name}", value, found.value)
        prefix = f"{prefix}{name}."
    return found


# -- imports ------------------------------------------------------------------------------------------


def importing(name: str) -> ModuleType | None:
    """Import a module and return it; None where there is none. Raises PtoolsError where it fails."""
    import importlib

    with _quiet():
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if missing == name or name.startswith(f"{missing}."):
                return None
            raise PtoolsError(
                f"importing {name} failed: it needs the module '{missing}'; install that first."
            ) from error
        except (Exception, SystemExit) as error:
            raise PtoolsError(f"importing {name} failed: {cause(error)}{_where(error)}") from error


def _needed(name: str) -> ModuleType:
    top = name.partition(".")[0]
    _see_here(top)
    module = importing(name)
    if module is None:
        raise PtoolsError(f"there is no module '{name}' here{_close_module(top)}.")
    return module


def _file(place: str) -> ModuleType:
    """Import a file as `python` would, with its folder on sys.path; no .pyc is left beside it."""
    import importlib.util

    path = Path(place)
    if not path.is_file():
        raise UsageError(f"{place} does not exist; write path/to/net.py:Net.")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(spec.name, module)  # dataclasses look a class's module up
    with _quiet():
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            raise PtoolsError(f"importing {place} failed: {cause(error)}{_where(error)}") from error
    return module


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what an import prints, warns of, and writes beside itself out of the way."""
    import warnings

    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        with output.aside(), warnings.catch_warnings(action="ignore"):
            yield
    finally:
        sys.dont_write_bytecode = before


def _see_here(head: str) -> None:
    """Let modules of the working folder be imported: before all others only one that is asked for."""
    try:
        here = Path.cwd()
    except OSError:  # it was removed
        return
    if str(here) in sys.path:
        return
    mine = (here / f"{head}.py").is_file() or (here / head / "__init__.py").is_file()
    sys.path.insert(0 if mine else len(sys.path), str(here))


def _where(error: BaseException) -> str:
    """Return the place in somebody's file where an import failed."""
    import traceback

    if isinstance(error, SyntaxError):  # it says so itself
        return ""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    inside = [f for f in frames if f.filename != __file__]
    return f" ({one_line(shorter(inside[-1].filename))}:{inside[-1].lineno})" if inside else ""


def _close_module(name: str) -> str:
    """Return `: did you mean torch?`, of the modules that could be imported."""
    import pkgutil

    known = {*sys.stdlib_module_names, *(module.name for module in pkgutil.iter_modules())}
    close = nearest(name, [one for one in known if not one.startswith("_")])
    return f": did you mean {close}?" if close else "; install it, or check its name"


def shorter(file: str) -> str:
    """Return a file's path from the working folder; of what is installed, from where it was imported."""
    path, here = Path(file).resolve(), Path.cwd()
    if path.is_relative_to(here) and not {"site-packages", "dist-packages"} & {*path.parts}:
        return str(path.relative_to(here))
    roots = [Path(p).resolve() for p in sys.path if p]
    inside = [path.relative_to(root) for root in roots if path.is_relative_to(root)]
    return str(min(inside, key=lambda p: len(p.parts), default=path))


# -- names that are nearly right ------------------------------------------------------------------------


def key(name: str) -> str:
    """Return what two spellings of a name have in common: MaxPool2d and max_pool2d."""
    return name.replace("_", "").lower()


def same(one: str, other: str) -> bool:
    """Return whether two names are spellings of one."""
    return key(one) == key(other)


def nearest(word: str, known: list[str]) -> str:
    """Return the one of `known` that was meant by `word`, or ""."""
    from difflib import get_close_matches

    alike = [name for name in known if same(name, word)]
    if alike:
        return alike[0]
    close = get_close_matches(word, known, n=1, cutoff=0.7)
    return close[0] if close else next(iter(closest(word, {key(name): name for name in known})), "")


def closest(word: str, known: dict[str, str], count: int = 1) -> Iterable[str]:
    """Return the values of the keys that are spelled nearly as `word`."""
    from difflib import get_close_matches

    return [known[one] for one in get_close_matches(key(word), list(known), n=count, cutoff=0.7)]
