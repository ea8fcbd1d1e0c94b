"""Run operations on meta without importing torch.compile's machinery.

Many meta kernels are wrapped by `torch._disable_dynamo`, which imports torch._dynamo at the first
call: 1 to 2 CPU seconds, as much as torch itself, to mark a function that nobody compiles. While a
dry run is on, a stand-in answers `disable` with the function as it is; asked for anything else
(the model itself uses torch.compile), it makes way for the real module.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_NAME = "torch._dynamo"


class _StandIn(ModuleType):
    def disable(self, function: Any = None, *_: Any, **__: Any) -> Any:
        return function

    def __getattr__(self, name: str) -> Any:
        import importlib

        _leave(self)
        return getattr(importlib.import_module(_NAME), name)


def _leave(stand_in: ModuleType) -> None:
    import torch

    if sys.modules.get(_NAME) is stand_in:
        del sys.modules[_NAME]
    if vars(torch).get("_dynamo") is stand_in:
        del torch._dynamo


@contextmanager
def without_dynamo() -> Iterator[None]:
    """Keep torch._dynamo from being imported for nothing."""
    if _NAME in sys.modules:
        yield
        return
    stand_in = sys.modules[_NAME] = _StandIn(_NAME)
    try:
        yield
    finally:
        _leave(stand_in)
