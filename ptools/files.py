"""Writing so that nothing is lost: a file is whole or not there, and nothing is overwritten unasked.

write(path, ...)     a temporary file beside it, flush, fsync, rename
place(path, ...)     say before any work what write would say after it
claim(folder, ...)   a folder of our own for results, or an error that says how to get one
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ptools.errors import FileError, UsageError


def write(
    path: Path, content: bytes | str | Callable[[BinaryIO], object], *, force: bool = False
) -> None:
    """Write `content` to `path`, whole or not at all; a callable gets the open binary file.

    Raises FileError where `path` exists and `force` is False, and where the disk says no.
    """
    if path.exists() and not force:
        raise FileError(f"{path} exists; choose another name or add --force to overwrite it.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise failed("write", path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def place(path: Path, *, force: bool = False, end: str = "") -> None:
    """Say before any work what `write` would say after it, and that the name must end in `end`.

    Raises UsageError for the name, FileError for what is there.
    """
    if end and path.suffix.lower() != end:
        raise UsageError(f"{path}: the name must end in {end}.")
    if path.is_dir():
        raise FileError(f"{path} is a folder; name a file in it.")
    if path.exists() and not force:
        raise FileError(f"{path} exists; choose another name or add --force to overwrite it.")
    if not path.parent.is_dir():
        raise FileError(f"{path.parent} does not exist; make that folder first.")


def _sync(folder: Path) -> None:
    """Make the rename itself durable, where the system lets a folder be opened."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def failed(verb: str, path: Path, error: OSError) -> FileError:
    """Return the FileError for an OSError: what, where, and what to do next."""
    import errno

    ways = {
        errno.ENOSPC: "free some space or choose another disk",
        errno.EDQUOT: "your quota is used up: free some space",
        errno.EFBIG: "the file would be larger than this system allows",
        errno.EACCES: "choose a folder you may write to",
        errno.EPERM: "choose a folder you may write to",
        errno.EROFS: "choose a folder that is not read-only",
        errno.ENOENT: "check that its folder exists",
        errno.ENOTDIR: "a part of that path is a file, not a folder",
    }
    way = ways.get(error.errno or 0, "check the path")
    return FileError(f"cannot {verb} {path}: {error.strerror or error}; {way}.")


def claim(folder: Path, *, force: bool = False) -> Path:
    """Make `folder`, with its parents, for results. An existing one must be empty unless `force`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not force:
            raise FileError(f"{folder} is not empty; choose another folder or add --force.")
        probe = folder / f".{os.getpid()}.tmp"
        probe.touch()
        probe.unlink()
    except FileExistsError as error:
        raise FileError(f"{folder} is a file, not a folder; choose another name.") from error
    except OSError as error:
        raise failed("write to", folder, error) from error
    return folder


def claim_next(parent: Path, name: str) -> Path:
    """Make and return the first free of `parent/name-1`, `parent/name-2`, ...; safe against a race."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        taken = [p.name[len(name) + 1 :] for p in parent.glob(f"{name}-*")]
        number = max((int(t) for t in taken if t.isascii() and t.isdigit()), default=0)
        while True:
            number += 1
            folder = parent / f"{name}-{number}"
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                continue
    except OSError as error:
        raise failed("write to", parent, error) from error
