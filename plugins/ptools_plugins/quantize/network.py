"""What quantisation does to all weights of a checkpoint.

model(weights, ...)    every weight under both schemes -> Model, the most damaged first
one(weights, name)     one tensor's values

Weights are the floats of two dimensions and more: of Linear, Conv, Embedding. Biases and statistics
stay as they are: they are few, and their errors would cost as much as those of all others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ptools.checkpoints import int8
from ptools.checkpoints.stored import SIZES
from ptools.errors import FileError, PtoolsError, UsageError, one_line, suggestion
from ptools_plugins.quantize.work import BLOCK, Settings, Tensor, study

if TYPE_CHECKING:
    from ptools.checkpoints import Weights

__all__ = ["Model", "model", "one"]


@dataclass(frozen=True, eq=False)
class Model:
    """All weights of a checkpoint, the most damaged first by `settings.scheme`.

    `left` says which weights stay floats and why; `before` and `after` are the bytes of all tensors
    of the file, `kept` how many of its tensors are no weights.
    """

    file: str
    settings: Settings
    layers: list[Tensor]
    left: dict[str, str]
    kept: int
    before: int
    after: int
    numbers: int = 0
    quantised: int = 0
    applied: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        asked = self.settings
        return {
            "file": self.file,
            "bits": asked.bits,
            "per": asked.per,
            "range": str(asked.rule),
            "scheme": asked.scheme,
            "bytes": self.before,
            "bytes_int8": self.after,
            "numbers": self.numbers,
            "quantised": self.quantised,
            "kept": self.kept,
            "left": self.left,
            "layers": [layer.document() for layer in self.layers],
            **self.applied,
        }


def model(
    weights: Weights,
    settings: Settings,
    watch: Callable[[int, int], object] = lambda *_: None,
) -> Model:
    """Return what both schemes do to every weight of a checkpoint, the most damaged first.

    `watch` is called with the numbers done and of all. Raises PtoolsError where there is no weight,
    FileError for a file that is int8 already, UsageError where a weight has no such axis.
    """
    _refuse_int8(weights)
    names = _weights(weights)
    sizes = {name: _count(shape) for name, shape in weights.shapes.items()}
    total, done = sum(sizes[name] for name in names), 0
    layers, left = [], {}
    for name in names:
        values = int8.array(weights, name)
        if _finite(values):
            layers.append(study(values, settings, name))
        else:
            left[name] = "holds nan or inf"
        done += sizes[name]
        watch(done, total)
    if not layers:
        raise PtoolsError(_none(weights, left))
    layers.sort(key=lambda layer: layer.halves[settings.scheme].whole.sqnr)
    before, after = _bytes(weights, layers, settings)
    quantised = sum(sizes[layer.name] for layer in layers)
    kept = len(sizes) - len(names)
    file = str(weights.path)
    return Model(file, settings, layers, left, kept, before, after, sum(sizes.values()), quantised)


def one(weights: Weights, name: str) -> Any:
    """Return one weight of a checkpoint as a float32 array. Raises UsageError with the nearest name."""
    _refuse_int8(weights)
    if name not in weights.tensors:
        names = list(weights.tensors)
        some = one_line(", ".join(names[:6]), 120) + (", ..." if len(names) > 6 else ".")
        near = suggestion(name, names) or f" There are: {some}"
        raise UsageError(f"{weights.path} has no tensor '{one_line(name, 80)}'.{near}")
    dtype = weights.dtype_names[name]
    if dtype not in int8.FLOATS or not _count(weights.shapes[name]):
        raise UsageError(
            f"'{one_line(name, 80)}' has no floats in it: it is {dtype}; name another."
        )
    values = int8.array(weights, name)
    if not _finite(values):
        raise PtoolsError(
            f"'{one_line(name, 80)}' holds nan or inf, which have no code; name another."
        )
    return values.reshape(1) if values.ndim == 0 else values


def _weights(weights: Weights) -> list[str]:
    dtypes = weights.dtype_names
    return [
        name
        for name, shape in weights.shapes.items()
        if dtypes[name] in int8.FLOATS and len(shape) > 1 and _count(shape)
    ]


def _finite(values: Any) -> bool:
    import numpy as np

    flat = values.reshape(-1)
    parts = range(0, flat.size, BLOCK)
    return all(bool(np.isfinite(flat[start : start + BLOCK]).all()) for start in parts)


def _none(weights: Weights, left: Mapping[str, str]) -> str:
    if left:
        name, why = next(iter(left.items()))
        return (
            f"{weights.path}: {one_line(name, 80)} {why}, and no other weight is there to quantise."
        )
    return (
        f"{weights.path} has no weights: no float tensor of two dimensions or more; --layer looks at one "
        "of fewer."
    )


def _bytes(weights: Weights, layers: list[Tensor], settings: Settings) -> tuple[int, int]:
    """Return the bytes of all tensors before and after."""
    dtypes, shapes = weights.dtype_names, weights.shapes
    sizes = {name: SIZES[dtypes[name]] * _count(shapes[name]) for name in shapes}
    before = after = sum(sizes.values())
    for layer in layers:
        half = layer.halves[settings.scheme]
        rows = len(half.affine.scale)
        after += _count(layer.shape) - sizes[layer.name] + 4 * rows
        after += 0 if half.affine.grid.symmetric else rows
    return before, after


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def _refuse_int8(weights: Weights) -> None:
    if int8.is_int8(weights):
        raise FileError(f"{weights.path} is int8 already; give the file of the floats.")
