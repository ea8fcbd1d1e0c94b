"""A loaded object with another state_dict in its place, as torch.load(weights_only=True) reads it.

replaced(weights, tensors)   the object, and what could not be kept
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from ptools.checkpoints.choosing import entries, is_tensor
from ptools.checkpoints.made import Global, Made
from ptools.checkpoints.slots import Name, Slot, of_value
from ptools.checkpoints.stored import SIZES
from ptools.checkpoints.weights import Weights
from ptools.errors import one_line

DEPTH = 100


def replaced(weights: Weights, tensors: dict[str, Slot]) -> tuple[Any, list[str]]:
    """Return `weights.tree` with `tensors` as its state_dict, and what had to be left out of it.

    The `_metadata` of the state_dict (versions of its modules) is kept, and so are plain values and
    tensors around it.
    """
    state: OrderedDict[str, Any] = OrderedDict(tensors)
    old, keys = weights.tree, weights.keys
    for name in keys:
        old = (entries(old) or {}).get(name)
    cleaner = _Cleaner(id(old.items if isinstance(old, Made) else old), state)
    metadata = getattr(old, "_metadata", None)
    if isinstance(metadata, dict):
        kept = _Cleaner(0, None).value(metadata, "_metadata", 0)
        state._metadata = kept  # type: ignore[attr-defined]  # as torch keeps it
    if not keys:
        return state, []
    return cleaner.value(weights.tree, "", 0), cleaner.dropped


class _Gone:
    """Stands for what is left out."""


class _Cleaner:
    """Copies an object without what only its own code could load."""

    def __init__(self, old: int, new: Any) -> None:
        self.old = old
        self.new = new
        self.dropped: list[str] = []
        self.done: dict[int, Any] = {}

    def value(self, value: Any, where: str, depth: int) -> Any:
        """Return the copy of a value, or _Gone."""
        if id(value) == self.old:
            return self.new
        if value is None or isinstance(value, (str, int, float, bytes, bytearray)):
            return value
        if id(value) not in self.done:
            self.done[id(value)] = _Gone  # what holds itself is cut there
            self.done[id(value)] = self._copy(value, where, depth)
        return self.done[id(value)]

    def _copy(self, value: Any, where: str, depth: int) -> Any:
        items = entries(value)
        if is_tensor(value):
            return of_value(value)
        if isinstance(value, Global) and value.module == "torch" and value.name in SIZES:
            return Name("torch", value.name)
        if items is not None and depth < DEPTH:
            return self._mapping(value, items, where, depth)
        if isinstance(value, (list, tuple)) and depth < DEPTH:
            copies = [self.value(v, f"{where}[{i}]", depth + 1) for i, v in enumerate(value)]
            kept = [None if copy is _Gone else copy for copy in copies]  # the places stay
            return tuple(kept) if isinstance(value, tuple) else kept
        if isinstance(value, set) and all(isinstance(v, (str, int, float)) for v in value):
            return set(value)
        return self._drop(value, where)

    def _mapping(self, value: Any, items: Any, where: str, depth: int) -> Any:
        if id(items) == self.old:
            return self.new
        copy: dict[Any, Any] = OrderedDict() if isinstance(value, OrderedDict) else {}
        for name, item in items.items():
            inner = f"{where}.{name}" if where else str(name)
            if isinstance(name, (Global, Made)):
                self._drop(name, where)
            elif (kept := self.value(item, inner, depth + 1)) is not _Gone:
                copy[name] = kept
        return copy

    def _drop(self, value: Any, where: str) -> Any:
        named = value.of if isinstance(value, Made) else value
        what = named.short if isinstance(named, Global) else type(value).__name__
        self.dropped.append(one_line(f"{where} ({what})", 120))
        return _Gone
