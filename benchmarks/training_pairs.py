"""Epochs of the command and of something else in turns, in one process: CPU seconds of each.

paired(data, model, others, ...)   the command trains; after each of its epochs the others have theirs
Row                                a line of the table: what, measured, goal
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple


class Row(NamedTuple):
    """A line of the table."""

    what: str
    measured: str
    goal: str


class Pairs(NamedTuple):
    """CPU seconds of every epoch: of the command, and of each other by name."""

    command: list[float]
    others: dict[str, list[float]]

    def ratio(self, name: str) -> float:
        """Return how many times as long the other takes: the median over the epochs."""
        pairs = zip(self.others[name], self.command, strict=True)
        return statistics.median(other / mine for other, mine in pairs)

    def longer(self, name: str) -> float:
        """Return by how many seconds an epoch of the command is longer than the other's: the median."""
        pairs = zip(self.others[name], self.command, strict=True)
        return statistics.median(mine - other for other, mine in pairs)


def cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds of all threads of this process while `work` runs, in silence."""
    with redirect_stdout(StringIO()):
        begun = process_time()
        work()
        return process_time() - begun


def paired(
    data: str,
    model: str,
    others: Mapping[str, Callable[[], object]],
    *,
    epochs: int,
    drawn: bool = True,
    **options: Any,
) -> Pairs:
    """Train with all that the command does, its bar `drawn` on a terminal; one more epoch warms up.

    Each of `others` is called after each epoch, and does as much as one.
    """
    from ptools.training import Epoch, screen
    from ptools_plugins.train import train

    found = Pairs([], {name: [] for name in others})
    begun = 0.0
    with tempfile.TemporaryDirectory() as folder, _terminal():
        shown = screen.Screen()

        def watch(now: Any) -> None:
            nonlocal begun
            if drawn:
                shown.watch(now)
            if isinstance(now, Epoch):
                found.command.append(process_time() - begun)
                for name, work in others.items():
                    found.others[name].append(cpu(work))
                begun = process_time()

        out = Path(folder, "run")
        try:
            train(
                data=data, model=model, epochs=epochs + 1, val=0, out=out,
                watch=watch, on_start=shown.start, **options,
            )  # fmt: skip
        finally:
            shown.stop()
    return Pairs(found.command[1:], {name: some[1:] for name, some in found.others.items()})


@contextmanager
def _terminal() -> Iterator[None]:
    """Make stderr a terminal, as the command has one: what is drawn there is read and dropped."""
    import pty

    reader, writer = pty.openpty()
    before = sys.stderr

    def drain() -> None:
        with suppress(OSError):  # the other end is closed
            while os.read(reader, 1 << 16):
                pass

    thread = threading.Thread(target=drain, daemon=True)
    thread.start()
    sys.stderr = os.fdopen(writer, "w")
    try:
        yield
    finally:
        sys.stderr.close()
        sys.stderr = before
        thread.join(5)
        os.close(reader)
