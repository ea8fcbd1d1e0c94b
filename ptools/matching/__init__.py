"""Which source tensor belongs to which target tensor: names, shapes and order, no weights.

    match(source, target)    the answer, as a Match
    Match, Rule, Transform   its values

Neither torch nor files: two ordered mappings key -> shape go in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ptools.matching.result import Match, Rule, Shape, Transform

__all__ = ["Match", "Rule", "Transform", "match"]


def match(
    source: Mapping[str, Shape],
    target: Mapping[str, Shape],
    *,
    fixed: Mapping[str, str] | None = None,
    hints: Iterable[tuple[str, str]] = (),
) -> Match:
    """Return which tensor of `source` belongs to which of `target`; both in registration order.

    `fixed` are pairs {target key: source key} that are already decided; `hints` are pairs (target
    prefix, source prefix) of modules that correspond.
    """
    fixed = dict(fixed or {})
    mapping = fixed | {
        key: key for key, shape in target.items() if key not in fixed and source.get(key) == shape
    }
    return Match(
        mapping=mapping,
        confidence=dict.fromkeys(mapping, "certain"),
        unmatched={key: "no tensor of this name" for key in target if key not in mapping},
        unused=[key for key in source if key not in set(mapping.values())],
        verdict="complete"
        if len(mapping) == len(target)
        else "partial"
        if mapping
        else "different",
        reasons=dict.fromkeys(mapping, "the same name and shape"),
    )
