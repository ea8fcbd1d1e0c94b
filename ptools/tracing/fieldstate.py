"""Which input pixels the elements of a tensor depend on: the algebra behind `ptools.tracing.field`.

    Atom      a factor of a tensor's dimension; it may carry one axis of the image
    State     a tensor: its dimensions as atoms (outer first), and an interval per axis of the image

An element covers, along an axis, the sum of what its places in the atoms that carry the axis cover,
plus the base. A base of None is the whole input; EMPTY is that of a constant. No torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import lcm, prod

from ptools.tracing.fieldreads import (
    EMPTY,
    LONGEST,
    SAME,
    STILL,
    Cover,
    Interval,
    Reads,
    hull,
    plus,
)


@dataclass(frozen=True)
class Atom:
    """A factor of a dimension; `axis` is the axis of the image whose position it carries."""

    size: int
    axis: int | None = None
    cover: Cover = STILL


Dim = tuple[Atom, ...]


@dataclass(frozen=True)
class State:
    """What the elements of a tensor depend on. `base`: one per axis; None is the whole input."""

    dims: tuple[Dim, ...]
    base: tuple[Interval | None, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape."""
        return tuple(length(dim) for dim in self.dims)

    def atoms(self, axis: int) -> list[Atom]:
        """Return the atoms that carry an axis, the innermost last."""
        return [atom for dim in self.dims for atom in dim if atom.axis == axis]

    def carries(self, d: int) -> bool:
        """Return whether position along this dimension means position in the image."""
        return any(atom.axis is not None for atom in self.dims[d])

    def with_dim(self, d: int, *dim: Atom) -> State:
        """Return it with another dimension in the place of dimension d."""
        dims = (*self.dims[:d], dim, *self.dims[d:][1:])
        return State(dims, self.base)


def length(dim: Dim) -> int:
    """Return the size of a dimension."""
    return prod(atom.size for atom in dim)


def plain(shape: Sequence[int], base: Sequence[Interval | None]) -> State:
    """Return the state of a tensor whose elements all depend on the same."""
    return State(tuple((Atom(size),) for size in shape), tuple(base))


def image(shape: Sequence[int]) -> State:
    """Return the state of the input itself: (N, C, *spatial)."""
    dims = tuple((Atom(n, d - 2, Cover(1)) if d > 1 else Atom(n),) for d, n in enumerate(shape))
    return State(dims, ((0, 0),) * (len(shape) - 2))


def normal(state: State) -> State:
    """Return it with no atom for an axis seen wholly, and fixed offsets in the base."""
    base = list(state.base)

    def settle(atom: Atom) -> Atom:
        if atom.axis is None or base[atom.axis] is None:
            return Atom(atom.size)
        if len(atom.cover.table) == 1:
            base[atom.axis] = plus(base[atom.axis] or EMPTY, atom.cover.table[0])
            return replace(atom, cover=Cover(atom.cover.step))
        return atom

    dims = tuple(_merged(tuple(settle(atom) for atom in dim)) for dim in state.dims)
    return State(dims, tuple(base))


def _merged(dim: Dim) -> Dim:
    """Join neighbouring atoms that carry nothing; drop those of one element."""
    out: list[Atom] = []
    for atom in dim:
        if atom.axis is None and atom.size == 1:
            continue
        if out and out[-1].axis is None and atom.axis is None:
            out[-1] = Atom(out[-1].size * atom.size)
        else:
            out.append(atom)
    return tuple(out)


def mixed(state: State, *dims: int) -> State:
    """Return it after every element along these dimensions came to depend on all of them.

    An axis that no dimension carries afterwards is seen wholly.
    """
    base = list(state.base)
    lost: set[int] = set()
    for d in dims:
        for atom in state.dims[d]:
            if atom.axis is not None:
                lost.add(atom.axis)
                base[atom.axis] = plus(base[atom.axis] or EMPTY, atom.cover.over(range(atom.size)))
        state = state.with_dim(d, Atom(length(state.dims[d])))
    for axis in lost:
        base[axis] = base[axis] if state.atoms(axis) else None
    return normal(State(state.dims, tuple(base)))


def resized(state: State, d: int, size: int) -> State:
    """Return it with dimension d mixed and of this size."""
    return mixed(state, d).with_dim(d, Atom(size))


def fused(dim: Dim) -> Atom | None:
    """Return a dimension as one atom; None where it carries more than one axis."""
    if len(dim) == 1:
        return dim[0]
    axes = {atom.axis for atom in dim if atom.axis is not None}
    if len(axes) > 1:
        return None
    whole = dim[0] if dim else Atom(1)
    for atom in dim[1:]:
        table = tuple(
            plus(one, atom.cover.at(i)) for one in whole.cover.table for i in range(atom.size)
        )
        size = whole.size * atom.size
        cover = Cover(whole.cover.step, table).short(size) if axes else STILL
        whole = Atom(size, min(axes, default=None), cover)
    return whole


def settled(state: State) -> State:
    """Return it with one atom for every axis that a dimension alone carries, for reading off."""
    dims = []
    for dim in state.dims:
        head = next((i for i, atom in enumerate(dim) if atom.axis is not None), len(dim))
        whole = fused(dim[head:])
        dims.append((*dim[:head], whole) if whole else dim)
    return normal(State(tuple(dims), state.base))


def windowed(state: State, d: int, reads: Reads, size: int) -> State:
    """Return it after an operator that slides along dimension d and leaves `size` elements."""
    if reads == SAME and size == length(state.dims[d]):
        return state
    atom = fused(state.dims[d])
    if atom is None:
        return resized(state, d, size)
    if atom.axis is None:
        return state.with_dim(d, Atom(size))
    return normal(state.with_dim(d, Atom(size, atom.axis, atom.cover.read(reads, size))))


def selected(state: State, d: int, index: int) -> State:
    """Return it with one index taken out of dimension d, which goes away."""
    base = list(state.base)
    for atom in reversed(state.dims[d]):
        index, place = divmod(index, atom.size)
        if atom.axis is not None:
            base[atom.axis] = plus(base[atom.axis] or EMPTY, atom.cover.at(place))
    return State(state.dims[:d] + state.dims[d + 1 :], tuple(base))


def viewed(state: State, shape: Sequence[int]) -> State:
    """Return it in another shape of as many elements (row-major)."""
    old, new = state.shape, tuple(shape)
    head = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), None)
    head = min(len(old), len(new)) if head is None else head
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    middle = state.dims[head : len(old) - tail]
    pool = list(_merged(tuple(atom for dim in middle for atom in dim)))
    dims: list[Dim] = []
    for size in new[head : len(new) - tail]:
        dim = _taken(pool, size)
        if dim is None:
            return _unviewed(state, range(head, len(old) - tail), new)
        dims.append(dim)
    if pool and {atom.size for atom in pool} != {1}:
        return _unviewed(state, range(head, len(old) - tail), new)
    dims[-1:] = [(*dims[-1], *pool)] if dims else []
    if pool and not dims:  # dimensions of one element went away, and what they carried is fixed
        for d in reversed(range(head, len(old) - tail)):
            state = selected(state, d, 0)
        return state
    return normal(
        State(state.dims[:head] + tuple(dims) + state.dims[len(old) - tail :], state.base)
    )


def _taken(pool: list[Atom], size: int) -> Dim | None:
    """Take atoms of together `size` elements from the front; None where they do not come out."""
    dim: list[Atom] = []
    while size > 1:
        atom = pool.pop(0) if pool else Atom(0)
        if atom.size and size % atom.size == 0:
            size //= atom.size
        else:
            inner = atom.size // size
            if not inner or atom.size % size or inner % len(atom.cover.table):
                return None
            turns = atom.cover.step * (inner // len(atom.cover.table))
            pool.insert(0, replace(atom, size=inner))
            atom = Atom(size, atom.axis, Cover(turns) if atom.axis is not None else STILL)
            size = 1
        dim.append(atom)
    return tuple(dim)


def _unviewed(state: State, dims: Iterable[int], shape: Sequence[int]) -> State:
    """Return the state in a new shape when what `dims` carried cannot be followed."""
    axes = {atom.axis for d in dims for atom in state.dims[d]}
    return plain(shape, [None if axis in axes else one for axis, one in enumerate(state.base)])


def expanded(state: State, shape: Sequence[int]) -> State:
    """Return it broadcast to a shape: new dimensions in front, sizes of 1 repeated."""
    dims = ((),) * (len(shape) - len(state.dims)) + state.dims
    base = list(state.base)
    for d, size in enumerate(shape):
        if length(dims[d]) == size:
            continue
        for atom in dims[d]:
            if atom.axis is not None:
                base[atom.axis] = plus(base[atom.axis] or EMPTY, atom.cover.at(0))
        dims = (*dims[:d], (Atom(size),), *dims[d + 1 :])
    return State(dims, tuple(base))


def joined(states: Sequence[State], shape: Sequence[int]) -> State:
    """Return the union: what an element depends on that is made from one element of each."""
    states = [normal(expanded(state, shape)) for state in states]
    for d in range(len(shape)):
        states = _conformed(states, d)
    places = [(d, i) for d, dim in enumerate(states[0].dims) for i in range(len(dim))]
    axes: list[tuple[Interval | None, dict[tuple[int, int], Cover]]] = [
        _joined_axis(states, axis, places) for axis in range(len(states[0].base))
    ]
    base = [one for one, _ in axes]
    carried: dict[tuple[int, int], tuple[int, Cover]] = {}
    for axis, (_, covers) in enumerate(axes):
        for place, cover in covers.items():
            if place in carried:  # the same position means two axes: x + x.transpose(2, 3)
                base[axis] = base[carried[place][0]] = None
            carried[place] = (axis, cover)
    dims = tuple(
        tuple(Atom(atom.size, *carried.get((d, i), ())) for i, atom in enumerate(dim))
        for d, dim in enumerate(states[0].dims)
    )
    return normal(State(dims, tuple(base)))


def _conformed(states: Sequence[State], d: int) -> list[State]:
    """Give dimension d of all states atoms of the same sizes."""

    def patterns() -> set[tuple[int, ...]]:
        return {tuple(atom.size for atom in s.dims[d]) for s in states if s.carries(d)}

    if len(patterns()) > 1:
        whole = [fused(state.dims[d]) for state in states]
        states = [
            state.with_dim(d, atom) if atom else mixed(state, d)
            for state, atom in zip(states, whole, strict=True)
        ]
    pattern = patterns().pop() if patterns() else (length(states[0].dims[d]),)
    atoms = [Atom(size) for size in pattern]
    return [state if state.carries(d) else state.with_dim(d, *atoms) for state in states]


def _joined_axis(
    states: Sequence[State], axis: int, places: Sequence[tuple[int, int]]
) -> tuple[Interval | None, dict[tuple[int, int], Cover]]:
    """Return the base and the covers of one axis, for states of the same atoms."""
    states = [state for state in states if state.base[axis] != EMPTY]  # constants add nothing
    bases = [base for state in states if (base := state.base[axis]) is not None]
    if len(bases) < len(states):
        return None, {}

    def cover(state: State, place: tuple[int, int]) -> Cover:
        atom = state.dims[place[0]][place[1]]
        return atom.cover if atom.axis == axis else STILL

    covers = {place: [cover(state, place) for state in states] for place in places}
    shared = {place: of[0] for place, of in covers.items() if of and of[0] != STILL}
    differing = [place for place, of in covers.items() if len(set(of)) > 1]
    if not differing:
        return hull(bases), shared
    place = differing[0]
    parts = [one.moved(base) for one, base in zip(covers[place], bases, strict=True)]
    size = states[0].dims[place[0]][place[1]].size
    together = _union(parts, size)
    if len(differing) > 1 or together is None:
        return None, {}
    return (0, 0), {**shared, place: together}


def _union(covers: Sequence[Cover], size: int) -> Cover | None:
    """Return what elements cover in any of these ways; None where only some of them move.

    Where the strides differ (a map resized to fit another of an odd size) it is listed element by
    element, exact within the tensor, and the stride is that of the first.
    """
    rates = {cover.rate for cover in covers}
    if 0 in rates and len(rates) > 1 and size > 1:
        return None
    period = lcm(*(len(cover.table) for cover in covers))
    if len(rates) > 1 or period > LONGEST:
        covers = [cover.listed(size) for cover in covers]
        period = size
    table = tuple(hull(cover.at(i) for cover in covers) for i in range(period))
    return Cover(covers[0].step * (period // len(covers[0].table)), table).short(size)


def along(
    state: State, dims: Sequence[int], reads: Callable[[int, int, int], Reads], sizes: Sequence[int]
) -> State:
    """Slide along several dimensions: reads(position in dims, size before, size after)."""
    for i, (d, size) in enumerate(zip(dims, sizes, strict=True)):
        state = windowed(state, d, reads(i, length(state.dims[d]), size), size)
    return state
