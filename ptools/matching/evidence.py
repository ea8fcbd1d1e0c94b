"""What speaks for a pair of units: the names of both, in the light of all other pairs.

A pair is possible where the shapes agree. How well it fits is learned from the rest: where most of
the units under `layer3` go to units under `stages.2`, the others under `layer3` should as well; where
`conv2` goes to `c_out` in the blocks in which shapes decide, it should in those where they do not.
Nothing supports itself: a pair is judged by the others only (leave one out).
"""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from ptools.matching.groups import Groups
from ptools.matching.names import likeness, ordinal
from ptools.matching.units import Unit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LAST = 1.0  # of the last word of a name, against its other words
WEIGHT = 3.0  # of the groups, against the other evidence
_LEAST = 0.03  # the share of a group that tells nothing more


class Pairs(NamedTuple):
    """Possible pairs: the numbers of their source and target units, and of the pairs themselves."""

    source: Ints
    target: Ints
    number: Ints

    def only(self, chosen: NDArray[np.bool_]) -> Pairs:
        """Return the chosen ones."""
        return Pairs(self.source[chosen], self.target[chosen], self.number[chosen])


class Evidence:
    """The possible pairs of two lists of units, and how well each fits what is believed of the others."""

    def __init__(self, sources: list[Unit], targets: list[Unit]) -> None:
        self.sources, self.targets = sources, targets
        self.pairs = _possible(sources, targets)
        self.source_groups, self.target_groups = Groups(sources), Groups(targets)

    def settle(self, sure: dict[int, int]) -> None:
        """Leave only the pairs that do not contradict those that are sure, {target unit: source unit}."""
        taken = set(sure.values())
        both = zip(self.pairs.source.tolist(), self.pairs.target.tolist(), strict=True)
        keep = [sure[t] == s if t in sure else s not in taken for s, t in both]
        s, t, _ = self.pairs.only(np.array(keep, dtype=bool))
        self.pairs = Pairs(s, t, np.arange(len(s)))

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.sources), len(self.targets)

    @cached_property
    def prior(self) -> Floats:
        """Likeness of the names, before anything is learned."""
        values = np.zeros(len(self.pairs.source))
        for k, (s, t) in enumerate(zip(self.pairs.source, self.pairs.target, strict=True)):
            values[k] = _likeness(self.sources[s], self.targets[t])
        return values

    @cached_property
    def displaced(self) -> Floats:
        """Return how far apart the two of a pair stand, each among those of its shapes, 0 to 1."""
        s, t = self.pairs.source, self.pairs.target
        return np.asarray(np.abs(_ranks(self.sources)[s] - _ranks(self.targets)[t]))

    def weigh(self, belief: Floats, pairs: Pairs) -> Floats:
        """Return how well each of `pairs` fits, given how much each of them is believed (0 to 1)."""
        table = csr_matrix((belief, (pairs.source, pairs.target)), shape=self.shape)
        total = self._groups(table, belief, pairs) + self._offsets(belief, pairs)
        return np.asarray(total + self.prior[pairs.number])

    def _groups(self, table: csr_matrix, p: Floats, pairs: Pairs) -> Floats:
        """Return what groups say: does each group of one unit go to some group of the other?

        The share of groups a and b is cosine-like: believed pairs between them over the geometric mean
        of the believed pairs of each, all without the two units in question.
        """
        a, b = self.source_groups, self.target_groups
        of_a, of_b = a.of[pairs.source], b.of[pairs.target]  # (P, A), (P, B)
        has_a, has_b = of_a >= 0, of_b >= 0
        of_a, of_b = np.where(has_a, of_a, 0), np.where(has_b, of_b, 0)
        from_t = np.asarray((table.T @ a.members).todense())  # belief of a target unit per group
        from_s = np.asarray((table @ b.members).todense())
        between = (a.members.T @ csr_matrix(from_s)).toarray().astype(np.float32)  # (A's, B's)
        rows, columns = np.asarray(table.sum(1)).ravel(), np.asarray(table.sum(0)).ravel()
        sum_a, sum_b = a.members.T @ rows, b.members.T @ columns
        t_in_a, s_in_b = from_t[pairs.target[:, None], of_a], from_s[pairs.source[:, None], of_b]
        own = p[:, None]
        all_a = np.maximum(sum_a[of_a] - rows[pairs.source][:, None] - t_in_a + own, 0) + 0.4
        all_b = np.maximum(sum_b[of_b] - columns[pairs.target][:, None] - s_in_b + own, 0) + 0.4
        both = between[of_a[:, :, None], of_b[:, None, :]]  # (P, A, B): float32, the largest here
        both -= (t_in_a - own).astype(np.float32)[:, :, None]
        both -= s_in_b.astype(np.float32)[:, None, :]
        np.maximum(both, 0, out=both)
        both += np.float32(0.02)
        both *= (1 / np.sqrt(all_a)).astype(np.float32)[:, :, None]
        both *= (1 / np.sqrt(all_b)).astype(np.float32)[:, None, :]
        named_a, named_b = has_a & a.by_name[of_a], has_b & b.by_name[of_b]
        both *= named_a[:, :, None] | (named_b[:, None, :] & has_a[:, :, None])
        both *= has_b[:, None, :]
        best_b = np.log(both.max(axis=1) + _LEAST) * named_b
        best_a = np.log(both.max(axis=2) + _LEAST) * named_a
        number_a, number_b = named_a.sum(1), named_b.sum(1)
        said = best_a.sum(1) / np.sqrt(np.maximum(number_a, 1)) + best_b.sum(1) / np.sqrt(
            np.maximum(number_b, 1)
        )
        known = (number_a > 0) & (number_b > 0)
        return np.asarray(np.where(known, 0.5 * WEIGHT * said, 2 * WEIGHT * np.log(0.3)))

    @cached_property
    def _numbering(self) -> tuple[Ints, int, Ints, int, NDArray[np.bool_], NDArray[np.bool_]]:
        """Number every (template pair, place, place, difference) that a pair shows, and every template pair."""
        s, t = self.pairs.source, self.pairs.target
        of_s, of_t = _numbers(self.sources)[s], _numbers(self.targets)[t]  # (P, places)
        there = (of_s >= 0)[:, :, None] & (of_t >= 0)[:, None, :]
        templates = _number_all([u.template for u in self.sources])[s] * (len(self.targets) + 1)
        templates = templates + _number_all([u.template for u in self.targets])[t]
        apart = np.clip(of_t[:, None, :] - of_s[:, :, None], -500, 500) + 500
        places = np.arange(there[0].size if len(s) else 0).reshape(there.shape[1:])
        shown = (templates[:, None, None] * max(places.size, 1) + places) * 1001 + apart
        kinds, shown = np.unique(np.where(there, shown, -1), return_inverse=True)
        pairs_of, templates = np.unique(templates, return_inverse=True)
        return shown.reshape(there.shape), len(kinds), templates, len(pairs_of), there, of_t >= 0

    def _offsets(self, p: Floats, pairs: Pairs) -> Floats:
        """Return what numbers say: do they differ by what they differ by in pairs named alike?"""
        shown, kinds, templates, count, there, has = (
            x[pairs.number] if isinstance(x, np.ndarray) else x for x in self._numbering
        )
        if not there.size:
            return np.full(len(p), np.log(0.3))
        spread = np.broadcast_to(p[:, None, None], there.shape).ravel()
        alike = np.bincount(shown.ravel(), spread, kinds)[shown] - p[:, None, None]
        everyone = np.bincount(templates, p, count)[templates] - p
        share = np.where(there, (alike + 0.05) / (everyone[:, None, None] + 0.5), 0).max(axis=1)
        said = (np.log(np.maximum(share, 0) + _LEAST) * has).sum(1) / np.maximum(has.sum(1), 1)
        return np.asarray(np.where(has.any(1), said, np.log(0.3)))


def _possible(sources: list[Unit], targets: list[Unit]) -> Pairs:
    by_signature: dict[object, list[int]] = defaultdict(list)
    for unit in sources:
        by_signature[unit.signature].append(unit.index)
    found = [(s, t.index) for t in targets for s in by_signature.get(t.signature, ())]
    both = np.array(found, dtype=np.int64).reshape(-1, 2)
    return Pairs(both[:, 0], both[:, 1], np.arange(len(both)))


def _likeness(source: Unit, target: Unit) -> float:
    value = LAST * likeness(source.last, target.last)
    value += 0.5 * likeness(source.tokens[-3:], target.tokens[-3:])
    value += 0.5 * likeness(source.tokens, target.tokens)
    if source.numbers and target.numbers:
        same = sum(a == b for a, b in zip(source.numbers[::-1], target.numbers[::-1], strict=False))
        value += 0.3 * same / max(len(source.numbers), len(target.numbers))
    first, second = (ordinal(u.path[-1], u.tokens) for u in (source, target) if u.path)
    if first and second:
        value += 0.3 if first == second else -0.3
    exact = all(
        target.shapes[role] == shape
        for role, shape in source.shapes.items()
        if role in target.shapes
    )
    return value - (0 if exact else 0.5)


def _ranks(units: list[Unit]) -> Floats:
    """Return where each unit stands among those of its signature, 0 to 1."""
    classes: dict[object, list[int]] = defaultdict(list)
    for unit in units:
        classes[unit.signature].append(unit.index)
    ranks = np.zeros(len(units))
    for members in classes.values():
        ranks[members] = np.arange(len(members)) / len(members)
    return ranks


def _numbers(units: list[Unit]) -> Ints:
    """Return the numbers in the names, (units, most), -1 where there is none."""
    table = np.full((len(units), max((len(u.numbers) for u in units), default=0)), -1)
    for unit in units:
        table[unit.index, : len(unit.numbers)] = np.minimum(unit.numbers, 10**6)
    return table


def _number_all(values: list[tuple[str, ...]]) -> Ints:
    numbers: dict[tuple[str, ...], int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)
