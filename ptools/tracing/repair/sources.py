"""The user's source files: where an expression stands, edits of exact text, a model built from edited text.

Only files of the user's own are looked at: nothing of Python, PyTorch or an installed package.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import sysconfig
import tokenize
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any, NamedTuple

_INSTALLED = ("site-packages", "dist-packages")
_LIBRARY = str(Path(sysconfig.get_paths()["stdlib"]).resolve())
_PACKAGE = Path(__file__).resolve().parents[2]
_OURS = (f"{_PACKAGE}/", f"{_PACKAGE.parent / 'plugins' / 'ptools_plugins'}/")


class Site(NamedTuple):
    """Where a running expression stands in the user's source; columns are UTF-8 bytes, as in ast."""

    file: str
    line: int
    end_line: int
    column: int
    end_column: int
    function: str
    names: dict[str, int]  # the whole numbers that the function could see by name


class Edit(NamedTuple):
    """Replace text[start:end] of a file by `new`."""

    file: str
    start: int
    end: int
    new: str


@lru_cache(maxsize=4096)
def is_users(file: str) -> bool:
    """Return whether a file is the user's own source."""
    if not file.endswith(".py"):
        return False
    path = Path(file).resolve()
    if any(part in _INSTALLED for part in path.parts) or not path.is_file():
        return False
    return not str(path).startswith((_LIBRARY, *_OURS))


@lru_cache(maxsize=1024)
def _positions(code: CodeType) -> list[tuple[int | None, int | None, int | None, int | None]]:
    return list(code.co_positions())


def site(code: CodeType, instruction: int, frame: FrameType) -> Site | None:
    """Return where in the user's source an instruction of a frame stands."""
    if not is_users(code.co_filename):
        return None
    line, end_line, column, end_column = _positions(code)[instruction // 2]
    if line is None or end_line is None or column is None or end_column is None:
        return None
    scope = {**frame.f_globals, **frame.f_locals}
    names = {k: v for k, v in scope.items() if type(v) is int and not k.startswith("__")}
    return Site(code.co_filename, line, end_line, column, end_column, code.co_name, names)


def read(file: str) -> str:
    """Return the text of a source file as it stands: in its own encoding, with its own line ends."""
    data = Path(file).read_bytes()
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    return data.decode(encoding)


class Source:
    """One file: its text and its tree."""

    def __init__(self, file: str, text: str | None = None) -> None:
        self.file = file
        self.text = read(file) if text is None else text

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def _starts(self) -> list[int]:
        starts = [0]
        for line in re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", self.text):
            starts.append(starts[-1] + len(line))
        return starts

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        return {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def offset(self, line: int, column: int) -> int:
        """Return the place in the text of a line (from 1) and a column in UTF-8 bytes."""
        start = self._starts[line - 1]
        row = self.text[start : self._starts[line]]
        return start + len(row.encode()[:column].decode(errors="ignore"))

    def line(self, offset: int) -> int:
        """Return the line, from 1, of a place in the text."""
        return bisect_right(self._starts, offset)

    def span(self, node: Any) -> tuple[int, int]:
        """Return where in the text a node begins and ends."""
        return (
            self.offset(node.lineno, node.col_offset),
            self.offset(node.end_lineno, node.end_col_offset),
        )

    def code(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.text[start:end]

    def at(self, where: Site) -> ast.expr | None:
        """Return the expression that stands exactly there, or the smallest around it."""
        start = self.offset(where.line, where.column)
        end = self.offset(where.end_line, where.end_column)
        best: tuple[int, ast.expr] | None = None
        for node in ast.walk(self.tree):
            if isinstance(node, ast.expr):
                a, b = self.span(node)
                if a <= start and end <= b and (best is None or b - a < best[0]):
                    best = (b - a, node)
        return best[1] if best else None

    def statement(self, node: ast.AST) -> ast.stmt | None:
        """Return the statement that a node is part of."""
        while not isinstance(node, ast.stmt):
            parent = self.parents.get(node)
            if parent is None:
                return None
            node = parent
        return node

    def around(self, node: ast.AST, *kinds: type[ast.AST]) -> ast.AST | None:
        """Return the innermost node of one of `kinds` that holds `node`."""
        parent = self.parents.get(node)
        while parent is not None and not isinstance(parent, kinds):
            parent = self.parents.get(parent)
        return parent

    def replace(self, node: ast.AST, new: str) -> Edit:
        return Edit(self.file, *self.span(node), new)


def edited(text: str, edits: Sequence[Edit]) -> str:
    """Return the text with all edits made; where two overlap, raise ValueError."""
    last, ends = len(text), "\r\n" if "\r\n" in text else "\n"
    for edit in sorted(edits, key=lambda e: (e.start, e.end), reverse=True):
        if edit.end > last:
            raise ValueError("edits overlap")
        new = edit.new if "\r\n" in edit.new else edit.new.replace("\n", ends)
        text = text[: edit.start] + new + text[edit.end :]
        last = edit.start
    return text


def exchange(before: str, after: str) -> tuple[str, str, int]:
    """Return (old, new, line): replacing `old`, which stands once in `before`, by `new` gives `after`."""
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    line = before.count("\n", 0, start) + 1
    a, b = start, len(before) - end
    while a == b or before.count(before[a:b]) != 1 or _inside_a_word(before, a, b):
        whole = (before.rfind("\n", 0, a) + 1, (before.find("\n", b) + 1 or len(before) + 1) - 1)
        if (a, b) == whole:  # the lines are not unlike all others: take one more on each side
            whole = (before.rfind("\n", 0, max(a - 1, 0)) + 1, whole[1])
            if whole[0] == a:
                whole = (a, (before.find("\n", b + 1) + 1 or len(before) + 1) - 1)
        a, b = whole
        if (a, b) == (0, len(before)):
            break
    return before[a:b], after[a : b + len(after) - len(before)], line


def _inside_a_word(text: str, a: int, b: int) -> bool:
    """Return whether text[a:b] cuts a name or a number: such an `old` is hard to read."""
    return (a > 0 and text[a - 1].isalnum()) or (b < len(text) and text[b].isalnum())


def new_statements(before: str, after: str) -> tuple[str, ...]:
    """Return the statements of `after` that `before` has not, each on one line; of a def its head."""
    old = Counter(_statements(Source("", before)))
    new = Counter(_statements(Source("", after)))
    known = set(old)
    return tuple(_changed(text, known) for text in new - old)


def _statements(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef):
            yield source.text[source.span(node)[0] : source.span(node.body[0])[0]].rstrip()
        elif isinstance(node, ast.stmt) and not hasattr(node, "body"):
            yield source.code(node)


def _changed(text: str, known: set[str]) -> str:
    """Return what is new in a statement: of several lines those, of a long line the part."""
    rows = text.splitlines()
    if len(rows) > 1:
        lines = {line.strip() for code in known for line in code.splitlines()}
        return _part(" ".join(row.strip() for row in rows if row.strip() not in lines), known)
    return _part(text, known)


def _alike(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _part(text: str, known: set[str], width: int = 76) -> str:
    """Cut a long line down to what differs from the most similar of the old ones."""
    if len(text) <= width:
        return text
    lines = [line.strip() for code in known for line in code.splitlines()]
    start = max((_alike(text, line) for line in lines), default=0)
    start = max(
        (text.rfind(mark, 0, start - 12) + len(mark) for mark in (", ", "(", " = ")), default=0
    )
    if start < len(text) / 3:
        start = 0  # more new than old: its beginning says what it is
    cut = text[start:] if start > 16 else text
    cut = cut if len(cut) <= width else cut[: width - 4].rstrip() + " ..."
    return f"... {cut}" if start > 16 else cut


@contextmanager
def rewritten(texts: dict[str, str]) -> Iterator[None]:
    """Import the user's modules anew, some from other text than lies on disk; put all back after."""
    original = SourceFileLoader.get_code
    paths = {str(Path(file).resolve()): text for file, text in texts.items()}

    def get_code(self: SourceFileLoader, fullname: str) -> Any:
        text = paths.get(str(Path(self.path).resolve()))
        if text is None:
            return original(self, fullname)
        return compile(text, self.path, "exec", dont_inherit=True)

    roots = tuple(f"{_root(Path(file))}/" for file in paths)
    own = {name: module for name, module in list(sys.modules.items()) if _lies_in(module, roots)}
    for name in own:
        del sys.modules[name]
    before = set(sys.modules)
    SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        SourceFileLoader.get_code = original  # type: ignore[method-assign]
        for name in [n for n in set(sys.modules) - before if _lies_in(sys.modules[n], roots)]:
            del sys.modules[name]
        sys.modules.update(own)


def _root(file: Path) -> Path:
    """Return the folder of a file, or of the whole package that it is part of."""
    folder = file.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def _lies_in(module: Any, roots: tuple[str, ...]) -> bool:
    """Return whether a module is the user's, of the same project as the edited files."""
    file = vars(module).get("__file__") if isinstance(module, ModuleType) else None
    if not isinstance(file, str) or vars(module).get("__name__") == "__main__":
        return False
    return is_users(file) and str(Path(file).resolve()).startswith(roots)
