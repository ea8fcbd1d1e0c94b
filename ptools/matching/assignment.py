"""One assignment: how it is found from beliefs, and how well it fits.

Beliefs are made consistent (every unit once: Sinkhorn & Knopp 1967); the assignment of the greatest weight
(Kuhn 1955) follows from weights.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from ptools.matching.evidence import Evidence, Floats, Ints, Pairs

ORDER, RANKED = 0.7, 0.4  # weights of the order of registration, of neighbours and within one shape
ALPHABETICAL = 0.1, 0.8  # the same, where keys were sorted
BACKWARDS = 0.9  # of the order within one shape, where all of it is the other way round
WHOLE, WHOLE_EACH = (
    8,
    0.15,
)  # what it is worth that all neighbours are kept: at least, and of each unit
CONCORD = 2.0  # weight of the order that names tell
EACH = 8  # what it is worth that a unit has a place
HOPELESS_ORDER, HOPELESS = 34.0, 26.0  # losses, of the order alone, and with those of the changed
# pairs, above: the rest is not asked


@dataclass
class Assignment:
    """Which source unit each target unit gets, and how well that fits."""

    chosen: dict[int, int]  # target unit: source unit
    score: float
    along: bool = False  # found by the order of registration alone
    ordered: frozenset[int] = (
        frozenset()
    )  # target units put in the order of the names, though that fits less


def certain_belief(pairs: Pairs, chosen: dict[int, int]) -> Floats:
    """Return 1 for the pairs that were chosen, 0 for the others."""
    if not chosen or not len(pairs.target):
        return np.zeros(len(pairs.target))
    got = np.full(max(int(pairs.target.max()), *chosen) + 1, -1)
    got[list(chosen)] = list(chosen.values())
    return np.asarray(got[pairs.target] == pairs.source, dtype=float)


def consistent(evidence: Evidence, pairs: Pairs, weights: Floats, sharpness: float = 1.0) -> Floats:
    """Return beliefs that add up to at most 1 for every unit of either side.

    Every unit of the side that has fewer is believed to have a place; of the other some have none.
    """
    n, m = evidence.shape
    many, few = (pairs.source, n), (pairs.target, m)
    if n < m:
        many, few = few, many
    (s, n), (t, m) = many, few
    most = np.full(m, -np.inf)
    np.maximum.at(most, t, weights)
    p = np.exp(sharpness * (weights - most[t]))
    for _ in range(6):
        p = p / np.maximum(np.bincount(t, p, m)[t], 1e-12)
        p = p / np.maximum(np.bincount(s, p, n)[s], 1)
    return np.asarray(p)


def assign(evidence: Evidence, pairs: Pairs, weights: Floats) -> dict[int, int]:
    """Return the one-to-one assignment of the greatest weight, {target unit: source unit}."""
    chosen: dict[int, int] = {}
    classes: dict[object, list[int]] = defaultdict(list)
    for k, t in enumerate(pairs.target.tolist()):
        classes[evidence.targets[t].signature].append(k)
    for members in classes.values():
        ks = np.array(members)
        s, row = np.unique(pairs.source[ks], return_inverse=True)
        t, column = np.unique(pairs.target[ks], return_inverse=True)
        costs = np.full((len(s), len(t)), 1e6)
        costs[row, column] = -weights[ks]
        for i, j in _cheapest(costs):
            if costs[i, j] < 1e5:
                chosen[int(t[j])] = int(s[i])
    return chosen


def _cheapest(costs: Floats) -> list[tuple[int, int]]:
    """Return the (row, column) pairs of the least sum of costs, each row and column at most once."""
    turned = costs.T if costs.shape[1] > costs.shape[0] else costs
    best = turned.argmin(axis=0)
    if len(set(best.tolist())) == len(best):  # nothing to weigh: most cases, and scipy loads slowly
        pairs = [(i, j) for j, i in enumerate(best.tolist())]
        return pairs if turned is costs else [(j, i) for i, j in pairs]
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(costs)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def complete(evidence: Evidence, chosen: dict[int, int]) -> dict[int, int]:
    """Give what is left on both sides to each other: beliefs may have been given up too early."""
    taken = np.zeros(evidence.shape[0], dtype=bool)
    taken[list(chosen.values())] = True
    filled = np.zeros(evidence.shape[1], dtype=bool)
    filled[list(chosen)] = True
    pairs = evidence.pairs
    left = ~taken[pairs.source] & ~filled[pairs.target]
    if not left.any():
        return chosen
    sure = certain_belief(pairs, chosen) > 0
    among = left[left | sure]
    pairs = pairs.only(left | sure)
    weights = evidence.weigh(np.where(among, 0.0, 1.0), pairs, among)
    return chosen | assign(evidence, pairs.only(among), weights)


def places(evidence: Evidence, chosen: dict[int, int]) -> Ints:
    """Return the source unit of each target unit, -1 for none."""
    whole = np.full(evidence.shape[1], -1)
    whole[list(chosen)] = list(chosen.values())
    return whole


def score(evidence: Evidence, chosen: dict[int, int]) -> float:
    """Return how well an assignment fits itself: every pair judged by all the others."""
    whole = places(evidence, chosen)
    known = evidence.scores.get(whole.tobytes())  # the search and the decision ask for many twice
    return _scored(evidence, whole, _order(evidence, whole)) if known is None else known


class Near:
    """An assignment, and what others lose that differ from it in a few pairs."""

    def __init__(self, evidence: Evidence, end: Assignment) -> None:
        self.evidence, self.score = evidence, end.score
        whole = places(evidence, end.chosen)
        evidence.around(whole)
        self.order = _order(evidence, whole)

    def loss(self, chosen: dict[int, int]) -> float:
        """Return what another loses, inf where the order and the changed pairs alone lose too much.

        Of 62,467 changes of the shared pairs these were two of three; five of them lost less than 20.
        """
        whole = places(self.evidence, chosen)
        known = self.evidence.scores.get(whole.tobytes())
        if known is None:
            order = _order(self.evidence, whole)
            loss = self.order - order
            if loss > HOPELESS_ORDER or loss + self.evidence.own(whole) > HOPELESS:
                return np.inf
            known = _scored(self.evidence, whole, order)
        return self.score - known


def _scored(evidence: Evidence, whole: Ints, order: float) -> float:
    placed, fits = evidence.judge(whole)
    score = float(fits.sum() + EACH * len(placed) + order)
    evidence.scores[whole.tobytes()] = score
    return score


def _order(evidence: Evidence, whole: Ints) -> float:
    """Return what the order of names, and of registration, says of an assignment."""
    beside, ranked = (ORDER, RANKED) if evidence.registered else ALPHABETICAL
    sources = whole[whole >= 0]
    kept = _kept(sources)
    order = beside * kept * (0.4 + 0.6 * min(1.0, kept / max(1, len(sources))))
    return float(CONCORD * evidence.concord.kept(whole) + order + ranked * _ranked(evidence, whole))


def in_order(chosen: dict[int, int]) -> float:
    """Return how well an assignment keeps neighbours: 1 for each next that stays the next."""
    return _kept(np.array([chosen[t] for t in sorted(chosen)], dtype=np.int64))


def _kept(sources: Ints) -> float:
    """Return how well neighbours are kept by the source units of the target units, one after the other."""
    rank = np.argsort(np.argsort(sources))
    step = np.diff(rank)
    value = np.where(step > 0, 0.3, np.where(step == -1, 0.7, 0.0))
    value[step == 1] = 0.9  # others were passed over
    value[(step == 1) & (np.diff(sources) == 1)] = 1.0
    kept = float(value.sum())
    if len(sources) > 10 and kept > len(sources) - 1.5:
        kept += max(WHOLE, WHOLE_EACH * len(sources))
    return kept


def _ranked(evidence: Evidence, whole: Ints) -> float:
    """Return how many units follow the one before them that has the same shapes, on both sides.

    Where a network is registered from its end to its beginning, they precede it.
    """
    target = np.flatnonzero(whole >= 0)
    kinds = evidence.kinds[target]
    order = np.argsort(kinds, kind="stable")
    sources, kinds = whole[target][order], kinds[order]
    again = kinds[1:] == kinds[:-1]
    rising = int((again & (sources[1:] > sources[:-1])).sum())
    return max(rising, BACKWARDS * (int(again.sum()) - rising))
