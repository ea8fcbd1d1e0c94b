"""The arithmetic, in numpy: all outputs at once, and each window by itself.

    Demo          a layer, its lines, its output; window(n), unfolded(group)
    Window        what one output cell is made of
    activate      relu and sigmoid

Whole numbers are summed as such, so they equal what torch.nn.functional gives to the bit. Windows
are numbered as the output lies in memory: channel by channel, row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from ptools_plugins.convdemo.layer import Layer, Line, lay

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


class Window(NamedTuple):
    """One output cell and the cells it comes from. Shapes (c, kh, kw); c: channels of the group."""

    at: tuple[int, int, int]  # output channel, row, column
    channels: range  # of the input
    rows: list[int]  # places on the padded or stretched input
    columns: list[int]
    patch: Array
    inside: Array  # (kh, kw): what ceil put beyond the padded input is not
    counts: Array  # (kh, kw): cells that take part; max leaves padding out
    weight: Array | None
    products: Array  # patch * weight; pooling: the patch
    sums: list[int | float]  # of the products, per channel
    divisor: int  # avg
    bias: int | float | None
    before: int | float  # the activation
    value: int | float

    def largest(self) -> tuple[int, int] | None:
        """Return the cell that max takes, the first of equal ones; None where there is padding only."""
        import numpy as np

        if not self.counts.any():
            return None
        seen = np.where(self.counts, self.patch[0], -np.inf)
        row, column = divmod(int(seen.argmax()), int(seen.shape[1]))
        return row, column


@dataclass(frozen=True)
class Demo:
    """A layer that was computed."""

    layer: Layer
    title: str = ""

    @cached_property
    def lines(self) -> tuple[Line, Line]:
        return lay(self.layer)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the output."""
        return self.layer.channels, self.lines[0].windows, self.lines[1].windows

    @property
    def count(self) -> int:
        channels, height, width = self.shape
        return channels * height * width

    @cached_property
    def laid(self) -> Array:
        """The input with its padding, or stretched: what the windows slide over, (C, h, w)."""
        import numpy as np

        rows, columns = (np.array(line.source) for line in self.lines)
        empty = (rows < 0)[:, None] | (columns < 0)[None, :]
        return np.where(empty, 0, self.layer.input[:, rows][:, :, columns])

    @cached_property
    def weight(self) -> Array | None:
        """(O, C/groups, kh, kw) of the convolution over `laid`: a transposed one's is turned."""
        import numpy as np

        layer = self.layer
        if layer.weight is None or layer.op == "conv":
            return layer.weight
        kh, kw = layer.kernel
        split = layer.weight.reshape(layer.groups, -1, layer.weight.shape[1], kh, kw)
        turned = split.swapaxes(1, 2).reshape(layer.channels, -1, kh, kw)[..., ::-1, ::-1]
        return np.asarray(turned)

    @cached_property
    def before(self) -> Array:
        """The output before the activation, (O, h, w)."""
        import numpy as np

        if self.layer.op == "max":
            return self._largest()
        total = self._total()
        if self.layer.op == "avg":
            return np.asarray(total / self.divisors)
        if self.layer.bias is not None:
            total = total + self.layer.bias[:, None, None]
        return total

    @cached_property
    def output(self) -> Array:
        """(O, h, w)"""
        return activate(self.before, self.layer.after)

    def _taps(self) -> list[tuple[int, int, slice, slice]]:
        """For every cell of the kernel, the part of the laid input that it meets."""
        rows, columns = self.lines
        return [
            (ky, kx, _strided(rows, ky), _strided(columns, kx))
            for ky in range(rows.taps)
            for kx in range(columns.taps)
        ]

    @cached_property
    def extended(self) -> Array:
        """The laid input and zeros as far as ceil lets the last windows reach."""
        return self._beyond(self.laid, 0)

    def _beyond(self, laid: Array, fill: Any) -> Array:
        """Add what ceil lets the last windows reach beyond the padded input."""
        import numpy as np

        more = [max(0, ln.window(ln.windows - 1)[-1] + 1 - len(ln.source)) for ln in self.lines]
        return np.pad(laid, [(0, 0), (0, more[0]), (0, more[1])], constant_values=fill)

    def _total(self) -> Array:
        import numpy as np

        laid, weight = self.extended, self.weight
        if weight is None:
            parts = [laid[:, rows, columns] for _, _, rows, columns in self._taps()]
            return np.asarray(sum(parts))
        kind = np.result_type(laid, weight)
        total = np.zeros(self.shape, kind)
        per_group = self.layer.channels // self.layer.groups
        for out in range(self.layer.channels):
            first = out // per_group * weight.shape[1]
            for ky, kx, rows, columns in self._taps():
                for channel in range(weight.shape[1]):
                    factor = weight[out, channel, ky, kx]
                    if factor:
                        total[out] += factor * laid[first + channel, rows, columns]
        return total

    def _largest(self) -> Array:
        import numpy as np

        rows, columns = (np.array(line.real) for line in self.lines)
        low = np.iinfo(np.int64).min if self.laid.dtype.kind == "i" else -np.inf
        laid = self._beyond(np.where(rows[:, None] & columns[None, :], self.laid, low), low)
        best = laid[(slice(None), *self._taps()[0][2:])]
        for _, _, *places in self._taps()[1:]:
            best = np.maximum(best, laid[(slice(None), *places)])
        # a dilated window may hold nothing but padding
        return np.asarray(np.where(best == low, -np.inf, best) if (best == low).any() else best)

    @cached_property
    def divisors(self) -> Array:
        """avg: how many cells each window counts, (h, w)."""
        import numpy as np

        sizes = []
        for line in self.lines:
            here = [
                [p for p in line.window(i) if p < len(line.source)] for i in range(line.windows)
            ]
            if not self.layer.count_pad:
                here = [[place for place in places if line.real[place]] for places in here]
            sizes.append(np.array([len(places) for places in here]))
        return np.asarray(np.maximum(sizes[0][:, None] * sizes[1][None, :], 1))

    def window(self, number: int) -> Window:
        """Return what the output cell `number` is made of."""
        import numpy as np

        layer, (rows, columns) = self.layer, self.lines
        out, y, x = (int(i) for i in np.unravel_index(number, self.shape))
        places = rows.window(y), columns.window(x)
        per_group = layer.channels // layer.groups
        width = 1 if self.weight is None else self.weight.shape[1]
        first = out if self.weight is None else out // per_group * width
        each = list(zip(self.lines, places, strict=True))
        inside = _both(*([p < len(line.source) for p in at] for line, at in each))
        real = _both(*([p < len(line.source) and line.real[p] for p in at] for line, at in each))
        patch = self.extended[first : first + width][:, places[0]][:, :, places[1]]
        weight = None if self.weight is None else self.weight[out]
        products = patch if weight is None else patch * weight
        bias = None if layer.bias is None else layer.bias[out].item()
        return Window(
            (out, y, x), range(first, first + width), *places, patch, inside,
            real if layer.op == "max" or not layer.count_pad else inside,
            weight, products, [plane.sum().item() for plane in products],
            int(self.divisors[y, x]), bias, self.before[out, y, x].item(),
            self.output[out, y, x].item(),
        )  # fmt: skip

    def unfolded(self, group: int = 0) -> tuple[Array, Array, Array]:
        """Return W (O/g, K), columns (K, L) and W @ columns, without bias: im2col of a group."""
        import numpy as np

        assert self.weight is not None
        per_group, width = self.layer.channels // self.layer.groups, self.weight.shape[1]
        weight = self.weight[group * per_group : (group + 1) * per_group].reshape(per_group, -1)
        laid = self.laid[group * width : (group + 1) * width]
        rows = [laid[c, y, x].ravel() for c in range(width) for _, _, y, x in self._taps()]
        columns = np.array(rows)
        return weight, columns, weight @ columns


def activate(values: Array, name: str | None) -> Array:
    """Return relu or sigmoid of `values`, or them as they are."""
    import numpy as np

    if name == "relu":
        return np.asarray(np.maximum(values, 0))
    if name == "sigmoid":
        small = np.exp(-np.abs(values))  # at most 1: nothing overflows
        return np.asarray(np.where(values < 0, small, 1.0) / (1 + small))
    return values


def _strided(line: Line, tap: int) -> slice:
    first = tap * line.dilation
    return slice(first, first + (line.windows - 1) * line.step + 1, line.step)


def _both(rows: list[bool], columns: list[bool]) -> Array:
    import numpy as np

    return np.asarray(np.array(rows)[:, None] & np.array(columns)[None, :])
