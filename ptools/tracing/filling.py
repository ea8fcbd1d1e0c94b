"""What a chain of layers takes: the number for each `?`, and the repair of a chain that does not fit.

fill      replaces each `?` by the size of what arrives there
repair    names the first layer that cannot take its input, and the edits with which the chain runs

Both run the layers one by one on the meta device: no memory, no weights, any size.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ptools.errors import UsageError, one_line
from ptools.tracing.chains import Argument, Layer, build, check, numbered

if TYPE_CHECKING:
    import torch

__all__ = ["Repair", "fill", "repair"]

TRIES = 100  # runs of the chain in search of a repair


class _Leaf(NamedTuple):
    """A layer that is no Sequential: where it stands in the nested ones, and its dotted name."""

    path: tuple[int, ...]
    name: str
    layer: Layer

    def __str__(self) -> str:
        return f"{self.name} ({self.layer.kind})"


class _Step(NamedTuple):
    """A leaf with what went in; what came out, or the reason why nothing did."""

    leaf: _Leaf
    values: tuple[Any, ...]
    output: Any
    reason: str | None


@dataclass(frozen=True)
class Repair:
    """The first layer that cannot take its input, and what to do.

    `name` is dotted ("features.3"); `expected` and `got` are shapes with their reasons, `cause` is one
    sentence. `edits` are in the order made, with the numbers that layers have then; `layers` is
    the chain with them, proved by a run, or None where none was found.
    """

    name: str
    layer: Layer
    expected: str
    got: str
    cause: str
    edits: tuple[str, ...] = ()
    layers: tuple[Layer, ...] | None = None


def fill(layers: Sequence[Layer], inputs: Sequence[torch.Tensor]) -> list[Layer]:
    """Return the layers with a number for each `?`, as `inputs` (with their batch) reach them.

    A lazy layer becomes its plain one: LazyLinear(64) -> Linear(400, 64). What comes behind the last
    `?` is not run. Raises UsageError where a layer before it does not run, or no number fits.
    """
    chain, values = list(layers), tuple(one.to("meta") for one in inputs)
    leaves = list(_leaves(chain))
    last = max((i for i, leaf in enumerate(leaves) if _open(leaf.layer)), default=-1)
    steps: list[_Step] = []
    for i, leaf in enumerate(leaves[: last + 1]):
        if _open(leaf.layer):
            leaf = leaf._replace(layer=_filled(leaf, values))
            chain = _put(chain, leaf.path, [leaf.layer])
        if i < last:
            steps.append(_run(leaf, values))
            if steps[-1].reason is not None:
                raise UsageError(
                    f"layer {leaf.name}, {one_line(leaf.layer.text, 80)}, cannot take {_shape(values)}: "
                    f"{_explained(steps)[2]}; correct it, then the `?` behind it can be found."
                )
            values = (steps[-1].output,)
    return chain


def _open(layer: Layer) -> bool:
    return layer.unknown or layer.kind.startswith("Lazy")


def _leaves(
    layers: Sequence[Layer], path: tuple[int, ...] = (), prefix: str = ""
) -> Iterator[_Leaf]:
    for i, layer in enumerate(layers):
        if layer.kind == "Sequential":
            yield from _leaves(layer.layers, (*path, i), f"{prefix}{layer.name}.")
        else:
            yield _Leaf((*path, i), prefix + layer.name, layer)


def _put(layers: Sequence[Layer], path: tuple[int, ...], new: list[Layer]) -> list[Layer]:
    """Return the chain with `new` in place of the leaf at `path`; numbers stay consecutive."""
    i, *rest = path
    if rest:
        inner = _put(layers[i].layers, tuple(rest), new)
        new = [replace(layers[i], layers=tuple(inner))]
    chain = [*layers[:i], *new, *layers[i + 1 :]]
    if len(new) != 1 and numbered(layers):
        return [replace(one, name=str(k)) for k, one in enumerate(chain)]
    return chain


def _filled(leaf: _Leaf, values: tuple[Any, ...]) -> Layer:
    layer = leaf.layer
    if layer.kind.startswith("Lazy"):
        unknown = Argument(None, None, "?")
        layer = replace(layer, kind=layer.kind[4:], arguments=(unknown, *layer.arguments))
    shape = tuple(getattr(values[0], "shape", ()))

    def inside(inner: Layer) -> Layer:
        size = _size(inner, shape)
        if size is None and any(one.text == "?" for one in inner.arguments):
            advice = "it needs more dimensions; correct --in, or put an Unflatten before it."
            if isinstance(values[0], tuple | list):
                advice = "nn.Sequential hands the whole tuple on; the chain must end before it."
            text = f"layer {leaf.name}, {one_line(layer.text, 80)}: no number fits its input"
            raise UsageError(f"{text}, {_shape(values)}: {advice}")
        return inner.with_unknown(size or 0, inside)

    layer = inside(layer)
    check(layer)
    return layer


def _size(layer: Layer, shape: tuple[int, ...]) -> int | None:
    """Return the size of `shape` that the layer's input argument must have."""
    parameter, dimension, _ = layer.parameter()
    known = parameter and -len(shape) <= dimension < len(shape)
    return shape[dimension] if known else None


def _shape(values: Sequence[Any]) -> str:
    return ", ".join(
        f"a tuple ({_shape(one)})" if isinstance(one, tuple | list) else str(list(one.shape))
        for one in values
    )


def _run(leaf: _Leaf, values: tuple[Any, ...]) -> _Step:
    """Run one layer; in eval mode, since a batch of one is no mistake of the chain."""
    import warnings

    try:
        module = build([replace(leaf.layer, name="0")])[0].eval()
        reason = _unseen(leaf.layer, module, values)
        if reason is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return _Step(leaf, values, module(*values), None)
    except Exception as error:  # every layer has its own ways to say no
        reason = one_line(error, 160).rstrip(".") or type(error).__name__
    return _Step(leaf, values, None, reason)


def _unseen(layer: Layer, module: torch.nn.Module, values: tuple[Any, ...]) -> str | None:
    """Return what is wrong although the meta device would not mind."""
    first = values[0]
    if isinstance(first, tuple | list):
        return None  # the layer says so itself, and nn.Identity does not mind
    weights = [one for one in module.parameters() if one.is_floating_point()]
    if weights and not layer.kind.startswith("Embedding"):
        norm = "Norm" in layer.kind and first.is_floating_point()  # these mix types
        if first.dtype != weights[0].dtype and not norm:
            return f"it takes {_dtype(weights[0])}, not {_dtype(first)}"
    size, wanted = _size(layer, tuple(first.shape)), layer.parameter()[2]
    if layer.kind.startswith("ConvTranspose") and wanted and size != wanted.value:
        return f"in_channels is {wanted.text}, the input has {size}"
    return None


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _trace(layers: Sequence[Layer], values: tuple[Any, ...]) -> list[_Step]:
    """Run the chain up to the first layer that fails."""
    steps: list[_Step] = []
    for leaf in _leaves(layers):
        steps.append(_run(leaf, values))
        if steps[-1].reason is not None:
            break
        values = (steps[-1].output,)
    return steps


def repair(layers: Sequence[Layer], inputs: Sequence[torch.Tensor]) -> Repair | None:
    """Return what is wrong with the chain and the edits that help; None where it runs.

    `inputs` come with their batch. Raises UsageError where a `?` is left (see fill).
    """
    build(layers)
    values = tuple(one.to("meta") for one in inputs)
    steps = _trace(layers, values)
    if not steps or steps[-1].reason is None:
        return None
    leaf = steps[-1].leaf
    edits, chain = _search(layers, values, [TRIES]) or ((), None)
    return Repair(leaf.name, leaf.layer, *_explained(steps), edits, chain)


def _search(
    layers: Sequence[Layer], values: tuple[Any, ...], tries: list[int]
) -> tuple[tuple[str, ...], tuple[Layer, ...]] | None:
    """Return (edits, chain) with which everything runs: depth first, the likeliest edit first."""
    steps = _trace(layers, values)
    if not steps or steps[-1].reason is None:
        return (), tuple(layers)
    for new in _candidates(steps[-1]):
        tries[0] -= 1
        if tries[0] < 0:
            return None
        leaf = steps[-1].leaf
        chain = _put(layers, leaf.path, _renamed(new, leaf.layer.name, layers))
        after = _trace(chain, values)
        stuck = not after or (after[-1].reason and len(after) < len(steps) + len(new))
        rest = None if stuck else _search(chain, values, tries)
        if rest:
            return (*_edits(leaf, new), *rest[0]), rest[1]
    return None


def _renamed(new: list[Layer], name: str, layers: Sequence[Layer]) -> list[Layer]:
    taken = {part for leaf in _leaves(layers) for part in leaf.name.split(".")}
    free = next(
        f"flatten{i or ''}" for i in range(len(taken) + 1) if f"flatten{i or ''}" not in taken
    )
    return [replace(one, name=name if i == len(new) - 1 else free) for i, one in enumerate(new)]


def _edits(leaf: _Leaf, new: list[Layer]) -> Iterator[str]:
    if not new:
        yield f"leave {leaf} out"
    if len(new) > 1:
        yield f"insert {new[0].text} before {leaf}"
    if new and new[-1].text != leaf.layer.text:
        yield f"{leaf.name}: {leaf.layer.text} -> {new[-1].text}"


def _candidates(step: _Step) -> Iterator[list[Layer]]:
    """Yield what could stand in the failing layer's place, the likeliest first."""
    layer, shape = step.leaf.layer, tuple(getattr(step.values[0], "shape", ()))
    sized = _resized(layer, shape)
    if layer.kind == "Linear" and len(shape) > 2:
        flatten = Layer("flatten", "Flatten")
        behind = _resized(layer, (shape[0], math.prod(shape[1:])))
        yield [flatten, layer]
        both = [[flatten, behind]] if behind else []
        last = [[sized]] if sized else []  # of a sequence (N, L, C), Linear takes C
        yield from both + last if len(shape) > 3 else last + both
        return
    if sized:
        yield [sized]
    other = re.fullmatch(r"(.*[a-z])[123]d", layer.kind)
    dimensions = max(len(shape) - 2, 1 if "BatchNorm" in layer.kind else 0)
    if other and 1 <= dimensions <= 3 and layer.kind != f"{other[1]}{dimensions}d":
        turned = replace(layer, kind=f"{other[1]}{dimensions}d")
        yield [turned]
        again = _resized(turned, shape)
        yield from [[again]] if again else []
    if "Pool" in layer.kind:
        yield []  # what is left is smaller than its window


def _resized(layer: Layer, shape: tuple[int, ...]) -> Layer | None:
    """Return the layer for an input of `shape`; None where that changes nothing or cannot be."""
    size, wanted = _size(layer, shape), layer.parameter()[2]
    if size is None or wanted is None:
        parts = [(one, one.inner and _resized(one.inner, shape)) for one in layer.arguments]
        new = tuple(replace(one, value=inner) if inner else one for one, inner in parts)
        return replace(layer, arguments=new) if new != layer.arguments else None
    value: Any = size
    if isinstance(wanted.value, tuple | list):  # LayerNorm((16, 8, 8))
        value = shape[max(0, len(shape) - len(wanted.value)) :]
    if value == wanted.value:
        return None
    given = replace(wanted, value=value, text=str(value))
    return replace(layer, arguments=tuple(given if a is wanted else a for a in layer.arguments))


def _explained(steps: Sequence[_Step]) -> tuple[str, str, str]:
    """Return what the last step's layer expects, what it got, and the cause one step upstream."""
    leaf, values, _, reason = steps[-1]
    layer, first = leaf.layer, values[0]
    maker, shape, flattened = _origin(steps)
    if isinstance(first, tuple | list):
        cause = (
            f"{maker} returns a tuple, and nn.Sequential hands it on whole; "
            "write a module whose forward takes its first part: self.lstm(x)[0]"
        )
        return "one tensor", f"{_shape(values)}   from {maker}", cause
    parameter, _, wanted = layer.parameter()
    size = _size(layer, tuple(first.shape))
    cause = reason or ""
    spatial = re.fullmatch(r".*([123])d", layer.kind)
    if spatial and len(first.shape) not in (int(spatial[1]) + 1, int(spatial[1]) + 2):
        cause = f"{layer.kind} takes no input of {len(first.shape)} dimensions"
    elif wanted and isinstance(wanted.value, int) and size not in (None, wanted.value):
        made = f"{flattened} = {size}" if flattened else f"{size}"
        cause = f"{parameter} is {wanted.text}, but {maker} gives {made}"
        if layer.kind == "Linear" and len(first.shape) > 3:
            cause = f"Linear sees only the last dimension, {size}: no Flatten() stands before it"
    got = _shape(values) if first.is_floating_point() else f"{_shape(values)} {_dtype(first)}"
    if layer.kind.startswith("Embedding") and first.is_floating_point():
        got, cause = f"{got} {_dtype(first)}", f"{layer.kind} takes whole numbers, not floats"
    got += f"   = {flattened} flattened, from {maker} {shape}" if flattened else f"   from {maker}"
    return _expected(layer), got, cause


def _origin(steps: Sequence[_Step]) -> tuple[str, str, str]:
    """Return the layer that gave the input its sizes, its output's shape, and `16*5*5` if flattened."""
    flattened, values = "", steps[-1].values
    for step in reversed(steps[:-1]):
        before = step.values
        sizes = getattr(before[0], "shape", ())
        if step.leaf.layer.kind == "Flatten" and math.prod(sizes[1:]) == values[0].shape[-1]:
            flattened = "*".join(map(str, sizes[1:]))
        elif _shape(before) != _shape(values) or step.leaf.layer.parameter()[0]:
            return str(step.leaf), _shape(values), flattened
        values = before
    return "the input", _shape(values), flattened


def _expected(layer: Layer) -> str:
    parameter, dimension, wanted = layer.parameter()
    numbers = re.fullmatch(r".*([123])d", layer.kind)
    behind = int(numbers[1]) if numbers else 0
    if layer.kind == "BatchNorm1d":
        behind = 0  # (N, C) as well as (N, C, L)
    if layer.kind.startswith("Embedding"):
        return "whole numbers, int64"
    if wanted is None:
        return f"[*, *{', *' * behind}]" if behind else "one tensor"
    size = wanted.text.strip("()[], ")
    front = "[*, *, " if layer.kind in ("RNN", "LSTM", "GRU") else "[*, "
    rest = ", *" * behind if dimension != -1 else ""
    return f"{front}{size}{rest}]   {parameter}={wanted.text}"
