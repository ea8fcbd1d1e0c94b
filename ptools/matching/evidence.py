"""What speaks for a pair of units: the names of both, in the light of all other pairs.

A pair is possible where the shapes agree. How well it fits is learned from the rest: where most of
the units under `layer3` go to units under `stages.2`, the others under `layer3` should as well; where
`conv2` goes to `c_out` in the blocks in which shapes decide, it should in those where they do not.
Nothing supports itself: a pair is judged by the others only (leave one out).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptools.matching.groups import Agreement, Groups, owned
from ptools.matching.names import end, likeness, opposed, ordinal
from ptools.matching.numbering import Numbering, number_all, numbering, table
from ptools.matching.rank import Concord
from ptools.matching.standing import Standing
from ptools.matching.units import Unit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LAST = 1.0  # of the last word of a name, against its other words
WEIGHT = 3.0  # of the groups, against the other evidence
OPPOSED = 1.0  # against names that say the opposite
ENDS = 3.0  # of both names saying, of a table of words, at which end of the network it is
PARTS = 1.0  # against another word for a large part of the network, which both have words for
SAME = 0.3  # of equal numbers


class Pairs(NamedTuple):
    """Possible pairs: the numbers of their source and target units, and of the pairs themselves."""

    source: Ints
    target: Ints
    number: Ints

    def only(self, chosen: Bools) -> Pairs:
        """Return the chosen ones."""
        return Pairs(self.source[chosen], self.target[chosen], self.number[chosen])

    @property
    def alone(self) -> bool:
        """Is there no choice left: has every unit, of either side, one pair at most?"""
        units = (self.source, self.target)
        return all(np.bincount(side).max(initial=0) <= 1 for side in units)


class Evidence:
    """The possible pairs of two lists of units, and how well each fits what is believed of the others."""

    def __init__(
        self, sources: list[Unit], targets: list[Unit], *, registered: bool = True
    ) -> None:
        self.scores: dict[bytes, float] = {}  # of whole assignments, kept by the search
        self.disputed: list[list[int]] = []  # target units whose equal names may mislead
        self.sources, self.targets = sources, targets
        self.registered = (
            registered  # the order of both is that of registration, as far as one can see
        )
        self.pairs = _possible(sources, targets)
        self.choices = (
            np.bincount(self.pairs.source, minlength=len(sources)),
            np.bincount(self.pairs.target, minlength=len(targets)),
        )  # how many units of the other side each could go to, by its shapes
        ours, theirs = owned(sources, targets) if registered else ((), ())
        self.source_groups, self.target_groups = Groups(sources, ours), Groups(targets, theirs)
        self._heard: _Heard | None = None

    def hint(self, here: tuple[str, ...], there: tuple[str, ...]) -> None:
        """Leave only the pairs that agree with: the target's part `here` is the source's part `there`."""
        inside = [
            (self.targets[t].path[: len(here)] == here)
            == (self.sources[s].path[: len(there)] == there)
            for s, t in zip(self.pairs.source.tolist(), self.pairs.target.tolist(), strict=True)
        ]
        s, t, _ = self.pairs.only(np.array(inside, dtype=bool))
        self.pairs = Pairs(s, t, np.arange(len(s)))

    def settle(self, sure: dict[int, int]) -> None:
        """Leave only the pairs that do not contradict those that are sure, {target unit: source unit}."""
        taken = set(sure.values())
        both = zip(self.pairs.source.tolist(), self.pairs.target.tolist(), strict=True)
        keep = [sure[t] == s if t in sure else s not in taken for s, t in both]
        s, t, _ = self.pairs.only(np.array(keep, dtype=bool))
        self.pairs = Pairs(s, t, np.arange(len(s)))

    @cached_property
    def kinds(self) -> Ints:
        """A number per target unit, equal where signatures are."""
        return number_all([unit.signature for unit in self.targets])

    @cached_property
    def outer(self) -> tuple[frozenset[int], frozenset[int]]:
        """The units of both sides that are the only ones of their shapes outside of numbered blocks."""
        return _outer(self.sources), _outer(self.targets)

    @cached_property
    def concord(self) -> Concord:
        """What the names on both sides say of order."""
        return Concord(self.sources, self.targets)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.sources), len(self.targets)

    @cached_property
    def prior(self) -> Floats:
        """Likeness of the names, before anything is learned."""
        s, t = self.pairs.source, self.pairs.target
        looks = number_all([_look(u) for u in self.sources])[s] * (len(self.targets) + 1)
        looks = looks + number_all([_look(u) for u in self.targets])[t]
        _, first, which = np.unique(looks, return_index=True, return_inverse=True)
        both = [(self.sources[s[k]], self.targets[t[k]]) for k in first]
        words, order, tables, shapes = (
            np.array([ask(*units) for units in both])[which]
            for ask in (_likeness, _order, table_ends, _exact)
        )
        numbers = _same_numbers(self.sources, self.targets, s, t)
        common = _parts(self.sources) & _parts(self.targets)
        parts = np.array([len((a.top ^ b.top) & common) for a, b in both])[which]
        return np.asarray(words + numbers + order + tables + shapes - PARTS * parts)

    @cached_property
    def displaced(self) -> Floats:
        """Return how far apart the two of a pair stand, each among those of its shapes, 0 to 1."""
        s, t = self.pairs.source, self.pairs.target
        return np.asarray(np.abs(_ranks(self.sources)[s] - _ranks(self.targets)[t]))

    def weigh(self, belief: Floats, pairs: Pairs, asked: Bools | None = None) -> Floats:
        """Return how well each of `pairs` fits, given how much each of them is believed (0 to 1).

        Where only some are `asked` about, of these.
        """
        heard = self._heard
        if heard is None or heard.pairs is not pairs or heard.asked is not asked:
            some = np.ones(len(belief), dtype=bool) if asked is None else asked
            sides = self.source_groups, self.target_groups
            groups = Agreement(*sides, pairs.source, pairs.target, some)
            numbers = self._numbering.only(pairs.number)
            self._heard = heard = _Heard(pairs, asked, groups, numbers)
        said, prior = heard.numbers.said(belief), self.prior[pairs.number]
        if asked is not None:
            said, prior = said[asked], prior[asked]
        return np.asarray(WEIGHT * heard.groups.said(belief) + said + prior)

    def judge(self, got: Ints) -> tuple[Ints, Floats]:
        """Return the target units that have a source unit in `got`, and how well each pair fits the others.

        `got` is the number of the source unit of each target unit, or -1.
        """
        target = np.flatnonzero(got >= 0)
        number = self._number_of[got[target], target]
        if (number < 0).any():
            target, number = target[number >= 0], number[number >= 0]
            got = np.where(np.isin(np.arange(len(got)), target), got, -1)
        if not len(target):
            return target, np.zeros(0)
        total = WEIGHT * self._standing.said(got)[target]
        total = total + self._numbering.only(number).said()
        return target, np.asarray(total + self.prior[number])

    def around(self, got: Ints) -> None:
        """Expect to be asked to judge changes of `got`, one at a time."""
        self._standing.around(got)

    def own(self, got: Ints) -> float:
        """Return what the pairs that `got` changes lose, as far as groups say: a part of the whole loss."""
        return WEIGHT * self._standing.own(got)

    @cached_property
    def _standing(self) -> Standing:
        return Standing(self.source_groups, self.target_groups)

    @cached_property
    def _number_of(self) -> Ints:
        """The number of each pair by (source unit, target unit), -1 where shapes differ."""
        numbers = np.full(self.shape, -1)
        numbers[self.pairs.source, self.pairs.target] = self.pairs.number
        return numbers

    @cached_property
    def _numbering(self) -> Numbering:
        return numbering(self.sources, self.targets, self.pairs.source, self.pairs.target)


class _Heard(NamedTuple):
    """What is the same whatever is believed of some pairs: the search weighs them a few times in a row."""

    pairs: Pairs
    asked: Bools | None
    groups: Agreement
    numbers: Numbering


def _possible(sources: list[Unit], targets: list[Unit]) -> Pairs:
    by_signature: dict[object, list[int]] = defaultdict(list)
    for unit in sources:
        by_signature[unit.signature].append(unit.index)
    found = [(s, t.index) for t in targets for s in by_signature.get(t.signature, ())]
    both = np.array(found, dtype=np.int64).reshape(-1, 2)
    return Pairs(both[:, 0], both[:, 1], np.arange(len(both)))


def _outer(units: list[Unit]) -> frozenset[int]:
    out = [unit for unit in units if not re.search(r"[0-9]", ".".join(unit.path[:-1]))]
    count = Counter(unit.signature for unit in out)
    return frozenset(unit.index for unit in out if count[unit.signature] == 1)


def _look(unit: Unit) -> Hashable:
    """Return what is asked of a unit but its numbers: many units of a network look the same."""
    words = (
        tuple(token for token in tokens if not token.isdigit())
        for tokens in (unit.last, unit.tokens[-3:], unit.tokens)
    )
    return *words, unit.top, _ordinal(unit), tuple(unit.shapes.items())


def _parts(units: list[Unit]) -> frozenset[str]:
    """Return the words that the large parts are called by, encoder and decoder: some have them, some not."""
    counts = Counter(word for unit in units for word in unit.top)
    return frozenset(word for word, n in counts.items() if n < len(units))


def _likeness(source: Unit, target: Unit) -> float:
    value = LAST * likeness(source.last, target.last)
    value -= OPPOSED * opposed(source.last, target.last)
    value += 0.5 * likeness(source.tokens[-3:], target.tokens[-3:])
    return value + 0.5 * likeness(source.tokens, target.tokens)


def _ordinal(unit: Unit) -> int | None:
    return ordinal(unit.path[-1], unit.tokens) if unit.path else None


def _order(source: Unit, target: Unit) -> float:
    """Return what speaks for a pair of which both names say first or second."""
    first, second = _ordinal(source), _ordinal(target)
    if not first or not second:
        return 0.0
    return 0.3 if first == second else -0.3


def table_ends(source: Unit, target: Unit) -> float:
    """Return what speaks for a pair of tables (V, D) of which both names say: looked up, or predicted."""
    if list(source.shapes) != ["weight"] or len(source.shapes["weight"]) != 2:
        return 0.0
    first, second = end(source.tokens), end(target.tokens)
    if not first or not second:
        return 0.0
    return ENDS if first == second else -ENDS


def _exact(source: Unit, target: Unit) -> float:
    """Return what speaks against a pair with other shapes, by sizes of 1."""
    same = all(target.shapes.get(role, shape) == shape for role, shape in source.shapes.items())
    return 0.0 if same else -0.5


def _same_numbers(sources: list[Unit], targets: list[Unit], s: Ints, t: Ints) -> Floats:
    """Return 0.3 of the share of the numbers in the names of pairs that are equal, from the end."""
    known: dict[int, int] = {}
    of_s, of_t = (
        table([[known.setdefault(n, len(known)) for n in u.numbers[::-1]] for u in units])
        for units in (sources, targets)
    )
    both = min(len(of_s), len(of_t))
    a, b = of_s[:both, s], of_t[:both, t]
    same = ((a == b) & (a >= 0)).sum(0)
    most = np.maximum((of_s >= 0).sum(0)[s], (of_t >= 0).sum(0)[t])
    return np.asarray(SAME * same / np.maximum(most, 1))


def _ranks(units: list[Unit]) -> Floats:
    """Return where each unit stands among those of its signature, 0 to 1."""
    classes: dict[object, list[int]] = defaultdict(list)
    for unit in units:
        classes[unit.signature].append(unit.index)
    ranks = np.zeros(len(units))
    for members in classes.values():
        ranks[members] = np.arange(len(members)) / len(members)
    return ranks
