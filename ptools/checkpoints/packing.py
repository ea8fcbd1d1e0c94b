"""torch.save's zip format, written tensor by tensor.

pack(value, file, count)   what torch.save writes, except that a Slot is written as the tensor it makes

torch.save needs all tensors at once; here each is made, written and let go. The pickle, which
names them all, comes last: the order of a zip file's records is free. A tensor that is a part of a
larger storage is written alone.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from ptools.checkpoints.pouring import Count, Region
from ptools.checkpoints.slots import Slot, content, of_value, plain
from ptools.checkpoints.stored import Stored
from ptools.checkpoints.zipping import Archive

if TYPE_CHECKING:
    from torch import Tensor


class Ref(NamedTuple):
    """A storage that is in the archive: torch's class for it, its record, its number of elements."""

    type: Any
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
        if slot.stored is not None and slot.region is not None:
            made = self._copied(slot.stored, slot.region, slot.storage)
        else:
            made = self._reduce(plain(slot.make()), slot.storage)
        if slot.view is not None:
            self.views[slot.view] = made
        return made

    def _reduce(self, tensor: Tensor, same: Hashable) -> Any:
        import torch

        if tensor.layout != torch.strided or tensor.is_quantized:
            function, arguments = tensor.__reduce_ex__(2)[:2]  # type: ignore[no-untyped-call]
            return function, tuple(map(self._stored, arguments))
        whole = tensor.untyped_storage()
        if whole.nbytes() != tensor.numel() * tensor.element_size():
            same = None
            tensor = tensor.contiguous()
        data = content(
            tensor if tensor.is_contiguous() else torch.empty(0, dtype=torch.uint8).set_(whole)
        )
        offset = 0 if tensor.is_contiguous() else tensor.storage_offset()
        key = self.storage(data, same)
        return _rebuilt(
            tensor.dtype, key, data.nbytes, (offset, tuple(tensor.shape), tensor.stride())
        )

    def _copied(self, stored: Stored, region: Region, same: Hashable) -> Any:
        """Copy a storage from the file it lies in."""
        import torch

        key = self.storage(region, same)
        place = (stored.offset, stored.shape, stored.stride)
        return _rebuilt(getattr(torch, stored.dtype), key, region.nbytes, place)

    def _stored(self, argument: Any) -> Any:
        """Write an argument that is a storage, of a quantized tensor."""
        import torch

        if not isinstance(argument, (torch.storage.TypedStorage, torch.UntypedStorage)):
            return argument
        untyped = getattr(argument, "_untyped_storage", argument)
        data = content(torch.empty(0, dtype=torch.uint8).set_(untyped))
        return _ref(argument, self.storage(data, None), data.nbytes)


def _rebuilt(dtype: Any, key: str, nbytes: int, place: tuple[Any, ...]) -> Any:
    """Return how torch makes a tensor: (function, arguments); `place` is its offset, shape and strides.

    Which function and which storage class belong to a dtype is torch's affair: an empty tensor tells.
    """
    import torch

    function, arguments = torch.empty(0, dtype=dtype).__reduce_ex__(2)[:2]  # type: ignore[no-untyped-call]
    return function, (_ref(arguments[0], key, nbytes), *place, *arguments[4:])


def _ref(storage: Any, key: str, nbytes: int) -> Ref:
    import torch

    if isinstance(storage, torch.UntypedStorage):
        return Ref(torch.UntypedStorage, key, nbytes)
    kind = getattr(torch, storage._pickle_storage_type())
    return Ref(kind, key, nbytes // storage.dtype.itemsize)


class _Pickler(pickle.Pickler):
    def __init__(self, file: BinaryIO, records: _Records) -> None:
        super().__init__(file, protocol=2)  # torch's, and all that weights_only=True reads
        self.records = records

    def persistent_id(self, obj: Any) -> Any:
        return ("storage", obj.type, obj.key, "cpu", obj.numel) if type(obj) is Ref else None

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Slot):
            return self.records.reduced(obj)
        import torch

        if isinstance(obj, torch.Tensor):  # a part of a sparse or quantized one
            return self.records.reduced(of_value(obj))
        return NotImplemented
