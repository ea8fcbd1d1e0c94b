"""What names say of order: layer 2 comes before layer 10, query before key, the first norm before the last.

Two networks that are one count in one direction, whatever their modules are called and in whichever order
they are registered: where `blocks.0` goes to `stage.a`, and `blocks.1` to `stage.b`, the other pairs of
numbers that differ in that place should rise, or fall, with those on the other side as well.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from ptools.matching.names import time
from ptools.matching.units import Unit

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Order:
    """The order that the names of units have.

    sign   (units, units), 1 where the first comes before the second, -1 after, 0 where nothing is said
    place  (units, units), where in their names the two differ: equal where the same thing is counted
    """

    def __init__(self, units: list[Unit]) -> None:
        n = len(units)
        self.sign = np.zeros((n, n), dtype=np.int8)
        self.place = np.zeros((n, n), dtype=np.int64)
        self._numbers(units)
        self._words(units)

    def _numbers(self, units: list[Unit]) -> None:
        known: dict[Hashable, int] = {}
        deepest = max((len(u.tokens) for u in units), default=0)
        equal = np.ones(self.sign.shape, dtype=bool)
        for depth in range(deepest):
            tokens = [u.tokens[depth] if depth < len(u.tokens) else "" for u in units]
            word = np.array([known.setdefault(token, len(known)) for token in tokens])
            number = np.array([min(int(t), 10**6) if t.isdigit() else -1 for t in tokens])
            place = np.array([known.setdefault((u.template[:depth],), len(known)) for u in units])
            differ = equal & (word[:, None] != word)
            counted = differ & (number >= 0) & (number >= 0)[:, None]
            self.sign[counted] = np.sign(number - number[:, None])[counted]
            ones = (number > 10) & (number[:, None] > 10) & (number // 10 == number[:, None] // 10)
            places = 2 * np.broadcast_to(place, equal.shape) + ones
            self.place[counted] = places[counted]
            equal &= ~differ
        self.places = 2 * len(known)

    def _words(self, units: list[Unit]) -> None:
        known: dict[Hashable, int] = {}
        for parent, parts in _alike_parts(units):
            when = {part: time(part) for part in parts}
            count = Counter(
                when.values()
            )  # of two parts for one purpose nothing says which is first
            times = [(w, parts[part]) for part, w in when.items() if w and count[w] == 1]
            where = tuple("#" if part.isdigit() else part for part in parent)
            place = self.places + known.setdefault(where, len(known))
            for (a, ours), (b, theirs) in combinations(times, 2):
                for x, y, sign in ((ours, theirs, 1), (theirs, ours, -1)):
                    self.sign[np.ix_(x, y)] = sign if a < b else -sign
                    self.place[np.ix_(x, y)] = place


def _alike_parts(units: list[Unit]) -> Iterator[tuple[tuple[str, ...], dict[str, list[int]]]]:
    """Yield {name: units} of the parts of one parent that hold the same kinds of modules."""
    inside: dict[tuple[tuple[str, ...], str], list[int]] = defaultdict(list)
    for unit in units:
        for depth, part in enumerate(unit.path):
            inside[unit.path[:depth], part].append(unit.index)
    alike: dict[tuple[tuple[str, ...], Hashable], dict[str, list[int]]] = defaultdict(dict)
    for (parent, part), members in inside.items():
        kinds = frozenset((units[i].path[len(parent) + 1 :], _kind(units[i])) for i in members)
        alike[parent, kinds][part] = members
    for (parent, _), parts in alike.items():
        if len(parts) > 1:
            yield parent, parts


class Concord:
    """How well an assignment keeps what names say of order."""

    def __init__(self, sources: list[Unit], targets: list[Unit]) -> None:
        self.source, target = Order(sources), Order(targets)
        found = [(a, b) for a, b in set(_siblings(targets)) if target.sign[a, b]]
        pairs = np.array(sorted(found), dtype=np.int64).reshape(-1, 2)
        self.a, self.b = pairs[:, 0], pairs[:, 1]
        self.sign = target.sign[self.a, self.b].astype(float)
        kinds: dict[Hashable, int] = {}
        kind = np.array([kinds.setdefault(_kind(u), len(kinds)) for u in targets], dtype=np.int64)
        place = target.place[self.a, self.b] * (len(kinds) + 1) + kind[self.a]
        _, self.place = np.unique(place, return_inverse=True)
        self.decided = np.array(
            [targets[a].signature != targets[b].signature for a, b in pairs.tolist()], dtype=bool
        )
        self._signs = self.source.sign.astype(np.float32)
        self._around = csr_matrix(
            (
                np.concatenate([self.sign, -self.sign]).astype(np.float32),
                (np.concatenate([self.a, self.b]), np.concatenate([self.b, self.a])),
            ),
            shape=(len(targets), len(targets)),
        )

    def lean(self, belief: Floats, source: Ints, target: Ints) -> Floats:
        """Return what the order of names says of pairs, given how much each is believed."""
        if not len(self.a):
            return np.zeros(len(belief))
        table = np.zeros((self._around.shape[0], len(self._signs)), np.float32)
        table[target, source] = belief
        return np.asarray((self._around @ (table @ self._signs.T))[target, source], dtype=float)

    def kept(self, got: Ints) -> float:
        """Return for how many pairs of units the order is kept; `got` is the source of each target, or -1.

        Where shapes decide that numbers fall as the others rise, it is kept by those that fall.
        """
        a, b = got[self.a], got[self.b]
        sign = self.source.sign[a, b] * self.sign * (a >= 0) * (b >= 0)
        said = sign != 0
        if not said.any():
            return 0.0
        ours, place, sign = self.source.place[a, b][said], self.place[said], sign[said]
        _, ours = np.unique(ours, return_inverse=True)
        wide = int(ours.max()) + 1
        both, which = np.unique(place * wide + ours, return_inverse=True)
        decided = np.bincount(which, sign * self.decided[said])
        open_ = np.bincount(which, sign * ~self.decided[said])
        net = np.where(decided < 0, -1, 1) * open_ + np.abs(decided)
        size = np.bincount(place)[both // wide] * np.bincount(ours)[both % wide]
        return float((net * np.abs(net) / np.sqrt(size)).sum())

    def against(self, got: Ints) -> set[int]:
        """Return the target units that could change places with another and would then be in order."""
        a, b = got[self.a], got[self.b]
        sign = self.source.sign[a, b] * self.sign * (a >= 0) * (b >= 0)
        place = self.place * (int(self.source.place.max(initial=0)) + 1) + self.source.place[a, b]
        _, which = np.unique(place, return_inverse=True)
        falls = np.bincount(which, sign * self.decided)[which] < 0
        odd = (sign < 0) & ~falls & ~self.decided
        return {*self.a[odd].tolist(), *self.b[odd].tolist()}


def _kind(unit: Unit) -> Hashable:
    return tuple((role, len(shape)) for role, shape in unit.shapes.items())


def _siblings(units: list[Unit]) -> Iterator[tuple[int, int]]:
    """Yield pairs that differ in one part of their names: next to each other in number, or by words."""
    counted: dict[Hashable, list[tuple[int, int]]] = defaultdict(list)
    families: dict[Hashable, list[int]] = defaultdict(list)
    for unit in units:
        kind = _kind(unit)
        tokens = unit.tokens
        for place, number in enumerate(tokens):
            if number.isdigit():
                rest: Hashable = (tokens[:place], tokens[place + 1 :], kind)
                counted[rest].append((int(number), unit.index))
                if tokens.count(number) > 1:  # layer_3.norm_3 is counted once
                    rest = (tuple("#" if t == number else t for t in tokens), kind)
                    counted[rest].append((int(number), unit.index))
        for depth, part in enumerate(unit.path):
            if time(part):
                families[unit.path[:depth], unit.path[depth + 1 :], kind].append(unit.index)
    for group in counted.values():
        yield from ((a, b) for (_, a), (_, b) in pairwise(sorted(group)))
    for family in families.values():
        yield from combinations(family[:8], 2)
