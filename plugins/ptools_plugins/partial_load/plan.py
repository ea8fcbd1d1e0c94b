"""What goes where: the decision, as a value. Names and shapes only, no weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from ptools.errors import UsageError, suggestion
from ptools.matching import Match, Rule, Transform, match
from ptools.matching.apply import LOSSY, why_not
from ptools_plugins.partial_load import naming

if TYPE_CHECKING:
    from ptools_plugins.partial_load.mapfile import Saved

COUNTER = "num_batches_tracked"  # old BatchNorms have none, and a module is whole without it

Shapes = Mapping[str, tuple[int, ...]]
Sure = Literal["certain", "likely", "given"]


@dataclass(frozen=True)
class Item:
    """One target tensor and where it comes from.

    confidence: `certain` or `likely` says the engine, `given` says the command line.
    rows: for the operation "rows", pairs (row of the target, row of the source).
    """

    target: str
    op: str
    sources: tuple[str, ...]
    confidence: Sure
    reason: str
    rows: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Wish:
    """What the command line says of names."""

    given: Mapping[str, str] = field(default_factory=dict)  # --map: target -> text of a source
    saved: Saved | None = None  # --map-file: what it says and, of the rest, nothing
    hints: Sequence[tuple[str, str]] = ()
    only: Sequence[str] = ()
    skip: Sequence[str] = ()
    strip: Sequence[str] = ()
    rename: Sequence[str] = ()
    first: int | None = None
    accept_likely: bool = False
    adapt: Sequence[str] = ()


@dataclass
class Plan:
    """What is loaded, what is left, and why. Target and source keys are those of the files."""

    items: dict[str, Item] = field(default_factory=dict)  # what is loaded, in the target's order
    likely: dict[str, Item] = field(default_factory=dict)  # what --accept likely would add
    ambiguous: dict[str, list[str]] = field(default_factory=dict)
    unmatched: dict[str, str] = field(default_factory=dict)  # target key -> reason
    offers: dict[str, Item] = field(default_factory=dict)  # what --adapt would add
    left_out: list[str] = field(default_factory=list)  # by --only, --skip
    unused: list[str] = field(default_factory=list)
    verdict: str = "different"
    rules: list[Rule] = field(default_factory=list)

    def add(self, item: Item) -> None:
        """Load one more; it is no longer open."""
        for part in (self.likely, self.ambiguous, self.unmatched, self.offers):
            part.pop(item.target, None)
        self.items[item.target] = item

    def settle(self, source: Shapes, target: Shapes) -> None:
        """Put everything into the files' order, and find what of the source goes nowhere."""
        for name in ("items", "likely", "ambiguous", "unmatched", "offers"):
            part = getattr(self, name)
            setattr(self, name, {key: part[key] for key in target if key in part})
        used = {s for part in (self.items, self.likely) for i in part.values() for s in i.sources}
        used |= {one for candidates in self.ambiguous.values() for one in candidates}
        self.unused = [key for key in source if key not in used]


def make(source: Shapes, target: Shapes, wish: Wish) -> Plan:
    """Decide what goes where. Raises UsageError where the command line contradicts the files."""
    wanted = naming.chosen(list(target), wish.only, wish.skip)
    names = naming.seen_as(list(source), wish.strip, wish.rename)
    given = _given(source, target, names, wish.given, "--map")
    if wish.first is not None:
        plan = _in_order(source, {key: target[key] for key in wanted}, wish.first)
    elif wish.saved is not None:
        plan = _replayed(source, target, names, wish.saved)
    else:
        plan = _matched(source, target, names, wanted, given, wish.hints)
    for item in given.values():
        plan.add(item)
    _restrict(plan, wanted, given, target)
    if wish.accept_likely:
        for item in list(plan.likely.values()):
            plan.add(item)
    plan.settle(source, target)
    return plan


def _restrict(plan: Plan, wanted: Sequence[str], given: Mapping[str, Item], target: Shapes) -> None:
    """Leave out what --only and --skip leave out; what --map says counts more."""
    keep = {*wanted, *given}
    plan.left_out = [key for key in target if key not in keep]
    for name in ("items", "likely", "ambiguous", "unmatched", "offers"):
        part = getattr(plan, name)
        setattr(plan, name, {key: part[key] for key in part if key in keep})
    decided = {*plan.items, *plan.likely, *plan.ambiguous, *plan.unmatched}
    for key in target:
        if key in keep and key not in decided:
            plan.unmatched[key] = "no match"


# -- said on the command line ------------------------------------------------------------------------


def _replayed(source: Shapes, target: Shapes, names: Mapping[str, str], saved: Saved) -> Plan:
    """Do what a map file says, and nothing else."""
    plan = Plan(
        _given(source, target, names, saved.given, "--map-file"),
        verdict="partial",
        unmatched=dict.fromkeys(target, "not in the map file"),
    )
    likely = _given(source, target, names, saved.likely, "--map-file")
    plan.likely = {key: replace(item, confidence="likely") for key, item in likely.items()}
    for key, candidates in saved.ambiguous.items():
        for old in candidates:
            _given(source, target, names, {key: old}, "--map-file")
        plan.ambiguous[key] = list(candidates)
    for key, rows in saved.rows.items():
        if key in plan.items:
            plan.items[key] = replace(plan.items[key], rows=tuple(rows))
    for key in {*plan.items, *plan.likely, *plan.ambiguous}:
        plan.unmatched.pop(key, None)
    return plan


def _given(
    source: Shapes,
    target: Shapes,
    names: Mapping[str, str],
    given: Mapping[str, str],
    option: str,
) -> dict[str, Item]:
    """Read and check what --map or --map-file says."""
    found: dict[str, Item] = {}
    for new, right in given.items():
        op, sources = naming.source_of(right)
        for key, olds in _of_modules(option, new, op, sources, target, source, names):
            found[key] = _checked(Item(key, op, olds, "given", option), source, target)
    return found


def _of_modules(
    option: str,
    new: str,
    op: str,
    olds: tuple[str, ...],
    target: Shapes,
    source: Shapes,
    names: Mapping[str, str],
) -> list[tuple[str, tuple[str, ...]]]:
    """Return the tensors that an assignment means: `head=fc` means every tensor of the two modules."""
    inside = [key for key in target if key.startswith(f"{new}.")]
    if new in target or not inside:
        if new not in target:
            close = suggestion(new, list(target))
            raise UsageError(f"{option} {new}=...: the target has no tensor '{new}'.{close}")
        return [(new, tuple(_old(f"{option} {new}", old, source, names) for old in olds))]
    if op != "copy" or not any(key.startswith(f"{olds[0]}.") for key in [*source, *names]):
        close = suggestion(olds[0], sorted(naming.modules_of(source)))
        raise UsageError(
            f"{option} {new}={olds[0]}: '{new}' is a module and '{olds[0]}' is none of OLD; "
            f"map its tensors, such as {inside[0]}.{close}"
        )
    pairs = [(key, olds[0] + key[len(new) :]) for key in inside]
    known = {*source, *names}
    return [
        (key, (_old(f"{option} {new}", old, source, names),))
        for key, old in pairs
        if old in known or not old.endswith(f".{COUNTER}")  # an old BatchNorm has none
    ]


def _old(said: str, name: str, source: Shapes, names: Mapping[str, str]) -> str:
    """Return the key of OLD called `name`: as in the file, or as --strip and --rename made it."""
    if name in source:
        return name
    if name in names:
        return names[name]
    close = suggestion(name, list(source))
    raise UsageError(f"{said}={name}: OLD has no tensor '{name}'.{close}")


def _checked(item: Item, source: Shapes, target: Shapes) -> Item:
    """Return the item, or raise UsageError where the shapes say no."""
    if item.op in LOSSY:
        return item  # `adapting` checks them: "rows" needs the classes
    shapes, shape = [source[key] for key in item.sources], target[item.target]
    reason = why_not(item.op, shapes, shape)
    if not reason:
        return item
    way = "choose another"
    if item.op == "copy":
        ops = [op for op in ("transpose", "reshape") if not why_not(op, shapes, shape)]
        lossy = [op for op in LOSSY if not why_not(op, shapes, shape)]
        if ops:
            way = " or ".join(f"write '{item.target}={op}({item.sources[0]})'" for op in ops)
        elif lossy:
            way = f"choose another, or write '{item.target}={lossy[0]}({item.sources[0]})'"
    text_ = naming.source_text(item.op, item.sources)
    raise UsageError(f"{item.reason} {item.target}={text_}: {reason}; {way}.")


def _in_order(source: Shapes, target: Shapes, number: int) -> Plan:
    """The tutorials' way: the first tensors of the one are the first of the other."""
    if number > min(len(source), len(target)):
        raise UsageError(
            f"--first {number}: OLD has {len(source)} tensors and the target {len(target)}; "
            f"take at most {min(len(source), len(target))}."
        )
    plan = Plan(verdict="partial")
    for at, (new, old) in enumerate(zip(list(target)[:number], source, strict=False), 1):
        if reason := why_not("copy", [source[old]], target[new]):
            raise UsageError(
                f"--first {number}: tensor {at}, {new} <- {old}, does not fit: {reason}; "
                + (f"--first {at - 1} would." if at > 1 else "leave --first out.")
            )
        plan.items[new] = Item(new, "copy", (old,), "given", "in order (--first)")
    plan.unmatched = dict.fromkeys(list(target)[number:], f"after the first {number}")
    return plan


# -- said by the engine ------------------------------------------------------------------------------


def _matched(
    source: Shapes,
    target: Shapes,
    names: Mapping[str, str],
    wanted: Sequence[str],
    given: Mapping[str, Item],
    hints: Sequence[tuple[str, str]],
) -> Plan:
    """Ask the engine. A module of which nothing is wanted stays out of its sight."""
    seen = {name: source[key] for name, key in names.items()}
    named = {key: name for name, key in names.items()}
    modules = {key.rpartition(".")[0] for key in wanted}
    made = {key: item for key, item in given.items() if item.op != "copy"}
    taken = {old for item in made.values() for old in item.sources}
    visible = {k: s for k, s in target.items() if k.rpartition(".")[0] in modules and k not in made}
    fixed = {
        key: named[item.sources[0]]
        for key, item in given.items()
        if key in visible and item.op == "copy"
    }
    kept = {n: s for n, s in seen.items() if names[n] not in taken or n in fixed.values()}
    pairs = [_hint(hint, visible, kept) for hint in hints]
    plan = _plan(match(kept, visible, fixed=fixed, hints=pairs), names)
    for item in (*plan.items.values(), *plan.likely.values()):
        assert not why_not(item.op, [source[old] for old in item.sources], target[item.target]), (
            item
        )
    return plan


def _hint(hint: tuple[str, str], target: Shapes, source: Shapes) -> tuple[str, str]:
    for side, prefix, keys in (("the target", hint[0], target), ("OLD", hint[1], source)):
        known = naming.modules_of(keys)
        if prefix and prefix not in known:
            close = suggestion(prefix, sorted(known))
            raise UsageError(f"--hint {'='.join(hint)}: {side} has no module '{prefix}'.{close}")
    return hint


def _plan(found: Match, names: Mapping[str, str]) -> Plan:
    """Return what the engine says, in the keys of the file."""
    plan = Plan(
        ambiguous={key: [names[n] for n in olds] for key, olds in found.ambiguous.items()},
        unmatched=dict(found.unmatched),
        verdict=found.verdict,
        rules=list(found.rules),
    )
    moves = {key: Transform("copy", (old,)) for key, old in found.mapping.items()}
    moves |= found.transforms
    for key, (op, olds) in moves.items():
        sure = found.confidence.get(key, "likely")
        sources = tuple(names[old] for old in olds)
        item = Item(key, op, sources, sure, found.reasons.get(key, ""))
        (plan.items if sure == "certain" else plan.likely)[key] = item
    for key, offer in found.offers.items():
        sources = tuple(names[old] for old in offer.sources)
        plan.offers[key] = Item(key, offer.op, sources, "likely", found.reasons.get(key, ""))
    if found.verdict == "different":
        plan.items, plan.likely = {}, {}
        plan.unmatched = dict.fromkeys({*plan.unmatched, *moves}, "different architecture")
    return plan


def counterpart(key: str, source: Shapes) -> str | None:
    """Return the tensor of OLD that has the name of a target tensor that was not loaded."""
    ends = [old for old in source if old == key or old.endswith(f".{key}")]
    return ends[0] if len(ends) == 1 else None
