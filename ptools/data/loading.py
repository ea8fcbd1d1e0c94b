"""A name -> an ImageSet: a registered set, a folder, a CSV file.

load(name, ...)    find it, split it, give it the size and the channels asked for, say what it is like
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptools import registry
from ptools.data import folders, memory
from ptools.data.folders import Wishes
from ptools.data.pictures import EXACT, Geometry
from ptools.data.sets import ImageSet, Samples, Split, hold_out
from ptools.errors import PluginError, PtoolsError, UsageError, cause, suggestion

if TYPE_CHECKING:
    from torch import Tensor

CACHES = ("auto", "ram", "none")
SHARE = 0.1  # of a named set without validation images, unless told
TABLES = (".csv", ".tsv", ".txt")


def load(
    name: str,
    *,
    data_dir: Path | None = None,
    val: float | None = None,
    seed: int = 0,
    size: tuple[int, ...] | None = None,
    cache: str = "auto",
    workers: int | None = None,
    strict: bool = False,
    labels: Path | None = None,
    channels: int | None = None,
    limit: int | None = None,
) -> ImageSet:
    """Return the data set `name`: a registered name, a folder, a CSV file of path,label.

    `val` is the share held out for validation: None keeps the set's own, or takes 0.1 of the training
    images (0.2 of a folder's); 0 is none. It is stratified, and drawn by `seed`. `size` is (height,
    width) or (side,), `channels` 1 or 3; None leaves both as they are. `limit` is that of the training
    images, before any is decoded. `labels` is the folder of a folder's label files. `workers` processes
    decode; None: one for each core where there are many pictures. `strict` stops at oddities. Raises
    UsageError, FileError, PluginError.
    """
    if val is not None and not 0 <= val < 1:
        raise UsageError(f"--val {val:g} is no share; choose 0 (no validation) up to 0.9.")
    if cache not in CACHES:
        raise UsageError(f"no cache is called '{cache}'; choose {', '.join(CACHES)}.")
    sides = (size[0], size[-1]) if size else None
    wishes = Wishes(val, seed, sides, cache, workers, strict, labels, channels, limit)
    found = registry.owners(registry.DATASETS)
    path = Path(name).expanduser()
    if name in found:
        if labels is not None:
            raise UsageError(f"--labels is for folders of pictures; {name} has its own labels.")
        images = _registered(found[name], data_dir, wishes)
    elif path.is_dir() or (path.is_file() and path.suffix.lower() in TABLES):
        if labels is not None and not (path.is_dir() and labels.is_dir()):
            raise UsageError("--labels names a folder, beside a folder of pictures.")
        images = folders.read(path, wishes)
    else:
        raise UsageError(f"no data set is called '{name}'{_way(path, list(found))}")
    return replace(images, notes=(balance(images), *images.notes))


def _way(path: Path, known: list[str]) -> str:
    if path.exists():
        return ": it is neither a folder nor a .csv file."
    if "/" in str(path) or path.suffix:
        return ", and no such folder or file is there."
    return "." + (suggestion(str(path), known) or " See: ptools list datasets")


def balance(images: ImageSet) -> str:
    """Return the classes and how many training images each has, with the imbalance if there is any."""
    counts = images.counts()
    least, most = min(counts), max(counts)
    names = sorted(zip(counts, images.classes, strict=True), reverse=True)
    if len(counts) <= 10 and most > least:
        each = ", ".join(f"{c} {n}" for n, c in zip(counts, images.classes, strict=True))
    elif most == least:
        each = f"{most} training images each"
    else:
        each = f"{names[0][1]} {most} to {names[-1][1]} {least} training images"
    text = f"{len(counts)} classes: {each}"
    if most >= 1.5 * least:
        text += f"; imbalance {most / least:.1f}" if least else "; some have none"
    return text


# -- registered sets ---------------------------------------------------------------------------------


def _registered(plugin: registry.Plugin, data_dir: Path | None, wishes: Wishes) -> ImageSet:
    factory = registry.load(plugin)
    offered = {"data_dir": data_dir, "size": wishes.size, "val": wishes.val, "seed": wishes.seed}
    what = f"data set '{plugin.name}' of {plugin.origin}"
    try:
        taken = _taken(factory, offered)
        images = factory(**taken)
    except PtoolsError:
        raise
    except (Exception, SystemExit) as error:  # the code of others
        raise PluginError(f"{what} cannot be loaded: {cause(error)}; ask its authors.") from error
    if not isinstance(images, ImageSet):
        raise PluginError(f"{what} returned a {type(images).__name__}, not an ImageSet.")
    if data_dir is not None and "data_dir" not in taken:
        raise UsageError(f"--data-dir has no effect: {plugin.name} is not read from a folder.")
    if "val" not in taken:
        images = _split(images, wishes.val, wishes.seed)
    if wishes.limit:
        images = images.limited(wishes.limit, wishes.seed)
    return _shaped(images, wishes.size, wishes.channels)


def _taken(factory: Callable[..., Any], offered: dict[str, Any]) -> dict[str, Any]:
    """Return what of the offer the factory takes by keyword."""
    import inspect

    takes = inspect.signature(factory).parameters
    return {name: value for name, value in offered.items() if name in takes}


def _split(images: ImageSet, val: float | None, seed: int) -> ImageSet:
    """Hold out validation images where there are none, or where another share is asked for."""
    if images.val is not None:
        if val is None:
            return images
        images = replace(images, train=_joined(images.train, images.val), val=None)
    share = SHARE if val is None else val
    if not share:
        return images
    kept, held = hold_out(images.train.labels, share, seed)
    if not len(held):
        return images
    return replace(images, train=images.train.take(kept), val=images.train.take(held))


def _joined(one: Samples, two: Samples) -> Samples:
    import torch

    labels, paths = torch.cat([one.labels, two.labels]), one.paths + two.paths
    if isinstance(one, Split) and isinstance(two, Split):
        return Split(torch.cat([one.images, two.images]), labels, paths)
    if isinstance(one, Split) or isinstance(two, Split):
        raise UsageError("--val cannot join images in memory with files; leave it out.")
    return replace(one, paths=paths, labels=labels)


def _shaped(images: ImageSet, size: tuple[int, int] | None, channels: int | None) -> ImageSet:
    """Return the set with images of this size and these channels."""
    had = images.shape
    wanted = (channels or had[0], *(size or had[1:]))
    if wanted == had:
        return images
    geometry = Geometry(*wanted, resize=images.geometry.resize if images.geometry else EXACT)
    every = [part for part in (images.train, images.val, images.test) if part is not None]
    needed = sum(map(len, every)) * wanted[0] * wanted[1] * wanted[2]
    if any(isinstance(part, Split) for part in every) and needed > memory.free() * 3 // 4:
        has = f"{sum(map(len, every))} images of {wanted[1]}x{wanted[2]}"
        raise UsageError(
            f"{has} take {needed / 2**30:.0f} GiB; choose a smaller --size, or --limit."
        )
    train, val, test = (
        part and _reshaped(part, geometry) for part in (images.train, images.val, images.test)
    )
    assert train is not None
    return replace(images, train=train, val=val, test=test, geometry=geometry)


def _reshaped(part: Samples, geometry: Geometry) -> Samples:
    import torch

    if not isinstance(part, Split):
        return replace(part, geometry=geometry)
    shape = geometry.channels, geometry.height, geometry.width
    images = torch.empty(len(part), *shape, dtype=torch.uint8)
    for new, old in zip(torch.split(images, 512), torch.split(part.images, 512), strict=True):
        new.copy_(_resized(_coloured(old, geometry.channels), shape[1:]))
    return Split(images, part.labels, part.paths)


def _coloured(images: Tensor, channels: int) -> Tensor:
    """Return grey images as colour, or colour ones as grey (ITU-R 601, as Pillow)."""
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return images.expand(-1, 3, -1, -1)
    weights = images.new_tensor([299, 587, 114], dtype=images.float().dtype).view(1, 3, 1, 1)
    return (images.float() * weights).sum(1, keepdim=True).div(1000).round().to(images.dtype)


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    from torch.nn.functional import interpolate

    if tuple(images.shape[2:]) == size:
        return images
    return interpolate(images.contiguous(), size=size, mode="bilinear", antialias=True)
