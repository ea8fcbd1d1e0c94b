"""Every error ptools raises on purpose. Each class owns its exit code.

    PtoolsError        1    the work failed
    +-- UsageError     2    the command line, a PTOOLS_* variable or ptools.toml is wrong
    +-- PluginError    1    a plugin cannot be loaded
    +-- FileError      1    a file cannot be read or written
    +-- Interrupted  130    Ctrl-C

Exit code 0 is done; 3 is done, but something is left for you to decide (`ctx.exit(3)`).

A message is one line: what, where, and what to do next. `ptools.cli` prints it; nobody else does.
"""

from __future__ import annotations


class PtoolsError(Exception):
    """The work failed, and this line says why and what to do next."""

    exit_code = 1


class UsageError(PtoolsError):
    """The command line, a PTOOLS_* variable or ptools.toml is wrong."""

    exit_code = 2


class PluginError(PtoolsError):
    """A plugin cannot be loaded."""


class FileError(PtoolsError):
    """A file cannot be read or written."""


class Interrupted(PtoolsError):
    """The user pressed Ctrl-C."""

    exit_code = 130


def one_line(text: object, limit: int = 300) -> str:
    """Return `text` on one line, printable, at most `limit` characters. Never raises."""
    try:
        line = " ".join(str(text)[:10_000].split())
    except BaseException:  # the text is an exception of strangers, and its __str__ is theirs
        line = "(it cannot be printed)"
    line = "".join(c if c.isprintable() else "?" for c in line)
    return line if len(line) <= limit else line[: limit - 3] + "..."


def cause(error: BaseException) -> str:
    """Return an exception as `Type: message` on one line."""
    text = one_line(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def suggestion(word: str, known: list[str]) -> str:
    """Return ` Did you mean 'x'?`, or nothing where nothing is close."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=1)
    return f" Did you mean '{close[0]}'?" if close else ""
