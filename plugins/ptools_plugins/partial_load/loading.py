"""The new weights: every tensor made when it is asked for, so that only one is in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from ptools.checkpoints.stored import SIZES, Tensors
from ptools.errors import PtoolsError
from ptools.matching.apply import apply
from ptools_plugins.partial_load.plan import Item

if TYPE_CHECKING:
    from torch import Tensor

    from ptools.checkpoints import Weights
    from ptools_plugins.partial_load.target import Target


@dataclass(frozen=True)
class Source:
    """The checkpoint to take weights from; shapes and dtypes are looked up once."""

    weights: Weights
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]


class Loaded(Mapping[str, "Tensor"]):
    """The target's tensors, with those of `items` taken from `source`; computed on access."""

    def __init__(
        self, items: Mapping[str, Item], source: Source, target: Target, *, keep_source: bool
    ) -> None:
        self.items_, self.source, self.target = items, source, target
        self.dtypes = {
            key: dtype_of(items.get(key), source, target, key, keep_source) for key in target.shapes
        }

    def __getitem__(self, key: str) -> Tensor:
        item = self.items_.get(key)
        if item is None:
            return self.target.tensors[key]
        tensors = [self.source.weights.tensors[old] for old in item.sources]
        base = self.target.tensors[key] if item.op == "rows" else None
        try:
            made = apply(item.op, tensors, self.target.shapes[key], base=base, rows=item.rows)
        except RuntimeError as error:
            raise PtoolsError(
                f"{key} cannot be made of {', '.join(item.sources)}: {error}"
            ) from error
        return made.to(_dtype(self.dtypes[key])).contiguous()

    def __iter__(self) -> Iterator[str]:
        return iter(self.target.shapes)

    def __len__(self) -> int:
        return len(self.target.shapes)

    @property
    def nbytes(self) -> int:
        """How many bytes all of them take."""
        sizes = {name: SIZES.get(name) or _dtype(name).itemsize for name in self.dtypes.values()}
        return sum(self.target.elements(key) * sizes[self.dtypes[key]] for key in self)

    def makers(self) -> dict[str, Any]:
        """Return what `ptools.checkpoints.write` takes: tensors of the target's file as they lie there,
        and functions that make the others; names of one tensor share one function.
        """
        kept: Mapping[str, Any] = self.target.tensors
        if isinstance(kept, Tensors):
            kept = kept.stored
        makers: dict[str, Any] = {}
        for key in self:
            first = self.target.tied.get(key)
            if key not in self.items_:
                makers[key] = kept[key]
            elif first is not None and first in self.items_ and self._alike(key, first):
                makers[key] = makers[first]
            else:
                makers[key] = self._as_it_lies(key) or partial(self.__getitem__, key)
        return makers

    def _as_it_lies(self, key: str) -> Any:
        """Return the bytes of OLD's file for a copy, or None; they never go through memory, nor torch.

        A tensor that two names get is made twice: as it lies in the file it would be written as one.
        """
        item, tensors = self.items_[key], self.source.weights.tensors
        if item.op not in ("copy", "reshape") or not isinstance(tensors, Tensors):
            return None
        stored = tensors.stored[item.sources[0]]
        if stored.dtype != self.dtypes[key] or self._uses[item.sources[0]] > 1:
            return None
        return stored.reshaped(self.target.shapes[key])

    @cached_property
    def _uses(self) -> Counter[str]:
        """How many tensors of the target each tensor of OLD goes to."""
        return Counter(old for item in self.items_.values() for old in item.sources)

    def _alike(self, key: str, first: str) -> bool:
        """Return whether two names get the same tensor; OLD may have it under two names as well."""
        one, other = self.items_[key], self.items_[first]
        if one.op == other.op and self._equal(one.sources, other.sources):
            return True
        import torch

        return torch.equal(self[key], self[first])

    def _equal(self, ones: tuple[str, ...], others: tuple[str, ...]) -> bool:
        """Return whether the sources are the same, or lie in OLD's file bit by bit alike."""
        tensors = self.source.weights.tensors
        if not isinstance(tensors, Tensors) or len(ones) != len(others):
            return ones == others
        pairs = zip(ones, others, strict=True)
        return all(tensors.stored[one].equals(tensors.stored[other]) for one, other in pairs)

    def torn(self) -> list[tuple[str, str]]:
        """Return the pairs of names that are one tensor in the target, and would not be any more."""
        both = ((k, f) for k, f in self.target.tied.items() if k in self.items_)
        return [(key, first) for key, first in both if not self._alike(key, first)]


def dtype_of(item: Item | None, source: Source, target: Target, key: str, keep_source: bool) -> str:
    """Return the dtype that a tensor is written with: the target's, or that of OLD."""
    if item is None or not keep_source:
        return target.dtypes[key]
    return source.dtypes[item.sources[0]]


@dataclass(frozen=True)
class Conversion:
    """One tensor that changes its dtype on the way; dtypes as `float16`."""

    target: str
    before: str
    after: str


def conversions(loaded: Loaded) -> list[Conversion]:
    """Return every change of dtype, against OLD or (`--dtype source`) against the target."""
    found = []
    for key, item in loaded.items_.items():
        old = loaded.source.dtypes[item.sources[0]]
        after = loaded.dtypes[key]
        before = old if old != after else loaded.target.dtypes[key]
        if before != after:
            found.append(Conversion(key, before, after))
    return found


def _dtype(name: str) -> Any:
    import torch

    return getattr(torch, name)
