"""What was found on the screen: cards, lists, searches, trees, values; each in at most LINES lines.

Files are shown by show_file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ptools import output
from ptools_plugins.inspection import show_file
from ptools_plugins.inspection.cards import Card
from ptools_plugins.inspection.differing import Difference
from ptools_plugins.inspection.layout import (
    CUT,
    LINES,
    bare,
    bold,
    call,
    columns,
    cut,
    shares,
    utf8,
    width,
    wrapped,
)
from ptools_plugins.inspection.listings import Branch, Hits, Listing
from ptools_plugins.inspection.opening import Seen
from ptools_plugins.inspection.places import Places
from ptools_plugins.inspection.sources import Source
from ptools_plugins.inspection.values import Value
from ptools_plugins.inspection.work import Help

_WEIGHTS = {"subpackages": 2, "classes": 3, "functions": 3, "methods": 3}
_GROUP_TITLES = {"subpackages": "Subpackages and modules"}


def show(found: Any, *, whole: bool, depth: int | None) -> None:
    """Print what `work.look` found."""
    match found:
        case Card():
            card(found, whole=whole)
        case Listing():
            listing(found, whole=whole)
        case Hits():
            hits(found, whole=whole)
        case Branch():
            tree(found, whole=whole or depth is not None)
        case Places():
            places(found, whole=whole)
        case Source():
            source(found)
        case Value():
            value(found, whole=whole)
        case Help():
            pager(found.text)
        case Seen():
            show_file.seen(found, whole=whole, depth=depth)
        case Difference():
            show_file.difference(found, whole=whole)


def _print(lines: Sequence[str]) -> None:
    for line in lines:
        output.result(line)


# -- a card -------------------------------------------------------------------------------------------


def card(found: Card, *, whole: bool) -> None:
    """Print a card, and on stderr where more is to be had."""
    _print(card_lines(found, 1000 if whole else LINES))
    source = ", --source for its code" if found.origin.line else ""
    output.note(f"More: add --full for the whole help{source}")


def card_lines(found: Card, most: int = LINES) -> list[str]:
    """Return the lines of a card: what is fixed first, the parameters get the room that is left."""
    whole = most > LINES
    head = [bold(found.name) + f"  ({found.kind})", "", *_how_to_call(found, whole)]
    if found.paragraph:
        head += [*wrapped(found.paragraph, most=None if whole else 4), ""]
    shape = ["", bold("Shape"), *_shape(found.shape, whole)] if found.shape else []
    tail = list(_tail(found))
    room = most - len(head) - len(shape) - len(tail) - 2
    rows = [(p.name, f"({p.type}) {p.text}" if p.type else p.text) for p in found.parameters]
    parameters = [bold("Parameters"), *columns(rows, room=room)] if rows and room > 1 else []
    middle = [*parameters, *(shape if parameters else shape[1:])]
    return [*head, *middle, *([""] if middle else []), *tail]


def _how_to_call(found: Card, whole: bool) -> Iterator[str]:
    if found.value is not None:
        yield from wrapped(found.value, most=None if whole else 6)
    elif found.closed:
        yield "It has no constructor: only its library makes objects of it."
    elif not found.signatures and found.kind != "property":
        yield "Its signature is not known: neither Python, its docstring nor a stub has it."
    most = 1000 if whole else {1: 10, 2: 5}.get(len(found.signatures), 3)
    shown = found.signatures if whole else found.signatures[:4]
    for line in shown:
        yield from call(line, most=most)
    if left := len(found.signatures) - len(shown):
        yield f"{CUT} {left} more ways to call it: --all, --json"
    if found.kind != "property":
        yield ""


def _shape(lines: list[str], whole: bool) -> Iterator[str]:
    kept: list[str] = []
    for line in lines:
        deeper = line.startswith("  ")
        indent = "    " if deeper else "  "
        kept += wrapped(line.strip(), first=indent, then=indent + "  ", most=None if whole else 2)
    yield from kept if whole else kept[:10]
    if len(kept) > 10 and not whole:
        yield f"  {CUT} {len(kept) - 10} more lines: --full"


def _tail(found: Card) -> Iterator[str]:
    rows: list[tuple[str, str]] = []
    if found.forward:
        rows.append(("Call", found.forward))
    if found.bases:
        rows.append(("Bases", ", ".join(found.bases)))
    rows.append(("Defined", found.origin.shown))
    if found.own or found.inherited:
        inherited = f" and {found.inherited} inherited" if found.inherited else ""
        rows.append(
            ("Members", f"{len(found.own)} of its own{inherited} (--all): " + ", ".join(found.own))
        )
    if found.see:
        rows.append(("See", f"{', '.join(found.see)}: it has no docstring itself"))
    for name, text in rows:
        yield from wrapped(text, first=f"{name:<9}", then=" " * 9, most=2)


# -- lists --------------------------------------------------------------------------------------------


def listing(found: Listing, *, whole: bool) -> None:
    """Print what a module has, group by group; without `whole` as much as fits on a screen."""
    lines = [bold(found.name) + f"  ({found.kind})"]
    if found.paragraph:
        lines += wrapped(found.paragraph, most=3)
    groups = found.groups
    sizes = {group: len(some) for group, some in groups.items()}
    room = LINES - len(lines) - 3 * len(groups)  # a blank line, a heading, what is left out
    fits = sum(sizes.values()) <= room + len(groups)
    shown = sizes if whole or fits else shares(sizes, room, _WEIGHTS)
    for group, some in groups.items():
        title = _GROUP_TITLES.get(group, group.capitalize())
        lines += ["", bold(f"{title} ({len(some)})"), *_rows(found, group, shown[group])]
    _print(lines)
    left = sum(sizes.values()) - sum(shown.values())
    if left:
        output.note(f"{left} more: add --all, or --grep WORD, or --full in a pager")


def _rows(found: Listing, group: str, count: int) -> list[str]:
    """Return the lines of `count` members of a group, the basic ones."""
    rows = [(one.name, cut(one.summary, 400)) for one in found.basic(group, count)]
    lines = columns(rows, room=len(rows))
    left = len(found.groups[group]) - len(rows)
    return [*lines, f"  {CUT} {left} more"] if left else lines


def hits(found: Hits, *, whole: bool) -> None:
    """Print what a search found, the best first."""
    kept = found.found if whole else found.found[:LINES]
    rows = [(one.name, one.summary) for one in kept]
    _print(columns(rows, room=len(rows), indent=""))
    left = len(found.found) - len(kept)
    if left:
        output.note(f"{left} more, that fit less well: add --all")
    if not rows:
        output.note(f"nothing in {found.within} has '{found.word}'; --depth 4 searches deeper")


def places(found: Places, *, whole: bool) -> None:
    """Print where a bare name is."""
    rows = []
    for place in found.found if whole else found.found[:LINES]:
        also = f"(also {', '.join(place.also if whole else place.also[:2])}) " if place.also else ""
        rows.append((place.name, also + place.summary))
    _print(columns(rows, room=len(rows), indent=""))
    output.note(f"One of them in full: ptools inspect {found.found[0].name}")


# -- a tree -------------------------------------------------------------------------------------------


def tree(found: Branch, *, whole: bool) -> None:
    """Print a tree; where it is too long its deepest levels are left out."""
    signs = ("├─ ", "└─ ", "│  ") if utf8() else ("|- ", "`- ", "|  ")
    rows = list(_branches(found, "", "", signs))
    kept = rows if whole else rows[:LINES]
    wide = min(max(len(name) for name, _ in kept), width() // 2)
    _print([cut(f"{name:<{wide}}  {text}".rstrip()) for name, text in kept])
    if len(kept) < len(rows):
        output.note(f"{len(rows) - len(kept)} more: add --all, or --depth 1")


def _branches(
    one: Branch, before: str, later: str, signs: tuple[str, str, str]
) -> Iterator[tuple[str, str]]:
    counts = ", ".join(f"{n} {_counted(group, n)}" for group, n in one.counts.items())
    yield before + one.name, ": ".join(filter(None, (counts, one.summary)))
    for at, inner in enumerate(one.below):
        last = at == len(one.below) - 1
        mark, go_on = (signs[1], "   ") if last else (signs[0], signs[2])
        yield from _branches(inner, later + mark, later + go_on, signs)


def _counted(group: str, number: int) -> str:
    if number != 1:
        return group
    return {"classes": "class"}.get(group, group.removesuffix("s"))


# -- source and values --------------------------------------------------------------------------------


def source(found: Source) -> None:
    """Print source, coloured on a terminal; file and line come first, as a comment."""
    text = bare(found.text)
    output.result(f"# {found.shown}")
    if not output.coloured():
        output.result(text.rstrip("\n"))
        return
    from rich.console import Console
    from rich.syntax import Syntax

    shown = Syntax(
        text,
        "python",
        line_numbers=True,
        start_line=found.line,
        theme="ansi_dark",
        background_color="default",
        word_wrap=True,
    )
    Console().print(shown)


def pager(text: str) -> None:
    """Show a long text in a pager; in a pipe it is printed."""
    import sys

    import click

    if sys.stdout.isatty():
        click.echo_via_pager(bare(text))
    else:
        output.result(bare(text).rstrip())


def value(found: Value, *, whole: bool) -> None:
    """Print a value and its facts."""
    facts = [(name, _fact(name, fact)) for name, fact in found.facts.items()]
    room = LINES - len(facts) - 3
    lines = bare(found.text).splitlines() or [""]
    shown = [
        piece for line in lines for piece in (wrapped(line) if len(line) > width() else [line])
    ]
    if len(shown) > room and not whole:
        half = room // 2
        shown = [*shown[:half], CUT, *shown[-(room - half - 1) :]]
    _print([*shown, "", *columns([("type", found.type), *facts], room=len(facts) + 1, indent="")])


def _fact(name: str, fact: Any) -> str:
    if isinstance(fact, bool):
        return "yes" if fact else "no"
    if isinstance(fact, int):
        return f"{fact:,}"
    if isinstance(fact, float):
        return f"{fact:.6g}"
    if isinstance(fact, list):
        return (
            ", ".join(map(str, fact)) if name == "strides" else "x".join(map(str, fact)) or "scalar"
        )
    return "-" if fact is None else str(fact)
