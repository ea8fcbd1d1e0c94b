"""An event file for TensorBoard, written as it comes: no thread that could fail on its own.

torch.utils.tensorboard writes in a thread, and a full disk is then a traceback of that thread.
Source: the TFRecord format of tensorboard.summary.writer.record_writer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import time

from ptools.files import failed


class EventFile:
    """The event file of one run. Every method raises FileError where the disk says no."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.path = folder / f"events.out.tfevents.{time():.0f}.ptools"
        try:
            self.records = RecordWriter(self.path.open("wb"))
        except OSError as error:
            raise failed("write", self.path, error) from error
        self._write(Event(wall_time=time(), file_version="brain.Event:2"))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write one value per tag at `step`; TensorBoard sees them at once."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        value = [Summary.Value(tag=tag, simple_value=number) for tag, number in values.items()]
        self._write(Event(wall_time=time(), step=step, summary=Summary(value=value)))

    def _write(self, event: object) -> None:
        try:
            self.records.write(event.SerializeToString())  # type: ignore[attr-defined]
            self.records.flush()
        except OSError as error:
            raise failed("write", self.path, error) from error

    def close(self) -> None:
        try:
            self.records.close()
        except OSError as error:
            raise failed("write", self.path, error) from error
