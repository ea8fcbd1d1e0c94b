"""The text of layers: the command's arguments, standard input or a file."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from ptools.errors import FileError, UsageError, one_line
from ptools.files import failed
from ptools.tracing.layers import LIMIT

__all__ = ["read"]


def read(arguments: Sequence[str], stdin: TextIO) -> str:
    """Return the text of layers: each argument is layers, `-` for stdin, or a file's path.

    A .py file gives its one nn.Sequential(...). Raises FileError, and UsageError where there is not
    exactly one.
    """
    return "\n".join(_text(argument, stdin) for argument in arguments)


def _text(argument: str, stdin: TextIO) -> str:
    path = argument.endswith((".py", ".txt")) or ("(" not in argument and _is_file(argument))
    if not path and argument != "-":
        return argument
    try:
        if argument == "-":
            return stdin.read(LIMIT + 1)
        with Path(argument).open(encoding="utf-8") as file:
            text = file.read(LIMIT + 1)
    except OSError as error:
        raise failed("read", Path(argument), error) from error
    except ValueError as error:
        raise FileError(f"cannot read {one_line(argument, 80)}: it is no UTF-8 text.") from error
    return _only_sequential(argument, text) if argument.endswith(".py") else text


def _is_file(argument: str) -> bool:
    try:
        return Path(argument).is_file()
    except (OSError, ValueError):  # too long for a path, or a null byte
        return False


def _only_sequential(file: str, text: str) -> str:
    def calls(node: ast.AST) -> Iterator[ast.Call]:
        if isinstance(node, ast.Call) and _name(node.func) == "Sequential":
            yield node
            return
        for child in ast.iter_child_nodes(node):
            yield from calls(child)

    if len(text) > LIMIT:
        raise UsageError(
            f"{file} is longer than {LIMIT // 1000} kB; name its model: --model {file}:Net"
        )
    try:
        found = list(calls(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text  # layers with `?` in them; parse says what else may be wrong
    if len(found) != 1:
        raise UsageError(
            f"{file} holds {len(found)} nn.Sequential(...), not one; name its model: --model {file}:Net"
        )
    return ast.get_source_segment(text, found[0]) or ""


def _name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
