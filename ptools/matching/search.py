"""The search for the assignment that fits best.

From several beginnings, beliefs are made consistent (every unit once: Sinkhorn & Knopp 1967), weighed by
the evidence, and sharpened, until an assignment (Kuhn 1955) stands. The order of registration
is one witness among others: it is heard where names leave a choice. The best of the ends is taken.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

import numpy as np
from scipy.optimize import linear_sum_assignment

from ptools.matching.align import chains
from ptools.matching.blocks import blocks
from ptools.matching.doubts import doubtful
from ptools.matching.evidence import Evidence, Floats, Pairs
from ptools.matching.swaps import changes, swapped
from ptools.matching.units import Unit

LEARN = (0.6, 0.8, 1.0, 1.0, 1.0)  # how sharply beliefs are drawn from evidence, step by step
UNTOLD, HALF_TOLD = -6.0, -4.0  # a mean fit below: names have nothing, or little, in common
ORDER, RANK = 0.7, 1.0  # weights of the order of registration, of neighbours and within one shape
BUDGET = 12  # groups of units that get a second thought, the worst first
_UNLIKELY = 5e-3  # a belief below is given up


@dataclass
class Assignment:
    """Which source unit each target unit gets, and how well that fits."""

    chosen: dict[int, int]  # target unit: source unit
    score: float


def search(evidence: Evidence) -> list[Assignment]:
    """Return the assignments that were found, the best first."""
    if not len(evidence.pairs.source):
        return []
    ends: list[Assignment] = []
    best = _by_order(evidence)
    for number, belief in enumerate(_beginnings(evidence)):
        pairs, belief = _learn(evidence, belief)
        here = len(ends)
        for trust in (0.0, 0.7, 2.0):
            ends.append(_settle(evidence, pairs, belief, trust))
            if _decided(evidence, pairs, belief):
                break  # order has nothing left to say
        before, best = best, max(ends, key=lambda end: end.score)
        if number and max(ends[here:], key=lambda end: end.score).chosen == before.chosen:
            break  # from another beginning it ends there as well
    ends.append(_by_order(evidence))
    ends.sort(key=lambda end: -end.score)
    better = _improve(evidence, ends[0])
    if better.score > ends[0].score:
        ends.insert(0, better)
    ends.insert(0, _exchange(evidence, ends[0]))
    told = fmean(_fits(evidence, ends[0]).values())
    if _nameless(evidence.sources) or _nameless(evidence.targets) or told < UNTOLD:
        ends.sort(key=lambda end: (-in_order(end.chosen), -end.score))  # order must speak
    elif told < HALF_TOLD:
        ends.sort(key=lambda end: -end.score - 1.5 * in_order(end.chosen))
    return ends


def _nameless(units: list[Unit]) -> bool:
    """Return whether nearly all units are called by one word and a number."""
    names = {unit.path[:1] for unit in units}
    words = Counter(Unit(unit.path[:1]).template for unit in units)
    return len(names) > 0.7 * len(units) > 2 and max(words.values()) > 0.8 * len(units)


def _by_order(evidence: Evidence) -> Assignment:
    """Return what order alone says: alignment of the shapes, registration against registration."""
    pairs = evidence.pairs
    table = np.full(evidence.shape, -np.inf)
    table[pairs.source, pairs.target] = 2.0
    chosen = {j: i for path in chains(table, most=2) for i, j in path}
    chosen = _complete(evidence, chosen)
    return Assignment(chosen, score(evidence, pairs, chosen))


def _decided(evidence: Evidence, pairs: Pairs, belief: Floats) -> bool:
    """Return whether every target unit that can be filled has one source unit."""
    most = np.zeros(evidence.shape[1])
    np.maximum.at(most, pairs.target, belief)
    return bool((most[pairs.target] > 0.9).all())


def _beginnings(evidence: Evidence) -> Iterator[Floats]:
    pairs, prior = evidence.pairs, evidence.prior
    yield consistent(evidence, pairs, prior)
    order = along(evidence, pairs, np.zeros(len(prior)))
    yield consistent(evidence, pairs, prior + 4 * order)
    for same in blocks(evidence):
        yield consistent(evidence, pairs, prior + 4 * same)


def _learn(evidence: Evidence, belief: Floats) -> tuple[Pairs, Floats]:
    """Let names and shapes agree; return what is still possible, and how much it is believed."""
    pairs = evidence.pairs
    for sharpness in LEARN:
        weights = evidence.weigh(belief, pairs)
        belief = consistent(evidence, pairs, weights, sharpness)
        keep = belief > _UNLIKELY
        if not keep.all():
            pairs, belief = pairs.only(keep), belief[keep]
    return pairs, belief


def _settle(evidence: Evidence, pairs: Pairs, belief: Floats, trust: float) -> Assignment:
    """Sharpen a belief into an assignment; `trust` is the weight of the order of registration."""
    weights, order = belief, np.zeros(len(belief))
    for rising in (0.2, 0.5, 1.0):
        order = along(evidence, pairs, belief) * (trust or 0.05 * rising)
        order -= RANK * (1 if trust else 0.1) * evidence.displaced[pairs.number]
        for _ in range(3):
            weights = evidence.weigh(belief, pairs) + order
            before = belief
            belief = consistent(evidence, pairs, weights, 2.0 if rising == 1.0 else 1.0)
            if np.abs(belief - before).max() < 0.02:
                break
        keep = belief > 1e-4
        if not keep.all():
            pairs, belief = pairs.only(keep), belief[keep]
            weights, order = weights[keep], order[keep]
    chosen = assign(evidence, pairs, weights)
    for _ in range(3):
        belief = 0.8 * certain_belief(pairs, chosen) + 0.2 * belief
        weights = evidence.weigh(belief, pairs) + order
        again = assign(evidence, pairs, weights)
        if again == chosen:
            break
        chosen = again
    chosen = _complete(evidence, chosen)
    return Assignment(chosen, score(evidence, evidence.pairs, chosen))


def consistent(evidence: Evidence, pairs: Pairs, weights: Floats, sharpness: float = 1.0) -> Floats:
    """Return beliefs that add up to at most 1 for every unit of either side."""
    n, m = evidence.shape
    s, t = pairs.source, pairs.target
    most = np.full(m, -np.inf)
    np.maximum.at(most, t, weights)
    p = np.exp(sharpness * (weights - most[t]))
    for _ in range(6):
        p = p / np.maximum(np.bincount(t, p, m)[t], 1e-12)
        p = p / np.maximum(np.bincount(s, p, n)[s], 1)
    return np.asarray(p)


def along(evidence: Evidence, pairs: Pairs, belief: Floats) -> Floats:
    """Return 1 for the pairs that keep the order of registration best, less for those of later chains."""
    table = np.full(evidence.shape, -np.inf)
    table[pairs.source, pairs.target] = 2 + 2 * belief
    value = np.zeros(evidence.shape)
    for number, path in enumerate(chains(table)):
        rows, columns = zip(*path, strict=True)
        value[list(rows), list(columns)] = 1 / (1 + 0.25 * number)
    return np.asarray(value[pairs.source, pairs.target])


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
        for i, j in zip(*linear_sum_assignment(costs), strict=True):
            if costs[i, j] < 1e5:
                chosen[int(t[j])] = int(s[i])
    return chosen


def _complete(evidence: Evidence, chosen: dict[int, int]) -> dict[int, int]:
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
    weights = evidence.weigh(np.where(among, 0.0, 1.0), pairs)
    return chosen | assign(evidence, pairs.only(among), weights[among])


def certain_belief(pairs: Pairs, chosen: dict[int, int]) -> Floats:
    """Return 1 for the pairs that were chosen, 0 for the others."""
    if not chosen or not len(pairs.target):
        return np.zeros(len(pairs.target))
    got = np.full(max(int(pairs.target.max()), *chosen) + 1, -1)
    got[list(chosen)] = list(chosen.values())
    return np.asarray(got[pairs.target] == pairs.source, dtype=float)


def score(evidence: Evidence, pairs: Pairs, chosen: dict[int, int]) -> float:
    """Return how well an assignment fits itself: every pair judged by all the others."""
    whole = np.full(evidence.shape[1], -1)
    whole[list(chosen)] = list(chosen.values())
    known = evidence.scores.get(whole.tobytes())  # the search and the decision ask for many twice
    if known is None:
        only = pairs.only(certain_belief(pairs, chosen) > 0)
        fit = evidence.weigh(np.ones(len(only.source)), only).sum() + 8 * len(only.source)
        order = ORDER * in_order(chosen) + 0.4 * _ranked(evidence, chosen)
        known = float(fit + (order if evidence.registered else 0.5 * order))
        evidence.scores[whole.tobytes()] = known
    return known


def in_order(chosen: dict[int, int]) -> float:
    """Return how well an assignment keeps neighbours: 1 for each next that stays the next."""
    sources = [chosen[t] for t in sorted(chosen)]
    rank = {s: number for number, s in enumerate(sorted(sources))}
    kept = 0.0
    for a, b in pairwise(sources):
        step = rank[b] - rank[a]
        if step == 1:
            kept += 1 if b == a + 1 else 0.9  # others were passed over
        else:
            kept += 0.7 if step == -1 else 0.3 if step > 0 else 0
    return kept


def _ranked(evidence: Evidence, chosen: dict[int, int]) -> int:
    """Return how many units follow the one before them that has the same shapes, on both sides."""
    last: dict[int, int] = {}
    kept = 0
    for t in sorted(chosen):
        signature = evidence.kinds[t]
        kept += last.get(signature, chosen[t]) < chosen[t]
        last[signature] = chosen[t]
    return kept


# -- second thoughts: what would the others say of these? -----------------------------------------------


def _improve(evidence: Evidence, end: Assignment) -> Assignment:
    """Forget one class of units at a time, and ask the others where it belongs."""
    best = end
    for _ in range(2):
        before = best.score
        weights = _fits(evidence, best)
        doubts = doubtful(evidence)
        doubts.sort(key=lambda ms: sum(weights.get(t, -9.0) for t in ms) / len(ms))
        for members in doubts[:BUDGET]:
            again = _reconsider(evidence, best, members)
            if again.score > best.score + 1e-6:
                best = again
        if best.score <= before + 1e-6:
            break
    return best


def _exchange(evidence: Evidence, end: Assignment) -> Assignment:
    """Let roles and parts change places while that fits better."""
    chosen, best = end.chosen, score(evidence, evidence.pairs, end.chosen)
    for _ in range(6):
        gains: list[tuple[float, int, dict[int, int]]] = []
        for change in changes(evidence, chosen):
            other = swapped(chosen, change)
            gains.append((score(evidence, evidence.pairs, other) - best, len(gains), other))
        gain, _, other = max(gains, default=(0.0, 0, chosen))
        if gain < 6:
            break
        chosen, best = other, best + gain
    return Assignment(chosen, best)


def _fits(evidence: Evidence, end: Assignment) -> dict[int, float]:
    """Return how well the pair of each target unit fits the others."""
    only = evidence.pairs.only(certain_belief(evidence.pairs, end.chosen) > 0)
    weights = evidence.weigh(np.ones(len(only.source)), only)
    return dict(zip(only.target.tolist(), weights.tolist(), strict=True))


def _reconsider(evidence: Evidence, end: Assignment, members: set[int]) -> Assignment:
    """Return the assignment with `members` placed anew, by what the others say."""
    kept = {t: s for t, s in end.chosen.items() if t not in members}
    taken = np.zeros(evidence.shape[0], dtype=bool)
    taken[list(kept.values())] = True
    pairs = evidence.pairs
    among = np.isin(pairs.target, list(members)) & ~taken[pairs.source]
    sure = certain_belief(pairs, kept) > 0
    pairs, among = pairs.only(among | sure), among[among | sure]
    belief = np.where(among, 0.0, 1.0)
    for sharpness in (0.6, 1.0, 1.0, 2.0):
        weights = evidence.weigh(belief, pairs)
        placed = consistent(evidence, pairs.only(among), weights[among], sharpness)
        belief[among] = placed
    weights = evidence.weigh(belief, pairs)
    chosen = _complete(evidence, kept | assign(evidence, pairs.only(among), weights[among]))
    return Assignment(chosen, score(evidence, evidence.pairs, chosen))
