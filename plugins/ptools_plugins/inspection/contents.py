"""What a checkpoint holds, flat: tensors by their keys, plain values, and classes that were not made.

gathered(path, format, tree)   walk through the object that was saved
Contents, Item                 the file; one tensor of it

Keys have dots: `optimizer.state.0.exp_avg`; those of a pickled module are as in its state_dict.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ptools.checkpoints.choosing import candidates, entries, is_tensor, preferred
from ptools.checkpoints.made import Global, Made
from ptools.checkpoints.stored import SIZES, Stored
from ptools.errors import FileError, one_line

DEEPEST = 60
MOST = 200_000  # tensors and values; a crafted file may name one of them without end
_PLAIN = (str, int, float, bool, type(None))
# numpy's type codes -> those of struct
_NUMPY = {"f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "i2": "h", "i1": "b", "u1": "B",
          "u2": "H", "u4": "I", "u8": "Q", "b1": "?"}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Item:
    """A tensor in a file: its key, in parts too, and what is known without reading its numbers."""

    key: str
    parts: tuple[str, ...]
    tensor: Any  # Stored, or a tensor of torch in a file that was trusted
    shape: tuple[int, ...]
    dtype: str

    @property
    def numel(self) -> int:
        """The number of elements."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def nbytes(self) -> int:
        """The bytes of its elements."""
        return self.numel * SIZES.get(self.dtype, 1)

    @property
    def file(self) -> str | None:
        """The name of the file it lies in."""
        source = self.tensor.storage.source if isinstance(self.tensor, Stored) else None
        return source.path.name if source is not None else None

    @property
    def place(self) -> Any:
        """Equal for tensors that are the same bytes, as tied weights are."""
        return self.tensor.place if isinstance(self.tensor, Stored) else id(self.tensor)


@dataclass(frozen=True, eq=False)
class Contents:
    """A file of weights.

    size      bytes on disk, of all shards together
    where     the keys of the state_dict that is most likely the trained weights; () where all is one
    items     the tensors, in the order they were stored
    values    plain values beside them, by dotted key: epoch, metrics, settings
    objects   what was not made, by dotted key: the name of its class; of a model not its layers
    tied      {key: the first key of the same bytes}
    """

    path: Path
    format: str
    size: int
    items: list[Item]
    values: dict[str, Any] = field(default_factory=dict)
    objects: dict[str, str] = field(default_factory=dict)
    tied: dict[str, str] = field(default_factory=dict)
    where: tuple[str, ...] = ()

    @property
    def weights(self) -> list[Item]:
        """The tensors of the state_dict at `where`."""
        depth = len(self.where)
        return [item for item in self.items if item.parts[:depth] == self.where]

    @property
    def rest(self) -> list[Item]:
        """All other tensors: an optimizer's state, averaged weights, metrics."""
        depth = len(self.where)
        return [item for item in self.items if item.parts[:depth] != self.where]

    def totals(self, items: list[Item]) -> tuple[int, int]:
        """Return the elements and the bytes of some tensors, tied ones once."""
        once = [item for item in items if item.key not in self.tied]
        return sum(item.numel for item in once), sum(item.nbytes for item in once)

    @property
    def kept(self) -> int:
        """The bytes of the storages behind the tensors: more where only a part of one was meant."""
        storages = {
            id(i.tensor.storage): i.tensor.storage.nbytes
            for i in self.items
            if isinstance(i.tensor, Stored)
        }
        return sum(storages.values())

    @property
    def shards(self) -> dict[str, list[Item]]:
        """The tensors of each file, where there are several."""
        found: dict[str, list[Item]] = {}
        for item in self.items:
            found.setdefault(item.file or "", []).append(item)
        return found if len(found) > 1 else {}


def gathered(path: Path, format: str, tree: Any, *, flat: bool = False) -> Contents:
    """Return everything in `tree`; with `flat` its keys are whole names already. Raises FileError."""
    walk = _Walk(path)
    if flat:
        for key, value in tree.items():
            walk.tensor(tuple(_part(key).split(".")), value)
    else:
        walk.value((), tree, 0)
    files = {
        item.tensor.storage.source.path
        for item in walk.items
        if isinstance(item.tensor, Stored) and item.tensor.storage.source
    } | {path}
    size = sum(file.stat().st_size for file in files)
    where = () if flat else _where(tree, walk.modules)
    tied = _tied(walk.items)
    return Contents(path, format, size, walk.items, walk.values, walk.objects, tied, where)


def _where(tree: Any, modules: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the keys of the state_dict, or of the pickled module, that is most likely the weights."""
    if found := candidates(tree):
        return tuple(part for key in preferred(found).keys for part in _part(key).split("."))
    return modules[0] if modules else ()


def _tied(items: list[Item]) -> dict[str, str]:
    first: dict[Any, str] = {}
    found = {}
    for item in items:
        if item.numel:
            one = first.setdefault(item.place, item.key)
            if one != item.key:
                found[item.key] = one
    return found


class _Walk:
    """Goes through an object once; what holds itself is cut there, and the count is limited."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.items: list[Item] = []
        self.values: dict[str, Any] = {}
        self.objects: dict[str, str] = {}
        self.modules: list[tuple[str, ...]] = []
        self.above: set[int] = set()
        self.count = 0

    def value(self, parts: tuple[str, ...], value: Any, depth: int) -> None:
        self.count += 1
        if self.count > MOST:
            raise FileError(
                f"{self.path} holds more than {MOST:,} values; it is no checkpoint of ours."
            )
        key = _key(parts)
        if is_tensor(value):
            self.tensor(parts, value)
        elif isinstance(value, bytes):
            self.values[key] = f"{len(value):,} bytes"
        elif isinstance(value, _PLAIN):
            self.values[key] = value
        elif isinstance(value, Global):
            self.values[key] = f"{value.module}.{value.name}".removeprefix("builtins.")
        elif depth >= DEEPEST or id(value) in self.above:
            self.objects[key] = "nested without end" if depth >= DEEPEST else "itself"
        else:
            self.above.add(id(value))
            self.inside(parts, value, depth + 1)
            self.above.discard(id(value))

    def tensor(self, parts: tuple[str, ...], value: Any) -> None:
        dtype = (
            value.dtype if isinstance(value, Stored) else str(value.dtype).removeprefix("torch.")
        )
        parts = parts or ("tensor",)  # the file holds it and nothing else
        self.items.append(Item(_key(parts), parts, value, tuple(value.shape), dtype))

    def inside(self, parts: tuple[str, ...], value: Any, depth: int) -> None:
        """Go into a container, or note what it is."""
        key = _key(parts)
        if isinstance(value, Made):
            number = _number(value)
            if number is not None:
                self.values[key] = number
                return
            if value.module:
                self.modules.append(parts)
            if not value.module or self.modules == [parts]:  # not the layers within a model
                self.objects[key] = _class(value.of)
            for name, inner in _fields(value):
                self.value((*parts, _part(name)), inner, depth)
        elif (found := entries(value)) is not None:
            if not found and parts:
                self.values[key] = {}
            for name, inner in found.items():
                self.value((*parts, *_part(name).split(".")), inner, depth)
        elif isinstance(value, (list, tuple, set, frozenset)):
            if all(isinstance(one, _PLAIN) for one in value):
                self.values[key] = list(value)
                return
            for at, inner in enumerate(value):
                self.value((*parts, str(at)), inner, depth)
        else:
            self.objects[key] = one_line(type(value).__name__, 80)


def _key(parts: tuple[str, ...]) -> str:
    return ".".join(parts)


def _part(name: Any) -> str:
    named = name.of if isinstance(name, Made) else name
    return one_line(named.short if isinstance(named, Global) else named, 300)


def _class(of: Global) -> str:
    """Return what to call a class: by its full name, or as people do."""
    full = f"{of.module}.{of.name}"
    return one_line(full if of.short == of.name.rpartition(".")[2] else of.short, 80)


def _fields(made: Made) -> Iterator[tuple[Any, Any]]:
    """Yield what an object that was not made has: a module's tensors, entries, or attributes."""
    state: Any = made.state
    if made.module:
        for group in ("_parameters", "_buffers", "_modules"):
            inside = entries(state.get(group)) or {}
            yield from ((name, value) for name, value in inside.items() if value is not None)
        return
    yield from made.items.items()
    if isinstance(state, tuple):  # slots: (dict, slots)
        state = next((part for part in state if isinstance(part, dict)), None)
    if isinstance(state, Mapping):
        yield from state.items()


def _number(made: Made) -> Any:
    """Return the value of a numpy scalar, as metrics often are; None where it is something else."""
    if made.of.short != "numpy scalar" or len(made.args) != 2:
        return None
    kind, data = made.args
    code = kind.args[0] if isinstance(kind, Made) and kind.args else None
    order = kind.state[1] if isinstance(kind, Made) and isinstance(kind.state, tuple) else "<"
    if not isinstance(data, bytes) or code not in _NUMPY:
        return None
    try:
        return struct.unpack((">" if order == ">" else "<") + _NUMPY[code], data)[0]
    except struct.error:
        return None
