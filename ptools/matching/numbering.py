"""What the numbers in the names of pairs show: do they rise, or fall, together?"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptools.matching.groups import LEAST
from ptools.matching.units import Unit, counted_on, ranks

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FALLING = 0.9  # of numbers of which one falls as the other rises, against both rising
_LARGEST = 10**6  # of the numbers in names; a larger one is a hash


class Numbering(NamedTuple):
    """What the numbers in the names of pairs show."""

    shown: Ints  # (6 places, pairs, places): kinds of differences, then of sums; 0 where one is missing
    kinds: int  # how many
    templates: Ints  # of each pair
    several: int  # how many templates
    has: NDArray[np.bool_]  # (pairs, places): is there a number in the name of the target unit?

    def only(self, chosen: Ints) -> Numbering:
        """Return the chosen pairs."""
        shown, kinds, templates, several, has = self
        return Numbering(shown.take(chosen, axis=1), kinds, templates[chosen], several, has[chosen])

    def said(self, belief: Floats | None = None) -> Floats:
        """Return what numbers say: do they differ by what they differ by in pairs named alike?

        `belief` is how much each pair is believed, 0 to 1; None where all of them are.
        """
        ways, pairs, places = self.shown.shape
        if not self.shown.size:
            return np.full(pairs, np.log(0.3))
        p = np.ones((pairs, 1)) if belief is None else belief[:, None]
        spread = None if belief is None else np.tile(belief.repeat(places), ways)
        sums = np.bincount(self.shown.ravel(), spread, self.kinds).astype(float)
        sums[0] = -np.inf
        alike = sums.take(self.shown)
        alike[ways // 2 :] *= FALLING
        everyone = np.bincount(self.templates, belief, self.several)[self.templates, None] - p
        share = np.maximum((alike.max(axis=0) - p + 0.05) / (everyone + 0.5), 0)
        said = (np.log(share + LEAST) * self.has).sum(1) / np.maximum(self.has.sum(1), 1)
        return np.asarray(np.where(self.has.any(1), said, np.log(0.3)))


def numbering(sources: list[Unit], targets: list[Unit], s: Ints, t: Ints) -> Numbering:
    """Number every (template pair, place, place, difference or sum) of pairs (s, t), and template pairs.

    Numbers that rise together have one difference; where one counts down, they have one sum. Where
    one side counts what stands between as well, this holds of their ranks; where one has stages and the
    other counts on, of both numbers as one.
    """
    sides = [
        (table(count(sources))[:, s], table(count(targets))[:, t])  # (places, pairs)
        for count in (_numbers, ranks, counted_on)
    ]
    has, on = sides[0][1] >= 0, sides[2][1]
    if len(on) > 1:  # a row is told from the next by both numbers
        on[0] = np.where(on[1] >= 0, on[1], on[0])
    templates = number_all([u.template for u in sources])[s] * (len(targets) + 1)
    templates = templates + number_all([u.template for u in targets])[t]
    pairs_of, templates = np.unique(templates, return_inverse=True)
    ways = [b - a[:, None] for a, b in sides] + [b + a[:, None] for a, b in sides]
    apart = np.clip(np.concatenate(ways), -500, 500) + 500  # (6 places, places, pairs)
    places = np.arange(apart.shape[0] * apart.shape[1]).reshape(*apart.shape[:2], 1)
    there = np.concatenate([(b >= 0) & (a >= 0)[:, None] for a, b in sides] * 2)
    kinds = ((templates * max(places.size, 1) + places) * 1001 + apart)[there]
    kinds, numbers = np.unique(kinds, return_inverse=True)
    shown = np.zeros(there.shape, dtype=np.int64)
    shown[there] = numbers + 1
    shown = np.ascontiguousarray(shown.transpose(0, 2, 1))  # what is compared stands row by row
    return Numbering(shown, len(kinds) + 1, templates, len(pairs_of), np.ascontiguousarray(has.T))


def _numbers(units: list[Unit]) -> list[list[int]]:
    return [[min(number, _LARGEST) for number in unit.numbers] for unit in units]


def table(rows: Sequence[Sequence[int]]) -> Ints:
    """Return the rows as columns, -1 below those that are short."""
    table = np.full((max(map(len, rows), default=0), len(rows)), -1)
    for column, row in enumerate(rows):
        table[: len(row), column] = row
    return table


def number_all(values: list[Hashable]) -> Ints:
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)
