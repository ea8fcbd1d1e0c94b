"""Models: a name -> torch.nn.Module.

cnn, cnn(classes=100)           registered: by ptools, or by a plugin under ptools.models
resnet18, torchvision:resnet18  of torchvision.models, without pretrained weights
net.py:Net                      a class or function in a file
package.module:Net(width=32)    the same in an importable module; arguments are literals

    build, prepare        the model of a name; imported: any function or class of a file of yours
    Blueprint, blueprint  all it takes to build a trained network again
    initialise, parts     weights, dropout, lazy layers of one that is built
    heads                 its last layer: found, replaced, added to
    zoo, pretrained       torchvision's models and their weights
    small, classics       the registered ones
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptools import registry
from ptools.errors import PtoolsError, UsageError, cause
from ptools.models import zoo
from ptools.models.blueprint import Blueprint
from ptools.models.parts import initialise

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "Blueprint",
    "BuildError",
    "anchored",
    "build",
    "check_named",
    "imported",
    "initialise",
    "is_photographic",
    "is_sized",
    "literals",
    "place",
    "prepare",
]

_SPEC = re.compile(
    r"((?P<place>[^:()]+):)?(?P<name>[A-Za-z_][\w.-]*)(?P<arguments>\(.*\))?", re.DOTALL
)


class BuildError(UsageError):
    """The constructor of a model failed; `__cause__` is what it raised."""


def build(
    spec: str, *, classes: int | None = None, shape: tuple[int, ...] | None = None
) -> nn.Module:
    """Return the model called `spec` for images of `shape` (C, H, W) and `classes` outputs.

    A registered model is sized for both, one of torchvision for `classes` (None: its own number,
    10 for a registered one); a class of yours is called with the arguments in `spec`.
    Raises UsageError where no such model is, BuildError where building it fails.
    """
    return prepare(spec, classes=classes, shape=shape)()


def prepare(
    spec: str, *, classes: int | None = None, shape: tuple[int, ...] | None = None
) -> Callable[[], nn.Module]:
    """Find the model called `spec`, importing its file once, and return what builds it; see `build`."""
    try:
        with _no_bytecode():
            make = _maker(spec, classes, shape)
    except PtoolsError:
        raise
    except (Exception, SystemExit) as error:  # the model is the user's code
        raise BuildError(f"model '{spec}' cannot be built: {cause(error)}") from error

    def built() -> nn.Module:
        from torch import nn

        try:
            model = make()
        except PtoolsError:
            raise
        except (Exception, SystemExit) as error:
            raise BuildError(f"model '{spec}' cannot be built: {cause(error)}") from error
        if not isinstance(model, nn.Module):
            kind = type(model).__name__
            raise UsageError(
                f"model '{spec}' is a {kind}, not a torch.nn.Module; name what returns a model."
            )
        return model

    return built


@contextmanager
def _no_bytecode() -> Iterator[None]:
    """Leave no __pycache__ beside the user's files: an edit within the same second would not be seen."""
    import sys

    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def imported(place: str, name: str) -> Any:
    """Return `name` of a file or module, imported as a model of yours is. Raises UsageError."""
    with _no_bytecode():
        return _find(place, name)


def place(spec: str) -> str | None:
    """Return the file or module that `spec` names; None for a registered or torchvision model."""
    match = _SPEC.fullmatch(spec)
    return match["place"] if match and match["place"] != "torchvision" else None


def anchored(spec: str) -> str:
    """Return `spec` with its file's whole path, to be built from any folder: /home/me/net.py:Net."""
    file = place(spec)
    if file is None or not file.endswith(".py"):
        return spec
    return str(Path(file).resolve()) + spec[len(file) :]


def is_photographic(spec: str) -> bool:
    """Return whether `spec` is a model of torchvision: these take images of three channels only."""
    name = spec.removeprefix("torchvision:").partition("(")[0]
    if place(spec) is not None or (name == spec and name in registry.owners(registry.MODELS)):
        return False
    from ptools.models import zoo

    return name in zoo.names()


def check_named(spec: str) -> None:
    """Raise UsageError where a model that a file names is anything but a network.

    Registered models, torchvision's, a .py file that is here, and classes of torch.nn.Module are
    built; `os:system('...')` is not. A .py file is imported, which runs it.
    """
    named = place(spec)
    if named is None or named.endswith(".py"):
        return
    from torch import nn

    match = _SPEC.fullmatch(spec)
    assert match is not None
    found = _find(named, match["name"])
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise UsageError(
            f"the file says its model is '{spec}', which is no class of torch.nn.Module: not built."
        )


def is_sized(spec: str) -> bool:
    """Return whether `build` gives this model the classes it is asked for; a class of yours has its own."""
    name, named = literals(spec)
    return name is not None and not {"classes", "num_classes"} & set(named)


def literals(spec: str) -> tuple[str | None, dict[str, Any]]:
    """Return name and named arguments of a registered or torchvision model; None for one of yours."""
    match = _SPEC.fullmatch(spec)
    if not match or match["place"] not in (None, "torchvision"):
        return None, {}
    return match["name"], _literals(spec, match["arguments"] or "()")[1]


def with_arguments(spec: str, **named: Any) -> str:
    """Return the spec of a registered or torchvision model with more arguments; its own have precedence."""
    name, given = literals(spec)
    if name is None:
        raise UsageError(f"'{spec}' is a class of yours; write its arguments into its name.")
    text = ", ".join(f"{key}={value!r}" for key, value in (named | given).items())
    return f"{name}({text})" if text else name


def _maker(spec: str, classes: int | None, shape: tuple[int, ...] | None) -> Callable[[], Any]:
    match = _SPEC.fullmatch(spec)
    if not match:
        raise UsageError(
            f"no model is called '{spec}': write resnet18, or net.py:Net(10). See: ptools list models"
        )
    positional, named = _literals(spec, match["arguments"] or "()")
    if match["place"] not in (None, "torchvision"):
        return partial(_find(match["place"], match["name"]), *positional, **named)
    found = registry.owners(registry.MODELS)
    if not match["place"] and match["name"] in found:
        return _registered(found[match["name"]], classes, shape, positional, named)
    return zoo.maker(match["name"], classes, shape, positional, named, known=list(found))


def _registered(
    plugin: registry.Plugin,
    classes: int | None,
    shape: tuple[int, ...] | None,
    positional: list[Any],
    named: dict[str, Any],
) -> Callable[[], Any]:
    outputs = named.pop("classes", classes or 10)
    shape = named.pop("shape", shape)
    if shape is None or len(shape) != 3:
        raise UsageError(
            f"model '{plugin.name}' is for images of channels x height x width, such as 3x32x32."
        )
    return partial(registry.load(plugin), outputs, shape, *positional, **named)


def _literals(spec: str, text: str) -> tuple[list[Any], dict[str, Any]]:
    """Parse `(32, bias=False)`; only literals, so that a model's name can never run code."""
    try:
        call = ast.parse(f"f{text}", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError
        if any(keyword.arg is None for keyword in call.keywords):
            raise ValueError
        named = {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg}
        return [ast.literal_eval(value) for value in call.args], named
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise UsageError(
            f"the arguments of '{spec}' must be literals: Net(10, bias=False)."
        ) from error


def _find(place: str, name: str) -> Any:
    """Import a file or a module as `python` would: with its folder, or the working one, on sys.path."""
    import importlib
    import importlib.util
    import sys

    file = Path(place)
    if place.endswith(".py") and not file.is_file():
        raise UsageError(f"{place} does not exist; write path/to/net.py:{name}.")
    if place.endswith(".py") and (file.parent / "__init__.py").is_file():
        return _find_in_package(file.resolve(), name)
    folder = str(file.resolve().parent if place.endswith(".py") else Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        if not place.endswith(".py"):
            return getattr(importlib.import_module(place), name)
        spec = importlib.util.spec_from_file_location(file.stem, file.resolve())
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules.setdefault(spec.name, module)  # dataclasses and pickle look a class's module up
        spec.loader.exec_module(module)
        return getattr(module, name)
    except (Exception, SystemExit) as error:
        raise UsageError(f"model '{place}:{name}' cannot be imported: {cause(error)}") from error


def _find_in_package(file: Path, name: str) -> Any:
    """Import a file of a package under its full name, so that its relative imports work."""
    import importlib
    import sys

    parts, folder = [file.stem] if file.stem != "__init__" else [], file.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    dotted = ".".join(parts)
    try:
        return getattr(importlib.import_module(dotted), name)
    except (Exception, SystemExit) as error:
        raise UsageError(f"model '{dotted}:{name}' cannot be imported: {cause(error)}") from error
