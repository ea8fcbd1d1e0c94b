"""What --json prints, and why a tensor was left: values for show.py and for machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ptools.errors import UsageError, suggestion
from ptools.matching.apply import text
from ptools_plugins.partial_load.adapting import label
from ptools_plugins.partial_load.naming import source_text
from ptools_plugins.partial_load.plan import Item, counterpart

if TYPE_CHECKING:
    from ptools_plugins.partial_load.work import Outcome


@dataclass(frozen=True)
class Skipped:
    """A tensor of the target that stays as it is, and the one of OLD that has its name, if any."""

    key: str
    why: str
    old: str | None


def skipped(outcome: Outcome) -> list[Skipped]:
    """Return what is not loaded, with the reason in words and both shapes."""
    source, target, found = outcome.source.shapes, outcome.target.shapes, outcome.plan
    lines = []
    counters = set(outcome.counters)  # these have a line of their own
    for key, reason in found.unmatched.items():
        if key in counters:
            continue
        offer = found.offers.get(key)
        old = offer.sources[0] if offer else counterpart(key, source)
        if offer:
            what = f"{source_text('copy', offer.sources)} {text(source[offer.sources[0]])}"
            classes = " --classes OLD.txt NEW.txt" if offer.op == "rows" else ""
            reason = f"{what} fits with --adapt {offer.op}{classes}"
        elif old and source[old] != target[key]:
            reason = f"OLD has {old} {text(source[old])}: {reason}"
        lines.append(Skipped(key, reason, old))
    return lines


def document(outcome: Outcome) -> dict[str, Any]:
    """Return everything, for --json."""
    source, target, found = outcome.source, outcome.target, outcome.plan
    made = [item for item in found.items.values() if item.op != "copy"]
    return {
        "old": {
            "file": str(source.weights.path),
            "format": source.weights.format,
            "key": source.weights.where or None,
            "tensors": len(source.shapes),
            "seen": source.weights.seen,
            "metadata": list(source.weights.metadata),
            "extras": source.weights.extras,
        },
        "new": {
            "file": None if target.weights is None else str(target.weights.path),
            "model": target.name if target.weights is None else None,
            "key": (target.weights.where or None) if target.weights else None,
            "tensors": len(target.shapes),
        },
        "verdict": found.verdict,
        "refused": outcome.refused,
        "mapping": {k: i.sources[0] for k, i in found.items.items() if i.op == "copy"},
        "transforms": {item.target: _made(outcome, item) for item in made},
        "confidence": {k: i.confidence for k, i in found.items.items()},
        "reasons": {k: i.reason for k, i in found.items.items()},
        "likely": {k: _made(outcome, i) for k, i in found.likely.items()},
        "ambiguous": found.ambiguous,
        "unmatched": {one.key: _left(outcome, one) for one in skipped(outcome)},
        "offers": {
            k: {**_made(outcome, i), "option": f"--adapt {i.op}"} for k, i in found.offers.items()
        },
        "left_out": found.left_out,
        "unused": found.unused,
        "rules": [rule._asdict() for rule in found.rules],
        "counts": outcome.counts(),
        "counters": outcome.counters,
        "conversions": [vars(one) for one in outcome.conversions],
        "freeze": outcome.manifest.document() if outcome.manifest else None,
        "warnings": outcome.warnings,
        "verified": vars(outcome.verified) if outcome.verified else None,
        "written": [str(path) for path in outcome.written],
    }


def _made(outcome: Outcome, item: Item) -> dict[str, Any]:
    shapes = outcome.source.shapes, outcome.target.shapes
    found = {"op": item.op, "sources": list(item.sources), "what": label(item, *shapes)}
    return found | ({"rows": [list(pair) for pair in item.rows]} if item.rows else {})


def _left(outcome: Outcome, one: Skipped) -> dict[str, Any]:
    shape = outcome.source.shapes[one.old] if one.old else None
    return {
        "reason": one.why,
        "shape": list(outcome.target.shapes[one.key]),
        "old": one.old,
        "old_shape": list(shape) if shape is not None else None,
    }


def explanation(outcome: Outcome, key: str) -> dict[str, Any]:
    """Return what is known of one tensor, for --json. Raises UsageError where there is none."""
    known(outcome, key)
    source, target, found = outcome.source, outcome.target, outcome.plan
    concerned = [i for i in found.items.values() if key == i.target or key in i.sources]
    likely = [i for i in found.likely.values() if key == i.target or key in i.sources]
    return {
        "key": key,
        "shape": list(target.shapes[key]) if key in target.shapes else None,
        "old_shape": list(source.shapes[key]) if key in source.shapes else None,
        "loaded": [vars(item) for item in concerned],
        "likely": [vars(item) for item in likely],
        "ambiguous": {k: v for k, v in found.ambiguous.items() if key == k or key in v},
        "unmatched": next((_left(outcome, s) for s in skipped(outcome) if s.key == key), None),
        "unused": key in found.unused,
    }


def known(outcome: Outcome, key: str) -> None:
    """Raise UsageError where neither side has a tensor of this name."""
    names = [*outcome.target.shapes, *outcome.source.shapes]
    if key not in names:
        raise UsageError(
            f"--explain '{key}': neither side has such a tensor.{suggestion(key, names)}"
        )
