"""From two state_dicts to a Match: units, copies, evidence, search, decision, keys again."""

from __future__ import annotations

from collections.abc import Mapping

from ptools.matching.decide import Decision, decide
from ptools.matching.evidence import Evidence
from ptools.matching.result import Confidence, Match, Shape, Verdict
from ptools.matching.search import search
from ptools.matching.units import COUNTER, units


def solve(
    source: Mapping[str, Shape],
    target: Mapping[str, Shape],
    fixed: dict[str, str],
    hints: list[tuple[str, str]],
) -> Match:
    """Return the match of two state_dicts; see `ptools.matching.match`."""
    evidence = Evidence(units(source), units(target))
    decision = decide(evidence, search(evidence))
    return _keys(evidence, decision, list(source), list(target))


def _keys(evidence: Evidence, decision: Decision, source: list[str], target: list[str]) -> Match:
    mapping: dict[str, str] = {}
    confidence: dict[str, Confidence] = {}
    ambiguous: dict[str, list[str]] = {}
    reasons: dict[str, str] = {}
    for unit in evidence.targets:
        for role, key in unit.roles.items():
            if unit.index in decision.reasons:
                reasons[key] = decision.reasons[unit.index]
            if unit.index in decision.chosen:
                roles = evidence.sources[decision.chosen[unit.index]].roles
                if role in roles:
                    mapping[key] = roles[role]
                    confidence[key] = decision.confidence[unit.index]
            elif unit.index in decision.ambiguous and role != COUNTER:
                found = [evidence.sources[s].roles for s in decision.ambiguous[unit.index]]
                ambiguous[key] = [roles[role] for roles in found if role in roles]
    unmatched = {
        key: decision.different or reasons.get(key, "nothing has its shapes and place")
        for key in target
        if key not in mapping and key not in ambiguous
    }
    used = set(mapping.values())
    verdict: Verdict = "partial"
    if decision.different or not (mapping or ambiguous):
        verdict = "different"
    elif ambiguous:
        verdict = "ambiguous"
    elif all(key.endswith(COUNTER) for key in unmatched):
        verdict = "complete"
    return Match(
        mapping=mapping,
        confidence=confidence,
        ambiguous=ambiguous,
        unmatched=unmatched,
        unused=[key for key in source if key not in used],
        verdict=verdict,
        reasons=reasons,
    )
