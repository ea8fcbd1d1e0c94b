"""Copies of one network in a source: model and average, student and teacher, two towers.

Where a target holds one of what a source holds twice, names and shapes cannot say which is meant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ptools.matching.result import Confidence
from ptools.matching.units import Unit

Path = tuple[str, ...]
_ALIKE = 0.75  # of the tensors of two parts are the same: copies of each other
_LARGE = 0.5  # of the target's units: less is a repeated block, not a copy of the network
_AVERAGES = {"ema", "averaged", "swa", "avg"}
_LOSSES = {"loss", "criterion"}


@dataclass(frozen=True)
class Copies:
    """The parts of a source that are copies of each other.

    parts    their prefixes, the one to look at first
    decided  "certain" where the names of the target say which is meant, "likely" where the file's do, or ""
    """

    parts: tuple[Path, ...]
    decided: Confidence | Literal[""]

    def without_others(self, units: list[Unit]) -> list[Unit]:
        """Return the units but those of the other copies."""
        others = self.parts[1:]
        return [u for u in units if not any(u.path[: len(part)] == part for part in others)]

    def twins(self, units: list[Unit]) -> dict[Path, list[Unit]]:
        """Return, by the path of a unit in the first copy, the units in its place in all copies."""
        by_path = {unit.path: unit for unit in units}
        first = self.parts[0]
        return {
            unit.path: [
                by_path[part + unit.path[len(first) :]]
                for part in self.parts
                if part + unit.path[len(first) :] in by_path
            ]
            for unit in units
            if unit.path[: len(first)] == first
        }


@dataclass(frozen=True)
class Rows(Copies):
    """Copies that no name tells apart: the layers 1 to 3 of a module, and its layers 4 to 6.

    rows     the paths of their units
    """

    rows: tuple[tuple[Path, ...], ...] = ()

    def without_others(self, units: list[Unit]) -> list[Unit]:
        others = {path for row in self.rows[1:] for path in row}
        return [unit for unit in units if unit.path not in others]

    def twins(self, units: list[Unit]) -> dict[Path, list[Unit]]:
        by_path = {unit.path: unit for unit in units}
        alike = zip(*self.rows, strict=True)
        return {paths[0]: [by_path[path] for path in paths] for paths in alike}


def find(sources: list[Unit], targets: list[Unit], hints: Sequence[str] = ()) -> Copies | None:
    """Return the copies of the target's network in the source, or None where there is one or none.

    `hints` are prefixes of the source that a person has named.
    """
    ours = list(_copies(sources, len(targets)))
    if not ours:
        return _rows(sources, targets, hints)
    parts = min(ours, key=lambda found: abs(_count(sources, found[0]) - len(targets)))
    size = _count(sources, parts[0])
    if any(len(theirs) >= len(parts) for theirs in _copies(targets, 2 * size)):
        return None  # the target has as many
    wanted = {u.signature for u in targets}
    fit = {p: sum(u.signature in wanted for u in sources if u.path[: len(p)] == p) for p in parts}
    parts = tuple(p for p in parts if fit[p] == max(fit.values()))
    if len(parts) < 2:
        return None
    if _filled(parts, sources, targets):
        return None
    for part in parts:
        if any(".".join(part) == ".".join(hint.split(".")[: len(part)]) for hint in hints):
            return Copies((part, *(p for p in parts if p != part)), "certain")
    return _choose(parts, sources, targets)


def _rows(sources: list[Unit], targets: list[Unit], hints: Sequence[str]) -> Rows | None:
    """Return what stands in the source a few times in a row as it does, whole, in the target.

    A hint that names a unit of one of them says that this one is meant.
    """
    wanted = [unit.signature for unit in targets]
    size = len(wanted)
    periods = (n for n in range(1, size) if size % n == 0)
    if size < 2 or any(wanted == wanted[:n] * (size // n) for n in periods):
        return None  # it repeats itself: blocks, of which it may be meant to take the first
    found: list[list[Unit]] = []
    start = 0
    while start + size <= len(sources):
        row = sources[start : start + size]
        fits = [unit.signature for unit in row] == wanted
        found += [row] if fits else []
        start += size if fits else 1
    paths = tuple(tuple(unit.path for unit in row) for row in found)
    if len(paths) < 2 or tuple(unit.path for unit in targets) in paths:
        return None
    named = {tuple(hint.split(".")) for hint in hints}
    meant = [row for row in paths if named & set(row)]
    if len(meant) == 1:
        paths = (meant[0], *(row for row in paths if row is not meant[0]))
    starts = tuple(row[0] for row in paths)
    return Rows(starts, "certain" if len(meant) == 1 else "", paths)


def _filled(parts: Sequence[Path], sources: list[Unit], targets: list[Unit]) -> bool:
    """Return whether the target has a place for what all of the parts hold, not only for one of them."""
    inside = Counter(u.signature for u in sources if any(u.path[: len(p)] == p for p in parts))
    there = Counter(u.signature for u in targets)
    fitting = sum(min(n, there[signature]) for signature, n in inside.items())
    return fitting >= _ALIKE * inside.total()


def _count(units: list[Unit], part: Path) -> int:
    return sum(unit.path[: len(part)] == part for unit in units)


def _copies(units: list[Unit], size: int) -> Iterator[tuple[Path, ...]]:
    """Yield sets of parts that are alike, of at least half of `size` units."""
    parts: dict[Path, set[object]] = {}
    for unit in units:
        for depth in range(1, len(unit.path)):
            inside = parts.setdefault(unit.path[:depth], set())
            inside.add((unit.path[depth:], unit.signature))
    large = {part: inside for part, inside in parts.items() if len(inside) >= max(2, _LARGE * size)}
    seen: set[Path] = set()
    for part, inside in large.items():
        if part in seen:
            continue
        alike = [part]
        for other, others in large.items():
            nested = any(other[: len(p)] == p or p[: len(other)] == other for p in alike)
            if not nested and len(inside & others) >= _ALIKE * len(inside | others):
                alike.append(other)
        if len(alike) > 1:
            seen.update(alike)
            yield tuple(alike)


def _choose(parts: tuple[Path, ...], sources: list[Unit], targets: list[Unit]) -> Copies:
    """Look for a word that tells which copy is meant."""
    words = {part: set(part) - set[str].intersection(*(set(p) for p in parts)) for part in parts}
    inside = {
        name for u in sources for p in parts if u.path[: len(p)] == p for name in u.path[len(p) :]
    }
    words = {part: names - inside for part, names in words.items()}
    named = {name for unit in targets for name in unit.path[:-1]}
    meant = [part for part in parts if words[part] & named]
    if len(meant) == 1:
        return Copies((meant[0], *(p for p in parts if p != meant[0])), "certain")
    rest = [u for u in sources if not any(u.path[: len(p)] == p for p in parts)]
    plain = [part for part in parts if not _AVERAGES & {word.lower() for word in words[part]}]
    wrapped = any(_LOSSES & {token.lower() for token in unit.tokens} for unit in rest)
    if len(plain) == 1 and len(parts) > 1 and wrapped:
        # a whole training loop: what it trains, with its loss, is the network; the average is beside it
        return Copies((plain[0], *(p for p in parts if p != plain[0])), "likely")
    return Copies(parts, "")
