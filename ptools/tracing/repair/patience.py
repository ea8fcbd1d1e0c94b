"""How long repairs are tried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, thread_time


def _clock() -> float:
    """Return the seconds that count: our own, and of those in which others had the machine a sixth."""
    return thread_time() + monotonic() / 6


@dataclass
class Patience:
    """Seconds for trying repairs, by `_clock`."""

    left: float
    longest: float = 0.0  # of the trials so far: none is begun that would not end in time
    exhausted: bool = False  # something was left to try

    def ends(self) -> bool:
        """Return whether no more may be tried; called when there is something to try."""
        self.exhausted = self.exhausted or self.longest > self.left
        return self.exhausted

    @contextmanager
    def trial(self) -> Iterator[None]:
        begun = _clock()
        try:
            yield
        finally:
            took = _clock() - begun
            self.left -= took
            self.longest = max(self.longest, took)
