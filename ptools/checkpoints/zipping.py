"""A zip file of stored records, as PyTorch's reader wants them: uncompressed, each one aligned.

Python's zipfile cannot take a record's bytes from another file; the format is simple enough:
https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT (4.3.7 local header, 4.3.12 directory,
4.3.14 to 16 its end, 4.5.3 the 64-bit sizes).
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from ptools.checkpoints.pouring import Count, gap, pour
from ptools.checkpoints.stored import Region

ALIGNMENT = 64  # as torch.save, so that mapped tensors start on a cache line
FULL = 0xFFFFFFFF  # in a 32-bit field: look for it in the 64-bit extra
_VERSION = 45  # the first with 64-bit sizes
_DATE = 0x21  # 1 January 1980: the same input gives the same bytes


class Archive:
    """A zip file that is being written to `file`, from its start."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.directory: list[bytes] = []

    def add(self, name: str, data: memoryview | Region, count: Count) -> None:
        """Append a record; `count` is called with the size of each piece written."""
        offset, encoded = self.file.tell(), name.encode()
        extra = _large(data.nbytes, data.nbytes) if data.nbytes >= FULL else b""
        padding = gap(data, offset + 30 + len(encoded) + len(extra) + 4, ALIGNMENT)
        extra += struct.pack("<2sH", b"FB", padding) + b"\0" * padding
        known = (data.crc if isinstance(data, Region) else None) or 0
        self.file.write(_header(encoded, extra, data.nbytes, known))
        crc = pour(data, self.file, count, crc=True)
        if crc != known:
            end = self.file.tell()
            self.file.seek(offset)
            self.file.write(_header(encoded, extra, data.nbytes, crc))
            self.file.seek(end)
        self.directory.append(_entry(encoded, data.nbytes, crc, offset))

    def close(self) -> None:
        """Write the directory and its end, always with the 64-bit end that readers look for first."""
        offset = self.file.tell()
        entries = b"".join(self.directory)
        number, size = len(self.directory), len(entries)
        end = struct.pack(
            "<4sQHHIIQQQQ", b"PK\6\6", 44, _VERSION, _VERSION, 0, 0, number, number, size, offset
        )
        locator = struct.pack("<4sIQI", b"PK\6\7", 0, offset + size, 1)
        short = min(number, 0xFFFF)
        last = struct.pack(
            "<4sHHHHIIH", b"PK\5\6", 0, 0, short, short, min(size, FULL), min(offset, FULL), 0
        )
        self.file.write(entries + end + locator + last)


def _large(*sizes: int) -> bytes:
    """Return the extra field of 64-bit sizes."""
    return struct.pack(f"<HH{len(sizes)}Q", 1, 8 * len(sizes), *sizes)


def _header(name: bytes, extra: bytes, size: int, crc: int) -> bytes:
    short = min(size, FULL)
    numbers = (
        _VERSION,
        0x800,
        0,
        0,
        _DATE,
        crc,
        short,
        short,
        len(name),
        len(extra),
    )  # 0x800: UTF-8
    return struct.pack("<4sHHHHHIIIHH", b"PK\3\4", *numbers) + name + extra


def _entry(name: bytes, size: int, crc: int, offset: int) -> bytes:
    sizes = [number for number in (size, size, offset) if number >= FULL]
    extra = _large(*sizes) if sizes else b""
    short = min(size, FULL)
    numbers = (_VERSION, _VERSION, 0x800, 0, 0, _DATE, crc, short, short, len(name), len(extra))
    rest = (0, 0, 0, 0, min(offset, FULL))
    return struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", *numbers, *rest) + name + extra
