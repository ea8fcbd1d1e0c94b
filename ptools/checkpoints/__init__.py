"""Checkpoints: written atomically, read without running anything in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, cast

from ptools.errors import FileError, cause
from ptools.files import failed, write

__all__ = ["load", "save"]


def save(value: Any, path: Path, *, force: bool = False) -> None:
    """Write tensors and plain values with torch.save, whole or not at all. Raises FileError."""
    import torch

    full: list[OSError] = []

    class Keeping:
        """Remember why a write failed: torch reports it as a RuntimeError without the reason."""

        def __init__(self, file: BinaryIO) -> None:
            self.file = file

        def write(self, data: bytes) -> int:
            try:
                return self.file.write(data)
            except OSError as error:
                full.append(error)
                raise

        def flush(self) -> None:
            self.file.flush()

    def dump(file: BinaryIO) -> None:
        try:
            torch.save(value, cast(Any, Keeping(file)))
        except RuntimeError as error:
            raise (full[0] if full else error) from error

    write(path, dump, force=force)


def load(path: Path, *, device: str = "cpu") -> Any:
    """Read a checkpoint with weights_only=True. Raises FileError on what is not just weights."""
    import warnings

    import torch

    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise FileError(f"{path} does not exist; check the path.") from error
    except OSError as error:
        raise failed("read", path, error) from error
    except Exception as error:  # the bytes are a stranger's: the unpickler may raise anything
        raise FileError(
            f"{path} is no checkpoint of plain weights ({cause(error)[:120]})."
        ) from error
