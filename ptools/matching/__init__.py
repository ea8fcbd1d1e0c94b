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
    from ptools.matching.engine import solve

    return solve(source, target, dict(fixed or {}), list(hints))
