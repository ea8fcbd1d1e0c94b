"""The report for people: the table, what is left and why, the last line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ptools import output
from ptools.matching.apply import text
from ptools_plugins.partial_load.naming import source_text
from ptools_plugins.partial_load.plan import Item
from ptools_plugins.partial_load.report import skipped
from ptools_plugins.partial_load.rows import Shown, patterns, rows

if TYPE_CHECKING:
    from ptools.checkpoints import Weights
    from ptools_plugins.partial_load.work import Outcome

MOST = 12  # lines of a section; --json has them all
_HEADS = ("target", "source", "shape", "rule", "confidence")


def report(outcome: Outcome) -> None:
    """Print what was decided."""
    found = outcome.plan
    for line in _files(outcome):
        output.paragraph(line)
    if found.items:
        output.result()
        _table(_rows(outcome, found.items))
    if found.likely:
        _title(f"likely, not loaded without --accept likely ({len(found.likely)})")
        _table(_rows(outcome, found.likely))
    _ambiguous(outcome)
    _skipped(outcome)
    _lists(outcome)
    output.paragraph(last_line(outcome))


def last_line(outcome: Outcome) -> str:
    """Return `matched 260/262 tensors, 99.2 % of the target's parameters, 0 ambiguous`."""
    counts = outcome.counts()
    share = round(100 * counts["share"], 1)
    if 0 < counts["share"] < 1:
        share = min(max(share, 0.1), 99.9)  # 100 % is all of them, and 0 % none
    likely = f", {counts['likely']} likely" if counts["likely"] else ""
    return (
        f"matched {counts['matched']}/{counts['tensors']} tensors, {share} % of the target's "
        f"parameters, {counts['ambiguous']} ambiguous{likely}"
    )


def _files(outcome: Outcome) -> list[str]:
    """Say which state_dict was taken on either side, and what else lies in OLD."""
    old, target = outcome.source.weights, outcome.target
    lines = [f"from  {_place(old)}, {len(outcome.source.shapes)} tensors"]
    if old.seen:
        others = _some([f"{where} ({n} tensors)" for where, n in old.seen.items()], 4)
        lines[0] += f"; not from {others}: --source-key chooses"
    if beside := [*old.metadata, *old.extras]:
        lines.append(f"      beside it: {_some(beside, 8)}")
    into = _place(target.weights) if target.weights else target.name
    lines.append(f"into  {into}, {len(target.shapes)} tensors")
    return lines


def _place(weights: Weights) -> str:
    return weights.path.name + (f": {weights.where}" if weights.where else "")


def _rows(outcome: Outcome, items: dict[str, Item]) -> list[Shown]:
    return rows(items, outcome.source.shapes, outcome.target.shapes)


def _table(shown: Sequence[Shown]) -> None:
    cells = [[one.target, one.source, one.shape, one.rule, one.confidence] for one in shown]
    if not cells:
        return
    if output.fits(_HEADS, cells):
        output.table(_HEADS, cells)
        return
    for one in shown:  # a narrow terminal: the names have a line to themselves
        output.paragraph(f"{one.target} <- {one.source}")
        tensors = f"{len(one.keys)} tensor{'s' if len(one.keys) > 1 else ''}"
        output.result(f"    {one.confidence}, {one.rule}, {tensors}, {one.shape}")


def _title(line: str) -> None:
    output.result()
    output.result(line)


def _ambiguous(outcome: Outcome) -> None:
    found = outcome.plan.ambiguous
    if not found:
        return
    _title(f"ambiguous, for you to decide ({len(found)})")
    items = {key: Item(key, "one of ", tuple(olds), "likely", "") for key, olds in found.items()}
    shown = _rows(outcome, items)
    for one in shown[:MOST]:
        output.paragraph(f"  {one.target} <- {one.source}, {one.shape}")
    _more(len(shown))
    key, olds = next(iter(found.items()))
    output.paragraph(f"  choose: --map '{key}={olds[0]}'{_hint(key, olds[0])}")


def _hint(key: str, old: str) -> str:
    """Return the hint that settles whole modules: what differs in front of the names."""
    new_parts, old_parts = key.split("."), old.split(".")
    if new_parts[-1] != old_parts[-1]:
        return ""
    while new_parts and old_parts and new_parts[-1] == old_parts[-1]:
        del new_parts[-1], old_parts[-1]
    return f" or --hint '{'.'.join(new_parts)}={'.'.join(old_parts)}'"


def _skipped(outcome: Outcome) -> None:
    """Print what stays as it is, with both shapes where OLD has something of that name."""
    found = skipped(outcome)
    if not found:
        return
    groups: dict[str, list[str]] = defaultdict(list)
    for one in found:
        groups[one.why].append(one.key)
    _title(f"skipped ({len(found)})")
    shapes = outcome.target.shapes
    lines = [
        (f"  {pattern}", text(shapes[keys[0]]), why)
        for why, of in groups.items()
        for pattern, keys in patterns(of, list(shapes))
    ]
    widths = [max(len(line[at]) for line in lines[:MOST]) for at in (0, 1)]
    wide = output.fits(("", "", ""), lines[:MOST])
    for pattern, shape, why in lines[:MOST]:
        if wide:
            output.result(f"{pattern:<{widths[0]}}  {shape:<{widths[1]}}  {why}".rstrip())
        else:
            output.result(f"{pattern}  {shape}")
            output.paragraph(f"      {why}")
    _more(len(lines))


def _lists(outcome: Outcome) -> None:
    found, lines = outcome.plan, []
    if found.unused:
        named = [pattern for pattern, _ in patterns(found.unused, list(outcome.source.shapes))]
        lines.append(f"unused of OLD ({len(found.unused)})  {_some(named, MOST)}")
    if found.left_out:
        named = [pattern for pattern, _ in patterns(found.left_out, list(outcome.target.shapes))]
        lines.append(f"left out by --only, --skip ({len(found.left_out)})  {_some(named, MOST)}")
    if counters := outcome.counters:
        lines.append(f"left as they are ({len(counters)})  num_batches_tracked: OLD has none")
    lines += _converted(outcome)
    if outcome.verified:
        lines.append(f"verified  {outcome.verified.text}")
    if outcome.manifest:
        counts = outcome.manifest.counts
        lines.append(
            f"frozen  {counts['tensors']} tensors, {counts['parameters']:,} parameters; "
            f"BatchNorms that stay in eval: {counts['eval']}; "
            f"left to train: {counts['trainable']:,} parameters"
        )
    output.result()
    for line in lines:
        output.paragraph(line)


def _converted(outcome: Outcome) -> list[str]:
    groups: dict[str, list[str]] = defaultdict(list)
    for one in outcome.conversions:
        groups[f"{one.before} -> {one.after}"].append(one.target)
    shapes = list(outcome.target.shapes)
    return [
        f"converted {change} ({len(keys)})  {', '.join(p for p, _ in patterns(keys, shapes))}"
        for change, keys in groups.items()
    ]


def _some(names: list[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _more(number: int) -> None:
    if number > MOST:
        output.result(f"  and {number - MOST} more (--json lists all)")


def explained(outcome: Outcome, key: str) -> None:
    """Print all that is known of one tensor, of the target or of OLD."""
    target, source, found = outcome.target, outcome.source, outcome.plan
    for side, shapes, dtypes in (
        ("target", target.shapes, target.dtypes),
        ("OLD", source.shapes, source.dtypes),
    ):
        if key in shapes:
            dtype = dtypes[key]
            output.result(f"{key}  {text(shapes[key])} {dtype}, in {side}")
    for state, items in (("loaded", found.items), ("likely", found.likely)):
        for item in items.values():
            if key == item.target or key in item.sources:
                output.paragraph(_explained(outcome, state, item))
    if key in target.shapes:
        for one in skipped(outcome):
            if one.key == key:
                output.paragraph(f"  not loaded: {one.why}")
        if key in outcome.counters:
            output.result("  not loaded: OLD does not count its batches")
        for old in found.ambiguous.get(key, []):
            output.paragraph(f"  candidate {old} {text(source.shapes[old])}: --map '{key}={old}'")
    elif key in found.unused:
        output.result("  it goes nowhere")
    for new, olds in found.ambiguous.items():
        if key in olds:
            output.result(f"  a candidate for {new}: --map '{new}={key}'")


def _explained(outcome: Outcome, state: str, item: Item) -> str:
    shapes = ", ".join(text(outcome.source.shapes[old]) for old in item.sources)
    way = "; load it with --accept likely" if state == "likely" else ""
    why = f": {item.reason}" if item.reason else ""
    return (
        f"  {state}: {item.target} <- {source_text(item.op, item.sources)} {shapes}, "
        f"{item.confidence}{why}{way}"
    )
