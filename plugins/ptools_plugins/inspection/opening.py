"""A file of weights -> Contents, without running anything in it and without torch.

read(path)      Contents: every tensor, every plain value beside them, the classes that were not made
seen(contents)  Seen, as it is told: what was searched for, figures where they are wanted

ptools.checkpoints reads the formats; here the whole object that was saved is kept, not only its
state_dict. With `trust` a tar file of torch 0.1 is read too, by torch's own unpickler.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptools import checkpoints
from ptools.checkpoints.archives import read_pickle, read_zip
from ptools.checkpoints.formats import recognise
from ptools.checkpoints.stored import Damaged, Tensors
from ptools.checkpoints.tensorfiles import find_index
from ptools.errors import FileError, one_line
from ptools.files import failed
from ptools_plugins.inspection.contents import Contents, Item, gathered
from ptools_plugins.inspection.figures import Figures

# What is looked for as a file even where there is none, so that the error says so.
SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors", ".bin", ".tar", ".th", ".index.json", ".pkl")


def is_file(text: str) -> bool:
    """Return whether TARGET means a file of weights, or a folder with one, and no module."""
    path = Path(text)
    if text.endswith(".py") or ".py:" in text:
        return False
    if path.is_dir():
        weights = any(file.name.endswith(SUFFIXES) for file in path.iterdir())
        return weights or "/" in text or text in (".", "..") or not _is_package(text)
    return path.exists() or "/" in text or text.endswith(SUFFIXES)


def _is_package(name: str) -> bool:
    """Whether a folder's name is that of a package with code, here or anywhere."""
    import importlib.util

    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    return any(Path(name).glob("*.py")) or (spec is not None and spec.origin is not None)


def read(path: Path, *, trust: bool = False) -> Contents:
    """Return what is in a file of weights. Raises FileError where it is none, and says what it is."""
    try:
        if path.is_dir():
            path = find_index(path)
        return _read(path, recognise(path), trust)
    except Damaged as error:
        text = one_line(error, 200)
        raise FileError(f"{path} is damaged: {text}; download or save it again.") from error
    except OSError as error:
        raise failed("read", path, error) from error


def _read(path: Path, kind: str, trust: bool) -> Contents:
    if kind in ("zip", "pickle"):
        loaded = read_zip(path) if kind == "zip" else read_pickle(path)
        return gathered(path, loaded.format, loaded.tree)
    if kind == "tar":
        _old_tar(path)
    weights = checkpoints.read(path, trust=trust)
    tensors = weights.tensors
    tree: dict[str, Any] = dict(tensors.stored if isinstance(tensors, Tensors) else tensors)
    found = gathered(path, weights.format, tree, flat=True)
    found.values.update(weights.metadata)
    found.objects.update({extra.partition(" ")[0]: extra for extra in weights.extras})
    return found


def _old_tar(path: Path) -> None:
    """Raise FileError for a tar file that torch 0.1 has not written: it only holds files."""
    import tarfile

    try:
        with tarfile.open(path) as archive:
            names = [entry.name for _, entry in zip(range(10_000), archive, strict=False)]
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise FileError(f"{path} is a damaged tar archive; download it again.") from error
    if {"pickle", "storages", "tensors"} <= {name.removeprefix("./") for name in names}:
        return
    some = ", ".join(one_line(name, 40) for name in names[:4]) or "nothing"
    raise FileError(
        f"{path} is a tar archive around {len(names)} files ({some}), no checkpoint; unpack it: "
        f"tar xf {path.name}"
    )


@dataclass(frozen=True, eq=False)
class Seen:
    """A file of weights. `items` are those that fit the search, all without one.

    `scalars` are the tensors with a single number beside the weights: metrics, counters.
    """

    contents: Contents
    items: list[Item]
    scalars: dict[str, float]
    figures: Figures | None
    grep: str | None

    def document(self) -> dict[str, Any]:
        """Return it for JSON: every tensor, and every plain value beside them."""
        found = self.contents
        shards = found.shards
        return {
            "path": str(found.path),
            "format": found.format,
            "file_bytes": found.size,
            "tensors": len(found.items),
            "weights": {
                "where": ".".join(found.where),
                "tensors": len(found.weights),
                **dict(zip(("parameters", "bytes"), found.totals(found.weights), strict=True)),
            },
            "values": found.values | self.scalars,
            "objects": found.objects,
            "tied": found.tied,
            "shards": {name: len(some) for name, some in shards.items()},
            "keys": [self._row(item, sharded=bool(shards)) for item in self.items],
        }

    def _row(self, item: Item, *, sharded: bool) -> dict[str, Any]:
        row: dict[str, Any] = {
            "key": item.key,
            "shape": list(item.shape),
            "dtype": item.dtype,
            "parameters": item.numel,
            "bytes": item.nbytes,
        }
        if sharded:
            row["file"] = item.file
        if self.figures is not None:
            stats = self.figures.of([item.key])
            row["stats"] = stats and stats.document()
        return row


def seen(contents: Contents, *, grep: str | None = None, stats: bool = False) -> Seen:
    """Return what there is to tell of a file: with `stats` every tensor (that fits) is read."""
    words = (grep or "").lower().split()
    items = [item for item in contents.items if all(word in item.key.lower() for word in words)]
    single = [item for item in contents.rest if item.shape == () and len(item.parts) <= 2]
    figures = Figures(single)
    scalars = {}
    for item in single:
        found = figures.of([item.key])
        if found and found.mean is not None:
            scalars[item.key] = found.mean
    return Seen(contents, items, scalars, Figures(items) if stats else None, grep)
