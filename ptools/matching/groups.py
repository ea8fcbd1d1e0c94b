"""Groups of units that their names, or their neighbourhood, put together.

Two units of one block share a prefix, two of one role a suffix, two of one depth a number. Where a
group of the target goes to a group of the source, its members do. Nothing is known of any library:
every group that a name could mean is taken, and the ones that mean something are found by agreement.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from ptools.matching.units import Unit

Ints = NDArray[np.int64]


class Groups:
    """The groups of one side.

    of       (units, most groups of one unit), the numbers of its groups, -1 where it has fewer
    by_name  bool per group: False for neighbours only
    members  (units, groups) sparse, 1 where a unit is in a group
    """

    def __init__(self, units: list[Unit]) -> None:
        named: dict[tuple[int, ...], bool] = {}  # members -> by name; equal groups are one
        for named_so, found in ((True, _by_name(units)), (False, _neighbours(units))):
            for group in found:
                if 2 <= len(group) < len(units):
                    named.setdefault(group, named_so)
        belongs: list[list[int]] = [[] for _ in units]
        for number, group in enumerate(named):
            for unit in group:
                belongs[unit].append(number)
        self.count = max(len(named), 1)
        self.by_name = np.array([*named.values()] or [True], dtype=bool)
        self.of = np.full((len(units), max(map(len, belongs), default=0) or 1), -1)
        for unit, numbers in enumerate(belongs):
            self.of[unit, : len(numbers)] = numbers
        rows, columns = np.nonzero(self.of >= 0)
        ones = np.ones(len(rows))
        self.members = csr_matrix(
            (ones, (rows, self.of[rows, columns])), shape=(len(units), self.count)
        )


def _by_name(units: list[Unit]) -> Iterator[tuple[int, ...]]:
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for unit in units:
        for description in _descriptions(unit):
            groups[description].append(unit.index)
    yield from map(tuple, groups.values())


def _descriptions(unit: Unit) -> set[Hashable]:
    """Return what the name of a unit says of it, each shared with the others it says the same of."""
    tokens, numbers = unit.tokens, unit.numbers
    said: set[Hashable] = {("template", unit.template)}
    said |= {("prefix", tokens[:depth]) for depth in range(1, len(tokens))}
    said |= {("suffix", unit.path[-depth:]) for depth in (1, 2, 3)}
    said |= {("end", tokens[-depth:]) for depth in (1, 2)}
    said |= {("numbers", numbers[:depth]) for depth in range(1, len(numbers) + 1)}
    said |= {("last numbers", numbers[-depth:]) for depth in (1, 2) if numbers}
    said |= {("but one", tokens[:i], tokens[i + 1 :]) for i in range(len(tokens))}
    said |= {("word", token) for token in tokens if not token.isdigit()}
    tens = tuple(t[:-1] if t.isdigit() and len(t) > 1 else t for t in tokens)  # conv43 is conv 4 3
    if tens != tokens:
        said |= {("tens", tens), ("first digit", tens[-1]), ("last digit", tokens[-1][-1:])}
    return said


def _neighbours(units: list[Unit]) -> Iterator[tuple[int, ...]]:
    """Yield every unit with the next: a normalisation stands by its convolution."""
    for index in range(len(units) - 1):
        yield (index, index + 1)
