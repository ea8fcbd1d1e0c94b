"""How well the groups of an assignment agree: the same as `Agreement` says, for beliefs of 0 and 1 only.

The search asks this of many assignments that differ in a few pairs. What is shared by the groups of both
sides is kept, and changed where pairs change.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptools.matching.groups import BESIDE, LEAST, Floats, Groups, Ints, Singles

Bools = NDArray[np.bool_]
_SELF = np.float32(0.98)  # a pair speaks not for itself; every share is a little more than nothing


class Standing:
    """The groups of both sides, and how many pairs of the present assignment each two of them share."""

    def __init__(self, ours: Groups, theirs: Groups) -> None:
        self.ours, self.theirs = ours, theirs
        self.wide = theirs.count + 1
        self.between = np.zeros((ours.count + 1) * self.wide, np.float32)
        self.got = np.full(theirs.of.shape[1], -1)
        self.value = np.zeros(len(self.got))  # of each target unit: what groups say of its pair
        self.scale_a = self.scale_b = np.zeros(0, np.float32)
        self.home: _Home | None = None
        self.away = _HERE
        self.open = np.zeros(len(self.got), bool)  # target units that are still to be asked about

    def around(self, got: Ints) -> None:
        """Expect changes of `got`: between two of them it is come back to, with what was said of it."""
        self.said(got)
        self.home = _Home(got.copy(), self.value.copy(), self.scale_a, self.scale_b)
        self.away = _HERE

    def own(self, got: Ints) -> float:
        """Return how much less groups say of the pairs that `got` changes, than of those they had."""
        changed = self._begin(got)
        before = self.value[changed].sum()
        self._ask(changed)
        return float(before - self.value[changed].sum())

    def said(self, got: Ints) -> Floats:
        """Return what groups say of the pair of each target unit; `got` is its source unit, or -1."""
        if not np.array_equal(got, self.got):
            self._begin(got)
        self._ask(self.open)
        return self.value

    def _begin(self, got: Ints) -> Bools:
        """Make `got` the present assignment; return which target units have another pair."""
        self._return()
        changed = np.asarray(got != self.got)
        self.open |= self._move(got)
        self.open &= got >= 0
        self.value[got < 0] = 0
        return changed

    def _ask(self, units: Bools) -> None:
        target = np.flatnonzero(units & self.open)
        if len(target):
            self.value[target] = self._said(self.got[target], target)
            self.open[target] = False

    def _said(self, source: Ints, target: Ints) -> Floats:
        named_a, named_b = self.ours.named[source], self.theirs.named[target]
        of_a = self.ours.of[: BESIDE + named_a.max(), source]
        of_b = self.theirs.of[: BESIDE + named_b.max(), target]
        scale_a, scale_b = self.scale_a.take(of_a), self.scale_b.take(of_b)
        best_a = np.zeros((len(of_a), len(source)), np.float32)
        best_b = np.zeros((len(of_b), len(source)), np.float32)
        for k, row in enumerate(of_a * self.wide):  # of two groups at least one is by name
            first = BESIDE if k < BESIDE else 0
            share = self.between.take(of_b[first:] + row)
            np.maximum(share, 1, out=share)
            share -= _SELF
            share *= scale_b[first:]
            best_a[k] = share.max(axis=0, initial=0) * scale_a[k]
            share *= scale_a[k]
            np.maximum(best_b[first:], share, out=best_b[first:])
        said = _sum(best_a[BESIDE:], named_a) + _sum(best_b[BESIDE:], named_b)
        return np.where((named_a > 0) & (named_b > 0), 0.5 * said, 2 * np.log(0.3))

    def _return(self) -> None:
        """Come back to what is expected to be changed."""
        if self.home is None:
            return
        self.between[self.away.where] = self.away.shared
        self.got, self.value = self.home.got, self.home.value.copy()
        self.open = np.zeros(len(self.got), bool)
        self.scale_a, self.scale_b = self.home.scale_a, self.home.scale_b

    def _shift(self, got: Ints) -> tuple[Ints, Ints, Ints, Ints]:
        """Make `got` the present assignment; return what changed: target units, old, new, pairs of groups."""
        changed = np.flatnonzero(got != self.got)
        old, new = self.got[changed], got[changed]
        if not len(changed):
            self.away = _HERE
            return changed, old, new, changed
        cells, sign = [], []
        for sources, one in ((old, -1), (new, 1)):
            there = sources >= 0
            of_a, of_b = self.ours.of[:, sources[there]], self.theirs.of[:, changed[there]]
            cells.append((of_a[:, None] * self.wide + of_b).ravel())
            sign.append(np.full(len(cells[-1]), one, np.float32))
        where = np.concatenate(cells)
        before = self.between.take(where)
        self.away = _Cells(where, before)
        np.add.at(self.between, where, np.concatenate(sign))
        where = where[self.between.take(where) != before]
        self.got = got.copy()
        return changed, old, new, where

    def _move(self, got: Ints) -> Bools:
        """Make `got` the present assignment; return of which target units something may be different."""
        changed, old, new, where = self._shift(got)
        there = got >= 0
        same = np.array_equal(old < 0, new < 0) and np.array_equal(np.sort(old), np.sort(new))
        if not same:  # other units have a part in it: groups have other sizes
            target = np.flatnonzero(there)
            self.scale_a = _scale(self.ours.of[:, got[target]], self.ours.count)
            self.scale_b = _scale(self.theirs.of[:, target], self.theirs.count)
            return there
        touched = self._touched(got, where)
        touched[changed] = True
        return there & touched

    def _touched(self, got: Ints, cells: Ints) -> Bools:
        """Return which target units have a pair of groups that share more or fewer pairs than before."""
        rows, columns = np.zeros(self.ours.count + 1, bool), np.zeros(self.wide, bool)
        rows[cells // self.wide] = True
        columns[cells % self.wide] = True
        rows[-1] = columns[-1] = False
        near = columns.take(self.theirs.of).any(0)
        return np.asarray(near & rows.take(self.ours.of[:, got]).any(0))


class _Cells(NamedTuple):
    """Pairs of groups, and what they shared before the last change."""

    where: Ints
    shared: Singles


_HERE = _Cells(np.zeros(0, np.int64), np.zeros(0, np.float32))  # nothing was changed


class _Home(NamedTuple):
    """An assignment that is come back to, with what is known of it."""

    got: Ints
    value: Floats
    scale_a: Singles
    scale_b: Singles


def _scale(of: Ints, count: int) -> Singles:
    """Return by what to scale the share of each group: how many other pairs are in it."""
    size = np.bincount(of.ravel(), minlength=count + 1).astype(np.float32)
    size[-1] = np.inf
    return np.asarray(1 / np.sqrt(np.maximum(size, 1) - np.float32(0.6)), np.float32)


def _sum(best: Singles, named: Ints) -> Singles:
    there = np.arange(len(best))[:, None] < named
    said = (np.log(best + np.float32(LEAST)) * there).sum(axis=0)
    return np.asarray(said / np.sqrt(np.maximum(named, 1)), np.float32)
