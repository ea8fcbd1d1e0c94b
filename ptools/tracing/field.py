"""The receptive field of every layer, on the meta device: one dry run, no values.

    field.py        the run: follow every operator, ask the layers
    fieldrules.py   what each operator does
    fieldmoves.py   one call of an operator; the operators that only move elements about
    fieldstate.py   a tensor's dependence on the image
    fieldreads.py   whole-number arithmetic along one dimension

Source: Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks",
Distill 2019, doi:10.23915/distill.00021, for the definition and the coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ptools.errors import UsageError
from ptools.tracing.fieldmoves import Call, Unknown
from ptools.tracing.fieldreads import EMPTY, Cover, plus
from ptools.tracing.fieldrules import RULES, SHAPE_ONLY, elementwise
from ptools.tracing.fieldstate import (
    Atom,
    State,
    fused,
    image,
    joined,
    mixed,
    normal,
    plain,
    settled,
)

Geometry = tuple[int, tuple[int, ...], tuple[int, ...]]  # offset, shape, strides
ALL = "all"


@dataclass(frozen=True)
class Field:
    """The receptive field of one element of a layer's output, per spatial axis of the input.

    Sizes, strides and centres are in input pixels; an entry is None where the element sees the
    whole axis. Pixel 0 has its centre at 0.0 (the coordinates of Araujo et al.). Theoretical:
    padding of every kind continues the image, nothing is clipped at its edges.

    size: of the largest field of an element (they differ after upsampling); 0: a constant.
    stride: from one element's field to the next one's; a Fraction below 1 after upsampling; 0
    where all elements see the same pixels.
    centre: the middle of the field of element 0.
    """

    size: tuple[int | None, ...]
    stride: tuple[Fraction | None, ...]
    centre: tuple[float | None, ...]

    def __str__(self) -> str:
        """`11x11`, `11xall`, `all` (the whole input) or `none` (a constant)."""
        if len(set(self.size)) == 1 and self.size[0] in (None, 0):
            return ALL if self.size[0] is None else "none"
        return "x".join(ALL if one is None else str(one) for one in self.size)


@dataclass(frozen=True)
class Fields:
    """The fields by dotted module name, in the order of `named_modules`; "" is the model.

    A module that did not run, or whose output has no tensor, is missing; of one that ran several
    times it is the last run. `assumed` lists the operators taken to see the whole input because
    no rule follows them there: the fields behind them are upper bounds.
    """

    layers: dict[str, Field]
    assumed: tuple[str, ...] = field(default=())


def receptive_fields(model: nn.Module, inputs: list[torch.Tensor]) -> Fields:
    """Return the receptive field of every module with respect to the first image.

    `inputs` are the model's positional arguments, model and inputs on the meta device; the image is
    the first of them with at least 3 dimensions: (N, C, L), (N, C, H, W) or (N, C, D, H, W). The
    first tensor of a module's output is the one that counts. Exact for convolution (transposed
    too), pooling, resizing, slicing, reshaping and their sums and concatenations; a field reaches
    from its first to its last pixel, holes counted. Global pooling, flatten + Linear and attention
    over all tokens see everything, attention within windows sees its windows. Conventions: the
    statistics of batch, layer, group and instance normalisation do not count as seen; roll is a
    shift; all other inputs are constants. Upper bounds: grouped convolution over channels that hold
    pixels (after PixelUnshuffle), antialiased resizing (by a pixel of weight 0), `Fields.assumed`.

    Raises UsageError where no input is an image, and whatever the model raises.
    """
    found, assumed = states(model, inputs)
    return Fields({name: _field(state) for name, state in found.items()}, assumed)


def states(
    model: nn.Module, inputs: list[torch.Tensor]
) -> tuple[dict[str, State], tuple[str, ...]]:
    """Return what `receptive_fields` is made from: element by element, see `fieldstate.State`."""
    picture = next((one for one in inputs if one.dim() > 2), None)
    if picture is None:
        raise UsageError(
            "--rf needs an image: an input with channels and space, such as 3x224x224."
        )
    watch = _Watch(picture)
    found: dict[str, State] = {}
    with torch.no_grad(), _asked(model, watch, found), _Circular(), watch:
        model(*inputs)
    names = [name for name, _ in model.named_modules() if name in found]
    return {name: settled(found[name]) for name in names}, tuple(watch.assumed)


@contextmanager
def _asked(model: nn.Module, watch: _Watch, found: dict[str, State]) -> Iterator[None]:
    """Put the state of every module's output in `found` as it runs."""

    def ask(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            tensor = next((x for x in tree_leaves(output) if isinstance(x, torch.Tensor)), None)
            if tensor is not None:
                constant = plain(tensor.shape, (EMPTY,) * watch.axes)
                found[name] = watch.state(tensor) or constant

        return hook

    hooks = [module.register_forward_hook(ask(name)) for name, module in model.named_modules()]
    try:
        yield
    finally:
        for one in hooks:
            one.remove()


def _field(state: State) -> Field:
    size: list[Any] = []
    stride: list[Any] = []
    centre: list[Any] = []
    for axis, base in enumerate(state.base):
        if base is None:
            for entries in (size, stride, centre):
                entries.append(None)
            continue
        atoms = state.atoms(axis)
        first, spread = base, base[1] - base[0] + 1
        for atom in atoms:
            first = plus(first, atom.cover.at(0))
            spread += max(high - low for low, high in atom.cover.table)
        size.append(0 if base == EMPTY else spread)
        stride.append(atoms[-1].cover.rate if atoms else Fraction(0))
        centre.append(None if first == EMPTY else (first[0] + first[1]) / 2)
    return Field(tuple(size), tuple(stride), tuple(centre))


def _geometry(tensor: torch.Tensor) -> Geometry:
    return int(tensor.storage_offset()), tuple(tensor.shape), tensor.stride()


@dataclass
class _Memory:
    """What is known of one storage: writes in place, and of each view its state after how many."""

    storage: torch.UntypedStorage  # held, so that no other storage gets its address
    views: dict[Geometry, tuple[State, int]] = field(default_factory=dict)
    writes: list[tuple[Geometry, State]] = field(default_factory=list)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follow every operator.

    Tensors are known by storage and geometry, not by object: autograd hands out copies of views.
    """

    def __init__(self, picture: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.axes = picture.dim() - 2
        self.assumed: dict[str, None] = {}
        self._memory: dict[int, _Memory] = {}
        self._put(picture, image(picture.shape))

    def state(self, tensor: torch.Tensor) -> State | None:
        """Return what a tensor depends on; None for a constant."""
        memory = self._memory.get(tensor.untyped_storage()._cdata)
        if memory is None:
            return None
        target = _geometry(tensor)
        known, after = memory.views.get(target, (None, 0))
        later = [self._lifted(state, source, target) for source, state in memory.writes[after:]]
        if later:
            known = joined([known, *later] if known else later, tensor.shape)
            memory.views[target] = known, len(memory.writes)
        return known

    def _put(self, tensor: torch.Tensor, state: State, written: bool = False) -> None:
        """Take note of an output; `written`: it is an argument that was changed in place."""
        state, storage = normal(state), tensor.untyped_storage()
        memory = self._memory.setdefault(storage._cdata, _Memory(storage))
        if written and self.state(tensor) != state:
            memory.writes.append((_geometry(tensor), state))
        memory.views[_geometry(tensor)] = state, len(memory.writes)

    def _lifted(self, state: State, source: Geometry, target: Geometry) -> State:
        """Return what a view has from a write through another one (x[:, :, 1:] = y)."""
        lifted = _lifted(state, source, target)
        if lifted is None:
            self.assumed["write in place"] = None
            return plain(target[1], (None,) * self.axes)
        return lifted

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        arguments = _arguments(func, args, kwargs or {})
        leaves = tree_leaves(list(arguments.values()))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        states = {id(t): state for t in tensors if (state := self.state(t)) is not None}
        out = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::")
        if states and name not in SHAPE_ONLY:
            outputs = [leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]
            changed = [
                a.name for a in func._schema.arguments if a.alias_info and a.alias_info.is_write
            ]
            written = {id(x) for x in tree_leaves([arguments[one] for one in changed])}
            call = Call(arguments, outputs, states, self.axes)
            for tensor, state in zip(outputs, self._follow(func, name, call), strict=True):
                self._put(tensor, state, id(tensor) in written)
            self._unreturned(
                func, [x for x in tensors if id(x) in written - set(map(id, outputs))], call
            )
        return out

    def _unreturned(self, func: Any, changed: list[torch.Tensor], call: Call) -> None:
        """Arguments changed in place that are no outputs (_foreach_add_) may depend on all inputs."""
        if "norm" in func._schema.name:  # running statistics
            return
        for tensor in changed:
            self.assumed[func._schema.name] = None
            whole = _everything(list(call.states.values()), tuple(tensor.shape))
            self._put(tensor, whole, written=True)

    def _follow(self, func: Any, name: str, call: Call) -> list[State]:
        """Return the state of every output."""
        rule = RULES.get(name) or RULES.get(name.removesuffix("_"))
        if rule is None and torch.Tag.pointwise in func.tags:
            rule = elementwise
        known = list(call.states.values())
        whole = [_everything(known, tuple(out.shape)) for out in call.outputs]
        try:
            if rule is None:
                raise Unknown
            found = rule(call)
            if isinstance(found, State):  # the others are indices, or statistics
                found = [found, *(found if one.shape == found.shape else one for one in whole[1:])]
            if [one.shape for one in found] != [one.shape for one in whole]:
                raise Unknown
        except Exception:  # Unknown, or a use of the operator that its rule did not foresee
            if any(state.atoms(axis) for state in known for axis in range(self.axes)):
                self.assumed[func._schema.name] = None
            return whole
        return found


class _Circular(TorchFunctionMode):
    """Take circular padding for padding with zeros: it continues the image, as a shift does."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if getattr(func, "__name__", "") == "pad" and "circular" in (*args, kwargs.get("mode")):
            args, kwargs = args[:2], {k: v for k, v in kwargs.items() if k not in ("mode", "value")}
        return func(*args, **kwargs)


def _arguments(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return all arguments of an operator by name."""
    schema = func._schema.arguments
    given = {one.name: value for one, value in zip(schema, args, strict=False)}
    defaults = {one.name: one.default_value for one in schema if one.has_default_value()}
    values = {**defaults, **given, **kwargs}
    return {one.name: values.get(one.name) for one in schema}


def _everything(states: list[State], shape: tuple[int, ...]) -> State:
    """Return the state of an output that sees all of what its inputs see."""
    mixtures = [mixed(state, *range(len(state.dims))) for state in states]
    return joined([plain((1,) * len(shape), one.base) for one in mixtures], shape)


def _lifted(state: State, source: Geometry, target: Geometry) -> State | None:
    """Return a state of one view of a storage as that of another one; None where it cannot be told.

    Dimensions correspond where their strides are equal; elements not in the source are constants.
    """
    ahead = source[0] - target[0]
    sign, ahead = (1, ahead) if ahead >= 0 else (-1, -ahead)
    where = {step: d for d, (n, step) in enumerate(zip(*source[1:], strict=True)) if n > 1}
    dims = [Atom(size) for size in target[1]]
    whole = True  # all dimensions of the target are dimensions of the source
    for d in sorted(range(len(dims)), key=lambda d: -target[2][d]):
        size, step = target[1][d], target[2][d]
        if size < 2 or step == 0:
            continue
        start, ahead = divmod(ahead, step)
        atom = fused(state.dims[where.pop(step)]) if step in where else Atom(1)
        if atom is None:
            return None
        whole = whole and atom.size > 1
        inside = start + atom.size <= size
        if not inside and not (whole and (sign < 0 or start == 0) and start + size <= atom.size):
            return None
        dims[d] = _placed(atom, sign * start, size)
    return None if ahead or where else State(tuple((dim,) for dim in dims), state.base)


def _placed(atom: Atom, start: int, size: int) -> Atom:
    """Return a dimension of `size` elements that holds the atom's from `start` on."""
    if atom.axis is None or (start == 0 and atom.size == size):
        return Atom(size, atom.axis, atom.cover)
    table = tuple(
        atom.cover.at(i - start) if 0 <= i - start < atom.size else EMPTY for i in range(size)
    )
    return Atom(size, atom.axis, Cover(round(atom.cover.rate * size), table))
