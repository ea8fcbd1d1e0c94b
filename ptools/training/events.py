"""An event file for TensorBoard, written as it comes: no thread that could fail on its own.

torch.utils.tensorboard writes in a thread, and a full disk is then a traceback of that thread.
Source: the TFRecord format of tensorboard.summary.writer.record_writer.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import time

from ptools.files import failed


class EventFile:
    """The event file of one run. Every method raises FileError where the disk says no.

    `known` is how many bytes of the folder's last file are those of a run that goes on: what came after
    them is cut, a torn record or a point that will come again.
    """

    def __init__(self, folder: Path, known: int | None = None) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        old = sorted(folder.glob("events.out.tfevents.*.ptools")) if known else []
        going_on = bool(old) and known is not None and old[-1].stat().st_size >= known
        self.path = old[-1] if going_on else folder / f"events.out.tfevents.{time():.0f}.ptools"
        self.whole = known or 0 if going_on else 0  # bytes that are records
        try:
            if going_on:
                os.truncate(self.path, self.whole)
            self.records = RecordWriter(self.path.open("ab" if going_on else "wb"))
        except OSError as error:
            raise failed("write", self.path, error) from error
        if not going_on:
            self._write(Event(wall_time=time(), file_version="brain.Event:2"))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write one value per tag at `step`; TensorBoard sees them at once."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        value = [Summary.Value(tag=tag, simple_value=number) for tag, number in values.items()]
        self._write(Event(wall_time=time(), step=step, summary=Summary(value=value)))

    def graph(self, found: bytes) -> None:
        """Write the graph of the network: a serialised GraphDef."""
        from tensorboard.compat.proto.event_pb2 import Event

        self._write(Event(wall_time=time(), graph_def=found))

    def _write(self, event: object) -> None:
        try:
            self.records.write(event.SerializeToString())  # type: ignore[attr-defined]
            self.records.flush()
            self.whole = self.path.stat().st_size
        except OSError as error:
            self._cut()
            raise failed("write", self.path, error) from error

    def _cut(self) -> None:
        """Leave no torn record, and no empty file."""
        with suppress(OSError):
            os.truncate(self.path, self.whole)
            if not self.whole:
                self.path.unlink()

    def close(self) -> None:
        """Close the file; every record is already in it."""
        with suppress(OSError):  # a torn record is still in the buffer: told before
            self.records.close()
            os.truncate(self.path, self.whole)
