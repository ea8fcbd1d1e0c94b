"""The same names on both sides, under prefixes that may differ: module., backbone., model.0."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from ptools.matching.keys import squeezed
from ptools.matching.units import Unit

Path = tuple[str, ...]


def same_names(sources: list[Unit], targets: list[Unit]) -> dict[int, int]:
    """Return {target unit: source unit} of the units that are called the same under the best prefixes.

    Nothing where they are a minority, or where too many of the same name have other shapes.
    """
    best: dict[int, int] = {}
    for ours, theirs in _prefixes(sources, targets):
        here = {u.path[len(ours) :]: u for u in sources if u.path[: len(ours)] == ours}
        same, clashes = {}, 0
        for unit in targets:
            if unit.path[: len(theirs)] == theirs:
                other = here.get(unit.path[len(theirs) :])
                if other is not None and other.signature == unit.signature:
                    same[unit.index] = other.index
                elif other is not None:
                    clashes += 1
        if len(same) > len(best) and len(same) >= 2 * clashes:
            best = same
    enough = 0.5 * min(_weight(sources), _weight(targets))
    return best if _weight([targets[t] for t in best]) >= enough else {}


def disputed(same: dict[int, int], sources: list[Unit], targets: list[Unit]) -> Iterator[list[int]]:
    """Yield target units of one part and shape, some of which have a name that says less than it seems.

    What one side calls in, 0, out is 0, 1, 2 on the other: 0 and 0 have one name, and are not one layer.
    """
    used = set(same.values())
    left = {_family(u) for u in sources if u.index not in used}
    families: dict[object, list[int]] = defaultdict(list)
    for unit in targets:
        families[_family(unit)].append(unit.index)
    for members in families.values():
        named = [t for t in members if t in same]
        numbered = any(_numbered(targets[t]) for t in named)
        if numbered and len(named) < len(members) and _family(sources[same[named[0]]]) in left:
            yield members


def _family(unit: Unit) -> tuple[Path, object]:
    """Return the part of the network that a unit is in, its own number left out, and its shapes."""
    return unit.path[: -2 if _numbered(unit) else -1], unit.signature


def _numbered(unit: Unit) -> bool:
    return bool(unit.path) and unit.path[-1].isdigit()


def _weight(units: list[Unit]) -> int:
    """Return how many units hold a matrix, and a little for the others."""
    matrices = sum(any(len(squeezed(s)) > 1 for s in unit.shapes.values()) for unit in units)
    return 10 * matrices + len(units)


def _prefixes(sources: list[Unit], targets: list[Unit]) -> list[tuple[Path, Path]]:
    """Return the prefixes under which most units are called the same, the best few."""
    ends: dict[tuple[str, object], list[Unit]] = defaultdict(list)
    for unit in sources:
        ends[unit.path[-1] if unit.path else "", unit.signature].append(unit)
    votes: Counter[tuple[Path, Path]] = Counter()
    for unit in targets:
        for other in ends.get((unit.path[-1] if unit.path else "", unit.signature), ())[:64]:
            common = 0
            for a, b in zip(reversed(unit.path), reversed(other.path), strict=False):
                if a != b:
                    break
                common += 1
            votes[other.path[: len(other.path) - common], unit.path[: len(unit.path) - common]] += 1
    return [prefixes for prefixes, _ in votes.most_common(8)]
