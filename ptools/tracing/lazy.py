"""Run a model without torch.compile, and without importing its machinery.

Many meta kernels are wrapped by `torch._disable_dynamo`, which imports torch._dynamo at the first
call: 1 to 2 CPU seconds, as much as torch itself, to mark a function that nobody compiles. While a
dry run is on, a stand-in answers `disable` with the function as it is; asked for anything else
(the model itself uses torch.compile), it makes way for the real module, which is told to run what
it is given as it stands: nothing is compiled, the shapes and the figures are the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import ModuleType
from typing import Any

_NAME = "torch._dynamo"


class _StandIn(ModuleType):
    def __init__(self, exits: ExitStack) -> None:
        super().__init__(_NAME)
        self.exits = exits
        self.marked: list[Any] = []  # functions that remember the answer

    def disable(self, function: Any = None, *_: Any, **__: Any) -> Any:
        if function is None:  # @disable(recursive=False)
            return self.disable
        self.marked.append(function)
        return function

    def __getattr__(self, name: str) -> Any:
        import importlib

        if name.startswith("__") and name != "__path__":  # inspect asks every module for its file
            raise AttributeError(name)
        _leave(self)
        found = getattr(importlib.import_module(_NAME), name)
        _run_as_it_stands(self.exits)
        return found


def _leave(stand_in: _StandIn) -> None:
    import torch

    if sys.modules.get(_NAME) is stand_in:
        del sys.modules[_NAME]
    if vars(torch).get("_dynamo") is stand_in:
        del torch._dynamo
    for function in stand_in.marked:
        with suppress(AttributeError):
            del function.__dynamo_disable  # torch would never ask again
    stand_in.marked.clear()


def _run_as_it_stands(exits: ExitStack) -> None:
    import torch

    if hasattr(torch.compiler, "set_stance"):  # since torch 2.6
        exits.enter_context(torch.compiler.set_stance("force_eager"))


@contextmanager
def without_dynamo() -> Iterator[None]:
    """Compile nothing, and keep torch._dynamo from being imported for nothing."""
    with ExitStack() as exits:
        if _NAME in sys.modules:
            _run_as_it_stands(exits)
        else:
            stand_in = sys.modules[_NAME] = _StandIn(exits)
            exits.callback(_leave, stand_in)
        yield
