"""Is there another way that fits as well? Roles, blocks and parts are made to change places.

An assignment may be the best one and still be a guess: query and key have one shape, and where nothing
in their names tells them apart, all of them could change places at once. What fits nearly as well
after such a change is not decided.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise

from ptools.matching.evidence import Evidence
from ptools.matching.units import Unit

Change = list[tuple[int, int]]  # target units that change places


def changes(evidence: Evidence, chosen: dict[int, int]) -> Iterator[Change]:
    """Yield every change of places that leaves the shapes as they are."""
    units = [evidence.targets[t] for t in sorted(chosen)]
    found: dict[object, Change] = defaultdict(list)
    for a, b in _of_one_parent(units):
        found["role", a.path[-1], b.path[-1]].append((a.index, b.index))
    for a, b in _of_one_number(units):
        found["template", a.template, b.template].append((a.index, b.index))
    for a, b, parts in _of_two_parts(units):
        found["part", *parts].append((a.index, b.index))
    covered = {t for change in found.values() for both in change for t in both}
    for a, b in _alike(units, lambda unit: unit.signature):
        if a.index not in covered or b.index not in covered:
            found["alone", a.index, b.index].append((a.index, b.index))
    seen: set[tuple[tuple[int, int], ...]] = set()
    for change in found.values():
        key = tuple(sorted(change))
        if key not in seen:
            seen.add(key)
            yield change


def _of_one_parent(units: list[Unit]) -> Iterator[tuple[Unit, Unit]]:
    """Yield units that differ in the last part of their names only."""
    yield from _alike(units, lambda unit: (unit.path[:-1], unit.signature))


def _of_one_number(units: list[Unit]) -> Iterator[tuple[Unit, Unit]]:
    """Yield units of different templates with the same numbers."""
    for a, b in _alike(units, lambda unit: (unit.numbers, unit.signature)):
        if a.template != b.template and a.path[:-1] != b.path[:-1]:
            yield a, b


def _alike(units: list[Unit], description: Callable[[Unit], object]) -> Iterator[tuple[Unit, Unit]]:
    groups: dict[object, list[Unit]] = defaultdict(list)
    for unit in units:
        groups[description(unit)].append(unit)
    for group in groups.values():
        if len(group) <= 8:
            yield from ((a, b) for i, a in enumerate(group) for b in group[i + 1 :])
        else:
            yield from pairwise(group)


def _of_two_parts(units: list[Unit]) -> Iterator[tuple[Unit, Unit, tuple[object, object]]]:
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


def swapped(chosen: dict[int, int], change: Change) -> dict[int, int]:
    """Return the assignment after a change of places."""
    return chosen | {a: chosen[b] for a, b in change} | {b: chosen[a] for a, b in change}
