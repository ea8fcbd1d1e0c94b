"""What all names of one side begin with, and the other side has no word for: it tells nothing."""

from __future__ import annotations

from dataclasses import replace

from ptools.matching.units import Unit

Path = tuple[str, ...]


def prefixes(ours: list[Unit], theirs: list[Unit]) -> tuple[Path, Path]:
    """Return what all names of each side begin with: `module`, say, or `net.model`.

    A part that the names of the other side know as well may tell which part of the network it is,
    encoder or decoder, unless they all begin with it, too.
    """
    first, second = _common(ours), _common(theirs)
    at = 0
    while first[at : at + 1] and first[at : at + 1] == second[at : at + 1]:
        at += 1
    return _unknown(first, at, theirs), _unknown(second, at, ours)


def without(units: list[Unit], prefix: Path) -> list[Unit]:
    """Return the units with their names below `prefix`."""
    return [replace(unit, path=unit.path[len(prefix) :]) for unit in units] if prefix else units


def below(prefix: Path, path: Path) -> Path:
    """Return where a part is below `prefix`; what lies above it is all."""
    if path[: len(prefix)] == prefix:
        return path[len(prefix) :]
    return () if prefix[: len(path)] == path else path


def _common(units: list[Unit]) -> Path:
    """Return the parts that all names have in common, at the beginning."""
    if len(units) < 2:
        return ()
    first, last = min(unit.path for unit in units), max(unit.path for unit in units)
    size = 0
    while first[size : size + 1] and first[size : size + 1] == last[size : size + 1]:
        size += 1
    size = min(size, *(len(unit.path) - 1 for unit in units))
    while size and any(unit.path[size].isdigit() for unit in units):
        size -= 1  # a number alone is no name
    return first[:size]


def _unknown(prefix: Path, size: int, others: list[Unit]) -> Path:
    """Return the first `size` parts of a prefix, and those after them that the others do not know."""
    words = {part for unit in others for part in unit.path}
    while size < len(prefix) and prefix[size] not in words:
        size += 1
    return prefix[:size]
