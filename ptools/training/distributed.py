"""Several processes that train one network: `torchrun --nproc-per-node=2 -m ptools train ...`.

join(device)   the Team of this process, and its device; one alone without torchrun
Team           who we are, and what all agree on
is_told(error) whether the first process says the same

ignite.distributed speaks gloo on CPUs and nccl on GPUs; it is imported only where torchrun started us.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

__all__ = ["ALONE", "Team", "is_told", "join"]

_KEY, _PATIENCE = "ptools/error", 3.0  # seconds in which processes that fail alike do so


@dataclass(frozen=True)
class Team:
    """One of `ranks` processes. Every method but `main` is called by all of them, in one order."""

    rank: int = 0
    ranks: int = 1
    local: int = 0  # which of this machine's

    @property
    def main(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return the sums over all processes."""
        return list(values) if self.ranks == 1 else self._reduce(values, "SUM")

    def highest(self, values: Sequence[float]) -> list[float]:
        """Return the highest over all processes; of flags: whether any is set."""
        return list(values) if self.ranks == 1 else self._reduce(values, "MAX")

    def _reduce(self, values: Sequence[float], how: str) -> list[float]:
        import torch
        from ignite import distributed as idist

        found = idist.all_reduce(
            torch.tensor(values, dtype=torch.float64, device=idist.device()), how
        )
        return found.tolist()  # type: ignore[union-attr]

    def gather(self, value: Any) -> list[Any]:
        """Return what every process has, in the order of their ranks."""
        if self.ranks == 1:
            return [value]
        from torch import distributed

        found: list[Any] = [None] * self.ranks
        distributed.all_gather_object(found, value)
        return found

    def shared(self, value: Any) -> Any:
        """Return what rank 0 has."""
        return self.gather(value)[0]


ALONE = Team()


@contextmanager
def join(device: str | None) -> Iterator[tuple[Team, str | None]]:
    """Join the processes that torchrun started, for the block; alone where there are none.

    Yields who we are, and the device of this process: `device` as it was given, where we are alone.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or "LOCAL_RANK" not in os.environ:
        yield ALONE, device
        return
    from ignite import distributed as idist

    from ptools.training.hardware import pick_device

    device = pick_device(device or "auto")
    idist.initialize("nccl" if device.startswith("cuda") else "gloo")
    team = Team(idist.get_rank(), idist.get_world_size(), idist.get_local_rank())
    try:
        yield team, f"cuda:{team.local}" if device.startswith("cuda") else device
    except Exception as error:
        error._told = _is_told(team, str(error))  # type: ignore[attr-defined]
        raise
    finally:
        idist.finalize()


def is_told(error: Exception) -> bool:
    """Return whether an error that left `join` is told by the first process, in the same words."""
    return getattr(error, "_told", False)


def _is_told(team: Team, text: str) -> bool:
    """Leave the first process's error where the others find it; return whether this one is the same.

    No collective: whoever has not failed would not take part.
    """
    import time
    from datetime import timedelta

    from torch.distributed import distributed_c10d

    try:
        store = distributed_c10d._get_default_store()
        if team.main:
            store.set(_KEY, text)
            return False
        store.wait([_KEY], timedelta(seconds=_PATIENCE))
        told = store.get(_KEY) == text.encode()
    except Exception:  # the first one has not failed, or is gone
        return False
    if told:  # torchrun ends all when one ends: let the first one speak, and do not speak of that
        with suppress(KeyboardInterrupt):
            time.sleep(1)
    return told
