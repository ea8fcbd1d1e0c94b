"""What a person sees of it: a table of the tags, where they are, the command that shows them."""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING

from ptools import output
from ptools.errors import one_line

if TYPE_CHECKING:
    from rich.progress import Progress

    from ptools_plugins.tb_images.asked import Shown

__all__ = ["Bar", "notes", "result", "served"]

_FEW = 12  # rows of the table, lines about files that cannot be read


class Bar:
    """A count on a terminal, once it takes more than a second; `watch` is what the work calls."""

    def __init__(self) -> None:
        self.bar: Progress | None = None
        self.begun = self.drawn = 0.0

    def watch(self, done: int) -> None:
        """Draw it at most 10 times a second, and on a terminal only: rich costs 0.1 s to import."""
        now = monotonic()
        self.begun = self.begun or now  # not while torch is imported
        if not sys.stderr.isatty() or now - self.begun < 1 or now - self.drawn < 0.1:
            return
        if self.bar is None:
            from rich.progress import SpinnerColumn, TextColumn

            self.bar = output.progress(SpinnerColumn(), TextColumn("{task.completed:,.0f} images"))
            self.task = self.bar.add_task("images", total=None)
            self.bar.start()
        self.drawn = now
        self.bar.update(self.task, completed=done, refresh=True)

    def stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()


def result(done: Shown) -> None:
    """Print the tags, the files, and the command."""
    if done.sheet is not None and done.sheet_size is not None:
        height, width = done.sheet_size
        output.result(f"{done.sheet}: {width}x{height}, {output.size(done.sheet.stat().st_size)}")
    if done.folder is None or done.file is None:
        return
    heads = ["tag", "steps", "size", "format", "kB"]
    rows = [
        [
            one_line(tag.name, 100),
            tag.steps,
            f"{tag.width}x{tag.height}" if tag.height else "-",
            tag.format,
            f"{tag.bytes / 1000:,.1f}",
        ]
        for tag in done.tags[:_FEW]
    ]
    output.table(heads, rows, right=("steps", "kB"))
    if len(done.tags) > _FEW:
        output.result(f"and {len(done.tags) - _FEW} more tags")
    output.result()
    output.result(f"{done.folder}: {_what(done)}, {output.size(done.file.stat().st_size)}")
    if done.address is None:
        output.result(done.command or "")


def _what(done: Shown) -> str:
    if not done.images:
        return "1 curve" if len(done.tags) == 1 else f"{len(done.tags)} curves"
    return f"{done.images:,} image{'s' * (done.images != 1)} of {done.source}"


def served(address: str, as_json: bool) -> None:
    """Print where it can be seen, at once: who reads a pipe waits for it."""
    if not as_json:  # the document has it
        output.result(address)
    sys.stdout.flush()
    output.note("TensorBoard is running; Ctrl-C ends it.")


def notes(done: Shown) -> None:
    """Tell what was left out and what should be known."""
    for image, reason in done.skipped[:_FEW]:
        output.note(f"Warning: skipped {one_line(image)}: {reason}")
    if len(done.skipped) > _FEW:
        output.note(f"Warning: skipped {len(done.skipped) - _FEW} more; --json names them all")
    for note in done.notes:
        output.note(note)
