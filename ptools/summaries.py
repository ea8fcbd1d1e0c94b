"""What a plugin says of itself, read from its file without importing it.

    summary(plugin)    the line in `ptools --help`, in completion and in `ptools list`

A module's file is found by asking the finders for its top-level package alone: to find a submodule
the usual way would import its parents.
"""

from __future__ import annotations

import os
import re
import sys

from ptools.errors import one_line
from ptools.registry import NEVER_BLOCK, PLUGINS, Plugin

_HEAD = 4096  # bytes; a docstring that begins later is not found
_WHOLE = 1 << 20


def summary(plugin: Plugin) -> str:
    """Return the first docstring line of the plugin's module, or an empty string.

    Several models live in one module: of these and of data sets it is the function's docstring.
    """
    module, _, attribute = (part.strip() for part in plugin.reference.partition(":"))
    try:
        if plugin.group == PLUGINS:
            return _docstring_line(_head(_source(module), _HEAD))
        text = _head(_source(module), _WHOLE)
        define = re.search(rf"^(?:def|class) {re.escape(attribute)}\b.*?:\s*\n", text, re.M | re.S)
        return _docstring_line(text[define.end() :]) if define else ""
    except Exception:  # a finder of somebody else may raise anything
        return ""


def _source(module: str) -> str:
    """Return the path of a module's source without importing it or its parents."""
    top, *rest = module.split(".")
    for finder in sys.meta_path:
        spec = finder.find_spec(top, None)
        if spec is not None:
            break
    else:
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


def _head(file: str, size: int) -> str:
    if not file.endswith(".py"):
        return ""
    descriptor = os.open(file, NEVER_BLOCK)
    try:
        return os.read(descriptor, size).decode(errors="replace")
    finally:
        os.close(descriptor)


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
