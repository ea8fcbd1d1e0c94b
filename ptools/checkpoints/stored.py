"""Tensors as they lie in a file: where their bytes are, what they mean; nothing is loaded before use.

Source     a file, mapped into memory; nothing of it is read before it is used
Region     some bytes of it, to be copied
Storage    a run of bytes of it, and what they are
Stored     a tensor of it: dtype, shape, strides
Tensors    names -> tensors, built on access
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

# The types torch stores, with their sizes in bytes.
SIZES = {
    **dict.fromkeys(("uint8", "int8", "bool", "float8_e4m3fn", "float8_e5m2"), 1),
    **dict.fromkeys(("float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"), 1),
    "float4_e2m1fn_x2": 1,
    **dict.fromkeys(("int16", "uint16", "float16", "bfloat16"), 2),
    **dict.fromkeys(("int32", "uint32", "float32", "complex32"), 4),
    **dict.fromkeys(("int64", "uint64", "float64", "complex64"), 8),
    "complex128": 16,
}

# A view may name one number many times (expand). Up to so many it is honest; beyond, a trap for memory.
REPEATED = 1 << 24
COMPARED = 1 << 24  # bytes at a time


class Damaged(Exception):
    """The bytes contradict themselves; the text says how."""


class Source:
    """A file mapped copy-on-write: tensors of it may be changed, the file never is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.descriptor)
        self.map = mmap.mmap(self.descriptor, 0, access=mmap.ACCESS_COPY)
        self.size = len(self.map)

    def raw(self, start: int, count: int) -> Tensor:
        """Return `count` bytes from `start` on as a uint8 tensor that shares the mapping."""
        import torch

        if count == 0:
            return torch.empty(0, dtype=torch.uint8)
        return torch.frombuffer(self.map, dtype=torch.uint8, count=count, offset=start)


class Region(NamedTuple):
    """`nbytes` bytes of `source` from `start` on, and their CRC-32 where it is known."""

    source: Source
    start: int
    nbytes: int
    crc: int | None = None


@dataclass(eq=False, slots=True)
class Storage:
    """`nbytes` bytes of `source` from `start` on; `swap` where they are in the other byte order.

    `dtype` is what the file calls them; `key` is the file's name for them; `crc` their CRC-32, if the
    file says it.
    """

    key: str
    dtype: str
    nbytes: int
    source: Source | None = None
    start: int = 0
    swap: bool = False
    crc: int | None = None

    @property
    def there(self) -> Source:
        """The file of its bytes. Raises Damaged where the file has none for it."""
        if self.source is None:
            raise Damaged(f"the bytes of storage {self.key} are missing")
        return self.source

    def bytes(self, dtype: str) -> Tensor:
        """Return them as a uint8 tensor fit for elements of `dtype`: aligned, in this machine's order.

        They share the mapped file, or are a copy where one of the two has to be mended.
        """
        raw = self.there.raw(self.start, self.nbytes)
        size = number(dtype)
        if self.swap and size > 1:
            whole = raw[: self.nbytes // size * size]
            return whole.view(-1, size).flip(1).reshape(-1)
        return raw.clone() if raw.data_ptr() % SIZES[dtype] else raw

    def place(self, source: Source, start: int) -> None:
        """Say where the bytes are. Raises Damaged where the file is too short for them."""
        if start < 0 or start + self.nbytes > source.size:
            raise Damaged(f"it ends within storage {self.key}")
        self.source, self.start = source, start


@dataclass(frozen=True, eq=False, slots=True)
class Stored:
    """A tensor in a file; `offset` and `stride` count elements of `dtype`."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def __post_init__(self) -> None:
        """Raise Damaged unless every element lies within the storage."""
        numbers = (self.offset, *self.shape, *self.stride)
        if len(self.shape) != len(self.stride) or len(self.shape) > 64:
            raise Damaged("a tensor's shape and strides do not fit together")
        if not all(type(n) is int and 0 <= n < 1 << 62 for n in numbers):
            raise Damaged("a tensor has an impossible shape")
        room = self.storage.nbytes // SIZES[self.dtype]
        if self.numel > max(room, REPEATED):
            raise Damaged("a tensor is far larger than its data")
        last = sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        if self.numel and self.offset + last >= room:
            raise Damaged("a tensor reaches beyond its data")

    @property
    def numel(self) -> int:
        """The number of elements."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def nbytes(self) -> int:
        """The bytes of the elements, each counted once."""
        return self.numel * SIZES[self.dtype]

    @property
    def whole(self) -> bool:
        """Whether its elements are all that the storage holds, in this machine's byte order."""
        return not self.storage.swap and self.nbytes == self.storage.nbytes

    @property
    def place(self) -> Hashable:
        """What stands for it: of two with equal ones the elements are the same bytes."""
        storage = self.storage
        where = (id(storage.source), storage.start, storage.nbytes)
        return (*where, self.offset, self.shape, self.stride, self.dtype)

    def reshaped(self, shape: tuple[int, ...]) -> Stored | None:
        """Return the same elements in another shape; None where they do not lie in a row for it."""
        if shape == self.shape:
            return self
        if not self.contiguous:
            return None
        return Stored(self.storage, self.dtype, self.offset, shape, contiguous(shape))

    @property
    def region(self) -> Region | None:
        """The bytes of its storage, where its elements are all there is, in whatever order."""
        storage = self.storage
        if storage.source is None or not self.whole:
            return None
        return Region(storage.source, storage.start, storage.nbytes, storage.crc)

    @property
    def contiguous(self) -> bool:
        """Whether its elements lie one after the other in the file, in this machine's byte order."""
        wanted = contiguous(self.shape)
        steps = zip(self.shape, self.stride, wanted, strict=True)
        in_order = all(size == 1 or step == want for size, step, want in steps)
        return (in_order or self.numel == 0) and not (self.storage.swap and number(self.dtype) > 1)

    def elements(self) -> Region | memoryview:
        """Return the bytes of its elements, one after the other, in this machine's byte order."""
        if self.numel == 0:
            return memoryview(b"")
        if not self.contiguous:
            return self._gathered()
        start = self.storage.start + self.offset * SIZES[self.dtype]
        return (self.offset == 0 and self.region) or Region(self.storage.there, start, self.nbytes)

    def equals(self, other: Stored) -> bool:
        """Whether two tensors are equal to the bit; a few MB of them are in memory at a time."""
        if (self.dtype, self.shape) != (other.dtype, other.shape):
            return False
        if self.place == other.place or self.numel == 0:
            return True
        one, two = self._gathered(), other._gathered()
        parts = (slice(at, at + COMPARED) for at in range(0, one.nbytes, COMPARED))
        return all(bytes(one[part]) == bytes(two[part]) for part in parts)

    def _gathered(self) -> memoryview:
        """Return its elements in order, a copy where they do not lie so; torch is not needed for it."""
        import numpy as np

        size, storage = SIZES[self.dtype], self.storage
        steps = [(n, step * size) for n, step in zip(self.shape, self.stride, strict=True) if n > 1]
        shape, stride = [n for n, _ in steps], [step for _, step in steps]
        start = storage.start + self.offset * size
        lie: Any = np.ndarray(shape, f"V{size}", storage.there.map, start, stride)
        flat: Any = np.ascontiguousarray(lie).reshape(-1)
        if storage.swap:
            flat = flat.view(f"u{number(self.dtype)}").byteswap()
        return memoryview(flat.view("u1"))

    def tensor(self) -> Tensor:
        """Return the tensor; where the format allows it shares the file's mapped memory."""
        import torch

        made = torch.empty(0, dtype=getattr(torch, self.dtype))
        if self.numel == 0:
            return made.reshape(self.shape) if 0 in self.shape else made
        raw = self.storage.bytes(self.dtype).untyped_storage()
        return made.set_(raw, self.offset, self.shape, self.stride)


def number(dtype: str) -> int:
    """Return the bytes of a number, of which a complex one has two: what a byte order is about."""
    return SIZES[dtype] // 2 if dtype.startswith("complex") else SIZES[dtype]


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of a contiguous tensor."""
    steps, step = [], 1
    for size in reversed(shape):
        steps.append(step)
        step *= max(size, 1)
    return tuple(reversed(steps))


class Tensors(Mapping[str, "Tensor"]):
    """Names -> tensors in the stored order. Each access builds the tensor; none is kept.

    `stored` has them as they lie in the file. That is what `write` copies: a change made in memory
    to one of the tensors is not in it.
    """

    def __init__(self, stored: Mapping[str, Stored]) -> None:
        self.stored = stored

    def __getitem__(self, name: str) -> Tensor:
        return self.stored[name].tensor()

    def __contains__(self, name: object) -> bool:
        return name in self.stored

    def __iter__(self) -> Iterator[str]:
        return iter(self.stored)

    def __len__(self) -> int:
        return len(self.stored)
