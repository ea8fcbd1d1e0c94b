"""One target tensor out of its source tensors: the transforms of a match, done with torch.

apply(op, tensors, shape)    the tensor; `why_not(op, shapes, shape)` says beforehand what does not fit

    copy                  the same elements; shapes differ by sizes of 1, or one is (O, C, H, W) and the
                          other (O, C*H*W): a convolution over all there is, and a Linear
    reshape               the same elements in another shape, because somebody said so
    cat0                  torch.cat(tensors, 0)
    split0:i/n            tensor.chunk(n)[i]
    transpose             tensor.T
    transpose,cat1        torch.cat([t.T, ...], 1), or along 0 where that is what fits
    transpose,split0:i/n  tensor.T.chunk(n)[i]
    weight_norm           (g, v) -> g * v / |v|
    channels              another number of input channels, for the same expected response
    resize                position embeddings on another grid, bicubic; class tokens as they are
    rows                  rows of `base` replaced by those of the classes that both have
    zeros                 a bias of zeros, for a layer of which only the target has one
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import isqrt, prod
from typing import TYPE_CHECKING

from ptools.errors import PtoolsError

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]

LOSSY = ("channels", "resize", "rows")  # these lose or invent values: never done unasked
_SPLIT = re.compile(r"split0:([0-9]{1,9})/([0-9]{1,9})")


def known(op: str) -> bool:
    """Return whether `op` is an operation of this module."""
    if op in (
        "copy",
        "reshape",
        "cat0",
        "transpose",
        "transpose,cat1",
        "weight_norm",
        "zeros",
        *LOSSY,
    ):
        return True
    match = _SPLIT.fullmatch(op.removeprefix("transpose,"))
    return match is not None and int(match[1]) < int(match[2])


def squeezed(shape: Sequence[int]) -> Shape:
    """Return a shape without its sizes of 1."""
    return tuple(size for size in shape if size != 1)


def _same(one: Shape, other: Shape) -> bool:
    """Return whether two shapes hold the same elements in the same places of a network."""
    if squeezed(one) == squeezed(other):
        return True
    flat = min(len(one), len(other)) == 2 and one[0] == other[0]
    return flat and prod(one) == prod(other)


def why_not(op: str, shapes: Sequence[Shape], shape: Shape) -> str:
    """Return why sources of `shapes` do not make a tensor of `shape` with `op`; "" where they do."""
    wanted = {"cat0": 0, "transpose,cat1": 0, "weight_norm": 2}.get(op, 1)
    if wanted and len(shapes) != wanted:
        return f"{op} takes {wanted} source{'s' if wanted > 1 else ''}, not {len(shapes)}"
    made = [] if op == "reshape" else _shapes(op, shapes, shape)
    if op == "reshape" and prod(shapes[0]) != prod(shape):
        return f"{text(shapes[0])} has not as many elements as {text(shape)}"
    if op == "reshape" or shape in made:
        return ""
    if op not in LOSSY and any(_same(one, shape) for one in made):
        return ""
    if not made:
        return f"{op} does not go from {', '.join(map(text, shapes))} to {text(shape)}"
    return f"{text(made[0])} does not fit {text(shape)}"


def _shapes(op: str, shapes: Sequence[Shape], shape: Shape) -> list[Shape]:
    """Return the shapes that `op` can make of `shapes`."""
    first = shapes[0]
    if op == "copy":
        return [first]
    if op == "weight_norm":
        return [shapes[1]]
    if op == "zeros":  # as many as the weight has rows; where it is transposed, columns
        return [first[:1], first[1:2]]
    if op == "channels":
        fits = len(first) == len(shape) >= 3 and first[0] == shape[0] and first[2:] == shape[2:]
        return [shape] if fits else []
    if op == "resize":
        return [shape] if grids(first, shape) else []
    if op == "rows":
        return [shape] if first[1:] == shape[1:] and first else []
    if op.startswith("transpose"):
        flat = [squeezed(one) for one in shapes]
        if any(len(one) != 2 for one in flat):
            flat = [one for one in shapes if len(one) == 2]
        if len(flat) != len(shapes):
            return []
        turned = [one[::-1] for one in flat]
        return _joined(op, turned)
    return _joined(op, list(shapes))


def _joined(op: str, shapes: list[Shape]) -> list[Shape]:
    first = shapes[0]
    if op.endswith("cat0") and first and len({one[1:] for one in shapes}) == 1:
        return [(sum(one[0] for one in shapes), *first[1:])]
    if op == "transpose,cat1":
        found: list[Shape] = []
        if len({one[0] for one in shapes}) == 1:
            found.append((first[0], sum(one[1] for one in shapes)))
        if len({one[1] for one in shapes}) == 1:
            found.append((sum(one[0] for one in shapes), first[1]))
        return found
    if op == "transpose":
        return [first]
    if match := _SPLIT.fullmatch(op.removeprefix("transpose,")):
        parts = int(match[2])
        return [(first[0] // parts, *first[1:])] if first and first[0] % parts == 0 else []
    return []


def apply(
    op: str,
    tensors: Sequence[Tensor],
    shape: Shape,
    *,
    base: Tensor | None = None,
    rows: Sequence[tuple[int, int]] = (),
) -> Tensor:
    """Return the tensor of `shape` that `op` makes of `tensors`, of their dtype.

    `rows` are pairs (row of `base`, row of the source). Raises PtoolsError where it does not fit.
    """
    if reason := why_not(op, [tuple(one.shape) for one in tensors], shape):
        raise PtoolsError(f"{op}: {reason}; choose other sources.")
    first = tensors[0]
    if op in ("copy", "reshape"):
        return first.reshape(shape)
    if op == "weight_norm":
        return weight_norm(first, tensors[1]).reshape(shape)
    if op == "channels":
        return channels(first, shape[1])
    if op == "resize":
        return resize(first, shape)
    if op == "zeros":
        return first.new_zeros(shape)
    if op == "rows":
        assert base is not None
        return merge_rows(first, base, rows)
    return _join(op, tensors, shape).reshape(shape)


def _join(op: str, tensors: Sequence[Tensor], shape: Shape) -> Tensor:
    import torch

    if op == "cat0":
        return torch.cat(list(tensors), 0)
    if op.startswith("transpose"):
        tensors = [(t if t.ndim == 2 else t.squeeze()).T for t in tensors]
    if op == "transpose,cat1":
        along = 1 if (tensors[0].shape[0], sum(t.shape[1] for t in tensors)) == shape else 0
        return torch.cat(list(tensors), along)
    if match := _SPLIT.fullmatch(op.removeprefix("transpose,")):
        return tensors[0].chunk(int(match[2]))[int(match[1])]
    return tensors[0]


def weight_norm(g: Tensor, v: Tensor) -> Tensor:
    """Return g * v / |v|, as torch.nn.utils.weight_norm does; the dimensions of g of size 1 are summed."""
    along = [at for at in range(v.ndim) if g.ndim != v.ndim or g.shape[at] == 1]
    return g * v / v.norm(2, dim=along or None, keepdim=True) if along else g * v.sign()


def channels(weight: Tensor, wanted: int) -> Tensor:
    """Return (O, C, ...) as (O, wanted, ...): summed for 1, else repeated and scaled by C / wanted.

    An image whose channels are alike gives the response it gave before.
    """
    import torch

    number = weight.shape[1]
    if wanted == 1:
        return weight.sum(1, keepdim=True)
    repeated = torch.cat([weight] * -(-wanted // number), 1)[:, :wanted]
    return repeated * (number / wanted)


def grids(old: Shape, new: Shape) -> tuple[int, int, int] | None:
    """Return (tokens in front, side of the old grid, of the new one) of position embeddings.

    (1, N, D) and (N, D) hold square grids row by row, behind at most 2 tokens such as the class's.
    (1, D, H, W) is a grid as it stands: (0, 0, 0).
    """
    if len(old) != len(new):
        return None
    if len(old) == 4:
        return (0, 0, 0) if old[:2] == new[:2] else None
    if len(old) not in (2, 3) or old[-1] != new[-1] or old[:-2] != new[:-2]:
        return None
    for tokens in (0, 1, 2):
        sides = [isqrt(max(one[-2] - tokens, 0)) for one in (old, new)]
        if all(s and s * s == one[-2] - tokens for s, one in zip(sides, (old, new), strict=True)):
            return tokens, sides[0], sides[1]
    return None


def resize(weight: Tensor, shape: Shape) -> Tensor:
    """Return position embeddings resized to `shape`, bicubic; tokens in front stay as they are."""
    import torch
    from torch.nn.functional import interpolate

    found = grids(tuple(weight.shape), shape)
    assert found is not None
    tokens, old, new = found
    if weight.ndim == 4:
        return interpolate(weight.float(), shape[-2:], mode="bicubic", antialias=True).to(weight)
    flat = weight.reshape(-1, weight.shape[-1])
    grid = flat[tokens:].float().reshape(1, old, old, -1).permute(0, 3, 1, 2)  # (1, D, H, W)
    grid = interpolate(grid, (new, new), mode="bicubic", antialias=True)
    rows = grid.permute(0, 2, 3, 1).reshape(new * new, -1).to(weight)
    return torch.cat([flat[:tokens], rows]).reshape(shape)


def merge_rows(source: Tensor, base: Tensor, rows: Sequence[tuple[int, int]]) -> Tensor:
    """Return `base` with its rows replaced: pairs (row of `base`, row of `source`)."""
    merged = base.clone()
    for to, taken in rows:
        merged[to] = source[taken].to(base.dtype)
    return merged


def text(shape: Sequence[int]) -> str:
    """Return a shape as people write it: 64x3x7x7."""
    return "x".join(map(str, shape)) or "scalar"
