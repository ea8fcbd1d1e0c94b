"""Text in few lines: wrapped to the terminal, cut where there is too much, and it says so.

LINES            how many lines an answer has, unless all was asked for; a note makes it 40
width()          columns to fill: the terminal's, at most 100; 80 in a pipe
wrapped(...)     a text on several lines, the later ones indented, at most so many
call(...)        a signature, broken between its parameters
columns(...)     rows of two columns, the second wrapped
shares(...)      so many lines for each of several groups
bold(text)       a heading, on a terminal with colours
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence

from ptools import output

LINES = 39
CUT = "..."
_WIDEST = 100


def width() -> int:
    """Return the columns to fill."""
    if not sys.stdout.isatty():
        return 80
    import shutil

    return max(40, min(shutil.get_terminal_size().columns, _WIDEST))


def bold(text: str) -> str:
    """Return a heading, bold where that can be seen."""
    return f"\033[1m{text}\033[0m" if output.coloured() else text


def utf8() -> bool:
    """Return whether lines can be drawn on stdout."""
    return "utf" in (getattr(sys.stdout, "encoding", None) or "utf-8").lower()


def wrapped(text: str, *, first: str = "", then: str = "", most: int | None = None) -> list[str]:
    """Return `text` broken between words, behind `first` and `then`; what is cut ends with dots."""
    import textwrap

    lines = textwrap.wrap(
        text,
        width(),
        initial_indent=first,
        subsequent_indent=then,
        break_long_words=True,
        break_on_hyphens=False,
    ) or [first.rstrip()]
    if most is None or len(lines) <= most:
        return lines
    return [*lines[: most - 1], cut(lines[most - 1] + " " + CUT)]


def cut(text: str, room: int | None = None) -> str:
    """Return a line that fits, its end dotted where it does not."""
    room = width() if room is None else room
    if len(text) <= room:
        return text
    return text[: max(room - len(CUT), 1)].removesuffix(CUT).rstrip() + CUT


def call(text: str, *, most: int = 8) -> list[str]:
    """Return a signature on several lines, broken between parameters, aligned behind the parenthesis."""
    if len(text) <= width():
        return [text]
    head, _, rest = text.partition("(")
    indent = " " * (len(head) + 1 if len(head) < width() // 3 else 4)
    lines, line = [], f"{head}("
    for at, part in enumerate(_parts(rest)):
        if at and len(line) + len(part) + 1 > width():
            lines.append(line.rstrip())
            line = indent + part
        else:
            line += (" " if at else "") + part
    lines = [piece for one in [*lines, line] for piece in _broken(one, indent + "    ")]
    return lines if len(lines) <= most else [*lines[: most - 1], f"{indent}{CUT})"]


def _broken(line: str, indent: str) -> list[str]:
    """Return a line that is too long, a single parameter, as several."""
    return [line] if len(line) <= width() else wrapped(line, then=indent)


def _parts(text: str) -> list[str]:
    """Return parameters with their commas; brackets are not broken."""
    parts, depth, start = [], 0, 0
    for at, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if depth < 0:  # what is returned stays whole
            break
        if sign == "," and depth == 0:
            parts.append(text[start : at + 1])
            start = at + 1
    return [part.strip() for part in [*parts, text[start:]]]


def columns(rows: Sequence[tuple[str, str]], *, room: int, indent: str = "  ") -> list[str]:
    """Return rows of a name and a text in at most `room` lines.

    Texts are wrapped; where that is too much the last ones are cut first, then rows are left out.
    """
    if not rows or room <= 0:
        return []
    wide = min(max(len(name) for name, _ in rows), width() // 3)
    blocks = [_row(name, text, wide, indent, None) for name, text in rows]
    too_many = sum(map(len, blocks)) - room
    for most in (2, 1):
        for at in reversed(range(len(rows))):
            if too_many > 0 and len(blocks[at]) > most:
                too_many -= len(blocks[at]) - most
                blocks[at] = _row(*rows[at], wide, indent, most)
    if too_many <= 0:
        return [line for block in blocks for line in block]
    kept = max(room - 1, 1)
    lines = [line for block in blocks[:kept] for line in block]
    left = len(rows) - kept
    return [*lines, f"{indent}{CUT} {left} more"] if left else lines


def _row(name: str, text: str, wide: int, indent: str, most: int | None) -> list[str]:
    if len(name) > wide:
        if most == 1:
            return [cut(f"{indent}{name}  {text}".rstrip())]
        pad = indent + " " * (wide + 2)
        return [cut(indent + name), *wrapped(text, first=pad, then=pad, most=most and most - 1)]
    first = f"{indent}{name:<{wide}}  "
    return [line.rstrip() for line in wrapped(text, first=first, then=" " * len(first), most=most)]


def shares(
    sizes: Mapping[str, int], room: int, weights: Mapping[str, int] | None = None, least: int = 3
) -> dict[str, int]:
    """Return how many of each group are shown in `room` lines: the small ones whole, the others by weight."""
    weigh = {name: (weights or {}).get(name, 1) for name in sizes}
    left, shown = room, dict.fromkeys(sizes, 0)
    waiting = sorted(sizes, key=lambda name: sizes[name] / weigh[name])
    while waiting:
        part = max(left * weigh[waiting[0]] // sum(weigh[name] for name in waiting), least)
        name = waiting.pop(0)
        shown[name] = min(sizes[name], part)
        left -= shown[name]
    return shown


def bare(text: str) -> str:
    """Return a text without characters that steer a terminal; its lines stay."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "?", text)
