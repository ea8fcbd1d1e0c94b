"""The search for the assignment that fits best.

From several beginnings, beliefs are made consistent (every unit once: Sinkhorn & Knopp 1967), weighed by
the evidence, and sharpened, until an assignment (Kuhn 1955) stands. The order of registration
is one witness among others: it is heard where names leave a choice. The best of the ends is taken.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from statistics import fmean, median

import numpy as np

from ptools.matching.assignment import (
    Assignment,
    Near,
    assign,
    certain_belief,
    complete,
    consistent,
    in_order,
    places,
    score,
)
from ptools.matching.beginnings import along, beginnings, counted_down, order_alone
from ptools.matching.doubts import doubtful
from ptools.matching.evidence import Evidence, Floats, Pairs
from ptools.matching.swaps import AGAINST, CLEAR, Change, changes, glances, swapped
from ptools.matching.units import Unit
from ptools.matching.whole import broken

LEARN = (0.6, 0.8, 1.0, 1.0, 1.0)  # how sharply beliefs are drawn from evidence, step by step
UNTOLD, HALF_TOLD = -6.0, -4.0  # a mean fit below: names have nothing, or little, in common
RANK = 1.0  # weight of the order within one shape
LEAN = 1.0  # weight of the order that names tell, against the other evidence
UNEVEN = 0.95  # of the neighbours kept: below, the one side may count down
ODD = -11.0  # a fit below: the place may stay empty
GAIN = 0.5  # what a change of places must be worth
MANY, NEARLY = 10, 20  # changes that are tried two at once; a loss above is not tried again
STARTS, DEEP, WIDE = 8, 4, 60  # chains of changes: beginnings, length, changes to choose from
UNEASY = -3.0  # a fit below: it may stand wrong
EVALUATIONS = 75_000  # of the units of whole assignments, in chains of changes
TORN = 0.1  # of the blocks: too many to be content
BUDGET = 12  # groups of units that get a second thought, the worst first
_UNLIKELY = 5e-3  # a belief below is given up


def search(evidence: Evidence) -> list[Assignment]:
    """Return the assignments that were found, the best first."""
    if not len(evidence.pairs.source):
        return []
    ends: list[Assignment] = []
    best = by_order = order_alone(evidence)
    firm = False
    for number, belief in enumerate(beginnings(evidence)):
        pairs, belief = _learn(evidence, belief)
        here = len(ends)
        for trust in (0.0, 1.0):
            ends.append(_settle(evidence, pairs, belief, trust))
            if _decided(evidence, pairs, belief) or _again(ends[here:]):
                break  # order has nothing left to say
        before, best = best, max(ends, key=lambda end: end.score)
        again = max(ends[here:], key=lambda end: end.score).chosen == before.chosen
        even = in_order(best.chosen) > len(best.chosen) == min(evidence.shape)
        firm = bool(number) and again and not _torn(evidence, before)
        if even or firm:
            break  # all of it in order; or from another beginning it ends there as well
    uneven = in_order(best.chosen) < UNEVEN * len(best.chosen)
    if uneven and (evidence.registered or not firm):  # sorted keys are never in order
        for belief in counted_down(evidence):
            pairs, belief = _learn(evidence, belief)
            ends += [_settle(evidence, pairs, belief, trust) for trust in (0.0, 0.7)]
    ends.append(by_order)
    ends.sort(key=lambda end: -end.score)
    better = _improve(evidence, ends[0])
    if better.score > ends[0].score:
        ends.insert(0, better)
    for _ in range(2):
        changed = _exchange(evidence, ends[0])
        if changed.score <= ends[0].score:
            break
        better = _improve(evidence, changed)
        ends.insert(0, better if better.score > changed.score else changed)
    pruned = _pruned(evidence, ends[0])
    if pruned.score > ends[0].score:
        ends.insert(0, pruned)
    told = fmean(_fits(evidence, ends[0]).values())
    if _nameless(evidence.sources) or _nameless(evidence.targets):
        ends.sort(key=lambda end: (-in_order(end.chosen), -end.score))  # order must speak
    elif told < HALF_TOLD:
        heard = 4.0 if told < UNTOLD else 1.5
        ends.sort(key=lambda end: -end.score - heard * in_order(end.chosen))
    ordered = _ordered(evidence, ends[0])
    return [ordered, *ends] if ordered.ordered else ends


def _torn(evidence: Evidence, end: Assignment) -> bool:
    """Are there blocks of which only a part has a counterpart? Others may have one for all they hold."""
    used = set(end.chosen.values())
    return broken(evidence.sources, used) > TORN or broken(evidence.targets, {*end.chosen}) > TORN


def _nameless(units: list[Unit]) -> bool:
    """Return whether nearly all units are called by one word and a number."""
    names = {unit.path[:1] for unit in units}
    words = Counter(Unit(unit.path[:1]).template for unit in units)
    return len(names) > 0.7 * len(units) > 2 and max(words.values()) > 0.8 * len(units)


def _decided(evidence: Evidence, pairs: Pairs, belief: Floats) -> bool:
    """Return whether every target unit that can be filled has one source unit."""
    most = np.zeros(evidence.shape[1])
    np.maximum.at(most, pairs.target, belief)
    return bool((most[pairs.target] > 0.9).all())


def _again(ends: list[Assignment]) -> bool:
    """Return whether the last two are one."""
    return len(ends) > 1 and ends[-1].chosen == ends[-2].chosen


def _learn(evidence: Evidence, belief: Floats) -> tuple[Pairs, Floats]:
    """Let names and shapes agree; return what is still possible, and how much it is believed."""
    pairs = evidence.pairs
    for sharpness in LEARN:
        if pairs.alone:
            return pairs, np.ones(len(belief))
        weights = evidence.weigh(belief, pairs)
        belief = consistent(evidence, pairs, weights, sharpness)
        keep = belief > _UNLIKELY
        if not keep.all():
            pairs, belief = pairs.only(keep), belief[keep]
    return pairs, belief


def _settle(evidence: Evidence, pairs: Pairs, belief: Floats, trust: float) -> Assignment:
    """Sharpen a belief into an assignment; `trust` is the weight of the order of registration."""
    if pairs.alone:
        return _whole(evidence, _only(pairs))
    weights, order = belief, np.zeros(len(belief))
    for rising in (0.2, 0.5, 1.0):
        order = along(evidence, pairs, belief) * (trust or 0.05 * rising)
        order -= RANK * (1 if trust else 0.1) * evidence.displaced[pairs.number]
        order += LEAN * rising * evidence.concord.lean(belief, pairs.source, pairs.target)
        for _ in range(2):
            weights = evidence.weigh(belief, pairs) + order
            before = belief
            belief = consistent(evidence, pairs, weights, 2.0 if rising == 1.0 else 1.0)
            if np.abs(belief - before).max() < 0.02:
                break
        keep = belief > 1e-4
        if not keep.all():
            pairs, belief = pairs.only(keep), belief[keep]
            weights, order = weights[keep], order[keep]
        if pairs.alone:
            return _whole(evidence, _only(pairs))
    chosen = assign(evidence, pairs, weights)
    order += LEAN * evidence.concord.lean(certain_belief(pairs, chosen), pairs.source, pairs.target)
    for _ in range(3):
        belief = 0.8 * certain_belief(pairs, chosen) + 0.2 * belief
        weights = evidence.weigh(belief, pairs) + order
        again = assign(evidence, pairs, weights)
        if again == chosen:
            break
        chosen = again
    return _whole(evidence, chosen)


def _only(pairs: Pairs) -> dict[int, int]:
    """Return the assignment where no unit has a choice."""
    return dict(zip(pairs.target.tolist(), pairs.source.tolist(), strict=True))


def _whole(evidence: Evidence, chosen: dict[int, int]) -> Assignment:
    chosen = complete(evidence, chosen)
    return Assignment(chosen, score(evidence, chosen))


# -- second thoughts: what would the others say of these? -----------------------------------------------


def _improve(evidence: Evidence, end: Assignment) -> Assignment:
    """Forget one class of units at a time, and ask the others where it belongs."""
    best = end
    for _ in range(2):
        before = best.score
        weights = _fits(evidence, best)
        middle = median(weights.values())
        doubts = [*doubtful(evidence), {t for t, fit in weights.items() if fit < middle + UNEASY}]
        doubts = [members for members in doubts if members]
        doubts.sort(key=lambda ms: sum(weights.get(t, -9.0) for t in ms) / len(ms))
        for members in doubts[:BUDGET]:
            again = _reconsider(evidence, best, members)
            if again.score > best.score + 1e-6:
                best = again
        if best.score <= before + 1e-6:
            break
    return best


def _pruned(evidence: Evidence, end: Assignment) -> Assignment:
    """Return the assignment without the pairs that only their shapes brought together.

    What is left over on both sides, one unit each, belongs together however it is called.
    """
    left = Counter(u.signature for u in evidence.sources)
    left -= Counter(evidence.sources[s].signature for s in end.chosen.values())
    fits = _fits(evidence, end)
    of_source, of_target = evidence.choices
    odd = [
        t
        for t, s in end.chosen.items()
        if fits.get(t, 0.0) < ODD
        and (of_target[t] > 1 or of_source[s] > 1)
        and left[evidence.sources[s].signature]
        and not (s in evidence.outer[0] and t in evidence.outer[1])
        and not any(end.chosen.get(t + step) == s + step for step in (-1, 1))
    ]
    odd.sort(key=lambda t: fits[t])
    for gone in (odd, *([t] for t in odd)):
        chosen = {t: s for t, s in end.chosen.items() if t not in gone}
        value = score(evidence, chosen) if chosen else -np.inf
        if value > end.score + GAIN:
            end = Assignment(chosen, value)
    return end


def _ordered(evidence: Evidence, end: Assignment) -> Assignment:
    """Return the assignment with what stands against the order of names put in order, if that is cheap."""
    moved: frozenset[int] = frozenset()
    for _ in range(4):
        odd = evidence.concord.against(places(evidence, end.chosen))
        fewer = []
        for way in changes(evidence, end.chosen, nearby=True) if odd else ():
            chosen = swapped(end.chosen, way)
            if odd.isdisjoint(t for t, _ in way) or len(set(chosen.values())) < len(chosen):
                continue
            left = len(evidence.concord.against(places(evidence, chosen)))
            if left < len(odd):
                other = Assignment(chosen, score(evidence, chosen))
                if end.score - other.score < AGAINST * max(1.0, ((len(odd) - left) / 2) ** 0.5):
                    fewer.append((left, -other.score, way, other))
        if not fewer:
            break
        _, _, way, end = min(fewer, key=lambda found: found[:2])
        moved |= {t for t, _ in way}
    return Assignment(end.chosen, end.score, ordered=moved)


def _exchange(evidence: Evidence, end: Assignment) -> Assignment:
    """Let roles and parts change places while that fits better."""
    fits, most = _fits(evidence, end), EVALUATIONS // max(evidence.shape)
    tried = changes(evidence, end.chosen)
    seen = glances(evidence, end.chosen, tried)
    tried = [way for way, loss in zip(tried, seen, strict=True) if loss < CLEAR]
    tried.sort(key=lambda way: fmean(fits.get(t, 0.0) for t, _ in way))
    best, tried = end, tried[:most]
    for _ in range(6):
        ways = _tried(evidence, best, tried)
        ways += _tried(evidence, best, _two_at_once([way for _, way, _ in ways[:MANY]]))
        gain, _, other = max(ways, key=lambda way: way[0], default=(0.0, [], best))
        if gain < GAIN:
            other = _follow(evidence, best, sorted(ways, key=lambda way: -way[0]))
        if other.score < best.score + GAIN:
            break
        best, tried = other, [way for loss, way, _ in ways if loss > -NEARLY]
    return best


def _follow(
    evidence: Evidence, end: Assignment, ways: list[tuple[float, Change, Assignment]]
) -> Assignment:
    """Go on from the changes that lose least, one after the other (Lin & Kernighan 1973).

    What stands wrong together, a block with all its layers, is right again only when all of it is.
    """
    if not ways or ways[0][0] < -NEARLY / 2:
        return end  # it stands firm
    fits, left = _fits(evidence, end), EVALUATIONS // max(evidence.shape)
    uneasy = [w for w in ways if any(fits.get(t, 0.0) < UNEASY for t, _ in w[1])][:WIDE]
    tried = [way for _, way, _ in uneasy]
    for _, first, other in uneasy[:STARTS]:
        moved = {t for t, _ in first}
        for _ in range(DEEP):
            rest = [way for way in tried if not moved & {t for t, _ in way}]
            left -= len(rest)
            found = _tried(evidence, other, rest) if left > 0 else []
            if not found:
                break
            _, way, other = found[0]
            moved |= {t for t, _ in way}
            if other.score > end.score + GAIN:
                return other
    return end


def _tried(
    evidence: Evidence, end: Assignment, tried: list[Change]
) -> list[tuple[float, Change, Assignment]]:
    """Return what each change gains, and what it makes, the best first."""
    ways, near = [], Near(evidence, end)
    for change in tried:
        chosen = swapped(end.chosen, change)
        if len(set(chosen.values())) < len(chosen):
            continue  # what was free is so no more
        loss = near.loss(chosen)
        if loss < np.inf:
            ways.append((-loss, change, Assignment(chosen, end.score - loss)))
    return sorted(ways, key=lambda way: -way[0])


def _two_at_once(tried: list[Change]) -> list[Change]:
    """Return the pairs of changes that concern different units."""
    units = [{t for t, _ in change} for change in tried]
    both = combinations(range(len(tried)), 2)
    return [tried[i] + tried[j] for i, j in both if not units[i] & units[j]]


def _fits(evidence: Evidence, end: Assignment) -> dict[int, float]:
    """Return how well the pair of each target unit fits the others."""
    target, weights = evidence.judge(places(evidence, end.chosen))
    return dict(zip(target.tolist(), weights.tolist(), strict=True))


def _reconsider(evidence: Evidence, end: Assignment, members: set[int]) -> Assignment:
    """Return the assignment with `members` placed anew, by what the others say."""
    kept = {t: s for t, s in end.chosen.items() if t not in members}
    taken = np.zeros(evidence.shape[0], dtype=bool)
    taken[list(kept.values())] = True
    pairs = evidence.pairs
    among = np.isin(pairs.target, list(members)) & ~taken[pairs.source]
    sure = certain_belief(pairs, kept) > 0
    pairs, among = pairs.only(among | sure), among[among | sure]
    belief, asked = np.where(among, 0.0, 1.0), pairs.only(among)

    def weights() -> Floats:
        lean = evidence.concord.lean(belief, pairs.source, pairs.target)[among]
        return evidence.weigh(belief, pairs, among) + LEAN * lean

    for sharpness in (0.6, 1.0, 1.0, 2.0):
        belief[among] = consistent(evidence, asked, weights(), sharpness)
    chosen = complete(evidence, kept | assign(evidence, asked, weights()))
    return Assignment(chosen, score(evidence, chosen))
