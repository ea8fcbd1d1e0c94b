"""Blocks: parts of both networks that hold the same shapes, and so the same layers.

Both sides are cut by the beginnings of their names, in every way; the two cuts that agree best, and the
order of the blocks, say which block could be which.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np

from ptools.matching.align import chains
from ptools.matching.evidence import Evidence, Floats
from ptools.matching.units import Unit


def blocks(evidence: Evidence) -> Iterator[Floats]:
    """Yield, for two ways to cut both sides into blocks, 1 for the pairs within a block.

    The one that agrees best, and of those that leave no more over the one into the largest blocks: the
    layers of an encoder are found in an encoder, or in a decoder, all of them.
    """
    ways = []
    kinds: dict[object, int] = {}  # to compare numbers is faster
    one, two = (
        [kinds.setdefault(unit.signature, len(kinds)) for unit in units]
        for units in (evidence.sources, evidence.targets)
    )
    cuts = [(theirs, [_bag(two, block) for block in theirs]) for theirs in _cuts(evidence.targets)]
    for ours in _cuts(evidence.sources):
        bags = [_bag(one, block) for block in ours]
        for theirs, other in cuts:
            common = Counter(bags) & Counter(other)
            held = sum(number * sum(n for _, n in bag) for bag, number in common.items())
            large = sum(number for bag, number in common.items() if sum(n for _, n in bag) > 1)
            full = max(1, min(evidence.shape))
            value = held / full + 0.9 * large / full - (0 if large else 0.5)
            ways.append((value, held, large, (ours, bags, theirs, other)))
    if not ways:
        return
    best = max(ways, key=lambda way: way[0])
    yield _within(evidence, *best[-1])
    coarse = [way for way in ways if way[1] >= best[1] and 0 < way[2] < best[2]]
    if coarse:
        yield _within(evidence, *min(coarse, key=lambda way: way[2])[-1])


Bag = tuple[tuple[int, int], ...]  # (kind, how many)


def _bag(kinds: list[int], block: list[int]) -> Bag:
    return tuple(sorted(Counter([kinds[i] for i in block]).items()))


def _cuts(units: list[Unit]) -> list[list[list[int]]]:
    """Return the ways to cut units into blocks by the beginnings of their names."""
    found: dict[tuple[tuple[int, ...], ...], list[list[int]]] = {}
    deepest = min(max((len(u.tokens) for u in units), default=0), 7)
    for depth in range(-4, deepest + 1):
        groups: dict[object, list[int]] = defaultdict(list)
        for unit in units:
            name = unit.tokens if depth > 0 else unit.path
            groups[name[: depth or None] if len(name) > abs(depth) else name].append(unit.index)
        if len(groups) > 1:
            found.setdefault(tuple(map(tuple, groups.values())), list(groups.values()))
    return list(found.values())


def _within(
    evidence: Evidence,
    ours: list[list[int]],
    bags: list[Bag],
    theirs: list[list[int]],
    other: list[Bag],
) -> Floats:
    table = np.full((len(ours), len(theirs)), -np.inf)
    known: dict[tuple[Bag, Bag], float] = {}
    for i, a in enumerate(bags):
        for j, b in enumerate(other):
            if (a, b) not in known:
                known[a, b] = _overlap(a, b)
            table[i, j] = known[a, b]
    source, target = np.full(evidence.shape[0], -1), np.full(evidence.shape[1], -2)
    number = 0
    for path in chains(table):
        for i, j in path:
            source[ours[i]], target[theirs[j]] = number, number
            number += 1
    pairs = evidence.pairs
    return np.asarray(source[pairs.source] == target[pairs.target], dtype=float)


def _overlap(a: Bag, b: Bag) -> float:
    counts = dict(a)
    common = sum(min(n, counts.get(signature, 0)) for signature, n in b)
    larger = max(sum(n for _, n in a), sum(n for _, n in b))
    return common * common / larger * (1.5 if a == b else 1) if common else -np.inf
