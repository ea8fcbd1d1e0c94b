"""From the assignment that fits best to what may be loaded: certain, likely, ambiguous, or nothing.

Certainty is a property of the whole. Two networks that share shapes are not one network: first it is
asked whether the one is a part of the other at all. Then every unit is asked what would change if
it went elsewhere: where nothing would, a person decides.
"""

from __future__ import annotations

from functools import cached_property
from statistics import fmean, median

import numpy as np

from ptools.matching.assignment import Assignment, Near, certain_belief, in_order, places
from ptools.matching.decision import Decision, change_forms
from ptools.matching.evidence import Evidence, table_ends
from ptools.matching.forms import guessed
from ptools.matching.names import likeness
from ptools.matching.proof import proved
from ptools.matching.swaps import AGAINST, CLEAR, changes, glances, swapped
from ptools.matching.units import Unit
from ptools.matching.untold import Untold
from ptools.matching.whole import Whole

_LEAST, _UNORDERED = 1.0, 2.5  # the lead that decides: with and without an order of registration
_TOLD = -6.0  # a mean fit above: the names of the two sides correspond
_NEARLY_TOLD, _APART = -8.0, 4.0  # below: what has this lead is told apart all the same
_ORDERED = 0.8  # of the neighbours that stay neighbours: both sides are registered alike


def decide(evidence: Evidence, ends: list[Assignment], sure: dict[int, int]) -> Decision:
    """Return what the assignments that were found, the best first, allow to do; `sure` is not doubted."""
    if not ends:
        return Decision(different="no module of the one has the shapes of a module of the other")
    view = View(evidence, ends, sure)
    whole = Whole(evidence, view.chosen, view.mean, view.order)
    why = whole.torn() if sure else whole.different()
    if why:
        return Decision(different=why)
    decision = Decision()
    for t in sorted(view.chosen):
        if t in sure:
            decision.chosen[t], decision.confidence[t] = sure[t], "certain"
            decision.reasons[t] = "the same name"
        else:
            view.settle(t, decision)
    change_forms(evidence, decision)
    return decision


class View:
    """An assignment, and everything that is known of its pairs."""

    def __init__(self, evidence: Evidence, ends: list[Assignment], sure: dict[int, int]) -> None:
        self.evidence, self.ends, self.sure = evidence, ends, sure
        self.chosen = ends[0].chosen
        self.pairs = evidence.pairs
        self.used = set(self.chosen.values())
        only = self.pairs.only(certain_belief(self.pairs, self.chosen) > 0)
        weights = evidence.weigh(np.ones(len(only.source)), only)
        self.fit = dict(zip(only.target.tolist(), weights.tolist(), strict=True))
        self.mean, self.middle = fmean(self.fit.values()), median(self.fit.values())
        self.order, self._least = 0.0, _LEAST if evidence.registered else _UNORDERED
        if evidence.registered:
            self.order = in_order(self.chosen) / max(1, len(self.chosen) - 1)
        self.against = self._against(self.chosen)
        self.margin, self.others = self._margins()
        self.along = next((end.chosen for end in ends if end.along), {})  # what order alone says
        self.of_source, self.of_target = evidence.choices

    def _against(self, chosen: dict[int, int]) -> set[int]:
        """Return the target units that stand against the order of the names."""
        return self.evidence.concord.against(places(self.evidence, chosen))

    def _margins(self) -> tuple[dict[int, float], dict[int, set[int]]]:
        """Return, per target unit, the loss of the best change of places, and what it could get instead."""
        near = Near(self.evidence, self.ends[0])
        margin: dict[int, float] = {}
        others: dict[int, set[int]] = {}
        ways = changes(self.evidence, self.chosen, nearby=True)
        for change, seen in zip(ways, glances(self.evidence, self.chosen, ways), strict=True):
            loss = seen
            if seen < CLEAR:
                other = swapped(self.chosen, change)
                loss = near.loss(other)
                if loss < AGAINST and len(self._against(other)) > len(self.against):
                    loss += AGAINST
            for t, instead in change:
                margin[t] = min(margin.get(t, loss), loss)
                if loss < max(1.0, self._least):
                    s = self.chosen[instead] if instead >= 0 else ~instead
                    others.setdefault(t, set()).add(s)
        return margin, others

    # -- unit by unit ----------------------------------------------------------------------------------

    def settle(self, t: int, decision: Decision) -> None:
        """Decide one target unit."""
        s, fit, margin = self.chosen[t], self.fit[t], self.margin.get(t, np.inf)
        unique = self.of_target[t] == 1 and self.of_source[s] == 1
        told, ordered = self.mean >= _TOLD, self.order >= _ORDERED
        steady = ordered and self._in_step(t)
        in_row = steady and self.order > 0.95
        apart = self.mean >= _NEARLY_TOLD and margin >= _APART and t not in self.against
        if not (unique or told or ordered or apart):
            decision.ambiguous[t] = self._class(t)
            decision.reasons[t] = "neither names nor order tell these apart"
        elif fit < self.middle - 6 and self._alone(t, unique):
            decision.reasons[t] = "the shapes agree, but nothing else speaks for it"
        elif siblings := self._untold.siblings(t):
            decision.ambiguous[t] = sorted({s, *siblings})
            decision.reasons[t] = "the file numbers several of these, and nothing says which"
        elif family := self._misnamed.get(t):
            decision.ambiguous[t] = sorted({self.chosen[other] for other in family})
            decision.reasons[t] = "names say one thing of these, and their order another"
        elif t in self._strays:
            decision.reasons[t] = "its block has no counterpart, those beside it have"
        elif margin < self._needed(t) and not (
            in_row or self._counted(t) or t in self.ends[0].ordered
        ):
            decision.ambiguous[t] = sorted({s, *self.others.get(t, ())})
            decision.reasons[t] = "these could change places, and nothing tells them apart"
        else:
            decision.chosen[t] = s
            in_line = steady and self.order > 0.97 and (margin >= 2 or not told)
            in_line = in_line and self.along.get(t, s) == s
            stray = bool(self.sure) or not self._in_step(t)
            outlier = fit < self.middle - 6 and stray and not self._both_whole
            proved = told and t in self._proved
            sure = ((unique or proved) and not outlier) or in_line
            sure = sure and self._undisputed(t) and not self._better_named(t)
            sure = sure and not self._contested(t)
            sure = sure and self.order >= (0.998 if self.mean < -4.5 else 0)
            decision.confidence[t] = "certain" if sure else "likely"
            decision.reasons[t] = self._reason(t, unique, steady)
            source, target = self.evidence.sources[s], self.evidence.targets[t]
            if guessed(source, target) or guessed(target, source):
                decision.confidence[t] = "likely"
                decision.reasons[t] = "fused in the order of names; they are registered otherwise"

    def _needed(self, t: int) -> float:
        """Return the lead that decides: less where the last words of both names are the same."""
        if t in self.against:
            return AGAINST
        source, target = self.evidence.sources[self.chosen[t]], self.evidence.targets[t]
        if target.path and not target.path[-1].isdigit():
            rivals = [self.evidence.sources[s].path for s in self.others.get(t, ())]
            name = target.path[-1:]
            if source.path[-1:] == name and all(rival[-1:] != name for rival in rivals):
                return 0.0  # it has the very name
        return self._least / 2 if likeness(source.last, target.last) == 1 else self._least

    def _alone(self, t: int, unique: bool) -> bool:
        """Does neither its place nor, among units of equal names, its own name speak for a pair?"""
        source, target = self.evidence.sources[self.chosen[t]], self.evidence.targets[t]
        if likeness(source.last, target.last) > 0.75 or self._both_whole:
            return False
        if table_ends(source, target) > 0:
            return False
        if self._outside(t):
            return False
        if self._in_step(t) and self._last_of_its_shapes(t):
            return False
        if unique:
            return self.fit[t] < self.middle - 11 and not self._in_line(t)
        return not self._in_step(t) or (bool(self.sure) and self.fit[t] < -7.5)

    def _outside(self, t: int) -> bool:
        """Is it, of its shapes, all that is outside of the blocks on both sides, in parts that correspond?"""
        s = self.chosen[t]
        if s not in self.evidence.outer[0] or t not in self.evidence.outer[1]:
            return False
        ours, theirs = self.evidence.sources[s].path[:-1], self.evidence.targets[t].path[:-1]
        shared = any(
            self.evidence.sources[a].path[: len(ours)] == ours
            and self.evidence.targets[b].path[: len(theirs)] == theirs
            for b, a in self.chosen.items()
            if b != t
        )
        if ours and theirs:
            return shared
        return not (ours or theirs) or not shared  # a head, and the only layer of a part for it

    def _counted(self, t: int) -> bool:
        """Is the order of numbers, against that of what could stand here instead, the same on both sides?"""
        if t in self.against or not self.evidence.registered or self._backwards:
            return False
        where = {s: other for other, s in self.chosen.items()}
        rivals = self.others.get(t, set()) - {self.chosen[t]}
        return bool(rivals) and all(
            s in where and self.evidence.concord.rises(t, where[s], self.chosen[t], s)
            for s in rivals
        )

    @cached_property
    def _backwards(self) -> bool:
        """Is the one side registered from its end to its beginning?"""
        steps = [self.chosen[t + 1] - s for t, s in self.chosen.items() if t + 1 in self.chosen]
        return steps.count(-1) > steps.count(1)

    @cached_property
    def _strays(self) -> set[int]:
        """Return the target units in a numbered block that is empty but for a few, unlike those beside it."""
        blocks: dict[tuple[str, ...], list[int]] = {}
        for unit in self.evidence.targets:
            for depth in range(1, len(unit.path)):
                if unit.path[depth - 1].isdigit():
                    blocks.setdefault(unit.path[:depth], []).append(unit.index)
        full = {path: sum(t in self.chosen for t in ts) / len(ts) for path, ts in blocks.items()}
        rows: dict[tuple[tuple[str, ...], int], list[float]] = {}
        for path, share in full.items():
            rows.setdefault((path[:-1], len(blocks[path])), []).append(share)
        return {
            t
            for path, ts in blocks.items()
            if full[path] <= 0.5 and len(ts) > 3 and rows[path[:-1], len(ts)].count(1.0) > 1
            for t in ts
            if t in self.chosen
        }

    def _last_of_its_shapes(self, t: int) -> bool:
        """Have all others of its shapes, on both sides, the same name as their counterpart?"""
        s = self.chosen[t]
        of_t, of_s = self.pairs.target == t, self.pairs.source == s
        here, there = set(self.pairs.target[of_s].tolist()), set(self.pairs.source[of_t].tolist())
        return bool(self.sure) and here - {t} <= self.sure.keys() and there - {s} <= self._named

    @cached_property
    def _named(self) -> set[int]:
        """Return the source units that have the same name as their counterpart."""
        return set(self.sure.values())

    @cached_property
    def _untold(self) -> Untold:
        return Untold(self.evidence, self.chosen if self.mean >= -3 else {})

    @cached_property
    def _misnamed(self) -> dict[int, list[int]]:
        """Return the target units, with those beside them, of which equal names and order disagree."""
        found: dict[int, list[int]] = {}
        for family in self.evidence.disputed:
            members = [t for t in family if t in self.chosen]
            sources = [self.chosen[t] for t in members]
            if sources != sorted(sources):
                found |= dict.fromkeys(members, members)
        return found

    @cached_property
    def _both_whole(self) -> bool:
        """Has every unit of either side its counterpart?"""
        return len(self.chosen) == len(self.evidence.targets) == len(self.evidence.sources)

    @cached_property
    def _proved(self) -> set[int]:
        """Return the target units that follow, step by step, from those that shapes alone decide."""
        return proved(self.evidence, certain_belief(self.pairs, self.chosen) > 0)

    def _undisputed(self, t: int) -> bool:
        """Do all assignments that fit about as well agree on it?"""
        best = self.ends[0].score
        return all(end.chosen.get(t) == self.chosen[t] for end in self.ends if end.score > best - 3)

    def _better_named(self, t: int) -> bool:
        """Is one beside its source unit, of the same shapes, called more like it?"""
        source, name = self.evidence.sources[self.chosen[t]], self.evidence.targets[t].last
        return any(
            other.path[:-1] == source.path[:-1]
            and likeness(other.last, name) > likeness(source.last, name) + 0.1
            for other in (self.evidence.sources[s] for s in self._class(t))
        )

    def _contested(self, t: int) -> bool:
        """Is there another of its shapes right beside the target unit that has no counterpart?"""
        target = self.evidence.targets[t]
        around = {target.path[:-1], target.path}
        return any(
            other.signature == target.signature
            and not around.isdisjoint({other.path[:-1], other.path})
            for other in self._empty
        )

    @cached_property
    def _empty(self) -> list[Unit]:
        """Return the target units that have no counterpart."""
        return [unit for unit in self.evidence.targets if unit.index not in self.chosen]

    def _in_step(self, t: int) -> bool:
        """Does a neighbour of the target unit go to a neighbour of its source unit?"""
        s = self.chosen[t]
        return any(self.chosen.get(t + d) in (s - 1, s + 1) for d in (-1, 1))

    def _in_line(self, t: int) -> bool:
        """Do the nearest that have a counterpart, before it and after it, have theirs nearest as well?"""
        here = [-1, *sorted(self.chosen), -1]
        there = [-1, *sorted(self.used), -1]
        at, from_ = here.index(t), there.index(self.chosen[t])
        return all(self.chosen.get(here[at + d], -1) == there[from_ + d] for d in (-1, 1))

    def _class(self, t: int) -> list[int]:
        """Return every source unit that fits by shape."""
        return sorted(self.pairs.source[self.pairs.target == t].tolist())

    def _reason(self, t: int, unique: bool, steady: bool) -> str:
        source, target = self.evidence.sources[self.chosen[t]], self.evidence.targets[t]
        if source.path == target.path:
            return "the same name"
        said = ["no other has these shapes"] if unique else []
        said += ["named as its neighbours are"] if self.fit[t] > -3 else []
        said += ["in the same order"] if steady else []
        return ", ".join(said) or "the rest leaves it this place"
