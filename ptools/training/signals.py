"""Ctrl-C and SIGTERM while a network trains: the first is a wish, the second is an order.

Stop              hears them while it trains
interruptible()   before and after that SIGTERM does what Ctrl-C does

A shell starts its background jobs with SIGINT ignored; ours are heard there as well.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Stop", "interruptible"]


class Stop:
    """Whether the training was asked to end: `asked` is set by the first signal, or by you."""

    def __init__(self) -> None:
        self.asked, self.process = False, os.getpid()

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        """Take SIGINT and SIGTERM for the block; the second one raises KeyboardInterrupt."""
        before: dict[signal.Signals, Any] = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                before[number] = signal.signal(number, self._hear)
        except ValueError:  # not the main thread: signals are not ours to set
            pass
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _hear(self, number: int, frame: Any) -> None:
        if os.getpid() != self.process:  # a worker, forked from us with our handlers
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt in the block: what is being written is cleaned up."""
    process = os.getpid()

    def hear(number: int, frame: Any) -> None:
        if os.getpid() != process:  # a worker, forked from us with our handler
            os._exit(128 + number)
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, hear)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)
