"""Tensors to be written: each is made when its turn comes, and let go afterwards.

slots(tensors)   names -> Slot: of tensors, tensors in a file, functions that make them, a lazy mapping
Slot             one of them, with what is known of it beforehand
Name             a name of torch's that is written into a pickle; torch need not be there for it
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ptools.checkpoints.stored import SIZES, Region, Stored, Tensors

if TYPE_CHECKING:
    from torch import Tensor

Given = Mapping[str, "Tensor | Stored | Callable[[], Tensor]"]


class Name(NamedTuple):
    """A function, class or dtype of torch, by its module and name."""

    module: str
    name: str


@dataclass(frozen=True, eq=False, slots=True)
class Slot:
    """A tensor to be written.

    make     returns it
    storage  stands for its storage: two slots with equal ones share memory; None where that is
             not known to last
    view     stands for the tensor: two slots with equal ones are the same
    dtype    and shape are None where the tensor must be made to know them
    stored   is the tensor as it lies in a file, if it does
    """

    make: Callable[[], Tensor]
    storage: Hashable = None
    view: Hashable = None
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    stored: Stored | None = None

    @property
    def region(self) -> Region | None:
        """The bytes of its storage, where it is all that they are for and they lie in a file."""
        return self.stored.region if self.stored else None

    @property
    def nbytes(self) -> int:
        """Its bytes, 0 where they are not known."""
        count = SIZES.get(self.dtype or "", 0)
        for size in self.shape or ():
            count *= size
        return count


def slots(tensors: Given) -> dict[str, Slot]:
    """Return a Slot of each tensor; nothing is made for it.

    Sharing is seen between tensors that are all there at once: those of a dict, those of one file,
    and one function under several names. What another mapping makes on access is taken as new.
    """
    if isinstance(tensors, Tensors):
        return {name: of_value(stored) for name, stored in tensors.stored.items()}
    if isinstance(tensors, dict):
        return {name: of_value(value) for name, value in tensors.items()}
    return {name: _later(tensors, name) for name in tensors}


def _later(tensors: Given, name: str) -> Slot:
    def make() -> Tensor:
        value: Any = tensors[name]
        value = value.tensor() if isinstance(value, Stored) else value
        return value() if callable(value) else value  # type: ignore[no-any-return]

    return Slot(make)


def of_value(value: Any) -> Slot:
    """Return the Slot of a Stored, a tensor or a function."""
    if isinstance(value, Stored):
        storage = (id(value.storage.source), value.storage.start, value.storage.nbytes)
        return Slot(value.tensor, storage, value.place, value.dtype, value.shape, value)
    if callable(value):
        return Slot(value, view=id(value))
    return _of_tensor(value)


def _of_tensor(tensor: Tensor) -> Slot:
    import torch

    dtype, shape = str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.numel() == 0:
        return Slot(lambda: tensor, view=id(tensor), dtype=dtype, shape=shape)
    whole = tensor.untyped_storage()
    place = (str(tensor.device), whole.data_ptr(), whole.nbytes())
    bits = (tensor.is_conj(), tensor.is_neg())
    view = (*place, tensor.storage_offset(), shape, tensor.stride(), dtype, bits)
    return Slot(lambda: tensor, None if any(bits) else place, view, dtype, shape)


def plain(tensor: Tensor) -> Tensor:
    """Return a tensor's values on the CPU, without gradient, subclass and lazy conjugation."""
    import torch

    tensor = tensor.detach().cpu()
    if type(tensor) is not torch.Tensor:
        tensor = tensor.as_subclass(torch.Tensor)
    return tensor.resolve_conj().resolve_neg() if tensor.layout == torch.strided else tensor


def content(tensor: Tensor) -> memoryview:
    """Return the bytes of a contiguous tensor without copying them."""
    import torch

    if tensor.numel() == 0:
        return memoryview(b"")
    array: Any = tensor.reshape(-1).view(torch.uint8).numpy()
    return memoryview(array)
