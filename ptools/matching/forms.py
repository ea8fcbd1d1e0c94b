"""One layer, stored in two forms: query, key and value apart or fused; a Linear as (out, in) or (in, out).

Both sides are brought to one form before they are matched, and what that took is written down, to be
done to the tensors. The evidence is in the shapes: a bias is as long as a layer has outputs.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, permutations, takewhile
from math import prod

from ptools.matching.keys import squeezed
from ptools.matching.names import likeness
from ptools.matching.result import Shape
from ptools.matching.units import COUNTER, Unit, renumbered

_NAMES = (("query", "key", "value"), ("key", "value"))


@dataclass(eq=False)
class Formed(Unit):
    """A unit in the common form: made of `parts` one below the other, or turned from (in, out)."""

    parts: tuple[Unit, ...] = ()
    turned: bool = False


def common_forms(sources: list[Unit], targets: list[Unit]) -> tuple[list[Unit], list[Unit]]:
    """Return both sides in one form, numbered anew."""
    sources, targets = _upright(sources), _upright(targets)
    sources, targets = _fused(sources, targets, unequal=True), _fused(targets, sources)
    return renumbered(sources), renumbered(targets)


# -- (in, out) and (out, in) ------------------------------------------------------------------------------


def _outputs(unit: Unit) -> tuple[int, int] | None:
    """Return the two sizes of a matrix with a bias, or None."""
    shape = squeezed(unit.shapes.get("weight", ()))
    return (shape[0], shape[1]) if len(shape) == 2 and "bias" in unit.shapes else None


def _upright(units: list[Unit]) -> list[Unit]:
    """Return the units with their matrices as (out, in)."""
    turned = _turned(units)
    return [
        Formed(
            u.path,
            u.index,
            u.roles,
            {**u.shapes, "weight": squeezed(u.shapes["weight"])[::-1]},
            u.spelled,
            turned=True,
        )
        if u.index in turned
        else u
        for u in units
    ]


def _turned(units: list[Unit]) -> set[int]:
    """Return the units whose matrix is stored as (in, out): its bias fits the columns only.

    Of a square one its bias tells where that is a row, (1, out), for x @ w + b; else its like in the
    smallest part around it.
    """
    told: dict[tuple[str, ...], list[bool]] = defaultdict(list)
    found, square = set(), []
    for unit in units:
        sizes = _outputs(unit)
        if not sizes:
            continue
        if sizes[0] == sizes[1]:
            square.append(unit)
            if unit.shapes["bias"] == (1, sizes[1]):
                found.add(unit.index)
            continue
        columns = unit.shapes["bias"] == (sizes[1],)
        if columns:
            found.add(unit.index)
        if columns or unit.shapes["bias"] == (sizes[0],):
            for depth in range(len(unit.path)):
                told[unit.path[:depth]].append(columns)
    for unit in square:
        around = (told.get(unit.path[:depth]) for depth in range(len(unit.path) - 1, -1, -1))
        if all(next(filter(None, around), [False])):
            found.add(unit.index)
    return found


# -- query, key and value --------------------------------------------------------------------------


def _fused(units: list[Unit], others: list[Unit], *, unequal: bool = False) -> list[Unit]:
    """Return `units` with those side by side fused that the other side has in one.

    Where `unequal`, also a query with the key and the value of fewer heads: to fuse them needs no figures,
    to part them does.
    """
    here, there = Counter(u.signature for u in units), Counter(u.signature for u in others)
    instead: dict[int, list[Unit]] = {}
    for parts in chain(_spelled(units, others), _side_by_side(units, unequal)):
        whole, rest = _whole(parts)
        lacking = there[whole.signature] > here[whole.signature]
        spare = here[parts[0].signature] > there[parts[0].signature]
        if lacking and spare and not any(part.index in instead for part in parts):
            first = min(parts, key=lambda part: part.index)
            instead |= {part.index: [] for part in parts}
            instead[first.index] = [whole, *rest]
    return [new for unit in units for new in instead.get(unit.index, [unit])]


def _spelled(units: list[Unit], others: list[Unit]) -> Iterator[list[Unit]]:
    """Yield units of one parent in the order in which the name of one on the other side spells theirs.

    ix, ox and ux are ioux; gate_proj and up_proj are gate_up_proj.
    """
    families: dict[tuple[tuple[str, ...], Shape], list[Unit]] = defaultdict(list)
    for unit in units:
        shape = squeezed(unit.shapes.get("weight", ()))
        if len(shape) == 2 and unit.path:
            families[unit.path[:-1], shape].append(unit)
    wholes = {
        (unit.path[-1].replace("_", ""), shape)
        for unit in others
        if unit.path and len(shape := squeezed(unit.shapes.get("weight", ()))) == 2
    }
    for (_, (rows, columns)), family in families.items():
        names = {unit.path[-1].replace("_", ""): unit for unit in family}
        for name, shape in wholes if 2 <= len(family) <= 6 else ():
            several = shape[0] // rows
            if shape == (several * rows, columns) and 2 <= several <= len(family):
                for some in permutations(names, several):
                    if _joined(some) == name:
                        yield [names[part] for part in some]


def _joined(names: tuple[str, ...]) -> str:
    """Return the name of several in one: what they end with in common stands at its end, once."""
    letters = zip(*map(reversed, names), strict=False)
    end = sum(1 for _ in takewhile(lambda last: len(set(last)) == 1, letters))
    return "".join(name[: len(name) - end] for name in names) + names[0][len(names[0]) - end :]


def _side_by_side(units: list[Unit], unequal: bool) -> Iterator[list[Unit]]:
    """Yield units of one parent that may be one: query, key and value, or all that a list counts."""
    families: dict[object, list[Unit]] = defaultdict(list)
    lists: dict[object, list[Unit]] = defaultdict(list)
    for unit in units:
        if len(squeezed(unit.shapes.get("weight", ()))) == 2:
            families[unit.path[:-1], unit.shapes["weight"]].append(unit)
        counted = re.fullmatch(r"([A-Za-z_]*)[0-9]+", unit.path[-1]) if unit.path else None
        if counted and any(len(shape) > 1 for shape in unit.shapes.values()):
            lists[unit.path[:-1], counted[1]].append(unit)
    for names in _NAMES:
        for family in families.values():
            if len(names) <= len(family) <= 6:
                yield from _called(family, names)
        if unequal and len(names) == 3:
            yield from _grouped(units, names)
    for row in lists.values():
        if len(row) > 1 and len({unit.signature for unit in row}) == 1:
            yield row


def _grouped(units: list[Unit], names: tuple[str, ...]) -> Iterator[list[Unit]]:
    """Yield query, key and value of one parent by their names, where the query has more heads."""
    families: dict[object, list[Unit]] = defaultdict(list)
    for unit in units:
        shape = squeezed(unit.shapes.get("weight", ()))
        if len(shape) == 2:
            families[unit.path[:-1], shape[1]].append(unit)
    for family in families.values():
        found = [
            [unit for unit in family if likeness(unit.last[:1], (name,)) >= 0.6] for name in names
        ]
        if all(len(one) == 1 for one in found):
            (query,), (key,), (value,) = found
            rows = query.shapes["weight"][0]
            if key.signature == value.signature and rows > key.shapes["weight"][0]:
                yield [query, key, value]


def _called(family: list[Unit], names: tuple[str, ...]) -> Iterator[list[Unit]]:
    """Yield the members that the names say; where they say nothing, so many after so many."""
    found: list[Unit] = []
    for name in names:
        best = max(family, key=lambda unit: likeness(unit.tokens[-2:], (name,)))
        if best in found or likeness(best.tokens[-2:], (name,)) < 0.2:
            size = len(names)
            yield from (family[i : i + size] for i in range(0, len(family) - size + 1, size))
            return
        found.append(best)
    yield found


def _whole(parts: list[Unit]) -> tuple[Formed, list[Unit]]:
    """Return what `parts` are when fused, and the tensors that not all of them have."""
    roles = [role for role in parts[0].shapes if all(role in part.shapes for part in parts)]
    shapes: dict[str, Shape] = {}
    for role in roles:
        rows = sum(part.shapes[role][0] for part in parts)
        shapes[role] = (rows, *parts[0].shapes[role][1:])
    path = (*parts[0].path[:-1], "".join(part.path[-1][:1] for part in parts))
    turned = isinstance(parts[0], Formed) and parts[0].turned
    whole = Formed(
        path,
        0,
        {role: parts[0].roles[role] for role in roles},
        shapes,
        parts[0].spelled,
        tuple(parts),
        turned,
    )
    rest = [
        Unit((*part.path, role), 0, {"weight": key}, {"weight": part.shapes[role]})
        for part in parts
        for role, key in part.roles.items()
        if role not in roles
    ]
    return whole, rest


def guessed(parts: Unit, whole: Unit) -> bool:
    """Return whether the order of the parts of a matrix is that of their names, but not that of the file.

    Most fuse query, key and value; some as they are registered. In `in_proj`, torch.nn knows one order.
    """
    order = [part.index for part in getattr(parts, "parts", ())]
    known = whole.path and whole.path[-1].startswith("in_proj")
    return order != sorted(order) and not getattr(whole, "parts", ()) and not known


# -- what is left ----------------------------------------------------------------------------------


def left_over(sources: list[Unit], targets: list[Unit]) -> list[tuple[int, int, bool]]:
    """Return (source, target, turned) of units that fit only after a change of form, and one way only.

    A convolution over all of its input is a Linear of the flattened input; a matrix x @ w is stored the
    other way round than that of a Linear.
    """
    found: list[tuple[int, int, bool]] = []
    for turned in (False, True):
        fits = [
            (s.index, t.index) for s in sources for t in targets if _same_but_form(s, t, turned)
        ]
        ours, theirs = Counter(s for s, _ in fits), Counter(t for _, t in fits)
        found += [(s, t, turned) for s, t in fits if ours[s] == theirs[t] == 1]
    return found


def _same_but_form(source: Unit, target: Unit, turned: bool) -> bool:
    if source.shapes.keys() - {COUNTER} != target.shapes.keys() - {COUNTER}:
        return False
    if any(
        squeezed(source.shapes[role]) != squeezed(shape)
        for role, shape in target.shapes.items()
        if role not in ("weight", COUNTER)
    ):
        return False
    a, b = (squeezed(unit.shapes.get("weight", ())) for unit in (source, target))
    if turned:
        return len(a) == 2 and a == b[::-1] and a != b and bare(source) != bare(target)
    same = min(len(a), len(b)) == 2 and len(a) != len(b) and a[0] == b[0] and prod(a) == prod(b)
    return same and not over_pixels(source, target)


def over_pixels(source: Unit, target: Unit) -> bool:
    """Return whether one is a convolution over patches of a picture, and one a Linear over their pixels.

    The Linear may take the colours of a pixel first, or the pixels of a colour: shapes do not say.
    """
    a, b = sorted((source.shapes.get("weight", ()), target.shapes.get("weight", ())), key=len)
    return len(a) == 2 and len(b) > 3 and 2 <= b[1] <= 4 and b[2] > 1 and prod(a) == prod(b)


def bare(unit: Unit) -> bool:
    """Return whether a unit is a parameter of its own, not the weight of a module."""
    return list(unit.shapes) == ["weight"] and not unit.roles["weight"].endswith("weight")


def own(unit: Unit) -> bool:
    """Return whether a matrix is no weight of a module of torch: its author chose which way round it is."""
    leaf = unit.roles.get("weight", "weight").rpartition(".")[2]
    return leaf not in ("weight", "weight_orig", "original")  # of a parametrization


# -- back to tensors -------------------------------------------------------------------------------


def copies(
    source: Unit, target: Unit, turn_also: bool = False
) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield (target key, operation or "", source keys) for every tensor of a matched pair."""
    ours, theirs = getattr(source, "parts", ()), getattr(target, "parts", ())
    turned = getattr(source, "turned", False) != getattr(target, "turned", False) or turn_also
    if ours and theirs:
        for a, b in zip(ours, theirs, strict=True):
            yield from copies(a, b)
        return
    for role, key in target.roles.items():
        turn = turned and role == "weight"
        if ours and role in source.shapes:
            keys = tuple(part.roles[role] for part in ours)
            yield key, "transpose,cat1" if turn else "cat0", keys
        elif theirs and role in source.roles:
            for i, part in enumerate(theirs):
                op = f"split0:{i}/{len(theirs)}"
                yield part.roles[role], f"transpose,{op}" if turn else op, (source.roles[role],)
        elif role in source.roles:
            yield key, "transpose" if turn else "", (source.roles[role],)
