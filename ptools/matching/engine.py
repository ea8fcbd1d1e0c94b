"""From two state_dicts to a Match: units, copies, forms, evidence, search, decision, keys again."""

from __future__ import annotations

from collections.abc import Mapping

from ptools.matching import copies as duplicates
from ptools.matching.decide import Decision, decide
from ptools.matching.evidence import Evidence
from ptools.matching.exact import same_names
from ptools.matching.forms import common_forms, copies
from ptools.matching.result import Confidence, Match, Shape, Transform, Verdict
from ptools.matching.search import search
from ptools.matching.units import COUNTER, Unit, units


def solve(
    source: Mapping[str, Shape],
    target: Mapping[str, Shape],
    fixed: dict[str, str],
    hints: list[tuple[str, str]],
) -> Match:
    """Return the match of two state_dicts; see `ptools.matching.match`."""
    ours, theirs = units(source), units(target)
    found = duplicates.find(ours, theirs)
    once = found.without_others(ours) if found else ours
    evidence = Evidence(*common_forms(once, theirs))
    sure = same_names(evidence.sources, evidence.targets)
    evidence.settle(sure)
    decision = decide(evidence, search(evidence), sure)
    answer = Answer(evidence, decision)
    if found and found.decided != "certain":
        answer.ask(found, ours)
    return answer.match(list(source), list(target))


class Answer:
    """A decision about units, told of keys."""

    def __init__(self, evidence: Evidence, decision: Decision) -> None:
        self.evidence, self.decision = evidence, decision
        self.mapping: dict[str, str] = {}
        self.transforms: dict[str, Transform] = {}
        self.confidence: dict[str, Confidence] = {}
        self.ambiguous: dict[str, list[str]] = {}
        self.reasons: dict[str, str] = {}
        for t, s in decision.chosen.items():
            self._load(t, s)
        for t, candidates in decision.ambiguous.items():
            self._open(evidence.targets[t], [evidence.sources[s] for s in candidates])
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

    def match(self, source: list[str], target: list[str]) -> Match:
        """Return the whole answer."""
        loaded = self.mapping.keys() | self.transforms.keys()
        why = self.decision.different
        unmatched = {
            key: why or self.reasons.get(key, "nothing has its shapes and place")
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
            verdict=self._verdict(unmatched),
            reasons=self.reasons,
        )

    def _verdict(self, unmatched: dict[str, str]) -> Verdict:
        if self.ambiguous:
            return "ambiguous"
        if self.decision.different or not (self.mapping or self.transforms):
            return "different"
        return "complete" if all(key.endswith(COUNTER) for key in unmatched) else "partial"


def _keys(unit: Unit) -> list[str]:
    parts = getattr(unit, "parts", ())
    return [key for part in parts for key in part.roles.values()] or list(unit.roles.values())
