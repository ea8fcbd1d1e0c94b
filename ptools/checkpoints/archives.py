"""What torch.save and torch.jit.save wrote, read without running anything in it.

read_zip(path)     the zip format (torch >= 1.6) and TorchScript archives
read_pickle(path)  the format before, a chain of pickles followed by the bytes of the storages

Both return Loaded: the object that was saved, with Stored for its tensors, and the format in words.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptools.checkpoints.inert import Cursor, load
from ptools.checkpoints.made import Global, Made
from ptools.checkpoints.rebuild import storage_dtype
from ptools.checkpoints.stored import SIZES, Damaged, Source, Storage
from ptools.errors import FileError, one_line

MAGIC = 0x1950A86A20F9469CFC6C
LARGEST_PICKLE = 1 << 30
LARGEST_CODE = 1 << 24


@dataclass(frozen=True)
class Loaded:
    """The object a file holds, and the format in words."""

    tree: Any
    format: str


class Storages:
    """Makes one Storage of each persistent id; `place` finds its bytes, at once or later."""

    def __init__(self, place: Callable[[Storage], None]) -> None:
        self.known: dict[tuple[str, str], Storage] = {}
        self.parts: list[tuple[Storage, Storage, int]] = []  # (part, whole, offset in bytes)
        self.place = place

    def __call__(self, found: Any) -> Any:
        """Return the Storage of ("storage", class, key, location, numel[, view]); else a Made."""
        match found:
            case ("module", Global() as name, *_):  # the class of a whole pickled module
                return name
            case ("storage", name, key, _, int(numel), *view) if 0 <= numel < 1 << 59:
                dtype = storage_dtype(name)
                if dtype is None:
                    return Made(Global("torch", "storage"), ())
                whole = self.whole(str(key), dtype, numel * SIZES[dtype])
                return self.part(whole, view[0]) if view and view[0] is not None else whole
        raise Damaged("a pickle names an object this format does not have")

    def whole(self, key: str, dtype: str, nbytes: int) -> Storage:
        """Return the storage of this key."""
        if (key, dtype) not in self.known:
            storage = self.known[key, dtype] = Storage(key, dtype, nbytes)
            self.place(storage)
        return self.known[key, dtype]

    def part(self, whole: Storage, view: Any) -> Storage:
        """Return a part of a storage, as torch < 0.4 saved views: (key, offset, numel)."""
        match view:
            case (_, int(offset), int(numel)) if offset >= 0 and numel >= 0:
                size = SIZES[whole.dtype]
                part = Storage(whole.key, whole.dtype, numel * size)
                if (offset + numel) * size <= whole.nbytes:
                    self.parts.append((part, whole, offset * size))
                    return part
        raise Damaged("a view reaches beyond its storage")


def read_zip(path: Path) -> Loaded:
    """Return what a zip file holds. Raises FileError where it is no checkpoint, Damaged where broken."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise FileError(
            f"{path} is cut short or damaged: a zip file without its end; download it again."
        ) from error
    with archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        root = _root(path, entries)
        source = Source(path)
        swap = _swap(archive, entries, root)

        def placing(folder: str) -> Callable[[Storage], None]:
            def place(storage: Storage) -> None:
                _place(source, entries, f"{root}{folder}/{storage.key}", storage)
                storage.swap = swap

            return place

        tree = load(Cursor(_record(archive, entries, f"{root}data.pkl")), Storages(placing("data")))
        if f"{root}constants.pkl" in entries:
            from ptools.checkpoints.script import state_dict

            def code(name: str) -> str:
                name = f"{root}code/{name}"
                found = _record(archive, entries, name, LARGEST_CODE) if name in entries else b""
                return found.decode("utf-8", "replace")

            return Loaded(state_dict(tree, code), "TorchScript archive")
    return Loaded(tree, "PyTorch zip")


def _root(path: Path, entries: dict[str, zipfile.ZipInfo]) -> str:
    """Return the folder in the archive that holds data.pkl, with its slash."""
    for name in entries:
        if name == "data.pkl" or name.endswith("/data.pkl"):
            return name.removesuffix("data.pkl")
    names = set(entries)
    if any(name.endswith("model.json") for name in names) and any("tensors/" in n for n in names):
        raise FileError(
            f"{path} is a TorchScript file of torch < 1.4; load it with torch.jit.load and save it again."
        )
    if {"config.json", "metadata.json"} <= names:
        raise FileError(f"{path} is a Keras model; give a PyTorch checkpoint.")
    if names and all(name.endswith(".npy") for name in names):
        raise FileError(f"{path} is a NumPy .npz file; load it with numpy.load.")
    inside = next((n for n in names if n.endswith((".pt", ".pth", ".bin", ".safetensors"))), None)
    if inside:
        raise FileError(f"{path} is a zip file around {one_line(inside)}; unpack it first.")
    raise FileError(f"{path} is a zip file, but no checkpoint (no data.pkl in it); check the path.")


def _record(
    archive: zipfile.ZipFile,
    entries: dict[str, zipfile.ZipInfo],
    name: str,
    limit: int = LARGEST_PICKLE,
) -> bytes:
    """Return the content of a small record."""
    entry = entries[name]
    if entry.file_size > limit:
        raise Damaged(f"{name} in it is too large")
    try:
        return archive.read(entry)
    except Exception as error:  # a damaged zip makes zipfile raise nearly anything
        raise Damaged(f"{name} in it is damaged") from error


def _swap(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], root: str) -> bool:
    """Return whether its numbers are in the other byte order; without a word they are little-endian."""
    import sys

    name = f"{root}byteorder"
    order = _record(archive, entries, name).decode("latin-1") if name in entries else "little"
    return order != sys.byteorder


def _place(
    source: Source, entries: dict[str, zipfile.ZipInfo], name: str, storage: Storage
) -> None:
    """Find a storage's bytes behind its local header."""
    entry = entries.get(name)
    if entry is None:
        if storage.nbytes == 0:
            return
        raise Damaged(f"the record {name} is missing")
    if entry.compress_type != zipfile.ZIP_STORED:
        raise Damaged("its tensors are compressed inside the zip, which torch.save never does")
    if storage.nbytes > entry.file_size:
        raise Damaged(f"the record {name} is smaller than the pickle says")
    header = source.map[entry.header_offset : entry.header_offset + 30]
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise Damaged(f"the record {name} is not where the zip's directory says")
    names, extra = struct.unpack("<HH", header[26:30])
    storage.place(source, entry.header_offset + 30 + names + extra)
    storage.crc = entry.CRC if storage.nbytes == entry.file_size else None


def read_pickle(path: Path) -> Loaded:
    """Return what a file of torch < 1.6 holds. Raises FileError on other pickles, Damaged if broken."""
    source = Source(path)
    cursor = Cursor(source.map)
    if load(cursor, _nothing_stored) != MAGIC:
        raise FileError(
            f"{path} is a Python pickle that torch.save did not write; save its weights with torch.save."
        )
    load(cursor, _nothing_stored)  # the protocol
    system = load(cursor, _nothing_stored)
    swap = isinstance(system, dict) and system.get("little_endian") is False
    storages = Storages(lambda storage: None)
    tree = load(cursor, storages)
    keys = load(cursor, _nothing_stored)
    _place_all(source, cursor.tell(), keys, storages, "big" if swap else "little")
    return Loaded(tree, "PyTorch pickle (before 1.6)")


def _nothing_stored(found: Any) -> Any:
    raise Damaged("a pickle names a storage where none can be")


def _place_all(
    source: Source, position: int, keys: Any, storages: Storages, byteorder: str
) -> None:
    """Say where each storage's bytes are: in the order of `keys`, each after its number of elements."""
    import sys

    wholes = {key: storage for (key, _), storage in storages.known.items()}
    if not isinstance(keys, list) or len(wholes) != len(storages.known):
        raise Damaged("the list of storages does not fit the tensors")
    for name in map(str, keys):
        storage = wholes.get(name)
        if storage is None:
            raise Damaged(f"storage {name} is in the file, but in no tensor")
        numel = int.from_bytes(source.map[position : position + 8], "little")
        if position + 8 <= source.size and numel * SIZES[storage.dtype] != storage.nbytes:
            raise Damaged(f"storage {name} has another size than its tensors say")
        storage.place(source, position + 8)
        storage.swap = byteorder != sys.byteorder
        position += 8 + storage.nbytes
    for part, whole, offset in storages.parts:
        if whole.source is not None:
            part.place(source, whole.start + offset)
            part.swap = whole.swap
