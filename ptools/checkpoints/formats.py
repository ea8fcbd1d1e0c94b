"""What a file is, decided by its bytes and never by its suffix.

recognise(path)   "zip", "pickle", "safetensors", "json" or "tar"; anything else is a FileError that
                  names what it is and what to do
"""

from __future__ import annotations

import codecs
import os
from pathlib import Path

from ptools.errors import FileError
from ptools.files import failed

HEAD = 4096

# First bytes -> what the file is, and what to do about it.
_OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the weights",
        "run `git lfs pull` where it came from",
    ),
    (
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file, as Keras writes them",
        "open it with Keras and export its weights",
    ),
    (b"GGUF", "a GGUF file of llama.cpp", "look for the model's PyTorch or safetensors files"),
    (b"\x1f\x8b", "compressed with gzip", "unpack it with gunzip first"),
    (b"BZh", "compressed with bzip2", "unpack it with bunzip2 first"),
    (b"\xfd7zXZ\0", "compressed with xz", "unpack it with unxz first"),
    (b"(\xb5/\xfd", "compressed with zstd", "unpack it with unzstd first"),
    (b"7z\xbc\xaf'\x1c", "a 7z archive", "unpack it first"),
    (b"Rar!", "a RAR archive", "unpack it first"),
    (b"\x93NUMPY", "a NumPy array file", "load it with numpy.load"),
    (b"\xff\xd8\xff", "a JPEG picture", "give a checkpoint"),
    (b"\x89PNG", "a PNG picture", "give a checkpoint"),
    (b"GIF8", "a GIF picture", "give a checkpoint"),
    (b"%PDF", "a PDF document", "give a checkpoint"),
    (b"\x7fELF", "a program", "give a checkpoint"),
)


def recognise(path: Path) -> str:
    """Return what `path` holds. Raises FileError where that is no checkpoint, and says what it is."""
    head, size = _head(path)
    if size == 0:
        raise FileError(f"{path} is empty; download or save it again.")
    for start, what, way in _OTHERS:
        if head.startswith(start):
            raise FileError(f"{path} is {what}; {way}.")
    if head.startswith(b"PK"):
        return "zip"
    if head[257:262] == b"ustar":
        return "tar"
    if _safetensors(head):
        return "safetensors"
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        return "pickle"
    return _rest(path, head)


def _head(path: Path) -> tuple[bytes, int]:
    """Return the first bytes and the size of a file. Raises FileError where it cannot be read."""
    try:
        if not path.is_file() and path.exists():
            raise FileError(f"{path} is no regular file; give a file or a folder with an index.")
        with path.open("rb") as file:
            return file.read(HEAD), os.fstat(file.fileno()).st_size
    except FileNotFoundError as error:
        raise FileError(f"{path} does not exist; check the path.") from error
    except PermissionError as error:
        raise FileError(f"{path} may not be read; check its permissions.") from error
    except OSError as error:
        raise failed("read", path, error) from error


def _safetensors(head: bytes) -> bool:
    """Whether it starts as safetensors does: the header's length, 8 bytes, then a JSON object."""
    return len(head) > 8 and head[8:9] == b"{" and head[4:8] == b"\0\0\0\0"


def _rest(path: Path, head: bytes) -> str:
    """Tell text, ONNX, TensorFlow and the unknown apart."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<script")):
        raise FileError(
            f"{path} is a web page, not the file itself; download it again by its raw link."
        )
    if start.startswith(b"{"):
        return "json"
    if head[8:9] == b"{":
        raise FileError(
            f"{path} is damaged: its safetensors header claims an impossible size; download it again."
        )
    if head[:1] == b"\x08" and (b"pytorch" in head or b"onnx" in head.lower()):
        raise FileError(
            f"{path} is an ONNX model; give the PyTorch checkpoint it was exported from."
        )
    if head[:1] in (b"\n", b"\x08") and (b"tensorflow" in head.lower() or path.suffix == ".pb"):
        raise FileError(f"{path} is a TensorFlow model; give a PyTorch checkpoint.")
    if _text(head):
        raise FileError(
            f"{path} is a text file, no checkpoint; give the file that holds the weights."
        )
    raise FileError(f"{path} is no checkpoint, or its start is damaged; check the path.")


def _text(head: bytes) -> bool:
    """Whether it is plain text; the last bytes may cut a character in two."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return all(byte >= 32 or byte in b"\t\r\n\f" for byte in head)
