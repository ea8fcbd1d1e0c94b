"""torch.save's zip format, written tensor by tensor, and without torch where the tensors lie in a file.

pack(value, file, count)   what torch.save writes, except that a Slot is written as the tensor it makes

torch.save needs all tensors at once; here each is made, written and let go. The pickle, which
names them all, comes last: the order of a zip file's records is free. A tensor that is a part of a
larger storage is written alone.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections import OrderedDict
from collections.abc import Hashable
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, NamedTuple

from ptools.checkpoints.pouring import Count
from ptools.checkpoints.rebuild import STORAGES
from ptools.checkpoints.slots import Name, Slot, content, of_value, plain
from ptools.checkpoints.stored import SIZES, Region, Stored, contiguous
from ptools.checkpoints.weights import dtype_name
from ptools.checkpoints.zipping import Archive

if TYPE_CHECKING:
    from torch import Tensor

# The class torch keeps for the storages of a dtype; younger dtypes have none, and lie in an untyped one.
_CLASSES = {
    dtype: kind for kind, dtype in STORAGES.items() if not kind.startswith(("Q", "Untyped"))
}

_PythonPickler: Any = pickle._Pickler  # of which typeshed knows nothing but the name
_name = cache(Name)  # the pickle writes one object once


class Ref(NamedTuple):
    """A storage that is in the archive: torch's class for it, its record, its number of elements."""

    type: Name
    key: str
    numel: int


def pack(value: Any, file: BinaryIO, count: Count) -> None:
    """Write `value` as torch.save does; `count` is called with the size of each piece of tensors."""
    archive = Archive(file)
    pickled = io.BytesIO()
    _Pickler(pickled, _Records(archive, count)).dump(value)
    for name, data in (
        ("data.pkl", pickled.getvalue()),
        ("byteorder", sys.byteorder.encode()),
        ("version", b"3\n"),
    ):
        archive.add(f"archive/{name}", memoryview(data), _uncounted)
    archive.close()


def _uncounted(count: int) -> None:
    """Count nothing: a record of the format's own."""


class _Records:
    """The records of the archive, and the storages that are in it already."""

    def __init__(self, archive: Archive, count: Count) -> None:
        self.archive = archive
        self.count = count
        self.number = 0
        self.views: dict[Hashable, Any] = {}
        self.storages: dict[Hashable, str] = {}

    def storage(self, data: memoryview | Region, same: Hashable) -> str:
        """Write a storage, unless it is there, and return its key."""
        key = self.storages.get(same) if same is not None else None
        if key is None:
            key = str(self.number)
            self.number += 1
            self.archive.add(f"archive/data/{key}", data, self.count)
            if same is not None:
                self.storages[same] = key
        return key

    def reduced(self, slot: Slot) -> Any:
        """Write a slot's tensor, and return how the pickle makes it: (function, arguments)."""
        if slot.view is not None and slot.view in self.views:
            return self.views[slot.view]
        if slot.stored is not None:
            made = self._copied(slot.stored, slot.storage)
        else:
            made = self._reduce(plain(slot.make()), slot.storage)
        if slot.view is not None:
            self.views[slot.view] = made
        return made

    def _copied(self, stored: Stored, same: Hashable) -> Any:
        """Copy a tensor from the file it lies in: its storage, or of a larger one its own elements."""
        whole = stored.region
        if whole is not None:
            place = (stored.offset, stored.shape, stored.stride)
            return _rebuilt(stored.dtype, self.storage(whole, same), whole.nbytes, place)
        alone = stored.elements()
        place = (0, stored.shape, contiguous(stored.shape))
        return _rebuilt(stored.dtype, self.storage(alone, None), alone.nbytes, place)

    def _reduce(self, tensor: Tensor, same: Hashable) -> Any:
        import torch

        if tensor.layout != torch.strided or tensor.is_quantized:
            function, arguments = tensor.__reduce_ex__(2)[:2]  # type: ignore[no-untyped-call]
            return function, self._part(arguments)
        whole = tensor.untyped_storage()
        if whole.nbytes() != tensor.numel() * tensor.element_size():
            same = None
            tensor = tensor.contiguous()
        data = content(
            tensor if tensor.is_contiguous() else torch.empty(0, dtype=torch.uint8).set_(whole)
        )
        offset = 0 if tensor.is_contiguous() else tensor.storage_offset()
        place = (offset, tuple(tensor.shape), tensor.stride())
        return _rebuilt(dtype_name(tensor.dtype), self.storage(data, same), data.nbytes, place)

    def _part(self, argument: Any) -> Any:
        """Return an argument of which a sparse or quantized tensor is made, ready for the pickle."""
        import torch

        if type(argument) is tuple:
            return tuple(map(self._part, argument))
        if isinstance(argument, torch.Tensor):
            return of_value(argument)
        if not isinstance(argument, torch.storage.TypedStorage):
            return argument
        data = content(torch.empty(0, dtype=torch.uint8).set_(argument._untyped_storage))
        kind = argument._pickle_storage_type()  # type: ignore[no-untyped-call]
        numel = data.nbytes // argument.dtype.itemsize
        return Ref(_name("torch", kind), self.storage(data, None), numel)


def _rebuilt(dtype: str, key: str, nbytes: int, place: tuple[Any, ...]) -> Any:
    """Return how torch makes a tensor: (function, arguments); `place` is its offset, shape and strides.

    As torch.save has it: https://github.com/pytorch/pytorch/blob/main/torch/_tensor.py, _reduce_ex_internal.
    """
    hooks: OrderedDict[str, Any] = OrderedDict()
    last = (False, hooks)  # False: requires_grad
    if dtype in _CLASSES:
        ref = Ref(_name("torch", _CLASSES[dtype]), key, nbytes // SIZES[dtype])
        return _name("torch._utils", "_rebuild_tensor_v2"), (ref, *place, *last)
    ref = Ref(_name("torch.storage", "UntypedStorage"), key, nbytes)
    return _name("torch._utils", "_rebuild_tensor_v3"), (ref, *place, *last, _name("torch", dtype))


class _Pickler(_PythonPickler):  # type: ignore[misc]
    """Unlike the pickler in C it can write the name of what is not imported."""

    dispatch: ClassVar[dict[type, Any]] = dict(_PythonPickler.dispatch)

    def __init__(self, file: BinaryIO, records: _Records) -> None:
        super().__init__(file, protocol=2)  # torch's, and all that weights_only=True reads
        self.records = records

    def persistent_id(self, obj: Any) -> Any:
        return ("storage", obj.type, obj.key, "cpu", obj.numel) if type(obj) is Ref else None

    def _save_name(self, name: Name) -> None:
        self.write(pickle.GLOBAL + f"{name.module}\n{name.name}\n".encode())
        self.memoize(name)

    def _save_slot(self, slot: Slot) -> None:
        function, arguments = self.records.reduced(slot)
        self.save(function)
        self.save(arguments)
        self.write(pickle.REDUCE)
        self.memoize(slot)

    dispatch[Name] = _save_name
    dispatch[Slot] = _save_slot
