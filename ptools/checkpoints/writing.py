"""write(tensors, path): a checkpoint, whole or not at all, one tensor in memory at a time."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, BinaryIO

from ptools import files
from ptools.checkpoints.containers import replaced
from ptools.checkpoints.packing import pack
from ptools.checkpoints.pouring import LARGE, gap, pour
from ptools.checkpoints.slots import Given, Slot, content, plain, slots
from ptools.checkpoints.stored import SIZES, Region
from ptools.checkpoints.tensorfiles import DTYPES
from ptools.checkpoints.weights import Weights, dtype_name
from ptools.errors import FileError

Progress = Callable[[int, int], object]

_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_DIMENSIONS = (
    8  # for which the header of safetensors has room where a shape is not known beforehand
)


def write(
    tensors: Given,
    path: str | Path,
    *,
    like: Weights | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> list[str]:
    """Write a state_dict, and return what of `like` could not be kept.

    `path` ends in .safetensors, or the file is in torch.save's zip format, for
    torch.load(weights_only=True). The values are tensors, functions that make them, or
    `weights.stored(name)`; a mapping may make them on access. One at a time is in memory, besides
    what the caller holds, and what lies in a file is copied there without being loaded. Tensors that
    share their memory are written once by torch's format, each alone by safetensors, which has no
    sharing; a part of a larger storage is written without the rest.

    `like` is what was read: its state_dict is replaced within the object that held it; strange
    objects there are left out and named in the answer ("args (Namespace)"). Of a safetensors file
    its metadata is kept; a sharded one becomes one file.

    `progress` is called with (bytes written, bytes in all), at least once per 64 MB; what functions
    make is added to the total when it is written.

    The old file is whole until the new one is. Raises FileError where `path` exists and `force` is
    False, where the disk says no, and where safetensors cannot hold a tensor.
    """
    path = Path(path)
    found = slots(tensors)
    safe = path.suffix.lower() == ".safetensors"
    value, dropped = (found, []) if safe else _contained(found, like)
    counter = _Counter(_all(value), progress, alone=safe)

    def dump(file: BinaryIO) -> None:
        if safe:
            metadata = like.metadata if like and like.format == "safetensors" else {}
            _dump(found, {"format": "pt", **metadata}, file, path, counter.add)
        else:
            pack(value, file, counter.add)

    files.write(path, dump, force=force)
    counter.finish()
    return dropped


def _contained(found: dict[str, Slot], like: Weights | None) -> tuple[Any, list[str]]:
    """Return what torch's format is to hold, and what of `like` is left out."""
    if like is None or like.tree is None:
        return OrderedDict(found), []
    return replaced(like, found)


class _Counter:
    """Adds up the bytes written and tells `progress`."""

    def __init__(self, found: list[Slot], progress: Progress | None, *, alone: bool) -> None:
        self.done = 0
        sizes: dict[Hashable, int] = {
            id(slot) if alone else slot.view or id(slot): slot.nbytes for slot in found
        }
        self.total = sum(sizes.values())
        self.progress = progress

    def add(self, count: int) -> None:
        """Count bytes as written."""
        self.done += count
        self.total = max(self.total, self.done)
        if self.progress is not None:
            self.progress(self.done, self.total)

    def finish(self) -> None:
        """End at the total, which was too high where tensors share their memory in part."""
        if self.done != self.total:
            self.total = self.done
            self.add(0)


def _all(value: Any) -> list[Slot]:
    """Return every Slot in a value that is to be written, each part of it looked at once."""
    found: list[Slot] = []
    waiting, met = [value], set()
    while waiting:
        item = waiting.pop()
        if id(item) in met:
            continue
        met.add(id(item))
        if isinstance(item, Slot):
            found.append(item)
        elif isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, (list, tuple)):
            waiting += item
    return found


def _dump(
    found: dict[str, Slot],
    metadata: dict[str, Any],
    file: BinaryIO,
    path: Path,
    count: Callable[[int], object],
) -> None:
    """Write safetensors: the header's place first, then each tensor, then the header.

    https://github.com/huggingface/safetensors#format: the length in 8 bytes, JSON padded by
    spaces, then the bytes of the tensors without gaps.
    """
    words = {name: value for name, value in metadata.items() if isinstance(value, str)}
    header: dict[str, Any] = {"__metadata__": words}
    room = len(json.dumps(header)) + sum(_room(name, slot) for name, slot in found.items())
    found = _aligned(found)
    room += gap(_first(found), 8 + room, 8)
    file.write(b" " * (8 + room))
    end = 0
    for name, slot in found.items():
        dtype, shape, data = _data(slot, name, path)
        offsets = [end, end + data.nbytes]
        header[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": offsets}
        end += data.nbytes
        pour(data, file, count, crc=False)
    text = json.dumps(header, separators=(",", ":")).encode()
    if len(text) > room:
        raise FileError(
            f"{path} cannot hold tensors of so many dimensions; write a .pth file instead."
        )
    file.seek(0)
    file.write(room.to_bytes(8, "little") + text.ljust(room))


def _first(found: dict[str, Slot]) -> memoryview | Region:
    """Return a region that starts where the data must start for the first large one to be in place."""
    end = 0
    for slot in found.values():
        region = slot.region
        if region is not None and region.nbytes >= LARGE:
            return region._replace(start=max(region.start - end, 0))
        if slot.dtype is None:
            break
        end += slot.nbytes
    return memoryview(b"")


def _room(name: str, slot: Slot) -> int:
    """Return how many bytes of the header a tensor takes at most."""
    dimensions = _DIMENSIONS if slot.shape is None else len(slot.shape)
    return len(json.dumps(name)) + 21 * dimensions + 100


def _aligned(found: dict[str, Slot]) -> dict[str, Slot]:
    """Return the tensors in an order that keeps each at a multiple of its elements' size.

    Their own order if that does; else those of larger elements first. Unknown ones stay in place.
    """
    end = 0
    for slot in found.values():
        if slot.dtype is None:
            return found
        size = SIZES.get(slot.dtype, 1)
        if end % size:
            order = sorted(found, key=lambda name: -SIZES.get(found[name].dtype or "", 1))
            return {name: found[name] for name in order}
        end += slot.nbytes
    return found


def _data(slot: Slot, name: str, path: Path) -> tuple[str, tuple[int, ...], memoryview | Region]:
    """Return dtype, shape and bytes of a tensor. Raises FileError where safetensors cannot hold it."""
    if slot.stored is not None:
        _holds(path, name, slot.stored.dtype)
        return slot.stored.dtype, slot.stored.shape, slot.stored.elements()
    import torch

    tensor = plain(slot.make())
    if tensor.layout != torch.strided or tensor.is_quantized:
        _holds(path, name, "quantized or sparse")
    dtype = dtype_name(tensor.dtype)
    _holds(path, name, dtype)
    return dtype, tuple(tensor.shape), content(tensor.contiguous())


def _holds(path: Path, name: str, kind: str) -> None:
    """Raise FileError where safetensors has no such tensors."""
    if kind not in _NAMES:
        raise FileError(
            f"{path} cannot hold '{name}': safetensors has no {kind} tensors; write a .pth file."
        )
