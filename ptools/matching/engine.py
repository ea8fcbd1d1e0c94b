"""From two state_dicts to a Match: units, copies, forms, evidence, search, decision, keys again."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from ptools.matching import biases
from ptools.matching import copies as duplicates
from ptools.matching.decide import decide
from ptools.matching.decision import Decision
from ptools.matching.evidence import Evidence
from ptools.matching.exact import disputed, same_names
from ptools.matching.forms import common_forms, copies
from ptools.matching.offers import nearly, offers, tied
from ptools.matching.prefixes import Path, below, prefixes, without
from ptools.matching.result import Confidence, Match, Rule, Shape, Transform, Verdict
from ptools.matching.search import search
from ptools.matching.units import COUNTER, Unit, counted, units


def solve(
    source: Mapping[str, Shape],
    target: Mapping[str, Shape],
    fixed: dict[str, str],
    hints: list[tuple[str, str]],
) -> Match:
    """Return the match of two state_dicts; see `ptools.matching.match`."""
    found = _solved(source, target, fixed, hints)
    used = {*found.mapping.values()}.union(*(t.sources for t in found.transforms.values()))
    busy = found.mapping.keys() | found.transforms.keys() | found.ambiguous.keys()
    if used >= source.keys() or busy >= target.keys():
        return found
    ours, theirs = biases.aside(
        [unit for unit in units(source) if used.isdisjoint(unit.roles.values())],
        [unit for unit in units(target) if busy.isdisjoint(unit.roles.values())],
    )
    if not ours and not theirs:
        return found
    again = _solved(
        {key: shape for key, shape in source.items() if key not in ours},
        {key: shape for key, shape in target.items() if key not in theirs},
        fixed,
        hints,
    )
    return replace(found, offers=found.offers | biases.offered(found, again, ours, theirs))


def _solved(
    source: Mapping[str, Shape],
    target: Mapping[str, Shape],
    fixed: dict[str, str],
    hints: list[tuple[str, str]],
) -> Match:
    spent = set(fixed.values())
    ours = units({key: shape for key, shape in source.items() if key not in spent})
    theirs = units({key: shape for key, shape in target.items() if key not in fixed})
    ours, theirs = (
        counted(side) if _alphabetical(state) else side
        for side, state in ((ours, source), (theirs, target))
    )
    before, after = prefixes(ours, theirs)
    ours, theirs = without(ours, before), without(theirs, after)
    known = [(below(after, _parts(here)), below(before, _parts(there))) for here, there in hints]
    found = duplicates.find(*common_forms(ours, theirs), [".".join(there) for _, there in known])
    once = found.without_others(ours) if found else ours
    registered = not (_alphabetical(source) or _alphabetical(target))
    evidence = Evidence(*common_forms(once, theirs), registered=registered)
    for here, there in known:
        evidence.hint(here, there)
    sure = same_names(evidence.sources, evidence.targets)
    evidence.disputed = list(disputed(sure, evidence.sources, evidence.targets))
    for t in {t for family in evidence.disputed for t in family} & sure.keys():
        del sure[t]
    evidence.settle(sure)
    decision = decide(evidence, search(evidence), sure)
    answer = Answer(evidence, decision, before, after)
    if found and found.decided != "certain":
        answer.ask(found, ours)
    answer.give(fixed)
    return answer.match(list(source), list(target))


def _alphabetical(state: Mapping[str, Shape]) -> bool:
    """Return whether keys are sorted, as a safetensors file lists them: that order says nothing.

    It sorts by data type first: the counters of BatchNorm stand apart.
    """
    keys = [key for key in state if not key.endswith(COUNTER)]
    return len(keys) >= 10 and keys == sorted(keys)


class Answer:
    """A decision about units, told of keys."""

    def __init__(self, evidence: Evidence, decision: Decision, before: Path, after: Path) -> None:
        self.evidence, self.decision = evidence, decision
        self.before, self.after = before, after  # what all names of the two sides begin with
        self.mapping: dict[str, str] = {}
        self.transforms: dict[str, Transform] = {}
        self.confidence: dict[str, Confidence] = {}
        self.ambiguous: dict[str, list[str]] = {}
        self.reasons: dict[str, str] = {}
        for t, s in decision.chosen.items():
            self._load(t, s)
        for t, candidates in decision.ambiguous.items():
            self._open(evidence.targets[t], [evidence.sources[s] for s in candidates])
        loaded = [evidence.sources[s] for s in decision.chosen.values()]
        for t, source in tied(self._rest()[1] if loaded else [], loaded).items():
            decision.chosen[t], decision.confidence[t] = source.index, "likely"
            decision.reasons[t] = "a head that shares the matrix of the embedding"
            self._load(t, source.index)
        for t, reason in decision.reasons.items():
            for key in _keys(evidence.targets[t]):
                self.reasons[key] = reason

    def _load(self, t: int, s: int) -> None:
        source, target = self.evidence.sources[s], self.evidence.targets[t]
        for key, op, keys in copies(source, target, t in self.decision.turned):
            self.confidence[key] = self.decision.confidence[t]
            if op:
                self.transforms[key] = Transform(op, keys)
            else:
                self.mapping[key] = keys[0]

    def _open(self, target: Unit, candidates: list[Unit]) -> None:
        for candidate in candidates:
            for key, _, keys in copies(candidate, target):
                if not key.endswith(COUNTER):
                    self.ambiguous.setdefault(key, []).extend(keys)

    def ask(self, found: duplicates.Copies, sources: list[Unit]) -> None:
        """Take back what could as well come from another copy, or say that it is only likely."""
        twins = found.twins(sources)
        by_key = {key: (unit, role) for unit in sources for role, key in unit.roles.items()}
        for key in [*self.mapping, *self.transforms]:
            first = self.mapping.get(key) or self.transforms[key].sources[0]
            unit, role = by_key[first]
            candidates = [t.roles[role] for t in twins.get(unit.path, ()) if role in t.roles]
            if len(candidates) < 2:
                continue
            if found.decided:
                self.confidence[key] = found.decided
                self.reasons[key] = f"of the copies, that of {'.'.join(found.parts[0])}"
            else:
                self.mapping.pop(key, None)
                self.transforms.pop(key, None)
                del self.confidence[key]
                self.reasons[key] = "the file holds several copies of the network"
                if role != COUNTER:
                    self.ambiguous[key] = candidates

    def give(self, fixed: dict[str, str]) -> None:
        """Add what was decided before."""
        for key, old in fixed.items():
            self.mapping[key], self.confidence[key] = old, "certain"
            self.reasons[key] = "given"

    def _rest(self) -> tuple[list[Unit], list[Unit]]:
        """Return the units of both sides that have no part in the answer."""
        used = set(self.decision.chosen.values())
        busy = self.decision.chosen.keys() | self.decision.ambiguous.keys()
        ours = [unit for unit in self.evidence.sources if unit.index not in used]
        return ours, [unit for unit in self.evidence.targets if unit.index not in busy]

    def _rules(self) -> list[Rule]:
        """Return the renamings, numbers left open, with how many modules follow each."""
        counts = Counter(
            (
                _open(self.before, self.evidence.sources[s]),
                _open(self.after, self.evidence.targets[t]),
            )
            for t, s in self.decision.chosen.items()
        )
        return [
            Rule(ours, theirs, n) for (ours, theirs), n in counts.most_common() if ours != theirs
        ]

    def match(self, source: list[str], target: list[str]) -> Match:
        """Return the whole answer."""
        loaded = self.mapping.keys() | self.transforms.keys()
        why = self.decision.different
        almost = nearly(*self._rest()) if not why else {}
        unmatched = {
            key: why or self.reasons.get(key) or almost.get(key, "nothing has its shapes and place")
            for key in target
            if key not in loaded and key not in self.ambiguous
        }
        used = set(self.mapping.values()).union(*(t.sources for t in self.transforms.values()))
        return Match(
            mapping=self.mapping,
            transforms=self.transforms,
            confidence=self.confidence,
            ambiguous=self.ambiguous,
            unmatched=unmatched,
            unused=[key for key in source if key not in used],
            offers=offers(*self._rest()) if not why else {},
            rules=self._rules(),
            verdict=self._verdict(unmatched),
            reasons=self.reasons,
        )

    def _verdict(self, unmatched: dict[str, str]) -> Verdict:
        if self.ambiguous:
            return "ambiguous"
        if self.decision.different or not (self.mapping or self.transforms):
            return "different"
        return "complete" if all(key.endswith(COUNTER) for key in unmatched) else "partial"


def _parts(name: str) -> Path:
    return tuple(name.split(".")) if name else ()


def _open(prefix: Path, unit: Unit) -> str:
    """Return the name of a unit with {} for its numbers."""
    return re.sub(r"[0-9]+", "{}", ".".join((*prefix, *unit.path)))


def _keys(unit: Unit) -> list[str]:
    parts = getattr(unit, "parts", ())
    return [key for part in parts for key in part.roles.values()] or list(unit.roles.values())
