"""int8 weights in a file.

apply(weights, model, path)   write every weight as codes
each(weights, model, path)    one weight alone as codes, again and again: what does it cost by itself?
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptools.checkpoints import Weights
    from ptools_plugins.quantize.network import Model
    from ptools_plugins.quantize.work import Tensor

__all__ = ["apply", "each"]


def apply(weights: Weights, found: Model, path: Path, *, force: bool = False) -> None:
    """Write the weights as codes of the chosen scheme, everything else as it was. Raises FileError."""
    from ptools.checkpoints import int8

    small = {layer.name: _small(weights, layer, found.settings.scheme) for layer in found.layers}
    settings = found.settings
    int8.write(path, weights, small, bits=settings.bits, scheme=settings.scheme, force=force)


def _small(weights: Weights, layer: Tensor, scheme: str) -> Any:
    import numpy as np

    from ptools.checkpoints import int8
    from ptools_plugins.quantize.work import codes

    half = layer.halves[scheme]
    shape = [1] * len(layer.shape)
    if layer.axis is not None:
        shape[layer.axis] = -1
    grid = half.affine.grid
    zero_point = None
    if not grid.symmetric:
        kind = np.int8 if grid.first < 0 else np.uint8
        zero_point = half.affine.zero_point.astype(kind).reshape(shape)
    return int8.Small(
        lambda: codes(int8.array(weights, layer.name), half, layer.axis),
        half.affine.scale.reshape(shape),
        zero_point,
    )


def each(weights: Weights, found: Model, file: Path) -> Iterator[str]:
    """Write a file in which one layer alone is codes, layer by layer; yield the names."""
    from ptools.checkpoints import int8

    for layer in found.layers:
        small = {layer.name: _small(weights, layer, found.settings.scheme)}
        int8.write(file, weights, small, bits=found.settings.bits, force=True)
        yield layer.name
