"""Layers of which only one side has a bias: a module is loaded whole or not at all, unless it is asked for.

lacking(sources, targets)    pairs of units that are one but for a bias
aside(sources, targets)      the biases that stand in the way
offered(found, ...)          what fits once they are left out
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from ptools.matching.keys import squeezed
from ptools.matching.result import Match, Transform
from ptools.matching.units import Unit


def lacking(sources: Iterable[Unit], targets: Iterable[Unit]) -> dict[int, int]:
    """Return {target unit: source unit} of units that differ in nothing but that one has no bias."""
    spare: dict[object, list[int]] = defaultdict(list)
    for unit in sources:
        if matrix(unit):
            spare[_rest(unit), "bias" in unit.shapes].append(unit.index)
    found = {}
    for unit in targets:
        if others := spare.get((_rest(unit), "bias" not in unit.shapes)):
            found[unit.index] = others.pop(0)
    return found


def aside(sources: list[Unit], targets: list[Unit]) -> tuple[dict[str, str], dict[str, str]]:
    """Return {bias: weight of its layer}, of both sides, for the shapes of which only one side has biases."""
    pairs = lacking(sources, targets)
    shapes = {_rest(unit) for unit in targets if unit.index in pairs}
    ours, theirs = (
        {
            unit.roles["bias"]: next(key for role, key in unit.roles.items() if role != "bias")
            for unit in units
            if _rest(unit) in shapes and "bias" in unit.roles
        }
        for units in (sources, targets)
    )
    return ours, theirs


def offered(
    found: Match, again: Match, ours: dict[str, str], theirs: dict[str, str]
) -> dict[str, Transform]:
    """Return {target key: ("bias", (source key,))} of what `again`, without biases, has more than `found`.

    A bias that the source lacks is offered with the weight of its layer: it becomes zeros. Of what is
    not certain nothing is offered.
    """
    taken = {*found.mapping.values()}.union(*(t.sources for t in found.transforms.values()))
    open_ = {
        key: old
        for key, old in again.mapping.items()
        if key not in found.mapping and key not in found.transforms and key not in found.ambiguous
        if old not in taken and again.confidence[key] == "certain"
    }
    if found.verdict != "different":  # the others have their place, or none
        modules = {key.rpartition(".")[0] for key in theirs}
        sources = {key.rpartition(".")[0] for key in ours}
        open_ = {
            key: old
            for key, old in open_.items()
            if key.rpartition(".")[0] in modules or old.rpartition(".")[0] in sources
        }
    offers = {key: Transform("bias", (old,)) for key, old in open_.items()}
    biases = {weight: bias for bias, weight in ours.items()}
    for bias, weight in theirs.items():
        if weight in open_:
            offers[bias] = Transform("bias", (biases.get(open_[weight], open_[weight]),))
    return offers


def matrix(unit: Unit) -> bool:
    """Return whether a unit has a tensor of two dimensions and more, sizes of 1 aside."""
    return any(len(squeezed(shape)) >= 2 for shape in unit.shapes.values())


def _rest(unit: Unit) -> object:
    return tuple((role, shape) for role, shape in unit.signature if role != "bias")
