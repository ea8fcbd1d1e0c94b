"""What is asked for -> what is found: a value with a document for JSON and a way to be shown.

look(target, other, asked)   the one of Card, Listing, Hits, Branch, Places, Source, Value, Seen, Difference
Asked                        the options of the command
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ptools import files
from ptools.errors import PtoolsError, UsageError, one_line
from ptools_plugins.inspection import opening
from ptools_plugins.inspection.finding import Absent, Found, find, is_name

if TYPE_CHECKING:
    from ptools_plugins.inspection.opening import Seen


@dataclass(frozen=True)
class Asked:
    """The options, as they were given."""

    whole: bool = False
    grep: str | None = None
    tree: bool = False
    depth: int | None = None
    full: bool = False
    source: bool = False
    evaluated: bool = False
    stats: bool = False
    trust: bool = False
    png: Path | None = None
    force: bool = False


@dataclass(frozen=True)
class Help:
    """The whole help text of something."""

    name: str
    text: str

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"name": self.name, "help": self.text}


def look(target: str, other: str | None = None, asked: Asked | None = None) -> Any:
    """Return what `target` is, as the options ask for it. Raises UsageError, PtoolsError, FileError."""
    import warnings

    asked = asked or Asked()
    if not target.strip():
        raise UsageError("the target is empty; name an object or a file: torch.nn.Conv2d.")
    if asked.force and asked.png is None:
        raise UsageError("--force is for --png; leave it out.")
    with warnings.catch_warnings(
        action="ignore"
    ):  # of names that are deprecated: they are only listed
        if asked.evaluated:
            return _value(target, other, asked)
        if other is not None or opening.is_file(target):
            return _file(target, other, asked)
        return _object(target, asked)


def _refuse(asked: Asked, what: str, *fields: str) -> None:
    """Raise UsageError for an option that says nothing here."""
    for field in fields:
        if getattr(asked, field) not in (None, False):
            raise UsageError(f"--{field} is not for {what}; leave it out.")


def _value(target: str, other: str | None, asked: Asked) -> Any:
    from ptools_plugins.inspection.values import evaluate

    if other is not None:
        raise UsageError("--eval takes one expression; put it in quotes.")
    no = ("grep", "tree", "depth", "full", "source", "stats", "trust", "png")
    _refuse(asked, "an expression", *no)
    return evaluate(target)


def _file(target: str, other: str | None, asked: Asked) -> Any:
    from ptools_plugins.inspection.differing import compare

    _refuse(asked, "a file of weights", "source", "full")
    if other is None:
        if asked.png is not None:
            files.place(asked.png, force=asked.force, end=".png")
        contents = opening.read(Path(target), trust=asked.trust)
        found = opening.seen(contents, grep=asked.grep, stats=asked.stats or asked.png is not None)
        if asked.png is not None:
            _picture(found, asked.png, force=asked.force)
        return found
    if "(" in f"{target}{other}":
        raise UsageError(
            f"an expression goes in quotes, and it runs code, so add --eval: {_eval(target, other)}"
        )
    for one in (target, other):
        if not opening.is_file(one):
            raise UsageError(
                f"'{one_line(one, 100)}' is no file; two of them are compared, names are not."
            )
    _refuse(asked, "two files", "grep", "tree", "stats", "depth", "png")
    return compare(*(opening.read(Path(one), trust=asked.trust) for one in (target, other)))


def _picture(found: Seen, path: Path, *, force: bool) -> None:
    """Write the histograms of a file."""
    from ptools_plugins.inspection.picture import draw

    files.write(path, draw(found), force=force)


def _eval(*words: str) -> str:
    """Return the command that evaluates an expression."""
    import shlex

    return f"ptools inspect --eval {shlex.quote(one_line(' '.join(words), 100))}"


def _object(target: str, asked: Asked) -> Any:
    _refuse(asked, "names, but for files of weights", "stats", "trust", "png")
    if not is_name(target):
        raise UsageError(
            f"'{one_line(target, 100)}' is no name and no file; an expression runs code, so add --eval: "
            f"{_eval(target)}"
        )
    try:
        found = find(target)
    except Absent as error:
        raise PtoolsError(error.told(_elsewhere(error))) from error
    return _places(target) if found is None else _of(found, asked)


def _elsewhere(error: Absent) -> str:
    """Return where torch has what was looked for in a wrong place: torch.nn.relu."""
    if error.found.name.partition(".")[0] not in ("torch", "torchvision"):
        return ""
    from ptools_plugins.inspection.places import places

    return next((place.name for place in places(error.name).found if place.exact), "")


def _of(found: Found, asked: Asked) -> Any:
    """Return what is asked of an object."""
    from ptools_plugins.inspection import listings, sources
    from ptools_plugins.inspection.cards import card

    ways = {
        "--grep": asked.grep is not None,
        "--tree": asked.tree,
        "--full": asked.full,
        "--source": asked.source,
    }
    given = [name for name, there in ways.items() if there]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given[:2])} are two answers; ask for one of them.")
    if asked.depth is not None and not (asked.tree or asked.grep is not None):
        raise UsageError("--depth is for --tree, --grep and files; leave it out.")
    holds = isinstance(found.value, (ModuleType, type))
    if not holds and (asked.grep is not None or asked.tree):
        option = "--tree" if asked.tree else "--grep"
        raise UsageError(f"{found.name} has nothing inside; {option} is for modules and classes.")
    depth = 2 if asked.depth is None else asked.depth
    if asked.source:
        return sources.source(found)
    if asked.full:
        return Help(found.name, sources.help_text(found))
    if asked.grep is not None:
        return listings.search(found, asked.grep, depth=depth, private=asked.whole)
    if asked.tree:
        return _tree(found, asked)
    if isinstance(found.value, ModuleType) or (isinstance(found.value, type) and asked.whole):
        return listings.listing(found, private=asked.whole)
    return card(found)


def _tree(found: Found, asked: Asked) -> Any:
    """Return a tree of the depth that was asked for, else of at most 2 levels, and one that fits."""
    from ptools_plugins.inspection.layout import LINES
    from ptools_plugins.inspection.listings import tree

    if asked.depth is not None or asked.whole:
        return tree(
            found,
            depth=2 if asked.depth is None else asked.depth,
            leaves=asked.whole,
            private=asked.whole,
        )
    deep = tree(found, depth=2)
    fits = deep.size <= LINES or isinstance(
        found.value, type
    )  # of a class the nearest bases are first
    return deep if fits else tree(found, depth=1)


def _places(word: str) -> Any:
    """Return the places of a bare name. Raises PtoolsError with the nearest names where it has none."""
    from ptools_plugins.inspection.places import places

    found = places(word)
    if found.found:
        return found
    said = f"there is no module '{word}' here, and nothing in torch has that name"
    if found.near:
        more = f" or {', '.join(found.near[1:])}" if found.near[1:] else ""
        raise PtoolsError(f"{said}: did you mean {found.near[0]}{more}?")
    raise PtoolsError(f"{said}; names with it: ptools inspect torch --grep {word}")
