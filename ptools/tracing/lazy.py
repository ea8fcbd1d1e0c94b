"""Run PyTorch without machinery that it imports only to ask a question, and never uses.

without_dynamo(...)     a block in which nothing imports torch._dynamo for nothing
standing_in(name, ...)  a block in which a stand-in answers for a module

Optimisers and many meta kernels are marked by `torch._dynamo.disable`: to mark a function that nobody
compiles, torch.compile is imported, 1 to 2 CPU seconds, as much as torch itself. A stand-in answers that
one question; asked for anything else, or for a module below, it makes way for the real module. What
somebody keeps of it asks the real one from then on.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

__all__ = ["standing_in", "without_dynamo"]

_DYNAMO = "torch._dynamo"


@contextmanager
def without_dynamo(*, compile: bool = False) -> Iterator[None]:
    """Keep torch._dynamo from being imported for nothing.

    A model that uses torch.compile itself gets the real module; without `compile` that is told to run
    what it is given as it stands: the shapes and the figures are the same.
    """
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
    with ExitStack() as exits:

        def came() -> None:
            if not compile:
                _run_as_it_stands(exits)

        if _DYNAMO not in sys.modules:
            exits.enter_context(standing_in(_DYNAMO, known, lambda: _unmark(marked), came))
        elif not isinstance(sys.modules[_DYNAMO], _StandIn):
            came()
        yield


def _run_as_it_stands(exits: ExitStack) -> None:
    import torch

    if hasattr(torch.compiler, "set_stance"):  # since torch 2.6
        exits.enter_context(torch.compiler.set_stance("force_eager"))


def _unmark(functions: list[Any]) -> None:
    """Let functions ask again: each keeps the answer it was given."""
    for function in functions:
        with suppress(AttributeError):
            del function.__dynamo_disable
    functions.clear()


# -- a stand-in --------------------------------------------------------------------------------------


@contextmanager
def standing_in(
    name: str,
    known: dict[str, Any],
    leave: Callable[[], object] = lambda: None,
    came: Callable[[], object] = lambda: None,
) -> Iterator[None]:
    """Let a stand-in answer `known` for the module `name` in this block, if that is not imported yet.

    `leave` is called when it goes; `came` where the real module takes its place within the block.
    """
    if name in sys.modules:
        yield
        return
    stand_in = sys.modules[name] = _StandIn(name, known, leave, came)
    below = _Below(stand_in)
    sys.meta_path.insert(0, below)
    try:
        yield
    finally:
        sys.meta_path.remove(below)
        stand_in.make_way()


class _StandIn(ModuleType):
    """A module that answers what is in `known`; anything else it leaves to the real one."""

    def __init__(
        self,
        name: str,
        known: dict[str, Any],
        leave: Callable[[], object],
        came: Callable[[], object],
    ) -> None:
        super().__init__(name)
        vars(self).update(known)
        self._known, self._leave, self._came = list(known), leave, came

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # inspect asks every module for its file
            raise AttributeError(name)
        return getattr(self.real(), name)

    def real(self) -> ModuleType:
        """Make way for the real module and return it."""
        import torch

        within = sys.modules.get(self.__name__) is self
        self.make_way()
        dice = random.getstate(), torch.get_rng_state()  # importing it may draw random numbers
        try:
            found = import_module(self.__name__)
        finally:
            random.setstate(dice[0])
            torch.set_rng_state(dice[1])
        if within:
            self._came()
        return found

    def make_way(self) -> None:
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
        real = self.stand_in.real()
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
