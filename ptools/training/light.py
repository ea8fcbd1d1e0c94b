"""A training without the machinery that it never uses: half of what it costs before its first step.

uncompiled(settings)   a block in which building an optimiser does not import torch.compile
ignite()               pytorch-ignite's Engine and Events, without the sharded optimiser it looks for

Every optimiser of torch imports torch._dynamo to mark functions that nobody compiles, and ignite imports
torch.distributed.optim to ask whether an optimiser is one of those: 0.9 CPU seconds, as much as torch
itself. A stand-in answers these two questions; asked for anything else, or for a module below, it makes way
for the real module. What somebody keeps of it asks the real one from then on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
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

    def disable(function: Any = None, *args: Any, **options: Any) -> Any:
        """Answer as torch._dynamo.disable, as a function or a decorator: nothing is to be changed."""
        if not isinstance(sys.modules.get(_DYNAMO), _StandIn):
            return import_module(_DYNAMO).disable(function, *args, **options)
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
        self._known, self._leave = list(known), leave

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # inspect asks every module for its file
            raise AttributeError(name)
        return getattr(self._real(), name)

    def _real(self) -> ModuleType:
        from ptools.training.state import undisturbed

        self._make_way()
        with undisturbed("cpu"):  # importing it draws random numbers
            return import_module(self.__name__)

    def _make_way(self) -> None:
        for name in self._known:
            vars(self).pop(name, None)
        above, _, leaf = self.__name__.rpartition(".")
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        if vars(sys.modules[above]).get(leaf) is self:
            delattr(sys.modules[above], leaf)
        self._leave()


class _Below(Loader):
    """Finds the modules right below a stand-in, first of all finders.

    Python asks a module for its path before it imports one below it, and the real module, which comes with
    that, imports most of these itself: without this they would be there twice.
    """

    def __init__(self, stand_in: _StandIn) -> None:
        self.stand_in = stand_in

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        if name.rpartition(".")[0] != self.stand_in.__name__ or target is not None:
            return None
        real = self.stand_in._real()
        found = sys.modules.get(name)
        if found is None:
            return PathFinder.find_spec(name, real.__path__)
        spec = ModuleSpec(name, self, loader_state=found.__spec__)
        with suppress(AttributeError):  # torch's modules of settings do not let it be set
            found.__spec__ = spec
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return sys.modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """Leave it as it was, which has run."""
        spec = module.__spec__
        if spec is not None and spec.loader is self:
            module.__spec__ = spec.loader_state


@contextmanager
def _standing_in(
    name: str, known: dict[str, Any], leave: Callable[[], object] = lambda: None
) -> Iterator[None]:
    if name in sys.modules:
        yield
        return
    stand_in = sys.modules[name] = _StandIn(name, known, leave)
    below = _Below(stand_in)
    sys.meta_path.insert(0, below)
    try:
        yield
    finally:
        sys.meta_path.remove(below)
        stand_in._make_way()
