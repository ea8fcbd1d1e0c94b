"""A function called on many requests, in order: here, or in worker processes.

The results are the same wherever they are made, as long as the function looks at its request only.

Crew          the function, and the workers
chosen(...)   how many workers, unless it was said
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from traceback import clear_frames
from typing import Any

from ptools.errors import PtoolsError, one_line

__all__ = ["Crew", "chosen"]

_FEW = 1000  # pictures: of fewer the workers start as long as they take
_MOST = 8


def chosen(workers: int | None, count: int, size: int = 0) -> int:
    """Return `workers`; where that is None, as many as suit `count` pictures and this machine.

    Results of `size` bytes come through shared memory, two of each worker: in containers it is small.
    """
    if workers is not None:
        return workers
    here = os.environ.get("LOCAL_WORLD_SIZE", "1")  # torchrun: so many processes on this machine
    cores = _cores() // max(1, int(here) if here.isdecimal() else 1)
    if count < _FEW or cores < 2:
        return 0
    room = _MOST
    with suppress(OSError):
        shared = os.statvfs("/dev/shm")
        room = shared.f_bavail * shared.f_frsize // 2 // max(1, 2 * size)
    return min(cores, _MOST, room)


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Crew:
    """Calls `function(request)`. The workers start with the first `map` and wait for the next one.

    They ignore Ctrl-C, which is their parent's to handle. The global random state is not touched.
    """

    def __init__(
        self, function: Callable[[Any], Any], workers: int = 0, *, pin: bool = False
    ) -> None:
        self.function, self.workers, self.pin = function, workers, pin
        self._asked = _Asked()
        self._loader: Any = None

    def map(self, requests: Iterable[Any]) -> Iterator[Any]:
        """Yield `function(request)` for each request. One map at a time."""
        if not self.workers:
            return map(self.function, requests)
        self._asked.requests = requests
        if self._loader is None:
            self._loader = self._start()
        return self._results()

    def _results(self) -> Iterator[Any]:
        result: Any
        try:
            for result in self._loader:
                if isinstance(result, PtoolsError):
                    raise result
                yield result
        except (PtoolsError, RuntimeError) as error:
            # whoever keeps the error keeps its frames: the workers would end with these, late, and maybe
            # in a process that was forked meanwhile, which writes to pipes that are no longer its own
            self._loader = result = None
            clear_frames(error.__traceback__)
            if "DataLoader worker" not in str(error):
                raise
            raise PtoolsError(
                f"a worker process ended unexpectedly ({one_line(error, 160)}); try fewer --workers."
            ) from error

    def _start(self) -> Any:
        import torch
        from torch.utils.data import DataLoader

        return DataLoader(
            _Called(self.function),  # type: ignore[arg-type]  # a Dataset by its one method
            sampler=self._asked,
            batch_size=None,
            num_workers=self.workers,
            persistent_workers=True,
            pin_memory=self.pin,
            worker_init_fn=_calm,
            generator=torch.Generator().manual_seed(0),  # else it draws from the global one
        )


class _Asked:
    """The requests of the present map, for a DataLoader that outlives it.

    It does not know its crew: collected as a circle, a DataLoader waits 5 s for each of its workers.
    """

    requests: Iterable[Any] = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.requests)


class _Called:
    """A function as DataLoader wants it."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __getitem__(self, request: Any) -> Any:
        try:
            return self.function(request)
        except PtoolsError as error:  # a DataLoader would bury it in a traceback
            return error


def _calm(_: int) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
