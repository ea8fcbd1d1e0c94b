"""A folder or a CSV file of pictures -> an ImageSet: looked at, split, decoded once if it fits.

read(path, ...)    list, look at every head, choose classes, split and geometry, decode

What cannot be used is left out and told; `strict` stops instead. A set is decoded into memory where it
takes at most half of what is free, else its pictures are decoded when a batch needs them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ptools.data import listing, memory, pictures
from ptools.data.findings import OUT, Findings
from ptools.data.pictures import CROP, EXACT, Geometry, Look, PictureError
from ptools.data.sets import Files, ImageSet, Samples, Split, hold_out, sample
from ptools.data.workers import Crew, chosen
from ptools.errors import FileError, PtoolsError

if TYPE_CHECKING:
    from torch import Tensor

SMALL = 64  # pictures of one size up to this are taken as they are
USUAL = 224  # what ImageNet's networks were made for
SHARE = 0.2  # held out for validation, unless told

T = TypeVar("T")


@dataclass(frozen=True)
class Wishes:
    """What `load` was asked for; see there."""

    val: float | None = None
    seed: int = 0
    size: tuple[int, int] | None = None
    cache: str = "auto"
    workers: int | None = None
    strict: bool = False
    labels: Path | None = None
    channels: int | None = None
    limit: int | None = None


class Looked(NamedTuple):
    """A picture that can be used."""

    path: str
    name: str  # of its class
    look: Look


def read(path: Path, wishes: Wishes) -> ImageSet:
    """Return the pictures of a folder, or of a CSV file, as an ImageSet. Raises FileError."""
    inside = path.is_dir()
    findings = Findings(path if inside else path.parent)
    parts = (
        listing.folder(path, wishes.labels, findings) if inside else listing.table(path, findings)
    )
    looked = _looked(parts, wishes.workers, findings)
    classes = _classes(looked, path, findings)
    if wishes.strict:
        _strict(findings)
    every = [picture.look for part in looked.values() for picture in part]
    geometry = choose(every, wishes.size, wishes.channels)
    files = {role: _files(part, classes, geometry) for role, part in looked.items() if part}
    _split(files, wishes)
    notes = [_sizes(every, geometry)]
    kept = _kept(files, geometry, wishes, findings, notes)
    if wishes.strict:
        _strict(findings)
    name = path.resolve().name if inside else path.stem
    return ImageSet(name, classes, **kept, geometry=geometry, notes=(*notes, *findings.notes()))


def _strict(findings: Findings) -> None:
    """Stop at everything but files that do not claim to be pictures."""
    serious = Findings(findings.root)
    serious.kinds = {k: v for k, v in findings.kinds.items() if k not in _HARMLESS}
    serious.stop()


_HARMLESS = ("no pictures by their names", "a class without validation pictures")


# -- what is there -----------------------------------------------------------------------------------


def _looked(
    parts: listing.Parts, workers: int | None, findings: Findings
) -> dict[str, list[Looked]]:
    """Look at the head of every picture; leave out what is none."""
    looked: dict[str, list[Looked]] = {}
    rows = [(role, path, name) for role, part in parts.items() for path, name in part]
    chunks = [[path for _, path, _ in some] for some in _chunks(rows, 256)]
    crew = Crew(_look, chosen(workers, len(rows)) if len(rows) > 2000 else 0)
    looks = (look for some in _shown("looking", crew.map(chunks), len(chunks)) for look in some)
    for (role, path, name), look in zip(rows, looks, strict=True):
        if isinstance(look, str):
            findings.add(OUT + look, path)
            continue
        if look.oddity:
            findings.add(look.oddity, path)
        looked.setdefault(role, []).append(Looked(path, name, look))
    return looked


def _look(paths: list[str]) -> list[Look | str]:
    return [_outcome(pictures.look, path) for path in paths]


def _outcome(function: Callable[[str], T], path: str) -> T | str:
    try:
        return function(path)
    except PictureError as error:
        return error.reason


def _classes(looked: dict[str, list[Looked]], path: Path, findings: Findings) -> tuple[str, ...]:
    """Return the classes of the training pictures; leave out what is of others."""
    train = {picture.name for picture in looked.get("train", [])}
    if len(train) < 2:
        only = f"one class, '{next(iter(train))}'" if train else "no training pictures to use"
        odd = f" ({findings.notes()[0]})" if len(findings) else ""
        raise FileError(
            f"{path} has {only}{odd}; wanted is {listing.LAYOUTS}, two classes or more."
        )
    for role, part in looked.items():
        for picture in part:
            if picture.name not in train:
                kind = f"{OUT}{role} pictures of class '{picture.name}', which train lacks"
                findings.add(kind, picture.path)
        part[:] = [picture for picture in part if picture.name in train]
    if looked.get("val"):
        for name in sorted(train - {picture.name for picture in looked["val"]}):
            findings.add("a class without validation pictures", name)
    numbers = all(name.isdecimal() for name in train)
    return tuple(sorted(train, key=int) if numbers else sorted(train))


def _files(part: Sequence[Looked], classes: tuple[str, ...], geometry: Geometry) -> Files:
    import torch

    number = {name: index for index, name in enumerate(classes)}
    labels = torch.tensor([number[picture.name] for picture in part], dtype=torch.int64)
    return Files(tuple(picture.path for picture in part), labels, geometry)


# -- what becomes of it ------------------------------------------------------------------------------


def choose(
    looks: Sequence[Look], size: tuple[int, int] | None = None, channels: int | None = None
) -> Geometry:
    """Return the geometry for these pictures: the size of most of them if it is small, else a crop.

    Small pictures of many sizes are cropped to the median one.
    """
    from statistics import median_low

    channels = channels or max(look.channels for look in looks)
    (height, width), count = _usual(looks)
    if size is None and 2 * count > len(looks) and max(height, width) <= SMALL:
        return Geometry(channels, height, width, EXACT)
    if size and count == len(looks) and size[0] * width == size[1] * height:
        return Geometry(channels, *size, EXACT)  # nothing is distorted, so nothing is cut off
    height = median_low(look.height for look in looks)
    width = median_low(look.width for look in looks)
    if size is None:
        size = (height, width) if max(height, width) <= SMALL else (USUAL, USUAL)
    return Geometry(channels, *size, CROP)


def _usual(looks: Sequence[Look]) -> tuple[tuple[int, int], int]:
    """Return the height and width that most pictures have, and how many they are."""
    return Counter((look.height, look.width) for look in looks).most_common(1)[0]


def _sizes(looks: Sequence[Look], geometry: Geometry) -> str:
    from statistics import median_low

    heights, widths = [look.height for look in looks], [look.width for look in looks]
    low, high = (f"{end(widths)}x{end(heights)}" for end in (min, max))
    how = f"cut to {geometry.width}x{geometry.height} from the centre"
    if geometry.resize == EXACT:
        how = f"resized to {geometry.width}x{geometry.height}"
    if low == high:
        same = geometry.resize == EXACT and (geometry.width, geometry.height) == (
            widths[0],
            heights[0],
        )
        return f"pictures are {low}, " + ("taken as they are" if same else how)
    if geometry.resize == EXACT:
        (height, width), count = _usual(looks)
        return (
            f"pictures are {width}x{height}, but for {len(looks) - count} of {len(looks)}, of {low} to "
            f"{high} (width x height), which are resized to it"
        )
    middle = f"{median_low(widths)}x{median_low(heights)}"
    return f"pictures are {low} to {high} (width x height), median {middle}; {how}"


def _split(files: dict[str, Files], wishes: Wishes) -> None:
    """Hold out validation pictures where the folder has none, or where another share is wanted."""
    if wishes.val is not None and "val" in files:
        files["train"] = _joined(files["train"], files.pop("val"))
    if "val" not in files and wishes.val != 0:
        share = SHARE if wishes.val is None else wishes.val
        kept, held = hold_out(files["train"].labels, share, wishes.seed)
        if len(held):
            files["val"] = files["train"].take(held)
            files["train"] = files["train"].take(kept)
    if wishes.limit and wishes.limit < len(files["train"]):
        index = sample(files["train"].labels, wishes.limit, wishes.seed)
        files["train"] = files["train"].take(index)


def _joined(one: Files, two: Files) -> Files:
    import torch

    return Files(one.paths + two.paths, torch.cat([one.labels, two.labels]), one.geometry)


def _kept(
    files: dict[str, Files],
    geometry: Geometry,
    wishes: Wishes,
    findings: Findings,
    notes: list[str],
) -> dict[str, Samples]:
    """Return the parts as they are used: decoded, or as files."""
    bytes_each = geometry.channels * geometry.height * geometry.width
    wanted = bytes_each * sum(map(len, files.values()))
    room = memory.free() // 2
    if wishes.cache == "none" or (wishes.cache == "auto" and wanted > room):
        notes.append(_streamed(wanted, room))
        return dict(files)
    parts: dict[str, Samples] = {}
    try:
        for role, part in files.items():
            decoded = _decoded(part, wishes.workers, findings)
            if len(decoded):
                parts[role] = decoded
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "alloc" not in str(error):
            raise
        size = f"{wanted / 2**30:.1f} GiB"
        raise PtoolsError(f"{size} of pictures do not fit in memory; try --cache none.") from error
    if "train" not in parts:
        raise FileError(f"no training picture can be decoded: {findings.notes()[0]}.")
    return parts


def _streamed(wanted: int, room: int) -> str:
    text = (
        f"pictures are decoded in every epoch: they would take {wanted / 2**30:.1f} GiB of memory"
    )
    return text if wanted <= room else f"{text}, and {room / 2**30:.1f} GiB are for them"


def _decoded(files: Files, workers: int | None, findings: Findings) -> Split:
    """Decode every picture once, into one tensor; leave out what fails."""
    import torch

    geometry, count = files.geometry, 0
    store = torch.empty(
        len(files), geometry.height, geometry.width, geometry.channels, dtype=torch.uint8
    )
    kept: list[int] = []
    chunks = list(_chunks(range(len(files)), 16))  # small, as shared memory is in containers
    paths = [[files.paths[i] for i in chunk] for chunk in chunks]
    many = chosen(workers, len(files), 16 * store[0].numel())
    crew = Crew(_Decode(geometry), many if len(files) > 64 else 0)
    made = _shown("decoding", crew.map(paths), len(paths))
    for chunk, (images, reasons) in zip(chunks, made, strict=True):
        good = [i for i, reason in zip(chunk, reasons, strict=True) if reason is None]
        for i, reason in zip(chunk, reasons, strict=True):
            if reason is not None:
                findings.add(OUT + reason, files.paths[i])
        store[count : count + len(good)] = images
        count += len(good)
        kept += good
    index = torch.tensor(kept, dtype=torch.int64)
    rest = files.take(index)
    return Split(store[:count].permute(0, 3, 1, 2), rest.labels, rest.paths)


@dataclass(frozen=True)
class _Decode:
    geometry: Geometry

    def __call__(self, paths: list[str]) -> tuple[Tensor, list[str | None]]:
        """Return what can be decoded, uint8 (n, H, W, C), and what is wrong with each path."""
        import torch

        shape = self.geometry.height, self.geometry.width, self.geometry.channels
        images = torch.empty(len(paths), *shape, dtype=torch.uint8)
        reasons: list[str | None] = []
        for path in paths:
            image = _outcome(lambda path: pictures.read(path, self.geometry), path)
            if isinstance(image, str):
                reasons.append(image)
            else:
                images[len(reasons) - sum(map(bool, reasons))] = image.permute(1, 2, 0)
                reasons.append(None)
        return images[: reasons.count(None)], reasons


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _shown(what: str, results: Iterator[T], total: int) -> Iterator[T]:
    """Pass on the results; on a terminal, draw a bar once it takes more than a second."""
    from time import monotonic

    from ptools import output

    bar: Any = None
    first = os.environ.get("RANK", "0") == "0"  # of torchrun's processes, one draws
    begun = drawn = monotonic()
    try:
        for done, result in enumerate(results, 1):
            yield result
            now = monotonic()
            if first and now - drawn > 0.1 and now - begun > 1:
                if bar is None:
                    bar = output.progress()
                    task = bar.add_task(f"{what} pictures", total=total)
                    bar.start()
                drawn = now
                bar.update(task, completed=done, refresh=True)
    finally:
        if bar is not None:
            bar.stop()
