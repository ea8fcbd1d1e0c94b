"""The picture files below folders: by their names, in natural order, through links but not in circles."""

# A set may have a million paths, and pathlib takes several times as long as os.path.
# ruff: noqa: PTH112, PTH116, PTH122

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from ptools.files import failed

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"})


def natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key by which img2 comes before img10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _PARTS.findall(name)]


_PARTS = re.compile(r"\d+|\D+")


def is_picture(name: str) -> bool:
    """Tell by its name whether a file is a picture; hidden files are none."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS and not name.startswith(".")


def find(paths: Iterable[str | Path]) -> list[Path]:
    """Return the picture files: of each folder all below it, naturally sorted; files as they are."""
    found: list[Path] = []
    for path in paths:
        if os.path.isdir(path):
            inside = (entry.path for entry in walk(path) if is_picture(entry.name))
            found += map(Path, sorted(inside, key=natural))
        else:
            found.append(Path(path))
    return found


def walk(
    folder: str | Path,
    above: frozenset[tuple[int, int]] = frozenset(),
    odd: Callable[[str], object] = lambda _: None,
) -> Iterator[os.DirEntry[str]]:
    """Yield the os.DirEntry of every file below `folder`, but not through links that lead back up.

    What is no file, but has the name of a picture, is yielded too: whoever opens it says why. `above` are
    the identities of folders above it, `odd` is called with each folder that has the name of a picture.
    Raises FileError where a folder cannot be read.
    """
    try:
        if (here := identity(folder)) in above:
            return
        above |= {here}
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise failed("read", Path(folder), error) from error
    for entry in listed:
        if entry.name.startswith("."):
            continue
        inside = False
        with suppress(OSError):  # a loop of links to itself is neither
            inside = entry.is_dir()
        if inside:
            if is_picture(entry.name):
                odd(entry.path)
            yield from walk(entry.path, above, odd)
        elif is_picture(entry.name) or _is_file(entry):
            yield entry


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def identity(folder: str | Path) -> tuple[int, int]:
    """Return what two paths of one folder have in common."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino
