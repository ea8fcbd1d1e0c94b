"""Where the search begins: what is believed of every pair before anything is learned.

beginnings(evidence)     by names, by order, by blocks
counted_down(evidence)   by order, where one side counts from the other end
order_alone(evidence)    the assignment that order alone makes
along(evidence, ...)     which pairs keep the order of registration
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ptools.matching.align import chains
from ptools.matching.assignment import Assignment, complete, consistent, score
from ptools.matching.blocks import blocks
from ptools.matching.evidence import Evidence, Floats, Pairs
from ptools.matching.units import backwards


def beginnings(evidence: Evidence) -> Iterator[Floats]:
    """Yield what names say; that with the order of registration; that with blocks of the same shapes."""
    pairs, prior = evidence.pairs, evidence.prior
    yield consistent(evidence, pairs, prior)
    order = along(evidence, pairs, np.zeros(len(prior)))
    yield consistent(evidence, pairs, prior + 4 * order)
    for same in blocks(evidence):
        yield consistent(evidence, pairs, prior + 4 * same)


def counted_down(evidence: Evidence) -> Iterator[Floats]:
    """Yield beginnings in which the source counts down what the target counts up: levels, from within."""
    pairs = evidence.pairs
    for depth in (1, 2):
        order = backwards(evidence.sources, depth)
        if order == list(range(len(order))):
            continue
        place = np.argsort(order)
        turned = pairs._replace(source=place[pairs.source])
        along_turned = along(evidence, turned, np.zeros(len(pairs.source)))
        yield consistent(evidence, pairs, evidence.prior + 4 * along_turned)


def along(evidence: Evidence, pairs: Pairs, belief: Floats) -> Floats:
    """Return 1 for the pairs that keep the order of registration best, less for those of later chains."""
    table = np.full(evidence.shape, -np.inf)
    table[pairs.source, pairs.target] = 2 + 2 * belief
    value = np.zeros(evidence.shape)
    for number, path in enumerate(chains(table)):
        rows, columns = zip(*path, strict=True)
        value[list(rows), list(columns)] = 1 / (1 + 0.25 * number)
    return np.asarray(value[pairs.source, pairs.target])


def order_alone(evidence: Evidence) -> Assignment:
    """Return what order alone says: alignment of the shapes, registration against registration."""
    pairs = evidence.pairs
    table = np.full(evidence.shape, -np.inf)
    table[pairs.source, pairs.target] = 2.0
    chosen = {j: i for path in chains(table, most=2) for i, j in path}
    chosen = complete(evidence, chosen)
    return Assignment(chosen, score(evidence, chosen), along=True)
