"""What is to be shown, found by its name: data sets, folders, picture files, arrays.

find(names, ...)     every image of the names, none of them decoded yet, as Entries
select(...)          some of them: so many, so many per class, in the order of a seed
shapes(entries)      how large they are, before they are decoded
Entry                one image: its name, its label, how to read it
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ptools.errors import FileError, UsageError, suggestion

if TYPE_CHECKING:
    from torch import Tensor

    from ptools.data import ImageSet
    from ptools.data.listing import Part, Parts
    from ptools.data.sets import Samples

__all__ = ["SPLITS", "Entry", "Found", "find", "select", "shapes"]

SPLITS = ("train", "val", "test", "all")
_TABLES = (".csv", ".tsv", ".txt")


class Entry(NamedTuple):
    """An image that can be read: `read()` gives uint8 (1 or 3, H, W), or raises PictureError."""

    name: str
    label: str | None
    source: str  # what it belongs to: a data set, a folder, a file
    read: Callable[[], Tensor]


@dataclass
class Found:
    """The images of some names; `data` is the registered set, where it is just one."""

    name: str  # of all together: digits, photos, images
    entries: list[Entry]
    notes: list[str] = field(default_factory=list)
    data: ImageSet | None = None
    parted: bool = False  # into train, val and test


def find(
    names: Sequence[str],
    *,
    split: str | None = None,
    data_dir: Path | None = None,
    dataformats: str | None = None,
) -> Found:
    """Return the images that `names` stand for; those for training where no `split` is asked for.

    Raises UsageError, FileError.
    """
    _refuse(names, data_dir, dataformats)
    parts = [_one(name, split, data_dir, dataformats) for name in names]
    if split and not any(part.parted for part in parts):
        raise UsageError("--split is for data sets, class folders and tables; leave it out.")
    if len(parts) == 1:
        return parts[0]
    together = [entry for part in parts for entry in part.entries]
    return Found("images", together, [note for part in parts for note in part.notes])


def _refuse(names: Sequence[str], data_dir: Path | None, dataformats: str | None) -> None:
    """Refuse what would do nothing for any of these names."""
    from ptools import registry
    from ptools_plugins.tb_images import arrays

    if dataformats and not any(Path(name).suffix.lower() in arrays.SUFFIXES for name in names):
        raise UsageError("--dataformats is for arrays, as .npy or .pt files; leave it out.")
    if data_dir is not None and not {*names} & {*registry.owners(registry.DATASETS)}:
        raise UsageError("--data-dir is for data sets that are downloaded; leave it out.")


def _one(name: str, split: str | None, data_dir: Path | None, dataformats: str | None) -> Found:
    from ptools import registry
    from ptools_plugins.tb_images import arrays

    if not name.strip():
        raise UsageError("an image has no name; name a data set, a folder or an image.")
    path = Path(name).expanduser()
    known = registry.owners(registry.DATASETS)
    if name in known:
        return _data_set(name, split, data_dir)
    if path.is_dir():
        return _folder(path, split)
    if not path.exists():
        if "/" in name or path.suffix:
            raise UsageError(f"{name} does not exist; name a data set, a folder or an image.")
        close = suggestion(name, list(known)) or " See: ptools list datasets"
        raise UsageError(f"no data set, folder or image is called '{name}'.{close}")
    if path.suffix.lower() in arrays.SUFFIXES:
        return Found(path.stem, arrays.entries(path, dataformats))
    if path.suffix.lower() in _TABLES:
        return _table(path, split)
    return Found(path.stem, [_picture(path, None, path.stem)])


# -- by name -----------------------------------------------------------------------------------------


def _data_set(name: str, split: str | None, data_dir: Path | None) -> Found:
    """Return a part of a registered set, as a training would see it."""
    from ptools import data

    images = data.load(name, data_dir=data_dir)
    parts = {role: part for role in SPLITS[:3] if (part := getattr(images, role)) is not None}
    entries: list[Entry] = []
    for role in _roles(name, split, list(parts)):
        part = parts[role]
        for index, label in enumerate(part.labels.tolist()):
            read = partial(_of_part, part, index)
            entries.append(Entry(f"{role}/{index}", images.classes[label], name, read))
    return Found(name, entries, data=images, parted=True)


def _of_part(part: Samples, index: int) -> Tensor:
    import torch

    if isinstance(getattr(part, "images", None), torch.Tensor):
        image: Tensor = part.images[index]  # type: ignore[union-attr]
        return image
    return part.pixels(torch.tensor([index]))[0]


def _folder(path: Path, split: str | None) -> Found:
    """Return the pictures of a folder: of classes where it has class folders, else all below it."""
    from ptools.data import listing, pictures
    from ptools.data.findings import OUT, Findings

    name = path.resolve().name
    findings = Findings(path)
    try:
        parts = listing.folder(path, None, findings)
    except FileError:
        loose = pictures.find([path])
        if not loose:
            raise FileError(f"{path} has no pictures in it; give a folder that does.") from None
        return Found(name, [_picture(str(one), None, name) for one in loose])
    findings.kinds = {kind: names for kind, names in findings.kinds.items() if kind.startswith(OUT)}
    return _of_parts(str(path), name, parts, split, findings.notes())


def _table(path: Path, split: str | None) -> Found:
    from ptools.data import listing
    from ptools.data.findings import Findings

    findings = Findings(path.parent)
    parts = listing.table(path, findings)
    return _of_parts(str(path), path.stem, parts, split, findings.notes())


def _of_parts(where: str, name: str, parts: Parts, split: str | None, notes: list[str]) -> Found:
    there = {role: pairs for role, pairs in parts.items() if pairs}
    entries = [
        _picture(file, label, name)
        for role in _roles(where, split, list(there))
        for file, label in _in_order(there[role])
    ]
    return Found(name, entries, notes, parted=True)


def _in_order(pairs: Part) -> Part:
    """Return the pictures class by class as they are, and within one 2.png before 10.png."""
    from ptools.data.walking import natural

    classes = {label: place for place, label in enumerate(dict.fromkeys(x for _, x in pairs))}
    return sorted(pairs, key=lambda pair: (classes[pair[1]], natural(pair[0])))


def _roles(where: str, split: str | None, there: Sequence[str]) -> Sequence[str]:
    if split == "all":
        return there
    split = split or "train"
    if split not in there:
        raise UsageError(
            f"{where} has no {split} images; choose --split {', '.join(there)} or all."
        )
    return [split]


def _picture(path: str | Path, label: str | None, source: str) -> Entry:
    return Entry(str(path), label, source, partial(_decoded, path))


def _decoded(path: str | Path) -> Tensor:
    """Return a picture as it is: its own size, grey where it is grey."""
    from ptools.data import pictures

    return pictures.decode(path, pictures.look(path).channels)


# -- some of them ------------------------------------------------------------------------------------


def select(
    entries: Sequence[Entry],
    *,
    most: int | None = None,
    per_class: int | None = None,
    seed: int | None = None,
    spread: bool = False,
) -> list[Entry]:
    """Return at most `per_class` images of each label, and at most `most` of all.

    They stay in their order, or, with a seed, come in the order it draws. Of those in order `most` takes
    the first ones, or, with `spread`, some from everywhere: sets are often sorted by their classes.
    """
    chosen: list[Entry] = list(entries)
    if seed is not None:
        import torch

        random = torch.Generator().manual_seed(seed % 2**63)
        chosen = [entries[i] for i in torch.randperm(len(entries), generator=random).tolist()]
    if per_class is not None:
        taken: Counter[str | None] = Counter()
        chosen = [entry for entry in chosen if _next(taken, entry.label) <= per_class]
    if most is None or most >= len(chosen):
        return chosen
    if spread and seed is None:
        return [chosen[place * len(chosen) // most] for place in range(most)]
    return chosen[:most]


def _next(taken: Counter[str | None], label: str | None) -> int:
    taken[label] += 1
    return taken[label]


def shapes(entries: Sequence[Entry]) -> Iterator[tuple[int, int, int]]:
    """Yield the shape (C, H, W) of each image that can be read, from its head where it is a file."""
    from ptools.data import pictures

    for entry in entries:
        try:
            if isinstance(entry.read, partial) and entry.read.func is _decoded:
                look = pictures.look(entry.read.args[0])
                yield look.channels, look.height, look.width
            else:
                channels, height, width = entry.read().shape
                yield channels, height, width
        except pictures.PictureError:
            continue
