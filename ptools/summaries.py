"""What a plugin says of itself, read from its file without importing it.

    summary(plugin)    the line in `ptools --help`, in completion and in `ptools list`

A module's file is found by asking the finders for its top-level package alone: to find a submodule
the usual way would import its parents.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from ptools.errors import one_line
from ptools.registry import PLUGINS, Plugin
from ptools.scan import read

_HEAD = 4096  # bytes; a docstring that begins later is not found
_WHOLE = 1 << 20


def summary(plugin: Plugin) -> str:
    """Return the first docstring line of the plugin's module, or an empty string.

    Several models live in one module: of these and of data sets it is the function's docstring.
    """
    try:
        file = _source(plugin.module)
        if not file.endswith(".py"):
            return ""
        if plugin.group == PLUGINS:
            return _docstring_line(read(file, _HEAD).decode(errors="replace"))
        return _docstring_of(file, plugin.attribute)
    except Exception:  # a file or a finder of somebody else
        return ""


def _source(module: str) -> str:
    """Return the path of a module's source without importing it or its parents."""
    top, *rest = module.split(".")
    spec = next(filter(None, (_spec(finder, top) for finder in sys.meta_path)), None)
    if spec is None:
        return ""
    if not rest:
        return spec.origin or ""
    relative = "/".join(rest)
    for folder in spec.submodule_search_locations or ():
        for ending in ("/__init__.py", ".py"):
            candidate = f"{folder}/{relative}{ending}"
            if os.path.isfile(candidate):
                return candidate
    return ""


def _spec(finder: Any, top: str) -> Any:
    try:
        return finder.find_spec(top, None)
    except (Exception, SystemExit):  # importlib skips a finder without find_spec, and so do we
        return None


def _docstring_line(head: str) -> str:
    """Return the first line of the docstring that `head` begins with, after blanks and comments."""
    text = head.lstrip("\ufeff \t\r\n")
    while text.startswith("#"):
        text = text.partition("\n")[2].lstrip()
    text = text.lstrip("rRuU")
    quote = text[:3] if text[:3] in ('"""', "'''") else text[:1]
    if quote not in ('"""', "'''", '"', "'"):
        return ""
    line = text[len(quote) :].partition(quote)[0].lstrip("\\ \t\r\n").partition("\n")[0]
    return one_line(line, 100)


def _docstring_of(file: str, name: str) -> str:
    """Return the first docstring line of a function or class at the top of a module."""
    import ast

    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in ast.parse(read(file, _WHOLE)).body:
        if isinstance(node, kinds) and node.name == name:
            return one_line((ast.get_docstring(node) or "").partition("\n")[0], 100)
    return ""
