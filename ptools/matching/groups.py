"""Groups of units that their names, or their neighbourhood, put together.

Two units of one block share a prefix, two of one role a suffix, two of one depth a number. Where a
group of the target goes to a group of the source, its members do. Nothing is known of any library:
every group that a name could mean is taken, and the ones that mean something are found by agreement.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from ptools.matching.units import Unit, ranks

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Bools = NDArray[np.bool_]

BESIDE = 2  # a unit and the one before it, a unit and the next: its groups of neighbours only
LEAST = 0.03  # the share of a group that tells nothing more
_PART = 2048  # pairs looked at together: what is computed of them stays in the processor's cache


class Groups:
    """The groups of one side.

    count    how many there are; as the number of a group it stands for none
    of       (columns, units), the numbers of the groups of each unit: `BESIDE` rows of those of
             neighbours only, then those by name, none last
    named    how many groups by name each unit has
    members  (units, groups) sparse, 1 where a unit is in a group; of the group that stands for none, nothing
    """

    def __init__(self, units: list[Unit], owned: Sequence[tuple[int, ...]] = ()) -> None:
        found: dict[tuple[int, ...], bool] = {}  # members -> by name; equal groups are one
        for by_name, groups in (
            (True, _by_name(units)),
            (True, owned),
            (False, _neighbours(units)),
        ):
            for group in groups:
                if 2 <= len(group) < len(units):
                    found.setdefault(group, by_name)
        named: list[list[int]] = [[] for _ in units]
        beside: list[list[int]] = [[] for _ in units]
        for number, (group, by_name) in enumerate(found.items()):
            for unit in group:
                (named if by_name else beside)[unit].append(number)
        self.count = len(found)
        self.named = np.array([*map(len, named)], dtype=np.int64)
        self.of = np.full((BESIDE + self.named.max(initial=0), len(units)), self.count)
        for unit in range(len(units)):
            self.of[: len(beside[unit]), unit] = beside[unit]
            self.of[BESIDE : BESIDE + len(named[unit]), unit] = named[unit]
        columns, rows = np.nonzero(self.of < self.count)
        ones = np.ones(len(rows), np.float32)
        shape = len(units), self.count + 1
        self.members = csr_matrix((ones, (rows, self.of[columns, rows])), shape=shape)
        self.by_group = self.members.T.tocsr()


class Agreement:
    """What the groups of both sides say of some pairs, whatever is believed of each pair."""

    def __init__(
        self, ours: Groups, theirs: Groups, source: Ints, target: Ints, asked: Bools
    ) -> None:
        self.ours, self.theirs = ours, theirs
        self.believed = source, target
        self.asked = np.flatnonzero(asked)
        source, target = source[asked], target[asked]
        # pairs with as many groups stand together: then few columns of a part are empty
        self.order = np.lexsort((source, theirs.named[target], ours.named[source]))
        self.source, self.target = source[self.order], target[self.order]
        self.named_a, self.named_b = ours.named[self.source], theirs.named[self.target]
        self.of_a = ours.of.take(self.source, axis=1)  # (A, pairs): the groups of each source unit
        self.of_b = theirs.of.take(self.target, axis=1)  # (B, pairs)
        self.rows, self.by_group = self.of_a, ours.by_group
        if len(source) < len(asked):  # only what is asked about is added up
            there = np.zeros(ours.count + 1, bool)
            there[self.of_a] = True
            self.rows = (np.cumsum(there) - 1).take(self.of_a)
            self.by_group = ours.by_group[np.flatnonzero(there)]

    def said(self, belief: Floats) -> Floats:
        """Return what groups say of the asked pairs: does each group of one unit go to one of the other?

        The share of groups a and b is cosine-like: believed pairs between them over the geometric mean
        of the believed pairs of each, all without the two units in question.
        """
        known = self._known(belief)
        single = belief[self.asked[self.order]].astype(np.float32)
        said = np.zeros(len(single), np.float32)
        for start in range(0, len(single), _PART):
            part = slice(start, start + _PART)
            said[part] = self._part(known, single[part], part)
        sorted_back = np.empty(len(single))
        sorted_back[self.order] = np.where(
            (self.named_a > 0) & (self.named_b > 0), 0.5 * said, 2 * np.log(0.3)
        )
        return sorted_back

    def _known(self, p: Floats) -> _Known:
        """Add up what is believed."""
        a, b = self.ours.members, self.theirs.members
        shape = a.shape[0], b.shape[0]
        source, target = self.believed
        table = csr_matrix((p.astype(np.float32), (source, target)), shape=shape)
        from_s = table @ b
        if from_s.nnz < 0.05 * from_s.shape[0] * from_s.shape[1]:  # an assignment: sparse is faster
            between = (self.by_group @ from_s).toarray()
        else:
            between = self.by_group @ from_s.toarray()
        rows = np.bincount(source, p, shape[0])
        columns = np.bincount(target, p, shape[1])
        sum_a, sum_b = self.ours.by_group @ rows, self.theirs.by_group @ columns
        sum_a[-1] = sum_b[-1] = np.inf  # the share of no group is 0
        return _Known(
            between,
            from_s.toarray(),
            (table.T.tocsr() @ a).toarray(),
            *(x.astype(np.float32) for x in (rows, columns, sum_a, sum_b)),
        )

    def _part(self, known: _Known, p: Singles, part: slice) -> Singles:
        """Return what groups say of the pairs of a part."""
        named_a, named_b = self.named_a[part], self.named_b[part]
        of_a = self.of_a[: BESIDE + named_a.max(), part]
        of_b = self.of_b[: BESIDE + named_b.max(), part]
        source, target = self.source[part], self.target[part]
        a, scale_a = _without(known.from_t, known.sum_a, known.rows, of_a, source, target, p)
        b, scale_b = _without(known.from_s, known.sum_b, known.columns, of_b, target, source, p)
        b += p  # it is in both `a` and `b`
        rows = self.rows[: len(of_a), part]
        best_a, best_b = _best(known.between, rows, of_b, a, b, scale_a, scale_b)
        return _sum(best_a, named_a) + _sum(best_b, named_b)


class _Known(NamedTuple):
    """Sums of beliefs."""

    between: Singles  # (groups of the source that are asked about, groups of the target)
    from_s: Singles  # (source units, groups of the target)
    from_t: Singles  # (target units, groups of the source)
    rows: Singles  # of each source unit
    columns: Singles  # of each target unit
    sum_a: Singles  # of each group of the source
    sum_b: Singles  # of each group of the target


def _without(
    into: Singles, sums: Singles, units: Singles, of: Ints, own: Ints, other: Ints, p: Singles
) -> tuple[Singles, Singles]:
    """Return what the other unit of a pair gives to the groups of its own, and how to scale by the rest."""
    given = into.ravel().take(of + other * into.shape[1])
    given -= p
    rest = sums.take(of)
    rest -= units[own]
    rest -= given
    np.maximum(rest, 0, out=rest)
    rest += np.float32(0.4)
    np.sqrt(rest, out=rest)
    return given, np.reciprocal(rest, out=rest)


def _best(
    between: Singles,
    rows: Ints,
    of_b: Ints,
    a: Singles,
    b: Singles,
    scale_a: Singles,
    scale_b: Singles,
) -> tuple[Singles, Singles]:
    """Return the share of each group by name with the one of the other side that it shares most with.

    Of two groups at least one is by name: that neighbours go to neighbours is not asked here.
    """
    flat, wide = between.ravel(), between.shape[1]
    best_a = np.zeros((len(rows) - BESIDE, rows.shape[1]), np.float32)
    best_b = np.zeros((len(of_b) - BESIDE, rows.shape[1]), np.float32)
    places, shares = np.empty(of_b.shape, np.int64), np.empty(of_b.shape, np.float32)
    less = b - np.float32(0.02)  # every share is a little more than nothing
    for k in range(len(rows)):  # not all at once: one row stays in the cache
        first = BESIDE if k < BESIDE else 0
        np.add(of_b[first:], rows[k] * wide, out=places[first:])
        both = flat.take(places[first:], out=shares[first:], mode="clip")
        both -= a[k]
        np.maximum(both, b[first:], out=both)
        both -= less[first:]
        both *= scale_b[first:]
        if k >= BESIDE:
            np.multiply(np.maximum.reduce(both, axis=0), scale_a[k], out=best_a[k - BESIDE])
        both *= scale_a[k]
        np.maximum(best_b, both[BESIDE - first :], out=best_b)
    return best_a, best_b


def _sum(best: Singles, named: Ints) -> Singles:
    """Add up the logarithms of shares, of as many as each pair has, over the square root of how many."""
    there = np.arange(len(best))[:, None] < named
    said = np.log(best + np.float32(LEAST)) * there
    return np.asarray(said.sum(axis=0) / np.sqrt(np.maximum(named, 1)), dtype=np.float32)


def _by_name(units: list[Unit]) -> Iterator[tuple[int, ...]]:
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for unit, rank in zip(units, ranks(units), strict=True):
        for description in _descriptions(unit):
            groups[description].append(unit.index)
        for depth in range(1, len(rank) + 1):  # the third convolution and the third normalisation
            groups["ranks", unit.path[: -depth - 1], rank[-depth:]].append(unit.index)
    yield from map(tuple, groups.values())


def _descriptions(unit: Unit) -> Iterable[Hashable]:
    """Return what the name of a unit says of it, each shared with the others it says the same of."""
    tokens, numbers = unit.tokens, unit.numbers
    said: list[Hashable] = [("template", unit.template)]
    said += [("prefix", tokens[:depth]) for depth in range(1, len(tokens))]
    said += [("suffix", unit.path[-depth:]) for depth in (1, 2, 3)]
    said += [("end", tokens[-depth:]) for depth in (1, 2)]
    said += [("numbers", numbers[:depth]) for depth in range(1, len(numbers) + 1)]
    said += [("last numbers", numbers[-depth:]) for depth in (1, 2) if numbers]
    said += [("but one", tokens[:i], tokens[i + 1 :]) for i in range(len(tokens))]
    said += [("word", token) for token in tokens if not token.isdigit()]
    tens = tuple(t[:-1] if t.isdigit() and len(t) > 1 else t for t in tokens)  # conv43 is conv 4 3
    if tens != tokens:
        said += [("tens", tens), ("first digit", tens[-1]), ("last digit", tokens[-1][-1:])]
        said += [("last digits", unit.template, tuple(n % 10 for n in numbers))]
    return dict.fromkeys(said)


def owned(sources: list[Unit], targets: list[Unit]) -> tuple[list[tuple[int, ...]], ...]:
    """Return, for both sides, normalisations each with the layer right before it, where both do so alike."""
    both = _owned(sources), _owned(targets)
    kinds = [
        Counter((units[layer].signature, units[norm].signature) for layer, norm in pairs)
        for units, pairs in zip((sources, targets), both, strict=True)
    ]
    alike = (kinds[0] & kinds[1]).total()
    return both if alike >= 0.9 * max(kind.total() for kind in kinds) else ([], [])


def _owned(units: list[Unit]) -> list[tuple[int, ...]]:
    """Return every normalisation with the layer right before it whose outputs it normalises."""
    return [
        (layer.index, norm.index)
        for layer, norm in pairwise(units)
        if layer.path[:-1] == norm.path[:-1]
        and len(layer.shapes.get("weight", ())) > 1
        and len(norm.shapes.get("weight", ())) == 1
        and norm.shapes["weight"][0] in layer.shapes["weight"][:2]
    ]


def _neighbours(units: list[Unit]) -> Iterator[tuple[int, ...]]:
    """Yield every unit with the next: a normalisation stands by its convolution."""
    for index in range(len(units) - 1):
        yield (index, index + 1)
