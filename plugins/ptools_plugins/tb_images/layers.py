"""What a layer makes of an image, as images: feature maps, kernels, the output of one fresh layer.

maps(values, input)   every channel of a layer's output as a grey tile, the input beside them
kernels(weight)       the kernels of a layer, zero as middle grey
outputs(values, ...)  the output of one layer for a whole batch
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ptools_plugins.tb_images import grids
from ptools_plugins.tb_images.arrays import pixels, scaled

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["kernels", "maps", "outputs", "planes"]

_SEEN = 28  # pixels a map is enlarged to, as far as whole pixels go
_ALONE = 224  # and the only one
_KERNEL = 21
_MATRIX = 2048  # pixels a side of a matrix of weights may have
_DARK = 40  # what lies between maps and kernels: neither black nor white nor middle grey


def planes(values: Tensor) -> Tensor:
    """Return the output of a layer for one image, of any dimensions, as planes (P, h, w).

    (C, H, W) is its C channels; (C, D, H, W) all slices of them; (L, D), the tokens of a transformer, one
    plane; (F,), the features of a linear layer, one row, broken where it gets long.
    """
    import torch

    values = values.detach().float()
    if values.dim() == 0:
        return values.view(1, 1, 1)
    if values.dim() == 1:
        width = len(values) if len(values) <= 32 else int(len(values) ** 0.5 + 0.999)
        rest = -len(values) % width
        blank = torch.full((rest,), float("nan"))
        return torch.cat([values, blank]).view(1, -1, width)
    if values.dim() == 2:
        return values[None]
    return values.reshape(-1, *values.shape[-2:])


def maps(
    values: Tensor, image: Tensor | None, *, by_map: bool = False, columns: int | None = None
) -> Tensor:
    """Return the planes of `values` as a grid, `image` (1 or 3, H, W) at their left.

    Black is the lowest value of the layer and white the highest, or, with `by_map`, those of each plane.
    """
    found = planes(values)
    tiles = [scaled(one) for one in found] if by_map else list(scaled(found))
    height, width = found.shape[1:]
    room = _room(height, width, _SEEN if len(found) > 1 else _ALONE)
    fit = _most(room * height + 2, room * width + 2)
    grid = grids.grid(
        [grids.enlarged(tile[None], room) for tile in tiles[:fit]], columns, shade=_DARK
    )
    return grid if image is None else beside(image, grid)


def beside(image: Tensor, grid: Tensor) -> Tensor:
    """Return an image and a grid side by side; the image is about a third as high as the grid."""
    side = max(96, min(256, grid.shape[1] // 2))
    return grids.flow([grids.fitted(image, side, side), grid], 2 * grids.LARGEST, gap=4)


def _room(height: int, width: int, wanted: int) -> int:
    return max(1, wanted // max(height, width))


def _most(height: int, width: int) -> int:
    """Return how many tiles of a size fit into the largest picture."""
    return max(1, (grids.LARGEST // height) * (grids.LARGEST // width))


def kernels(weight: Tensor, *, columns: int | None = None) -> Tensor:
    """Return the kernels of a weight (O, I, kh, kw): in colour where I is 3, else a row per output.

    One scale for all: middle grey is zero, black and white are the largest absolute value. Depthwise kernels
    (I = 1) fill a square; a linear weight (O, I) is one plane; of 3d kernels every slice is a tile.
    """
    import torch

    weight = weight.detach().float().nan_to_num(0.0, 0.0, 0.0)
    if weight.dim() == 3:  # Conv1d: (O, I, k)
        weight = weight[:, :, None]
    if weight.dim() == 5:  # Conv3d: (O, I, d, kh, kw)
        weight = weight.flatten(1, 2)
    most = max(float(weight.abs().max()), torch.finfo(torch.float32).tiny)
    if weight.dim() < 4:
        plane = scaled(weight.reshape(-1, weight.shape[-1]), -most, most)[None]
        side = max(plane.shape)
        if side > _MATRIX:
            return grids.fitted(plane, _MATRIX, _MATRIX)
        return grids.enlarged(plane, _room(side, side, 128))
    shown = scaled(weight, -most, most)
    outs, ins, height, width = shown.shape
    room = _room(height, width, _KERNEL if outs * ins < 4096 else 6)
    if ins == 3:
        tiles = list(shown)
    else:
        tiles = list(shown.reshape(outs * ins, 1, height, width))
        if ins > 1 and columns is None:
            columns = ins
    across = room * width + 1
    columns = min(columns or grids.columns_for(len(tiles)), grids.LARGEST // across)
    fit = columns * max(1, grids.LARGEST // (room * height + 1))
    return grids.grid(
        [grids.enlarged(tile, room) for tile in tiles[:fit]], columns, gap=1, shade=_DARK
    )


def outputs(values: Sequence[Tensor], *, colours: bool, columns: int | None = None) -> Tensor:
    """Return what one layer gave for each image of a batch, as a grid of the images.

    With `colours` 3 channels are red, green and blue, and 0..1 is shown as it is; otherwise, and for other
    numbers of channels, each image is the grid of its channels, all on one scale.
    """
    import torch

    found = [planes(one) for one in values]
    if colours and all(len(one) in (1, 3) for one in found):
        whole = torch.stack(list(found))
        if float(whole.min()) < 0 or float(whole.max()) > 1:
            whole = scaled(whole)
        return grids.grid([pixels(one) for one in whole], columns)
    every = torch.cat([one.flatten() for one in found]).nan_to_num(0.0, 0.0, 0.0)
    low, high = float(every.min()), float(every.max())
    tiles = []
    for one in found:
        room = _room(one.shape[1], one.shape[2], _SEEN)
        small = [grids.enlarged(scaled(plane, low, high)[None], room) for plane in one]
        tiles.append(grids.grid(small[: _most(64, 64)], shade=_DARK, gap=1))
    height, width = (max(tile.shape[side] for tile in tiles) for side in (1, 2))
    return grids.grid(tiles[: _most(height + 3, width + 3)], columns, gap=3)
