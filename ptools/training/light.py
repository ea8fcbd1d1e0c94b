"""A training without the machinery that it never uses: half of what it costs before its first step.

uncompiled(settings)   a block in which building an optimiser does not import torch.compile
ignite()               pytorch-ignite's Engine and Events, without the sharded optimiser it looks for

Every optimiser of torch imports torch._dynamo to mark functions that nobody compiles, and ignite imports
torch.distributed.optim to ask whether an optimiser is one of those: 0.9 CPU seconds, as much as torch
itself. A stand-in answers these two questions; asked for anything else, it makes way for the real module.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptools.training.settings import Settings

__all__ = ["ignite", "uncompiled"]

_DYNAMO, _SHARDED = "torch._dynamo", "torch.distributed.optim"


@contextmanager
def uncompiled(settings: Settings) -> Iterator[None]:
    """Train in this block without torch._dynamo, unless `settings` or the model ask for torch.compile."""
    if settings.compile or _DYNAMO in sys.modules:
        yield
        return
    marked: list[Any] = []

    def disable(function: Any = None, *_: Any, **__: Any) -> Any:
        """Answer as torch._dynamo.disable, as a function or a decorator: nothing is to be changed."""
        if function is None:
            return disable
        marked.append(function)
        return function

    known = {"disable": disable, "graph_break": lambda *_, **__: None}
    with _standing_in(_DYNAMO, known, lambda: _unmark(marked)):
        yield


def ignite() -> tuple[Any, Any]:
    """Return ignite's Engine and Events."""
    known = {"ZeroRedundancyOptimizer": _Sharded, "__path__": []}  # "from ... import" asks for both
    with _standing_in(_SHARDED, known):
        from ignite.engine import Engine, Events
    return Engine, Events


class _IsReal(type):
    def __instancecheck__(cls, instance: object) -> bool:
        real = sys.modules.get(f"{_SHARDED}.zero_redundancy_optimizer")
        return real is not None and isinstance(instance, real.ZeroRedundancyOptimizer)


class _Sharded(metaclass=_IsReal):
    """What ignite keeps as ZeroRedundancyOptimizer: an optimiser can only be one once it is imported."""


def _unmark(functions: list[Any]) -> None:
    """Let functions ask again: each keeps the answer it was given."""
    for function in functions:
        with suppress(AttributeError):
            del function.__dynamo_disable
    functions.clear()


# -- a stand-in ----------------------------------------------------------------------------------------


class _StandIn(ModuleType):
    """A module that answers what is in `known`; anything else it leaves to the real one."""

    def __init__(self, name: str, known: dict[str, Any], leave: Callable[[], object]) -> None:
        super().__init__(name)
        vars(self).update(known)
        self._leave = leave

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # inspect asks every module for its file
            raise AttributeError(name)
        from ptools.training.state import undisturbed

        self._make_way()
        with undisturbed("cpu"):  # importing it draws random numbers
            return getattr(import_module(self.__name__), name)

    def _make_way(self) -> None:
        above, _, leaf = self.__name__.rpartition(".")
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        if vars(sys.modules[above]).get(leaf) is self:
            delattr(sys.modules[above], leaf)
        self._leave()


@contextmanager
def _standing_in(
    name: str, known: dict[str, Any], leave: Callable[[], object] = lambda: None
) -> Iterator[None]:
    if name in sys.modules:
        yield
        return
    stand_in = sys.modules[name] = _StandIn(name, known, leave)
    try:
        yield
    finally:
        stand_in._make_way()
