"""Models: a name -> torch.nn.Module.

cnn                             registered: by ptools, or by a plugin under ptools.models
net.py:Net                      a class or function in a file
package.module:Net(width=32)    the same in an importable module; arguments are literals
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptools import registry
from ptools.errors import PtoolsError, UsageError, cause, suggestion

if TYPE_CHECKING:
    from torch import nn

__all__ = ["build"]

_SPEC = re.compile(r"(?P<place>[^:()]+):(?P<name>[A-Za-z_]\w*)(?P<arguments>\(.*\))?", re.DOTALL)


def build(spec: str, *, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """Return the model called `spec` for images of `shape` (C, H, W) and `classes` outputs.

    A registered model is sized for both; a class of yours is called with the arguments in `spec`.
    Raises UsageError where no such model is, or where building it fails.
    """
    from torch import nn

    try:
        model = _call(spec, classes, shape)
    except PtoolsError:
        raise
    except (Exception, SystemExit) as error:  # the model is the user's code
        raise UsageError(f"model '{spec}' cannot be built: {cause(error)}") from error
    if not isinstance(model, nn.Module):
        kind = type(model).__name__
        raise UsageError(
            f"model '{spec}' is a {kind}, not a torch.nn.Module; name what returns a model."
        )
    return model


def _call(spec: str, classes: int, shape: tuple[int, int, int]) -> Any:
    found = registry.owners(registry.MODELS)
    if spec in found:
        return registry.load(found[spec])(classes, shape)
    match = _SPEC.fullmatch(spec)
    if not match:
        close = suggestion(spec, list(found)) or " See: ptools list models"
        raise UsageError(f"no model is called '{spec}'.{close}")
    positional, named = _literals(spec, match["arguments"] or "()")
    return _find(match["place"], match["name"])(*positional, **named)


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
    folder = str(file.resolve().parent if place.endswith(".py") else Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        if not place.endswith(".py"):
            return getattr(importlib.import_module(place), name)
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules.setdefault(spec.name, module)  # dataclasses and pickle look a class's module up
        spec.loader.exec_module(module)
        return getattr(module, name)
    except (Exception, SystemExit) as error:
        raise UsageError(f"model '{place}:{name}' cannot be imported: {cause(error)}") from error
