"""--stats: mean, std, min, max and nan of a tensor in a file, a few MB of it in memory at a time.

Figures(items)    reads each tensor once; `of(keys)` is the Stats of one, or of several together
blocks(tensor)    its numbers, block by block, as numpy arrays

numpy reads them from the mapped file: torch is not imported. Of bfloat16 and the 8-bit floats, which
numpy lacks, the bits are read as their definitions say.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from math import sqrt
from typing import Any

from ptools.checkpoints.stored import SIZES, Region, Stored
from ptools_plugins.inspection.contents import Item

BLOCK = 1 << 18  # elements at a time: they stay in a processor's cache
_KEPT = 64  # blocks, after which their memory is given back
_NUMPY = {"bool": "u1", "float16": "f2", "float32": "f4", "float64": "f8",
          **{f"{u}int{bits}": f"{u or 'i'}{bits // 8}" for u in ("", "u") for bits in (8, 16, 32, 64)},
          }  # fmt: skip


@dataclass(frozen=True)
class Stats:
    """The numbers of a tensor. nan and infinite ones are counted, and left out of everything else.

    `std` has Bessel's correction, as torch.std has by default; None of fewer than two numbers.
    """

    count: int
    nan: int = 0
    inf: int = 0
    mean: float | None = None
    std: float | None = None
    min: float | None = None
    max: float | None = None

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


@dataclass
class _Sums:
    """What is needed to go on counting: finite numbers, their mean and squared deviations."""

    count: int = 0
    nan: int = 0
    inf: int = 0
    finite: int = 0
    mean: float = 0.0
    squares: float = 0.0
    min: float = float("inf")
    max: float = float("-inf")

    def add(self, other: _Sums) -> None:
        """Add others: Chan, Golub and LeVeque, "Updating formulae" (1979)."""
        self.count, self.nan = self.count + other.count, self.nan + other.nan
        self.inf += other.inf
        if other.finite:
            total = self.finite + other.finite
            apart = other.mean - self.mean
            self.squares += other.squares + apart * apart * self.finite * other.finite / total
            self.mean += apart * other.finite / total
            self.finite = total
            self.min, self.max = min(self.min, other.min), max(self.max, other.max)

    def stats(self) -> Stats:
        if not self.finite:
            return Stats(self.count, self.nan, self.inf)
        std = sqrt(self.squares / (self.finite - 1)) if self.finite > 1 else None
        return Stats(self.count, self.nan, self.inf, self.mean, std, self.min, self.max)


class Figures:
    """The stats of a file's tensors, each read once; of several together they are merged."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.sums = {item.key: _summed(item) for item in items}

    def of(self, keys: Iterable[str]) -> Stats | None:
        """Return the stats of these tensors together; None where one has no numbers to speak of."""
        sums = _Sums()
        for key in keys:
            if (found := self.sums[key]) is None:
                return None
            sums.add(found)
        return sums.stats()


def _summed(item: Item) -> _Sums | None:
    sums = _Sums()
    try:
        for block in blocks(item.tensor):
            sums.add(_of_block(block))
    except TypeError:  # complex, 4 bits
        return None
    return sums


def _of_block(block: Any) -> _Sums:
    import numpy as np

    values = block.astype("f8")
    total = float(values.sum())
    nan = inf = 0
    if total - total != 0:  # nan or inf in it, or an overflow of both
        nan = int(np.isnan(values).sum())
        values = values[np.isfinite(values)]
        inf = block.size - nan - values.size
        total = float(values.sum())
    if values.size == 0:
        return _Sums(block.size, nan, inf)
    mean, least, most = total / values.size, float(values.min()), float(values.max())
    values -= mean
    squares = sum_of_squares(values)
    return _Sums(block.size, nan, inf, values.size, mean, squares, least, most)


def sum_of_squares(values: Any) -> float:
    """Return it, and destroy the values. np.dot would wake BLAS's threads, which cost more than they save."""
    import numpy as np

    return float(np.multiply(values, values, out=values).sum())


def blocks(tensor: Any) -> Iterator[Any]:
    """Yield the numbers of a tensor as one-dimensional arrays. Raises TypeError without real numbers."""
    import numpy as np

    if not isinstance(tensor, Stored):
        flat = tensor.detach().reshape(-1)
        if flat.is_complex():
            raise TypeError("complex")
        flat = flat if str(flat.dtype).removeprefix("torch.") in _NUMPY else flat.float()
        yield from (part.numpy() for part in flat.split(BLOCK) if part.numel())
        return
    if tensor.dtype.startswith(("complex", "float4")):
        raise TypeError(tensor.dtype)
    lies = tensor.elements()
    data: Any = lies.source.map if isinstance(lies, Region) else lies
    start = lies.start if isinstance(lies, Region) else 0
    size = SIZES[tensor.dtype]
    raw = _NUMPY.get(tensor.dtype) or f"u{size}"
    for at in range(0, tensor.numel, BLOCK):
        count = min(BLOCK, tensor.numel - at)
        yield _decoded(np.frombuffer(data, raw, count, start + at * size), tensor.dtype)
        if isinstance(lies, Region) and (at // BLOCK) % _KEPT == _KEPT - 1:
            _release(data, start, start + (at + count) * size)
    if isinstance(lies, Region):
        _release(data, start, start + tensor.nbytes)


def _release(data: mmap.mmap, start: int, end: int) -> None:
    """Give the pages of a mapped file back that were read: a file of 4 GB takes no 4 GB of memory.

    Nothing was written to them, so they are read from the file again where somebody needs them.
    """
    if hasattr(mmap, "MADV_DONTNEED"):
        first = start // mmap.PAGESIZE * mmap.PAGESIZE
        data.madvise(mmap.MADV_DONTNEED, first, end - first)


def _decoded(bits: Any, dtype: str) -> Any:
    if dtype in _NUMPY:
        return bits
    if dtype == "bfloat16":
        return (bits.astype("u4") << 16).view("f4")
    if dtype == "float8_e5m2":
        return (bits.astype("u2") << 8).view("f2").astype("f4")
    return _table(dtype)[bits]


@cache
def _table(dtype: str) -> Any:
    """Return the 256 numbers of an 8-bit float. Micikevicius et al., "FP8 Formats" (arXiv:2209.05433)."""
    import numpy as np

    if dtype == "float8_e8m0fnu":
        return np.array([2.0 ** (code - 127) for code in range(255)] + [np.nan], "f4")
    exponent, mantissa, bias = {"float8_e4m3fn": (4, 3, 7), "float8_e4m3fnuz": (4, 3, 8),
                                "float8_e5m2fnuz": (5, 2, 16)}[dtype]  # fmt: skip
    values = []
    for code in range(256):
        sign = -1.0 if code & 128 else 1.0
        power, part = code >> mantissa & ((1 << exponent) - 1), code & ((1 << mantissa) - 1)
        lead = 1.0 if power else 0.0
        values.append(sign * (lead + part / (1 << mantissa)) * 2.0 ** (max(power, 1) - bias))
    for code in (127, 255) if dtype == "float8_e4m3fn" else (128,):
        values[code] = np.nan
    return np.array(values, "f4")
