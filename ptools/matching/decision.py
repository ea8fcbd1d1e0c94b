"""What becomes of each unit, and what fits only after a change of form."""

from __future__ import annotations

from dataclasses import dataclass, field

from ptools.matching.evidence import Evidence
from ptools.matching.forms import bare, left_over, own
from ptools.matching.keys import squeezed
from ptools.matching.result import Confidence


@dataclass
class Decision:
    """What becomes of each target unit."""

    chosen: dict[int, int] = field(default_factory=dict)
    confidence: dict[int, Confidence] = field(default_factory=dict)
    ambiguous: dict[int, list[int]] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    turned: set[int] = field(
        default_factory=set
    )  # target units whose matrix is stored as (in, out)
    different: str = ""  # why these are two different networks


def change_forms(evidence: Evidence, decision: Decision) -> None:
    """Add what fits after a change of form, and turn the square matrices as their like are."""
    used = set(decision.chosen.values())
    sources = [s for s in evidence.sources if s.index not in used]
    targets = [
        t
        for t in evidence.targets
        if t.index not in decision.chosen and t.index not in decision.ambiguous
    ]
    for s, t, turned in left_over(sources, targets):
        decision.chosen[t], decision.confidence[t] = s, "certain"
        decision.reasons[t] = "the only ones that fit after a change of form"
        if turned:
            decision.turned.add(t)
    for t, s in decision.chosen.items():
        source, target = evidence.sources[s], evidence.targets[t]
        shape = squeezed(target.shapes.get("weight", ()))
        square = len(shape) == 2 and shape[0] == shape[1]
        if square and own(source) != own(target):
            if decision.turned and bare(source) != bare(target):
                decision.turned.add(t)
            else:
                decision.confidence[t] = "likely"
                decision.reasons[t] = "square: it may be stored the other way round"
