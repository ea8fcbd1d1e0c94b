"""Many renamings as few rows: `layer{1..4}.*.conv1 <- stage.{0..3}.b*.c1`.

    compress(pairs, targets, sources)    rows; every row knows its pairs
    matches(pattern, names)              the names that a pattern stands for

In a pattern `{1..4}` is every number from 1 to 4 and `*` every number that is there. On the two sides of
a row they run along together: `{1..4} <- {0..3}` is carried with an offset of -1, `* <- *` as it is. A row
stands for its pairs and nothing else: `matches` gives exactly them, on both sides.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

_NUMBER = re.compile(r"(?<![0-9])(0|[1-9][0-9]{0,8})(?![0-9])")  # 01 is a word, not a number


@dataclass(frozen=True)
class Slot:
    """Numbers in one place of a name: one, a range, or (`star`) whatever is there.

    `along`: which place of the target a place of the source runs along with.
    """

    low: int
    high: int
    along: int = -1
    star: bool = False

    def __str__(self) -> str:
        if self.star:
            return "*"
        return str(self.low) if self.low == self.high else f"{{{self.low}..{self.high}}}"


@dataclass(frozen=True)
class Row:
    """Pairs that one line can show. `pairs` are (target, source), in their order; `kind` they share."""

    words: tuple[tuple[str, ...], tuple[str, ...]]  # between the numbers, of target and source
    target_slots: tuple[Slot, ...]
    source_slots: tuple[Slot, ...]
    pairs: tuple[tuple[str, str], ...]
    kind: Hashable = None

    @property
    def target(self) -> str:
        return _text(self.words[0], self.target_slots)

    @property
    def source(self) -> str:
        return _text(self.words[1], self.source_slots)


def _text(words: Sequence[str], slots: Sequence[Slot]) -> str:
    return words[0] + "".join(f"{slot}{word}" for slot, word in zip(slots, words[1:], strict=True))


def matches(pattern: str, names: Iterable[str]) -> list[str]:
    """Return those of `names` that `pattern` stands for."""
    expression, ranges = "", []
    for part in re.split(r"(\{\d+\.\.\d+\}|\*)", pattern):
        if re.fullmatch(r"\{\d+\.\.\d+\}|\*", part):
            low, _, high = part.strip("{}").partition("..")
            ranges.append((0, 10**9) if part == "*" else (int(low), int(high)))
            expression += "(0|[1-9][0-9]{0,8})"
        else:
            expression += re.escape(part)
    whole = re.compile(expression)
    found = ((name, whole.fullmatch(name)) for name in names)
    return [
        name
        for name, match in found
        if match and all(a <= int(n) <= b for n, (a, b) in zip(match.groups(), ranges, strict=True))
    ]


def compress(
    pairs: Iterable[tuple[str, str, Hashable]],
    targets: Collection[str] = (),
    sources: Collection[str] = (),
) -> list[Row]:
    """Return the rows that show `pairs` (target, source, kind); only pairs of one kind share a row.

    `targets` and `sources` are all names there are: a `*` must not stand for more than its pairs.
    """
    given = list(pairs)
    rows = _by_shape([_row(*pair) for pair in given])
    everything = (
        {*targets, *(t for t, _, _ in given)},
        {*sources, *(s for _, s, _ in given)},
    )
    merged = [row for group in rows for row in _merged(group, everything)]
    order = {(t, s): at for at, (t, s, _) in enumerate(given)}
    return sorted(merged, key=lambda row: order[row.pairs[0]])


def _row(target: str, source: str, kind: Hashable) -> Row:
    words, slots = zip(*(_split(name) for name in (target, source)), strict=True)
    return Row((words[0], words[1]), slots[0], slots[1], ((target, source),), kind)


def _split(name: str) -> tuple[tuple[str, ...], tuple[Slot, ...]]:
    parts = _NUMBER.split(name)
    return tuple(parts[::2]), tuple(Slot(int(n), int(n)) for n in parts[1::2])


def _by_shape(rows: Iterable[Row]) -> list[list[Row]]:
    groups: dict[Hashable, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.words, row.kind].append(row)
    return list(groups.values())


def _merged(rows: list[Row], names: tuple[Collection[str], Collection[str]]) -> list[Row]:
    """Merge along the last number of the names first, as blocks repeat within stages."""
    if len(rows) == 1 or not rows[0].target_slots:
        return rows
    places = range(len(rows[0].target_slots))
    for place in reversed(places):
        rows = _along(rows, place)
    for place in places:
        rows = _stars(rows, place, names)
    return rows


def _along(rows: list[Row], place: int) -> list[Row]:
    """Merge rows that differ in one place of the target only, where the numbers there are a run."""
    groups: dict[Hashable, list[Row]] = defaultdict(list)
    for row in rows:
        others = row.target_slots[:place] + row.target_slots[place + 1 :]
        groups[others].append(row)
    found: list[Row] = []
    for group in groups.values():
        group.sort(key=lambda row: row.target_slots[place].low)
        found += _runs(group, place)
    return found


def _runs(rows: list[Row], place: int) -> list[Row]:
    runs: list[list[Row]] = []
    for row in rows:
        if runs and _steps(runs[-1], row, place):
            runs[-1].append(row)
        else:
            runs.append([row])
    return [_joined(run, place) for run in runs]


def _steps(run: list[Row], row: Row, place: int) -> bool:
    """Return whether `row` goes on where `run` ends, as its rows before did."""
    moved = _moved(run[-1], row, place)
    return moved is not None and (len(run) == 1 or moved == _moved(run[-2], run[-1], place))


def _moved(before: Row, after: Row, place: int) -> tuple[int, ...] | None:
    """Return the places of the source that go on with the target's; None: it is no step."""
    if not _follows(before.target_slots[place], after.target_slots[place]):
        return None
    moved = []
    for at, (old, new) in enumerate(zip(before.source_slots, after.source_slots, strict=True)):
        if old == new:
            continue
        if not (_goes(old, before, place) and _goes(new, after, place) and _follows(old, new)):
            return None
        moved.append(at)
    if any(not _apart(before.words[1], a, b) for a, b in pairwise(moved)):
        return None  # a{0..2}.b{0..2} would read as nine names
    return tuple(moved) or None  # one source for many targets is said line by line


def _follows(before: Slot, after: Slot) -> bool:
    return not before.star and not after.star and after.low == before.high + 1


def _goes(slot: Slot, row: Row, place: int) -> bool:
    """Return whether a place of the source can run along with that of the target."""
    single = slot.low == slot.high and slot.along == -1
    return slot.along == place or (
        single and row.target_slots[place].low == row.target_slots[place].high
    )


def _apart(words: Sequence[str], a: int, b: int) -> bool:
    """Return whether two numbers are in different names of `cat0(x.0, y.0)`."""
    return any(", " in word for word in words[a + 1 : b + 1])


def _joined(run: list[Row], place: int) -> Row:
    first, last = run[0], run[-1]
    if len(run) == 1:
        return first
    targets = list(first.target_slots)
    targets[place] = Slot(first.target_slots[place].low, last.target_slots[place].high)
    sources = [
        old if old == new else Slot(old.low, new.high, along=place)
        for old, new in zip(first.source_slots, last.source_slots, strict=True)
    ]
    pairs = tuple(pair for row in run for pair in row.pairs)
    return replace(first, target_slots=tuple(targets), source_slots=tuple(sources), pairs=pairs)


def _stars(
    rows: list[Row], place: int, names: tuple[Collection[str], Collection[str]]
) -> list[Row]:
    """Merge rows along `place` whose ranges differ elsewhere (3, 4, 6, 3 blocks): `*` stands for them."""
    if len(rows) == 1:
        return rows
    for other in range(len(rows[0].target_slots)):
        if other == place:
            continue
        starred = [_starred(row, other) for row in rows]
        for run in _along([row for row in starred if row is not None], place):
            if _claims_too_much(run, names):
                continue
            covered = {pair[0] for pair in run.pairs}
            parts = [row for row in rows if row.pairs[0][0] in covered]
            if len(parts) > 1:
                rows = [row for row in rows if row not in parts] + [run]
    return rows


def _starred(row: Row, other: int) -> Row | None:
    """Return the row with a star in place `other`; None where it is not carried as it is."""
    slot = row.target_slots[other]
    single = slot.low == slot.high
    carried = [
        at
        for at, one in enumerate(row.source_slots)
        if one.along == other or (single and one == Slot(slot.low, slot.low))
    ]
    as_it_is = all(
        (row.source_slots[at].low, row.source_slots[at].high) == (slot.low, slot.high)
        for at in carried
    )
    if slot.star or not carried or not as_it_is or (single and len(carried) > 1):
        return None
    targets, sources = list(row.target_slots), list(row.source_slots)
    targets[other] = Slot(0, 0, star=True)
    for at in carried:
        sources[at] = Slot(0, 0, along=other, star=True)
    return replace(row, target_slots=tuple(targets), source_slots=tuple(sources))


def _claims_too_much(row: Row, names: tuple[Collection[str], Collection[str]]) -> bool:
    targets, sources = ({pair[side] for pair in row.pairs} for side in (0, 1))
    return (
        set(matches(row.target, names[0])) != targets
        or set(matches(row.source, names[1])) != sources
    )
