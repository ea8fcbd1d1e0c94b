"""Are two state_dicts of one network at all? Two networks that share shapes are not one."""

from __future__ import annotations

from ptools.matching.biases import lacking, matrix
from ptools.matching.evidence import Evidence
from ptools.matching.forms import bare, own
from ptools.matching.keys import squeezed
from ptools.matching.offers import head
from ptools.matching.units import Unit

_COVERED = 0.7  # of the matrices of one side, in networks of which one is a part of the other
_ORDERED = 0.8  # of the neighbours that stay neighbours: both sides are registered alike
_TOLD = -6.0  # a mean fit above: the names of the two sides correspond
_TORN = 0.6  # of the blocks: in networks that share names, too many to be of one


class Whole:
    """An assignment as a whole: `mean` is how well its pairs fit, `order` how much of the order it keeps."""

    def __init__(
        self, evidence: Evidence, chosen: dict[int, int], mean: float, order: float
    ) -> None:
        self.evidence, self.chosen, self.mean, self.order = evidence, chosen, mean, order
        self.used = set(chosen.values())

    def different(self) -> str:
        """Return why these are two different networks, or nothing."""
        sources, targets = self.evidence.sources, self.evidence.targets
        ours = _share([sources[s] for s in self.chosen.values()], sources)
        theirs = _share([targets[t] for t in self.chosen], targets)
        covered = max(ours, theirs)
        if covered < _COVERED and not self._whole_part():
            return self._small(covered)
        if self.mean < _TOLD and self.order < _ORDERED and theirs < 0.9:
            return "neither names nor order correspond"
        if min(ours, theirs) < 0.9 and self._holes():
            return "blocks of both have layers that the other lacks"
        if self._inputs_differ():
            return "the first layers are of different kinds"
        return ""

    def _small(self, covered: float) -> str:
        """Return why so few layers have a place, of matrices of which `covered` has one."""
        nearly = lacking(*self._left())
        used = [*self.used, *nearly.values()]
        if _share([self.evidence.sources[s] for s in used], self.evidence.sources) >= _COVERED:
            return (
                f"{len(nearly)} layers would fit, but only one side's have a bias: a module is "
                "loaded whole or not at all"
            )
        return f"only {covered:.0%} of the layers of the one have a place in the other"

    def torn(self) -> str:
        """Return why networks that share names are two different ones, or nothing: no block fits whole."""
        if all(broken(units, mapped, numbered=True) > _TORN for units, mapped in self._matched()):
            return "most blocks of both have layers that the other's blocks lack"
        return ""

    def _matched(self) -> list[tuple[list[Unit], set[int]]]:
        """Return the units of both sides, the target's first, with those that have a counterpart.

        A parameter of its own is none for a module, where modules of that size are left over.
        """
        sources, targets = self.evidence.sources, self.evidence.targets
        ours = {_weight(u) for u in sources if u.index not in self.used and not bare(u)}
        theirs = {_weight(u) for u in targets if u.index not in self.chosen and not bare(u)}
        both = {
            t: s
            for t, s in self.chosen.items()
            if bare(sources[s]) == bare(targets[t])
            or _weight(targets[t]) not in (ours if bare(sources[s]) else theirs)
        }
        left = self._left()
        nearly = lacking(*left) | head(*left)  # no layer is lacking
        return [
            (targets, set(both) | nearly.keys()),
            (sources, {*both.values(), *nearly.values()}),
        ]

    def _left(self) -> tuple[list[Unit], list[Unit]]:
        """Return the units of both sides that have no counterpart."""
        return (
            [unit for unit in self.evidence.sources if unit.index not in self.used],
            [unit for unit in self.evidence.targets if unit.index not in self.chosen],
        )

    def _whole_part(self) -> bool:
        """Is a large part of one side, under one name, found whole on the other, where names agree?"""
        if self.mean < -2:
            return False
        for units, mapped in (
            (self.evidence.targets, set(self.chosen)),
            (self.evidence.sources, set(self.chosen.values())),
        ):
            counts: dict[tuple[str, ...], list[int]] = {}
            for unit in units:
                for depth in range(1, len(unit.path)):
                    found = counts.setdefault(unit.path[:depth], [0, 0])
                    found[0] += 1
                    found[1] += unit.index in mapped
            few, many = max(8, 0.2 * len(units)), max(4, 0.5 * len(units))
            if any(m >= 0.95 * n and n >= min(few, many) for n, m in counts.values()):
                return True
        return False

    def _holes(self) -> bool:
        """Are there blocks on both sides of which only a part is matched? A vector alone is no layer."""
        return all(
            broken([unit for unit in units if matrix(unit) or not own(unit)], mapped) > 0.1
            for units, mapped in self._matched()
        )

    def _inputs_differ(self) -> bool:
        """Does one side begin with embeddings that the other lacks, and that with a convolution?"""
        source = _first_matrix(self.evidence.sources)
        target = _first_matrix(self.evidence.targets)
        if source is None or target is None:
            return False
        if source.index in self.used or target.index in self.chosen:
            return False
        return (_table(source) and _convolution(target)) or (
            _table(target) and _convolution(source)
        )


def _share(some: list[Unit], units: list[Unit]) -> float:
    """Return how many of the matrices are among `some`; of all units where there is no matrix."""
    whole = sum(map(matrix, units))
    return sum(map(matrix, some)) / whole if whole else len(some) / max(1, len(units))


def _weight(unit: Unit) -> tuple[int, ...]:
    return squeezed(unit.shapes.get("weight", ()))


def broken(units: list[Unit], mapped: set[int], *, numbered: bool = False) -> float:
    """Return the share of blocks, of those with a matched unit, that have unmatched ones too.

    Where `numbered`, only what repeats is a block: parts with a number for a name, of a few units.
    """
    blocks: dict[tuple[str, ...], list[bool]] = {}
    for unit in units:
        for depth in range(1, len(unit.path)):
            end = depth == len(unit.path) - 1 and not numbered
            if unit.path[depth - 1].isdigit() or end:
                blocks.setdefault(unit.path[:depth], []).append(unit.index in mapped)
    few = 2 if numbered else 1
    touched = [found for found in blocks.values() if any(found) and len(found) > few]
    return sum(not all(found) for found in touched) / max(1, len(touched))


def _first_matrix(units: list[Unit]) -> Unit | None:
    modules = (u for u in units if u.roles.get("weight", "").endswith("weight"))
    return next((unit for unit in modules if matrix(unit)), None)


def _table(unit: Unit) -> bool:
    """Return whether a unit is a table of embeddings: a matrix alone, of many more rows than columns."""
    shape = unit.shapes["weight"]
    return list(unit.shapes) == ["weight"] and len(shape) == 2 and shape[0] > 4 * shape[1]


def _convolution(unit: Unit) -> bool:
    return len(squeezed(unit.shapes["weight"])) > 2
