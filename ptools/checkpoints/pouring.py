"""Bytes into a file: from memory, or from another file without going through this process.

gap(data, position, align)    how far behind `position` they should start
pour(data, file, count, crc)  append them; the CRC-32 where it is asked for

Copying a file's bytes inside the kernel takes a third of the time that mapping and writing them takes.
"""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from ptools.checkpoints.stored import Region

CHUNK = 1 << 24  # bytes between two calls of `count`; few enough to stay in the processor's cache

PAGE = 4096
LARGE = 1 << 20  # bytes from which on a gap of up to a page pays

Count = Callable[[int], object]

_FINAL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # another way would fail as well


def gap(data: memoryview | Region, position: int, alignment: int) -> int:
    """Return how far behind `position` a multiple of `alignment` lies at which `data` should start.

    A large region starts where it does in its own file, seen from a page's start: that halves the
    time of copying it inside the kernel.
    """
    if isinstance(data, Region) and data.nbytes >= LARGE and data.start % alignment == 0:
        return (data.start - position) % PAGE
    return -position % alignment


def pour(data: memoryview | Region, file: BinaryIO, count: Count, *, crc: bool) -> int:
    """Append `data` to `file`, and return its CRC-32 if `crc`, else 0."""
    if isinstance(data, Region) and (not crc or data.crc is not None):
        _copy(data, file, count)
        return data.crc or 0
    if isinstance(data, Region) and data.nbytes >= LARGE:
        return _copy_and_add(data, file, count)
    total = 0
    for piece in _pieces(data):
        file.write(piece)
        total = zlib.crc32(piece, total) if crc else 0
        count(len(piece))
    return total


def _copy_and_add(data: Region, file: BinaryIO, count: Count) -> int:
    """Copy a region while another thread adds up its CRC-32; both let the interpreter go meanwhile."""
    from concurrent.futures import ThreadPoolExecutor

    def add() -> int:
        total = 0
        for piece in _pieces(data, LARGE):
            total = zlib.crc32(piece, total)
        return total

    with ThreadPoolExecutor(1) as other:
        total = other.submit(add)
        _copy(data, file, count)
        return total.result()


def _pieces(data: memoryview | Region, size: int = CHUNK) -> Iterator[memoryview]:
    """Yield the bytes in pieces; each is good until the next one is asked for."""
    if not isinstance(data, Region):
        for start in range(0, data.nbytes, size):
            yield data[start : start + size]
        return
    buffer = memoryview(bytearray(min(size, data.nbytes)))
    done = 0
    while done < data.nbytes:
        wanted = min(size, data.nbytes - done)
        got = os.preadv(data.source.descriptor, [buffer[:wanted]], data.start + done)
        if got == 0:
            raise _shorter(data)
        done += got
        yield buffer[:got]


def _copy(data: Region, file: BinaryIO, count: Count) -> None:
    """Copy a region inside the kernel, or through memory where the two files do not allow that."""
    file.flush()
    done, position = 0, file.tell()
    while done < data.nbytes:
        wanted = min(4 * CHUNK, data.nbytes - done)
        place = (data.start + done, position + done)
        try:
            got = os.copy_file_range(data.source.descriptor, file.fileno(), wanted, *place)
        except (AttributeError, OSError) as error:
            if isinstance(error, OSError) and error.errno in _FINAL:
                raise
            break
        if got == 0:
            raise _shorter(data)
        done += got
        count(got)
    file.seek(position + done)
    rest = data._replace(start=data.start + done, nbytes=data.nbytes - done)
    for piece in _pieces(rest):
        file.write(piece)
        count(len(piece))


def _shorter(data: Region) -> OSError:
    text = "it became shorter while it was copied"
    return OSError(errno.EIO, text, str(data.source.path))
