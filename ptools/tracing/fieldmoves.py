"""One call of an ATen operator, and the rules of those that only move elements about.

A rule gets a `Call` and returns the state of the outputs: one State for all of them, or a list.
It raises `Unknown` where it cannot tell; the output then counts as seeing the whole input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ptools.tracing import fieldreads as reads
from ptools.tracing.fieldreads import EMPTY
from ptools.tracing.fieldstate import (
    Atom,
    State,
    expanded,
    joined,
    length,
    plain,
    resized,
    selected,
    viewed,
    windowed,
)


class Unknown(Exception):
    """This operator, or this use of it, has no rule."""


class Call:
    """One call of an operator: its arguments by name, its outputs, the states of its tensors."""

    def __init__(
        self,
        arguments: Mapping[str, Any],
        outputs: Sequence[torch.Tensor],
        states: Mapping[int, State],
        axes: int,
    ) -> None:
        """`states`: by id() of the tensors among the arguments that depend on the image."""
        self.arguments, self.outputs, self.states, self.axes = arguments, outputs, states, axes

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return an argument; the default where the operator has none of this name, or None."""
        value = self.arguments.get(name)
        return default if value is None else value

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the first output."""
        return tuple(self.outputs[0].shape)

    def of(self, tensor: torch.Tensor) -> State:
        """Return the state of a tensor; that of a constant depends on nothing."""
        known = self.states.get(id(tensor))
        return plain(tensor.shape, (EMPTY,) * self.axes) if known is None else known

    def first(self) -> State:
        """Return the state of the first argument. Raises Unknown if another depends as well."""
        tensor = next(iter(self.arguments.values()))
        if not isinstance(tensor, torch.Tensor) or set(self.states) != {id(tensor)}:
            raise Unknown
        return self.of(tensor)

    def dims(self, name: str, rank: int) -> list[int]:
        """Return an argument that names dimensions as a list of indices >= 0; none: all."""
        value = self.arguments.get(name)
        value = [value] if isinstance(value, int) else value
        return [d % rank for d in value] if value else list(range(rank))


Rule = Callable[[Call], State | list[State]]


def each(values: int | Sequence[int], rank: int) -> list[int]:
    """Return one value per dimension: (3) and 3 mean (3, 3) for images."""
    values = [values] if isinstance(values, int) else list(values)
    return values * rank if len(values) == 1 else values


def roll(call: Call) -> State:
    state, shifts = call.first(), each(call["shifts"], 1)
    if not call["dims"]:
        raise Unknown  # rolls the flattened tensor
    for d, by in zip(call.dims("dims", len(state.dims)), shifts, strict=True):
        size = length(state.dims[d])
        by = (by + size // 2) % size - size // 2  # the shorter way round
        state = windowed(state, d, reads.shifted(-by), size)
    return state


def flip(call: Call) -> State:
    state = call.first()
    for d in call.dims("dims", len(state.dims)):
        size = length(state.dims[d])
        state = windowed(state, d, reads.shifted(size - 1, -1), size)
    return state


def slice_(call: Call) -> State:
    state = call.first()
    d = call["dim"] % len(state.dims)
    size = length(state.dims[d])
    start = call.get("start", 0)
    start = min(max(start + size if start < 0 else start, 0), size)
    return windowed(state, d, reads.shifted(start, call["step"]), call.shape[d])


def select(call: Call) -> State:
    state = call.first()
    d = call["dim"] % len(state.dims)
    return selected(state, d, call["index"] % length(state.dims[d]))


def unbind(call: Call) -> list[State]:
    state = call.first()
    return [selected(state, call["dim"] % len(state.dims), i) for i in range(len(call.outputs))]


def split(call: Call) -> list[State]:
    state = call.first()
    d, start, states = call["dim"] % len(state.dims), 0, []
    for output in call.outputs:
        states.append(windowed(state, d, reads.shifted(start), output.shape[d]))
        start += output.shape[d]
    return states


def tensors(call: Call) -> list[State]:
    tensors = next(iter(call.arguments.values()))
    return [call.of(t) for t in tensors if tuple(t.shape) != (0,)]


def cat(call: Call) -> State:
    states = tensors(call)
    d = call["dim"] % len(call.shape)
    if any(state.carries(d) for state in states):
        raise Unknown
    return joined([resized(state, d, call.shape[d]) for state in states], call.shape)


def stack(call: Call) -> State:
    d = call["dim"] % len(call.shape)
    state = joined(tensors(call), call.shape[:d] + call.shape[d + 1 :])
    return State((*state.dims[:d], (Atom(call.shape[d]),), *state.dims[d:]), state.base)


def view(call: Call) -> State:
    return viewed(call.first(), call.shape)


def permute(call: Call) -> State:
    state = call.first()
    order = call.dims("dims", len(state.dims))
    return State(tuple(state.dims[d] for d in order), state.base)


def transpose(call: Call) -> State:
    state = call.first()
    order = list(range(len(state.dims)))
    if order:
        one, other = call.get("dim0", 0) % len(order), call.get("dim1", -1) % len(order)
        order[one], order[other] = order[other], order[one]
    return State(tuple(state.dims[d] for d in order), state.base)


def expand(call: Call) -> State:
    return expanded(call.first(), call.shape)


def repeat(call: Call) -> State:
    state = call.first()
    dims = ((),) * (len(call.shape) - len(state.dims)) + state.dims
    pairs = zip(dims, call["repeats"], strict=True)
    return State(tuple((Atom(n), *dim) if n > 1 else dim for dim, n in pairs), state.base)


def shuffle(up: bool, call: Call) -> State:
    state = call.first()
    r = call["upscale_factor" if up else "downscale_factor"]
    *lead, channels, height, width = state.shape
    n = len(lead)
    if up:
        split = (*lead, channels // r**2, r, r, height, width)
        order = (*range(n + 1), n + 3, n + 1, n + 4, n + 2)
    else:
        split = (*lead, channels, height // r, r, width // r, r)
        order = (*range(n + 1), n + 2, n + 4, n + 1, n + 3)
    state = viewed(state, split)
    return viewed(State(tuple(state.dims[d] for d in order), state.base), call.shape)
