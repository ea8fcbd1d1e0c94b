"""The one place that prints.

    result(text)        stdout   a line of the result
    paragraph(text)     stdout   a sentence of the result, broken between words on a terminal
    document(value)     stdout   the result as exactly one JSON document
    table(heads, rows)  stdout   the result as a table; fits(heads, rows): is there room for it
    coloured()                   whether stdout shows colours
    size(count)                  bytes as text: 339 kB
    note(text)          stderr   conversation: what is going on, what to try next
    aside()             a block whose prints, of whoever's code, go to stderr
    progress(...)       stderr   a bar, on a terminal only
    program(name)       how to call a program in the commands a note proposes

stdout is the result, stderr is the conversation. Piped output has no control codes and no
wrapped cells; NO_COLOR is kept. rich is imported only where a table or a bar is drawn on a
terminal, so that small commands stay fast.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from rich.progress import Progress


def result(text: str = "") -> None:
    """Print a line of the result."""
    click.echo(text)


def paragraph(text: str) -> None:
    """Print a sentence of the result: broken between words on a terminal, one line in a pipe."""
    if sys.stdout.isatty():
        import shutil
        import textwrap

        width = shutil.get_terminal_size().columns
        indent = text[: len(text) - len(text.lstrip())]
        text = textwrap.fill(
            text,
            width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    click.echo(text)


def note(text: str) -> None:
    """Print a line of conversation."""
    click.echo(text, err=True)


def document(value: Any) -> None:
    """Print `value` as one JSON document; nan and inf become null, as JSON has neither."""
    import json

    click.echo(json.dumps(_finite(value), indent=2, allow_nan=False, default=str))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None  # inf - inf and nan - nan are nan
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def table(
    heads: Sequence[str], rows: Iterable[Sequence[object]], *, right: Collection[str] = ()
) -> None:
    """Print a table: drawn to the width of a terminal, plain aligned columns in a pipe.

    The columns named in `right` are aligned there, as numbers are.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(heads, cells, right)
        return
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    for row in [list(heads), *cells]:
        padded = (
            cell.rjust(width) if head in right else cell.ljust(width)
            for head, cell, width in zip(heads, row, widths, strict=True)
        )
        result("  ".join(padded).rstrip())


def fits(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> bool:
    """Return whether a table is no wider than the terminal; in a pipe every one fits."""
    if not sys.stdout.isatty():
        return True
    import shutil

    columns = zip(heads, *([str(cell) for cell in row] for row in rows), strict=True)
    widths = [max(map(len, column)) for column in columns]
    return sum(widths) + 3 * (len(widths) - 1) <= shutil.get_terminal_size().columns


def _draw(heads: Sequence[str], cells: list[list[str]], right: Collection[str]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for head in heads:
        drawn.add_column(head, overflow="fold", justify="right" if head in right else "left")
    for row in cells:
        drawn.add_row(*map(Text, row))
    Console().print(drawn)


def coloured() -> bool:
    """Return whether stdout is a terminal that shows colours, and NO_COLOR is not set."""
    import os

    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not plain


def size(count: int) -> str:
    """Return bytes of a file as people say them: decimal, as disks are sold, with three digits."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.3g} {units[0]}"


def progress(*columns: Any) -> Progress:
    """Return a rich progress bar on stderr, off unless a terminal; draw it with `refresh=True`.

    It has no thread of its own: one that wakes 10 times a second slows small steps of torch down.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(*columns, console=console, auto_refresh=False, disable=not sys.stderr.isatty())


@contextmanager
def aside() -> Iterator[None]:
    """Send whatever is printed to stderr, by other people's code, C code and children too.

    The file descriptor belongs to the whole process: it is moved in the main thread only.
    """
    import os
    import threading

    sys.stdout.flush()
    saved = -1
    if threading.current_thread() is threading.main_thread():
        with suppress(OSError):  # stdout is closed
            saved = os.dup(1)
            _point(1, at=2)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if saved >= 0:
            _flush_behind()
            _point(1, at=saved)
            os.close(saved)


def _flush_behind() -> None:
    """Write out what was printed behind sys.stdout, by way of sys.__stdout__ or in C."""
    with suppress(Exception):
        if sys.__stdout__ is not None:
            sys.__stdout__.flush()
        if "ctypes" in sys.modules:  # torch and numpy import it; without it nobody printed in C
            sys.modules["ctypes"].CDLL(None).fflush(None)


def _point(descriptor: int, *, at: int) -> None:
    import os

    with suppress(OSError):  # a closed one stays closed
        os.dup2(at, descriptor)


def program(name: str) -> str:
    """Return how to call `name` from here: with its folder where ptools was called with one."""
    import os

    folder = os.path.dirname(sys.argv[0])
    beside = os.path.join(folder, name)
    on_path = any(os.path.exists(os.path.join(p, "ptools")) for p in os.get_exec_path())
    return beside if folder and not on_path and os.path.exists(beside) else name


def discard(stream: TextIO) -> None:
    """Point a broken stream at the null device, so that closing it cannot fail once more."""
    import os

    with suppress(OSError, ValueError):  # a stream in memory cannot break
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
