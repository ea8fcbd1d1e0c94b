"""Checkpoints: written atomically, read without running anything in them.

read(path)                the tensors of a checkpoint of any format, as Weights
write(tensors, path)      a state_dict, tensor by tensor, in the container it was read from
save(value, path)         torch.save, whole or not at all
load(path)                torch.load of plain weights: what `save` wrote
apply_freeze(model, ...)  freeze what a manifest says; read_manifest, trainable, Manifest

read: `formats` recognises the file; `archives` (torch.save, TorchScript) and `tensorfiles`
(safetensors, indexes) read it, pickles by way of `inert`; `choosing` finds the state_dict in it.
write: `slots` says what is to be written, `containers` what goes around it, `packing` writes
torch.save's format into a zip file (`zipping`), `writing` safetensors, `pouring` the bytes of both.
`int8` is weights as codes and scales in a safetensors file, for `ptools quantize` and `predict`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, cast

from ptools import files
from ptools.checkpoints.freezing import Manifest, apply_freeze, read_manifest, trainable
from ptools.checkpoints.reading import read
from ptools.checkpoints.weights import Weights
from ptools.checkpoints.writing import write
from ptools.errors import FileError, cause
from ptools.files import failed

__all__ = [
    "Manifest",
    "Weights",
    "apply_freeze",
    "load",
    "read",
    "read_manifest",
    "save",
    "trainable",
    "write",
]


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

    files.write(path, dump, force=force)


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
