"""State_dict keys, grouped into what is loaded whole or not at all.

A unit is a module with its weight, bias and statistics, or a parameter that stands alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod

from ptools.matching.keys import affine, belongs, families, squeezed
from ptools.matching.names import TOKEN
from ptools.matching.result import Shape
from ptools.matching.spelling import spelled

_OWN_BIAS = re.compile(r"(\w+)_bias")
COUNTER = "num_batches_tracked"  # old checkpoints lack it; its absence is no difference


@dataclass(eq=False)
class Unit:
    """Tensors that belong together: `roles` is {role: key}, `shapes` is {role: shape}."""

    path: tuple[str, ...]
    index: int = 0
    roles: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    # parts of names and the place of a token in them: what that is read as, beside its like
    spelled: Mapping[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)

    def _tokens(self, part: str) -> list[str]:
        return [
            word
            for place, token in enumerate(TOKEN.findall(part))
            for word in self.spelled.get((part, place), (token,))
        ]

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """The words and numbers of the path: layer3.conv2 is layer 3 conv 2."""
        return tuple(t for part in self.path for t in self._tokens(part))

    @cached_property
    def last(self) -> tuple[str, ...]:
        """The tokens of the last part of the path that is not a number."""
        named = [part for part in self.path if not part.isdigit()]
        return tuple(self._tokens(named[-1])) if named else ()

    @cached_property
    def top(self) -> frozenset[str]:
        """The words of the first parts of the path: which large part of the network it is in."""
        words = (word for part in self.path[:-1][:3] for word in TOKEN.findall(part))
        return frozenset(word.lower() for word in words if not word.isdigit())

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        return tuple(int(t) for t in self.tokens if t.isdigit())

    @cached_property
    def template(self) -> tuple[str, ...]:
        """The tokens with every number replaced by #."""
        return tuple("#" if t.isdigit() else t for t in self.tokens)

    @cached_property
    def signature(self) -> tuple[tuple[str, Shape], ...]:
        """Roles and squeezed shapes, without the counter: equal in every unit this one may fill."""
        return tuple(sorted((r, squeezed(s)) for r, s in self.shapes.items() if r != COUNTER))

    @property
    def size(self) -> int:
        return sum(prod(shape) for shape in self.shapes.values())


def units(state: Mapping[str, Shape]) -> list[Unit]:
    """Return the units of a state_dict in registration order."""
    known, special = families(state), affine(state)
    found: dict[tuple[str, ...], Unit] = {}
    for key, shape in state.items():
        path, role = special.get(key) or belongs(key, known)
        if path in found and role in found[path].roles:
            path = (*path, key)  # a module and a parameter of one name
        unit = found.setdefault(path, Unit(path, len(found)))
        unit.roles[role] = key
        unit.shapes[role] = tuple(shape)
    whole = _with_tables(_with_biases(list(found.values())))
    read = spelled([unit.path for unit in whole])
    return renumbered(_with_depths([replace(unit, spelled=read) for unit in whole]))


def renumbered(units: list[Unit]) -> list[Unit]:
    """Return the units with their places in this list as numbers."""
    return [replace(unit, index=index) for index, unit in enumerate(units)]


def _with_tables(units: list[Unit]) -> list[Unit]:
    """Return the units with a bias that stands alone, and is no vector, as the parameter that it is."""
    for unit in units:
        if list(unit.shapes) == ["bias"] and len(unit.shapes["bias"]) > 1:
            unit.roles["weight"] = unit.roles.pop("bias")
            unit.shapes["weight"] = unit.shapes.pop("bias")
    return units


def _with_depths(units: list[Unit]) -> list[Unit]:
    """Return the units with their depth as a number, where a network is written as one block in the next.

    model.1.model.3.model.3.model.5 is model 3, twice, in model 1: how often is what a name tells there.
    """
    patterns = {found for unit in units for found in _repeated(unit.path)}
    if not patterns:
        return units
    pattern = max(patterns, key=lambda p: sum(_runs(unit.path, p) > 1 for unit in units))
    size = len(pattern)
    deeper = []
    for unit in units:
        path, count = unit.path, _runs(unit.path, pattern)
        if count:
            start = next(i for i in range(len(path)) if path[i : i + size] == pattern)
            path = (*path[: start + size], str(count), *path[start + size * count :])
        deeper.append(replace(unit, path=path))
    return deeper if len({unit.path for unit in deeper}) == len(units) else units


def _repeated(path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield what stands four times and more in a row in a path: a word, or a word and what follows it."""
    for size in (1, 2, 3):
        for start in range(len(path) - 4 * size + 1):
            pattern = path[start : start + size]
            if not pattern[0].isdigit() and path[start : start + 4 * size] == pattern * 4:
                yield pattern


def _runs(path: tuple[str, ...], pattern: tuple[str, ...]) -> int:
    """Return how often `pattern` stands in a row where it first stands."""
    size, count = len(pattern), 0
    start = next((i for i in range(len(path)) if path[i : i + size] == pattern), len(path))
    while path[start + size * count : start + size * (count + 1)] == pattern:
        count += 1
    return count


def _with_biases(units: list[Unit]) -> list[Unit]:
    """Return the units with each bias that stands beside the matrix of its layer put into it."""
    below: dict[tuple[str, ...], list[Unit]] = {}
    for unit in units:
        for depth in range(1, len(unit.path)):
            below.setdefault(unit.path[:depth], []).append(unit)
    by_path = {unit.path: unit for unit in units}
    gone: set[int] = set()
    for before, unit in zip([None, *units], units, strict=False):
        if len(unit.shapes) != 1 or not unit.path:
            continue
        ((role, shape),) = unit.shapes.items()
        if role == "bias":  # beside the module that has the weight
            fits = [
                module
                for module in below.get(unit.path, [])
                if _bare_matrix(module, shape, both=True)
            ]
        elif named := _OWN_BIAS.fullmatch(unit.path[-1]):
            module = by_path.get((*unit.path[:-1], named[1]))
            fits = [module] if module and _bare_matrix(module, shape) else []
        else:
            beside = before and _listed(before) and _listed(unit) and _bare_matrix(before, shape)
            fits = [before] if before and beside and before.path[:-1] == unit.path[:-1] else []
        if len(fits) == 1:
            fits[0].roles["bias"], fits[0].shapes["bias"] = unit.roles[role], shape
            gone.add(unit.index)
    return [unit for unit in units if unit.index not in gone]


def _listed(unit: Unit) -> bool:
    """Return whether a unit is one of the parameters of a list."""
    return unit.path[-1].isdigit() and unit.roles.get("weight") == ".".join(unit.path)


def _bare_matrix(unit: Unit, bias: Shape, *, both: bool = False) -> bool:
    """Return whether a unit is a matrix without a bias, of as many rows (or columns) as `bias` is long."""
    if list(unit.shapes) != ["weight"] or len(shape := unit.shapes["weight"]) < 2:
        return False
    return bias == shape[:1] or (both and bias == shape[-1:])


def ranks(units: list[Unit]) -> list[tuple[int, ...]]:
    """Return, for each number in the name of each unit, which it is among those of its like, -1 if alone.

    The convolutions of a Sequential are 2, 5 and 8 where normalisations and activations stand between:
    the first, the second and the third.
    """
    counts: dict[object, set[int]] = {}
    for unit in units:
        for place, number in enumerate(unit.numbers):
            counts.setdefault(_like(unit, place), set()).add(number)
    order = {like: {n: i for i, n in enumerate(sorted(ns))} for like, ns in counts.items()}
    return [
        tuple(
            among[number] if len(among := order[_like(unit, place)]) > 1 else -1
            for place, number in enumerate(unit.numbers)
        )
        for unit in units
    ]


def counted_on(units: list[Unit]) -> list[list[int]]:
    """Return, for each number in the name of each unit, where it stands if counting went on from row to row.

    The blocks 0.0, 0.1, 1.0 of two stages are 0, 1 and 2 of a list that knows no stages.
    """
    rows: dict[object, set[tuple[int, ...]]] = {}
    for unit in units:
        for place in range(len(unit.numbers)):
            rows.setdefault(_before(unit, place), set()).add(unit.numbers[: place + 1])
    order = {like: {row: i for i, row in enumerate(sorted(there))} for like, there in rows.items()}
    return [
        [order[_before(u, place)][u.numbers[: place + 1]] for place in range(len(u.numbers))]
        for u in units
    ]


def _before(unit: Unit, place: int) -> object:
    """Return what stands before a number in the name of a unit, other numbers aside."""
    at = [i for i, token in enumerate(unit.template) if token == "#"][place]
    return unit.template[:at]


def _like(unit: Unit, place: int) -> object:
    """Return what units have in common that differ in one number only."""
    return unit.template, unit.signature, place, unit.numbers[:place], unit.numbers[place + 1 :]


def backwards(units: list[Unit], depth: int) -> list[int]:
    """Return the places of the units if the blocks that the `depth`th number counts were turned round."""
    blocks: dict[tuple[str, ...], dict[tuple[str, ...], list[int]]] = {}
    where: list[tuple[str, ...] | None] = []
    for unit in units:
        numbered = [at for at, part in enumerate(unit.path) if re.search(r"[0-9]", part)]
        at = numbered[depth - 1] if len(numbered) >= depth else None
        parent = None if at is None else unit.path[:at]
        where.append(parent)
        if at is not None and parent is not None:
            blocks.setdefault(parent, {}).setdefault(unit.path[: at + 1], []).append(unit.index)
    turned = {
        parent: [i for block in reversed(found.values()) for i in block]
        for parent, found in blocks.items()
    }
    rows = {parent: iter(order) for parent, order in turned.items()}
    return [i if parent is None else next(rows[parent]) for i, parent in enumerate(where)]


def counted(units: list[Unit]) -> list[Unit]:
    """Return units that were sorted as text in the order of their numbers: layer 2 before layer 10."""
    keys = [
        [
            (int(t), "") if i % 2 else (-1, t)
            for part in u.path
            for i, t in enumerate(re.split(r"([0-9]{1,18})", part))
        ]
        for u in units
    ]
    places = sorted(range(len(units)), key=lambda i: keys[i])
    return renumbered([units[i] for i in places])
