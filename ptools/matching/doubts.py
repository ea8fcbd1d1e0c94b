"""Which target units get a second thought together: those that could stand for each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from ptools.matching.evidence import Evidence
from ptools.matching.units import Unit


def doubtful(evidence: Evidence) -> list[set[int]]:
    """Return the target units that have a choice, by signature, by template, by roles that share one."""
    choice = np.bincount(evidence.pairs.target, minlength=evidence.shape[1]) > 1
    units = [unit for unit in evidence.targets if choice[unit.index]]
    found: list[set[int]] = []
    for role in (_by_signature, _by_template, _by_end):
        groups: dict[object, set[int]] = defaultdict(set)
        for unit in units:
            groups[role(unit)].add(unit.index)
        found += groups.values()
        if role is not _by_signature:
            found += _joined(evidence, groups.values())
    found += _parts(units)
    return [
        members for k, members in enumerate(found) if len(members) > 1 and members not in found[:k]
    ]


def _parts(units: list[Unit]) -> list[set[int]]:
    """Return the units of each part that is numbered: where its like are right, they say where it goes."""
    inside: dict[object, set[int]] = defaultdict(set)
    for unit in units:
        for depth, part in enumerate(unit.path[:-1], 1):
            if part[-1:].isdigit():
                inside[unit.path[:depth]].add(unit.index)
    return [members for members in inside.values() if len(members) < len(units) / 2]


def _by_signature(unit: Unit) -> object:
    return unit.signature


def _by_template(unit: Unit) -> object:
    return unit.template


def _by_end(unit: Unit) -> object:
    return unit.path[-1:]


def _joined(evidence: Evidence, groups: Iterable[set[int]]) -> list[set[int]]:
    """Return the unions of groups that have a signature in common."""
    unions: list[tuple[set[object], set[int]]] = []
    for group in groups:
        shapes: set[object] = {evidence.targets[t].signature for t in group}
        members = set(group)
        apart = []
        for other, others in unions:
            if other & shapes:
                shapes |= other
                members |= others
            else:
                apart.append((other, others))
        unions = [*apart, (shapes, members)]
    return [members for _, members in unions]
