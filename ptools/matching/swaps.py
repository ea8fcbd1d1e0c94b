"""Is there another way that fits as well? Roles, blocks and parts are made to change places.

An assignment may be the best one and still be a guess: query and key have one shape, and where nothing
in their names tells them apart, all of them could change places at once. What fits nearly as well
after such a change is not decided.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from ptools.matching.assignment import certain_belief
from ptools.matching.evidence import Evidence
from ptools.matching.units import Unit

# (target unit, the one whose source unit it gets; or ~s for the source unit s that none has)
Change = list[tuple[int, int]]
Path = tuple[str, ...]
AGAINST = 9.0  # the lead that an assignment needs against the order of the names
CLEAR = 8.0  # a loss that `glances` sees above: nothing speaks for the change
_NEARBY, _TREES = 8, 16  # of so many that are alike each is tried with each, of more with the next


def changes(evidence: Evidence, chosen: dict[int, int], *, nearby: bool = False) -> list[Change]:
    """Return every change of places that leaves the shapes as they are, by the names of either side.

    Where `nearby`, not those of parts far from each other.
    """
    most = _NEARBY if nearby else _TREES
    found = list(_changes([evidence.targets[t] for t in sorted(chosen)], most))
    where = {s: t for t, s in chosen.items()}
    for change in _changes(evidence.sources, most):
        both = [(where[a], where.get(b, ~b)) for a, b in change if a in where]
        if both:
            found.append(both)
    return list({tuple(sorted(change)): change for change in found}.values())


def _changes(units: list[Unit], most: int) -> Iterator[Change]:
    found: dict[object, Change] = defaultdict(list)
    for a, b in _of_one_parent(units, most):
        found["role", a.path[-1], b.path[-1]].append((a.index, b.index))
    for a, b in _of_one_number(units, most):
        found["template", a.template, b.template].append((a.index, b.index))
    for a, b in _of_deeper_numbers(units, most):
        deeper = b.numbers[len(a.numbers) :]
        found["deeper", a.template, b.template, deeper].append((a.index, b.index))
    for a, b, parts in _of_two_parts(units):
        found["part", *parts].append((a.index, b.index))
        (*_, one), (*parent, other) = parts
        for near in dict.fromkeys((tuple(parent[-1:]), tuple(parent[-2:]))):
            found["parts", near, one, other].append((a.index, b.index))
    for a, b, parts in _of_two_trees(units) if most > _NEARBY else ():
        found["trees", *parts].append((a.index, b.index))
        found["trees alike", *_tails(*parts)].append((a.index, b.index))
    for a, b in _of_one_template(units, most):
        end = a.template[a.template.index("#") :]
        found["numbers", a.numbers, b.numbers, end].append((a.index, b.index))
        found["places", a.template, _apart(a, b)].append((a.index, b.index))
    for a, b in _of_one_end(units, most):
        parents = (a.template[: -len(a.last)], b.template[: -len(b.last)])
        found["parents", *parents, *_rest(a, b)].append((a.index, b.index))
    covered = {t for change in found.values() for both in change for t in both}
    for a, b in _alike(units, lambda unit: unit.signature, most):
        if a.index not in covered or b.index not in covered:
            found["alone", a.index, b.index].append((a.index, b.index))
    swaps = [both + [(b, a) for a, b in both] for both in found.values()]
    turns = [turn for units in _families(units) for turn in _turns(units)]
    yield from swaps
    yield from _joined(turns)


def _families(units: list[Unit]) -> Iterator[list[Unit]]:
    """Yield the units of one parent that have the same shapes, where there are a few."""
    families: dict[object, list[Unit]] = defaultdict(list)
    for unit in units:
        families[unit.path[:-1], unit.signature].append(unit)
    yield from (family for family in families.values() if 3 <= len(family) <= 6)


def _turns(family: list[Unit]) -> Iterator[list[Unit]]:
    """Yield runs of three and more, to be turned by one place: one of them stands elsewhere."""
    for first in range(len(family)):
        for end in range(first + 3, len(family) + 1):
            yield family[first:end]
            yield family[first:end][::-1]


def _joined(turns: list[list[Unit]]) -> Iterator[Change]:
    """Yield turns, those of units with the same names as one."""
    found: dict[object, Change] = defaultdict(list)
    for turn in turns:
        places = [unit.index for unit in turn]
        both = list(zip(places, places[1:] + places[:1], strict=True))
        found[tuple(unit.path[-1] for unit in turn)].extend(both)
    yield from found.values()


def _of_one_template(units: list[Unit], most: int) -> Iterator[tuple[Unit, Unit]]:
    """Yield units that differ in their numbers only."""
    for a, b in _alike(units, lambda unit: (unit.template, unit.signature), most):
        if a.numbers:
            yield a, b


def _apart(a: Unit, b: Unit) -> tuple[tuple[int, int, int], ...]:
    """Return the places of the numbers in which two names of one template differ, and these numbers."""
    both = enumerate(zip(a.numbers, b.numbers, strict=True))
    return tuple((place, x, y) for place, (x, y) in both if x != y)


def _rest(a: Unit, b: Unit) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the numbers of two names without those that they begin with in common."""
    same = 0
    while a.numbers[same : same + 1] == b.numbers[same : same + 1] and same < len(a.numbers):
        same += 1
    return a.numbers[same:], b.numbers[same:]


def _of_one_end(units: list[Unit], most: int) -> Iterator[tuple[Unit, Unit]]:
    """Yield units of two parts of one block that are called the same there: one part lies deeper."""
    for a, b in _alike(
        units, lambda unit: (unit.path[-1:], unit.numbers[:1], unit.signature), most
    ):
        if a.template != b.template and len(a.path) != len(b.path):
            yield a, b


def _of_one_parent(units: list[Unit], most: int) -> Iterator[tuple[Unit, Unit]]:
    """Yield units that differ in the last part of their names only."""
    yield from _alike(units, lambda unit: (unit.path[:-1], unit.signature), most)


def _of_one_number(units: list[Unit], most: int) -> Iterator[tuple[Unit, Unit]]:
    """Yield units of different templates with the same numbers."""
    for a, b in _alike(units, lambda unit: (unit.numbers, unit.signature), most):
        if a.template != b.template and a.path[:-1] != b.path[:-1]:
            yield a, b


def _of_deeper_numbers(units: list[Unit], most: int) -> Iterator[tuple[Unit, Unit]]:
    """Yield units of which the second has the numbers of the first and more: the end of a stage, a layer."""
    begins: dict[object, list[Unit]] = defaultdict(list)
    for unit in units:
        for depth in range(1, len(unit.numbers)):
            begins[unit.signature, unit.numbers[:depth]].append(unit)
    for unit in units:
        inside = begins.get((unit.signature, unit.numbers), [])
        if len(inside) <= most:
            yield from ((unit, other) for other in inside)


def _alike(
    units: list[Unit], description: Callable[[Unit], object], most: int
) -> Iterator[tuple[Unit, Unit]]:
    groups: dict[object, list[Unit]] = defaultdict(list)
    for unit in units:
        groups[description(unit)].append(unit)
    for group in groups.values():
        if len(group) <= most:
            yield from ((a, b) for i, a in enumerate(group) for b in group[i + 1 :])
        else:
            yield from pairwise(group)


def _of_two_parts(
    units: list[Unit],
) -> Iterator[tuple[Unit, Unit, tuple[tuple[str, ...], tuple[str, ...]]]]:
    """Yield the units of two neighbouring parts that stand in the same place there."""
    children: dict[tuple[str, ...], dict[str, dict[tuple[str, ...], Unit]]] = {}
    for unit in units:
        for depth in range(len(unit.path) - 1):
            part = children.setdefault(unit.path[:depth], {}).setdefault(unit.path[depth], {})
            part[unit.path[depth + 1 :]] = unit
    for parent, parts in children.items():
        names = list(parts)
        wide = 4 if len(names) <= 4 else 1
        for i, first in enumerate(names):
            for second in names[i + 1 : i + 1 + wide]:
                for rest, unit in parts[first].items():
                    other = parts[second].get(rest)
                    if other is not None and other.signature == unit.signature:
                        yield unit, other, ((*parent, first), (*parent, second))


def _of_two_trees(units: list[Unit]) -> Iterator[tuple[Unit, Unit, tuple[Path, Path]]]:
    """Yield the units of two parts anywhere that hold the same, in the same places."""
    inside: dict[Path, dict[Path, Unit]] = defaultdict(dict)
    for unit in units:
        for depth in range(1, len(unit.path)):
            inside[unit.path[:depth]][unit.path[depth:]] = unit
    alike: dict[object, list[Path]] = defaultdict(list)
    for part, members in inside.items():
        if len(members) > 1:
            alike[frozenset((rest, u.signature) for rest, u in members.items())].append(part)
    for parts in alike.values():
        for i, first in enumerate(parts):
            for second in parts[i + 1 : None if len(parts) <= _TREES else i + 2]:
                if first[:-1] != second[:-1]:  # siblings are looked at anyway
                    for rest, unit in inside[first].items():
                        yield unit, inside[second][rest], (first, second)


def _tails(first: Path, second: Path) -> tuple[Path, Path]:
    """Return two paths without what they begin with in common."""
    same = 0
    while first[same : same + 1] == second[same : same + 1]:
        same += 1
    return first[same:], second[same:]


def swapped(chosen: dict[int, int], change: Change) -> dict[int, int]:
    """Return the assignment after a change of places."""
    return chosen | {t: chosen[other] if other >= 0 else ~other for t, other in change}


def glances(evidence: Evidence, chosen: dict[int, int], ways: list[Change]) -> list[float]:
    """Return about what each change loses where two units change places; of larger changes, nothing.

    Each of the two is judged by all others, that stay where they are. In 26,515 changes of the shared
    pairs none of which this says more than 8 lost less than 2.6.
    """
    two = [way if len(way) == 2 and way[0] == way[1][::-1] else [] for way in ways]
    needed = np.zeros(evidence.shape, dtype=bool)
    for (t, u), _ in filter(None, two):
        needed[[[chosen[t]], [chosen[u]]], [t, u]] = True
    pairs = evidence.pairs
    asked = needed[pairs.source, pairs.target]
    fits = np.full(evidence.shape, -np.inf)
    said = evidence.weigh(certain_belief(pairs, chosen), pairs, asked)
    fits[pairs.source[asked], pairs.target[asked]] = said

    def glance(change: Change) -> float:
        if not change:
            return -np.inf
        t, u = change[0]
        s, r = chosen[t], chosen[u]
        return float(fits[s, t] + fits[r, u] - fits[r, t] - fits[s, u])

    return [glance(change) for change in two]
