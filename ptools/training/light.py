"""A training without the machinery that it never uses: half of what it costs before its first step.

uncompiled(settings)   a block in which building an optimiser does not import torch.compile
ignite()               pytorch-ignite's Engine and Events, without the sharded optimiser it looks for

Every optimiser of torch imports torch._dynamo to mark functions that nobody compiles, and ignite imports
torch.distributed.optim to ask whether an optimiser is one of those: 0.9 CPU seconds, as much as torch
itself. A stand-in (ptools.tracing.lazy) answers these two questions.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ptools.tracing import lazy

if TYPE_CHECKING:
    from ptools.training.settings import Settings

__all__ = ["ignite", "uncompiled"]

_SHARDED = "torch.distributed.optim"


@contextmanager
def uncompiled(settings: Settings) -> Iterator[None]:
    """Train in this block without torch._dynamo, unless `settings` or the model ask for torch.compile."""
    if settings.compile:
        yield
        return
    with lazy.without_dynamo(compile=True):
        yield


def ignite() -> tuple[Any, Any]:
    """Return ignite's Engine and Events."""
    known = {"ZeroRedundancyOptimizer": _Sharded, "__path__": []}  # "from ... import" asks for both
    with lazy.standing_in(_SHARDED, known):
        from ignite.engine import Engine, Events
    return Engine, Events


class _IsReal(type):
    def __instancecheck__(cls, instance: object) -> bool:
        real = sys.modules.get(f"{_SHARDED}.zero_redundancy_optimizer")
        return real is not None and isinstance(instance, real.ZeroRedundancyOptimizer)


class _Sharded(metaclass=_IsReal):
    """What ignite keeps as ZeroRedundancyOptimizer: an optimiser can only be one once it is imported."""
