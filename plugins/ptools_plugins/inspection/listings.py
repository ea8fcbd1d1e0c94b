"""What is inside a module or a class: in groups, searched, or as a tree.

listing(found, ...)   Listing: the members, in groups
search(found, ...)    Hits: names and summaries with a word, the best first
tree(found, ...)      Branch: packages and modules, with what they define
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from ptools_plugins.inspection.docstrings import docstring, parse
from ptools_plugins.inspection.finding import Found
from ptools_plugins.inspection.members import Member, kind_of, members, summary_of

_CODE = re.compile(r"(?<=[.`])[A-Za-z_]\w+|[A-Za-z_]\w+(?=[(`])")


@dataclass(frozen=True)
class Listing:
    """A module or a class and its members, group by group, sorted by name."""

    name: str
    kind: str
    paragraph: str
    members: list[Member]

    @property
    def groups(self) -> dict[str, list[Member]]:
        """The members by group, in their order."""
        found: dict[str, list[Member]] = {}
        for member in self.members:
            found.setdefault(member.group, []).append(member)
        return found

    def basic(self, group: str, count: int) -> list[Member]:
        """Return `count` members of a group in their order: those that the others' docstrings name.

        So Linear and zeros come before what has one use. Of packages those with most names are kept,
        of constants the kinds of which there are most: torch's dtypes.
        """
        some = self.groups[group]
        if count >= len(some):
            return some
        kinds = Counter(type(one.value) for one in some)
        named = _named(self.members)

        def weight(one: Member) -> tuple[int, int]:
            if group == "subpackages":
                return 0, len(dir(one.value)) if one.value is not None else 0
            if group == "constants":
                return 0, 0 if isinstance(one.value, (bool, int)) else kinds[type(one.value)]
            told = " " in one.summary
            return named[one.name] if told else 0, len(docstring(one.value)) if told else 0

        names = {one.name for one in sorted(some, key=weight, reverse=True)[:count]}
        return [one for one in some if one.name in names]

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        groups = {
            group: [{"name": one.name, "summary": one.summary} for one in some]
            for group, some in self.groups.items()
        }
        head = {"name": self.name, "kind": self.kind, "paragraph": self.paragraph}
        return {**head, "groups": groups}


def listing(found: Found, *, private: bool = False) -> Listing:
    """Return what a module or a class has."""
    paragraph = parse(docstring(found.value), found.short).paragraph
    inside = members(found.value, private=private)
    return Listing(found.name, kind_of(found.value), paragraph, inside)


def _named(members: list[Member]) -> Counter[str]:
    """Return how many docstrings of the other members have each name as code: nn.Linear, zeros(."""
    found: Counter[str] = Counter()
    for one in members:
        found.update({*_CODE.findall(docstring(one.value))} - {one.name})
    return found


# -- search -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hit:
    """A name that was found, how well (0 is the name itself; then, no docstring), and its line."""

    name: str
    kind: str
    summary: str
    rank: tuple[int, bool]


@dataclass(frozen=True)
class Hits:
    """What a search found, the best first."""

    word: str
    within: str
    found: list[Hit]

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        rows = [{"name": h.name, "kind": h.kind, "summary": h.summary} for h in self.found]
        return {"search": self.word, "within": self.within, "found": rows}


def search(found: Found, word: str, *, depth: int = 2, private: bool = False) -> Hits:
    """Search names and summaries in `found` and the modules below it, `depth` levels of them.

    Several words must all be there. Something that has several names is told once.
    """
    hits: list[Hit] = []
    met: set[int] = set()
    for name, member in _walk(found, depth, private=private):
        rank = _rank(member.name, member.summary, word)
        if rank is None or (member.value is not None and id(member.value) in met):
            continue
        if callable(member.value):
            met.add(id(member.value))
        kind = kind_of(member.value) if member.value is not None else "module"
        bare = callable(member.value) and not docstring(member.value)
        hits.append(Hit(name, kind, member.summary, (rank, bare)))
    return Hits(word, found.name, sorted(hits, key=_order))


def _order(hit: Hit) -> tuple[tuple[int, bool], int, int, str]:
    """Return the place of a hit: of equals the short names come first, as they are the basic ones."""
    short = hit.name.rpartition(".")[2]
    return hit.rank, len(short), hit.name.count("."), hit.name.lower()


def _walk(found: Found, depth: int, *, private: bool) -> Iterator[tuple[str, Member]]:
    """Yield (full name, member) of a module and the loaded ones below it, the upper levels first."""
    level = [(found.name, found.value)]
    met = {id(found.value)}
    for _ in range(depth + 1):
        below: list[tuple[str, Any]] = []
        for name, holder in level:
            join = "" if name.endswith(":") else ":" if name.endswith(".py") else "."
            for member in members(holder, private=private):
                yield f"{name}{join}{member.name}", member
                if isinstance(member.value, ModuleType) and id(member.value) not in met:
                    met.add(id(member.value))
                    below.append((f"{name}{join}{member.name}", member.value))
        level = below


def _rank(name: str, summary: str, words: str) -> int | None:
    """Return how well a name fits, the worst of all words counting; None where it does not."""
    ranks = [_rank_one(name, summary, word.lower()) for word in words.split() or [""]]
    return None if None in ranks else max(rank for rank in ranks if rank is not None)


def _rank_one(name: str, summary: str, word: str) -> int | None:
    lower = name.lower()
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)
    tests = (
        lower.rstrip("_") == word.rstrip("_"),
        lower.startswith(word),
        any(part.lower() == word for part in parts) or f"_{word}" in lower,
        word in lower,
        bool(re.search(rf"\b{re.escape(word)}", summary, re.I)),
        word in summary.lower(),
    )
    return next((rank for rank, true in enumerate(tests) if true), None)


# -- tree ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Branch:
    """A module in a tree: how much it defines, by group, and the branches below."""

    name: str
    kind: str
    summary: str
    counts: dict[str, int] = field(default_factory=dict)
    below: list[Branch] = field(default_factory=list)

    @property
    def size(self) -> int:
        """How many lines it takes."""
        return 1 + sum(one.size for one in self.below)

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        head = {"name": self.name, "kind": self.kind, "summary": self.summary}
        return {**head, "counts": self.counts, "below": [one.document() for one in self.below]}


def tree(found: Found, *, depth: int = 2, leaves: bool = False, private: bool = False) -> Branch:
    """Return the modules below `found`, `depth` levels of them; with `leaves` all that they define."""
    if isinstance(found.value, type):
        return _lineage(found, depth, private)
    return _branch(found.name, found.value, depth, leaves, private, set())


def _lineage(found: Found, depth: int, private: bool) -> Branch:
    """Return a class and its bases, the nearest first, each with the members it defines itself."""
    below = []
    for kind in found.value.__mro__:
        inside = [one for one in members(kind, private=private) if not one.defined]
        if kind is not object and (inside or kind is not found.value):
            leaves = [Branch(one.name, kind_of(one.value), one.summary) for one in inside]
            counts = Counter(one.group for one in inside)
            text = summary_of(kind, kind.__name__)
            shown = leaves if depth > 1 else []
            below.append(Branch(kind.__name__, "class", text, dict(counts), shown))
    return Branch(found.name, "class", summary_of(found.value, found.short), {}, below)


def _branch(
    name: str, holder: Any, depth: int, leaves: bool, private: bool, met: set[int]
) -> Branch:
    met.add(id(holder))
    inside = members(holder, private=private)
    counts = Counter(one.group for one in inside if one.group != "subpackages")
    below: list[Branch] = []
    for one in inside if depth > 0 else []:
        if one.group == "subpackages":
            if one.value is None:
                below.append(Branch(one.name, "module", one.summary))
            elif id(one.value) not in met:
                below.append(_branch(one.name, one.value, depth - 1, leaves, private, met))
        elif leaves or not isinstance(holder, ModuleType):
            below.append(Branch(one.name, kind_of(one.value), one.summary))
    return Branch(name, kind_of(holder), summary_of(holder, name), dict(counts), below)
