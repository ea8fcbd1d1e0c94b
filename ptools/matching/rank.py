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

KIN = 1.0  # what it is worth that two of one role, in two blocks, go to two of one role

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Order:
    """The order that the names of units have.

    sign   (units, units), 1 where the first comes before the second, -1 after, 0 where nothing is said
    place  (units, units), where in their names the two differ: equal where the same thing is counted
    kin    (units, units), whether the two names differ in one part only: one role, in two blocks
    """

    def __init__(self, units: list[Unit]) -> None:
        n = len(units)
        self.sign = np.zeros((n, n), dtype=np.int8)
        self.place = np.zeros((n, n), dtype=np.int64)
        self.kin = _kin(units)
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
        for parent, rows in _timed(units):
            where = tuple("#" if part.isdigit() else part for part in parent)
            place = self.places + known.setdefault(where, len(known))
            for (a, ours), (b, theirs) in combinations(rows, 2):
                if a != b:
                    for x, y, sign in ((ours, theirs, 1), (theirs, ours, -1)):
                        self.sign[np.ix_(x, y)] = sign if a < b else -sign
                        self.place[np.ix_(x, y)] = place


def _kin(units: list[Unit]) -> NDArray[np.bool_]:
    known: dict[Hashable, int] = {}
    deepest = max((len(u.path) for u in units), default=0)
    parts = np.full((deepest + 1, len(units)), -1)  # the last row tells how deep a name is
    for unit in units:
        parts[: len(unit.path), unit.index] = [known.setdefault(p, len(known)) for p in unit.path]
        parts[-1, unit.index] = -len(unit.path)
    differences = np.zeros((len(units), len(units)), np.int64)
    for row in parts:
        differences += row[:, None] != row
    return np.asarray((differences == 1) & (parts[-1][:, None] == parts[-1]), dtype=bool)


def _timed(units: list[Unit]) -> Iterator[tuple[tuple[str, ...], list[tuple[float, list[int]]]]]:
    """Yield a parent and (time, units) of its parts: whole parts that are alike, or the units that are.

    Of two parts for one purpose nothing says which is first.
    """
    for parent, parts in _alike_parts(units):
        when = {part: time(part) for part in parts}
        count = Counter(when.values())
        yield parent, [(w, parts[part]) for part, w in when.items() if w and count[w] == 1]
    single: dict[tuple[tuple[str, ...], str, Hashable], list[tuple[float, list[int]]]]
    single = defaultdict(list)
    for unit in units:
        for depth, part in enumerate(unit.path[:-1]):
            if when_ := time(part):
                same = unit.path[:depth], unit.path[-1], _kind(unit)
                single[same].append((when_, [unit.index]))
    for same, rows in single.items():
        count = Counter(w for w, _ in rows)
        if len(count) > 1:
            yield same[0], [(w, members) for w, members in rows if count[w] == 1]


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
        self.source, self.target = Order(sources), Order(targets)
        target = self.target
        turns = set(_turns(targets))
        found = dict.fromkeys(turns, 1.0)
        for a, b, weight in _siblings(targets):
            if target.sign[a, b]:
                found[a, b] = max(weight, found.get((a, b), 0.0))
                turns.discard((a, b))
        pairs = np.array(sorted(found), dtype=np.int64).reshape(-1, 2)
        self.a, self.b = pairs[:, 0], pairs[:, 1]
        self.weight = np.array([found[a, b] for a, b in pairs.tolist()])
        self.sign = target.sign[self.a, self.b] * self.weight
        self.kin = target.kin[self.a, self.b]
        kinds: dict[Hashable, int] = {}
        kind = np.array([kinds.setdefault(_kind(u), len(kinds)) for u in targets], dtype=np.int64)
        self.kind, self._kinds = kind[self.a], len(kinds)
        place = target.place[self.a, self.b] * (len(kinds) + 1) + self.kind
        self.turn = np.array([(a, b) in turns for a, b in pairs.tolist()], dtype=bool)
        _, self.place = np.unique(place, return_inverse=True)
        self.decided = np.array(
            [targets[a].signature != targets[b].signature for a, b in pairs.tolist()], dtype=bool
        )
        plain = self.sign * ~self.turn
        # (source units, source units): what `_pairs` looks up, in one number
        numbers = np.cumsum(np.bincount(self.source.place.ravel(), minlength=1) > 0, dtype=np.int32)
        self._several = int(numbers[-1])
        self._codes = 8 * (numbers[self.source.place] - np.int32(1))
        self._codes += self.source.kin * np.int32(4) + self.source.sign + np.int32(1)
        self._after = np.ascontiguousarray(self.source.sign.T, np.float32)
        self._around = csr_matrix(
            (
                np.concatenate([plain, -plain]).astype(np.float32),
                (np.concatenate([self.a, self.b]), np.concatenate([self.b, self.a])),
            ),
            shape=(len(targets), len(targets)),
        )

    def lean(self, belief: Floats, source: Ints, target: Ints) -> Floats:
        """Return what the order of names says of pairs, given how much each is believed."""
        if not len(self.a):
            return np.zeros(len(belief))
        shape = self._around.shape[0], len(self._after)
        table = csr_matrix((belief.astype(np.float32), (target, source)), shape=shape)
        return np.asarray((self._around @ (table @ self._after))[target, source], dtype=float)

    def kept(self, got: Ints) -> float:
        """Return how well order and roles are kept; `got` is the source of each target unit, or -1.

        Where shapes decide that numbers fall as the others rise, it is kept by those that fall.
        """
        sign, both_kin, place = self._pairs(got)
        sign[self.turn & (sign < 0)] = 0  # where one side has the levels the other way round
        kin = KIN * float(self.weight @ (both_kin & self.kin))
        said = np.flatnonzero(sign)
        if not len(said):
            return kin
        ours = place[said] * self._kinds + self.kind[said]
        place, sign, weight = self.place[said], sign[said], self.weight[said]
        wide = self._several * self._kinds
        both, which = np.unique(place * wide + ours, return_inverse=True)
        decided = np.bincount(which, sign * self.decided[said])
        open_ = np.bincount(which, sign * ~self.decided[said])
        net = np.where(decided < 0, -1, 1) * open_ + np.abs(decided)
        size = np.bincount(place, weight)[both // wide] * np.bincount(ours, weight)[both % wide]
        return kin + float((net * np.abs(net) / np.sqrt(size)).sum())

    def _pairs(self, got: Ints) -> tuple[Floats, NDArray[np.bool_], Ints]:
        """Return, of pairs of target units, their order, whether sources are kin, and where these differ."""
        a, b = got[self.a], got[self.b]
        there = (a >= 0) & (b >= 0)
        codes = self._codes[a, b].astype(int)
        return ((codes & 3) - 1) * self.sign * there, (codes & 4 > 0) & there, codes >> 3

    def rises(self, a: int, b: int, from_a: int, from_b: int) -> bool:
        """Return whether two target units and their source units are in one order, as far as names tell.

        Where the names of one side tell nothing its order of registration is taken; never of both.
        """
        here, there = self.target.sign[a, b], self.source.sign[from_a, from_b]
        if not here and not there:
            return False
        return bool((here or np.sign(b - a)) == (there or np.sign(from_b - from_a)))

    def against(self, got: Ints) -> set[int]:
        """Return the target units that could change places with another and would then be in order."""
        sign, _, place = self._pairs(got)
        sign *= ~self.turn
        place += self.place * self._several
        _, which = np.unique(place, return_inverse=True)
        falls = np.bincount(which, sign * self.decided)[which] < 0
        odd = (np.where(falls, -sign, sign) < 0) & ~self.decided
        return {*self.a[odd].tolist(), *self.b[odd].tolist()}


def _kind(unit: Unit) -> Hashable:
    return tuple((role, len(shape)) for role, shape in unit.shapes.items())


def _siblings(units: list[Unit]) -> Iterator[tuple[int, int, float]]:
    """Yield pairs that differ in one part of their names, by number or by words, and their weight.

    By number they are next to each other; or one stands between, of which the other side may say nothing.
    """
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
                families[unit.path[:depth], unit.path[depth + 1 :][-1:], kind].append(unit.index)
    for group in counted.values():
        row = [unit for _, unit in sorted(group)]
        yield from ((a, b, 1.0) for a, b in pairwise(row))
        yield from ((a, b, 0.5) for a, b in zip(row, row[2:], strict=False))
    for family in families.values():
        yield from ((a, b, 1.0) for a, b in combinations(family[:8], 2))


def _turns(units: list[Unit]) -> Iterator[tuple[int, int]]:
    """Yield the last of a row and the first of the next: 0.2 and 1.0 are 2 and 3 where counting goes on."""
    rows: dict[Hashable, list[tuple[int, int, int]]] = defaultdict(list)
    for unit in units:
        tokens = unit.tokens
        numbers = [place for place, token in enumerate(tokens) if token.isdigit()]
        for one, two in pairwise(numbers):
            rest = (tokens[:one], tokens[one + 1 : two], tokens[two + 1 :], _kind(unit))
            rows[rest].append((int(tokens[one]), int(tokens[two]), unit.index))
    for table in rows.values():
        for (row, _, a), (below, _, b) in pairwise(sorted(table)):
            if row != below:
                yield a, b
