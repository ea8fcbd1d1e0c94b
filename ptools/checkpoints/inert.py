"""Read a pickle without running anything in it.

load(file, storage)   the value: dicts, lists, tuples, plain values, Stored tensors, Global and Made

A pickle is a program for a small stack machine; three of its instructions call things by name. Here a
name is only a name (Global), and a call is only written down (Made), unless it is one of those in
`rebuild`, which make tensors and plain containers. No module is imported, no attribute is looked up,
no stranger's class is built. Instructions, copies and line lengths are counted, dictionary keys are flat
(a hash of deep tuples overflows the C stack), and nothing recurses.
"""

from __future__ import annotations

import pickletools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, cast

from ptools.checkpoints.made import Global, Made, Storing
from ptools.checkpoints.rebuild import call
from ptools.checkpoints.stored import Damaged

STEPS = 20_000_000  # a state_dict takes about 30 a tensor
LINE = 1 << 20
_MARK = object()
_PUSH = (str, int, float, bytes, bytearray)


class Cursor:
    """What pickletools reads from: bytes or a mapped file, from a position on, with bounded lines."""

    def __init__(self, data: Any, position: int = 0) -> None:
        self.data = data
        self.position = position

    def read(self, count: int) -> bytes:
        """Return the next `count` bytes, fewer at the end."""
        if count < 0:
            raise Damaged("a pickle has a negative length")
        start = self.position
        self.position = min(start + count, len(self.data))
        return bytes(self.data[start : self.position])

    def readline(self) -> bytes:
        """Return the next line with its end."""
        end = self.data.find(b"\n", self.position, self.position + LINE)
        if end < 0:
            raise Damaged("a pickle is cut short")
        return self.read(end + 1 - self.position)

    def tell(self) -> int:
        """Return the position."""
        return self.position


def load(file: Cursor, storage: Storing, steps: int = STEPS) -> Any:
    """Return the pickle's value; `storage` makes a Storage of a persistent id.

    Raises Damaged where the program makes no sense, or takes more than `steps` instructions.
    """
    machine = _Machine(storage, steps)
    try:
        for opcode, argument, _ in pickletools.genops(cast(Any, file)):
            machine.step(opcode.name, argument)
        if machine.stack[-1] is _MARK:
            raise Damaged("a pickle is damaged")
        return machine.stack[-1]
    except Damaged:
        raise
    except MemoryError:
        raise Damaged("a pickle asks for too much memory") from None
    except Exception as error:  # IndexError, KeyError, ValueError...: a program that makes no sense
        raise Damaged("a pickle is damaged or cut short") from error


def key(value: Any) -> Any:
    """Return a value that may be a dictionary's key: flat, or a stand-in."""
    if value is None or isinstance(value, (str, int, float, bytes, Global, Made)):
        return value
    if type(value) is tuple and len(value) <= 16 and all(isinstance(v, (str, int)) for v in value):
        return value
    return Made(Global("", type(value).__name__), ())


class _Machine:
    def __init__(self, storage: Storing, steps: int) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.storage = storage
        self.steps = steps

    def step(self, name: str, argument: Any) -> None:
        """Carry out one instruction."""
        self.spend(1)
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in _ACTIONS:
            _ACTIONS[name](self, argument)
        elif isinstance(argument, _PUSH):
            self.stack.append(argument)
        else:
            raise Damaged(f"a pickle has the instruction {name}, which a checkpoint has no use for")

    def spend(self, count: int) -> None:
        """Count instructions and copied items; Damaged where there are too many."""
        self.steps -= count
        if self.steps < 0:
            raise Damaged("a pickle has too many instructions")

    def marked(self) -> list[Any]:
        """Pop and return what is above the last mark."""
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                above = self.stack[index + 1 :]
                del self.stack[index:]
                return above
        raise Damaged("a pickle is damaged")

    def make(self, what: Any, arguments: Any) -> None:
        """Push the result of a call that is allowed, else a note of it."""
        arguments = arguments if isinstance(arguments, tuple) else (arguments,)
        self.stack.append(call(what, arguments, self.spend, key))

    def set_items(self, pairs: list[Any]) -> None:
        target = self.stack[-1]
        items = target.items if isinstance(target, Made) else target
        if isinstance(items, dict):
            for name, value in zip(pairs[::2], pairs[1::2], strict=True):
                items[key(name)] = value

    def add(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, set):
            target.update(key(value) for value in values)
        elif isinstance(target, list):
            target.extend(values)

    def build(self, _: Any) -> None:
        """Give an object its state: noted on a Made, `_metadata` on a state_dict, else dropped."""
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Made):
            target.state = state
        elif isinstance(target, OrderedDict) and isinstance(state, dict):
            metadata = state.get("_metadata")
            if isinstance(metadata, dict):
                target._metadata = metadata  # type: ignore[attr-defined]  # as torch keeps it

    def pop(self, _: Any) -> None:
        self.stack.pop()

    def global_(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self.stack.append(Global(module, name))

    def stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(Global(str(module)[:LINE], str(name)[:LINE]))

    def reduce(self, _: Any) -> None:
        arguments = self.stack.pop()
        self.make(self.stack.pop(), arguments)

    def newobj_ex(self, _: Any) -> None:
        self.stack.pop()
        self.reduce(None)

    def inst(self, argument: str) -> None:
        values = self.marked()
        self.global_(argument)
        self.make(self.stack.pop(), tuple(values))

    def obj(self, _: Any) -> None:
        what, *values = self.marked()
        self.make(what, tuple(values))

    def get(self, index: Any) -> None:
        self.stack.append(self.memo[int(index)])

    def put(self, index: Any) -> None:
        self.memo[len(self.memo) if index is None else int(index)] = self.stack[-1]

    def persistent(self, argument: Any) -> None:
        self.stack.append(self.storage(self.stack.pop() if argument is None else argument))

    def top(self, count: int) -> None:
        """Make a tuple of the topmost `count` values."""
        values = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.stack.append(values)

    def as_dict(self, _: Any) -> None:
        pairs = self.marked()
        self.stack.append({})
        self.set_items(pairs)


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (), "MARK": _MARK}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
    "EXT1": lambda: Global("copyreg", "extension"),
    "EXT2": lambda: Global("copyreg", "extension"),
    "EXT4": lambda: Global("copyreg", "extension"),
}


def _nothing(machine: _Machine, argument: Any) -> None:
    """PROTO, FRAME, STOP: they say nothing about the value."""


_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP", "READONLY_BUFFER"), _nothing),
    "POP": _Machine.pop,
    "POP_MARK": lambda m, _: (m.marked(), None)[1],
    "DUP": lambda m, _: m.stack.append(m.stack[-1]),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.marked())),
    "TUPLE1": lambda m, _: m.top(1),
    "TUPLE2": lambda m, _: m.top(2),
    "TUPLE3": lambda m, _: m.top(3),
    "LIST": lambda m, _: m.stack.append(m.marked()),
    "DICT": _Machine.as_dict,
    "FROZENSET": lambda m, _: m.stack.append(frozenset(key(v) for v in m.marked())),
    "APPEND": lambda m, _: m.add([m.stack.pop()]),
    "APPENDS": lambda m, _: m.add(m.marked()),
    "ADDITEMS": lambda m, _: m.add(m.marked()),
    "SETITEM": lambda m, _: m.set_items([m.stack.pop(-2), m.stack.pop()]),
    "SETITEMS": lambda m, _: m.set_items(m.marked()),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.put),
    **dict.fromkeys(("PERSID", "BINPERSID"), _Machine.persistent),
    "GLOBAL": _Machine.global_,
    "STACK_GLOBAL": _Machine.stack_global,
    "INST": _Machine.inst,
    "OBJ": _Machine.obj,
    "NEWOBJ": _Machine.reduce,
    "NEWOBJ_EX": _Machine.newobj_ex,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
}
