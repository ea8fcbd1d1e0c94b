"""Numbers that a source tells and a target does not: one of four experts, and no word on which."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cached_property

from ptools.matching.evidence import Evidence


class Untold:
    """The pairs of an assignment whose source units are among several that differ by a number."""

    def __init__(self, evidence: Evidence, chosen: dict[int, int]) -> None:
        self.evidence, self.chosen = evidence, chosen
        self.used = set(chosen.values())
        self.fits: dict[int, list[int]] = defaultdict(list)  # the source units of its shapes
        both = zip(evidence.pairs.source.tolist(), evidence.pairs.target.tolist(), strict=True)
        for s, t in both:
            self.fits[t].append(s)

    def siblings(self, t: int) -> list[int]:
        """Return unused source units that differ from the chosen one by a number the target does not tell."""
        place = self._untold.get(self._templates(t)) if t in self.chosen else None
        if place is None:
            return []
        return [s for s, where in self._others_by_number(t) if where == place]

    @cached_property
    def _untold(self) -> dict[object, int]:
        """Return, by pairs of templates, the place of the number in source names that targets do not tell."""
        found: dict[object, Counter[int]] = defaultdict(Counter)
        for t, s in self.chosen.items():
            numbers = self.evidence.sources[s].numbers
            theirs = self.evidence.targets[t].numbers
            for place in {where for _, where in self._others_by_number(t)}:
                rest = Counter(theirs) - Counter(n for i, n in enumerate(numbers) if i != place)
                found[self._templates(t)][place] += -1 if numbers[place] in rest else 1
        return {both: n.most_common(1)[0][0] for both, n in found.items() if +n}

    def _templates(self, t: int) -> object:
        source = self.evidence.sources[self.chosen[t]]
        return source.template, self.evidence.targets[t].template

    def _others_by_number(self, t: int) -> list[tuple[int, int]]:
        """Return unused source units that differ by one number, each with the place of that number."""
        source, target = self.evidence.sources[self.chosen[t]], self.evidence.targets[t]
        if len(source.numbers) <= len(target.numbers):
            return []
        found = []
        for s in self.fits[t]:
            other = self.evidence.sources[s]
            if s not in self.used and other.template == source.template:
                both = zip(source.numbers, other.numbers, strict=True)
                differ = [place for place, (a, b) in enumerate(both) if a != b]
                found += [(s, differ[0])] if len(differ) == 1 else []
        return found
