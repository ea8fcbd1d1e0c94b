"""The sets everybody compares on, in torchvision's file layout: MNIST, Fashion-MNIST, CIFAR-10 and -100.

mnist, fashion_mnist, cifar10, cifar100    what the entry points of ptools.datasets name

They are looked for in `data_dir`, else in ./data (where tutorials put them), else in the cache folder
of the user, where a missing one is downloaded by torchvision. The files are read directly: torchvision
is imported for a download only. CIFAR's pickles are read by an unpickler that knows arrays and nothing
else, so nobody's code can run.

Sources: Y. LeCun et al., "Gradient-based learning applied to document recognition", 1998; H. Xiao et
al., arXiv:1708.07747; A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ptools.data.sets import ImageSet, Split
from ptools.errors import FileError, cause, one_line
from ptools.files import failed

if TYPE_CHECKING:
    from torch import Tensor

DIGITS = tuple("0123456789")
CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_IDX = tuple(
    f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")
)


class Kind(NamedTuple):
    """Where one set lies below a data folder, and where it comes from."""

    name: str
    torchvision: str  # its class in torchvision.datasets
    folder: str
    files: tuple[str, ...]
    source: str
    archive: str = ""  # one file that holds them all


MNIST = Kind("mnist", "MNIST", "MNIST/raw", _IDX, "https://ossci-datasets.s3.amazonaws.com/mnist/")
FASHION = Kind(
    "fashion-mnist",
    "FashionMNIST",
    "FashionMNIST/raw",
    _IDX,
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)
CIFAR10 = Kind(
    "cifar10",
    "CIFAR10",
    "cifar-10-batches-py",
    (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"),
    "https://www.cs.toronto.edu/~kriz/",
    "cifar-10-python.tar.gz",
)
CIFAR100 = Kind(
    "cifar100",
    "CIFAR100",
    "cifar-100-python",
    ("train", "test", "meta"),
    "https://www.cs.toronto.edu/~kriz/",
    "cifar-100-python.tar.gz",
)


def mnist(data_dir: Path | None = None) -> ImageSet:
    """70,000 handwritten digits, 28x28 grey, ten classes; 10,000 are for testing."""
    return _idx_set(MNIST, DIGITS, data_dir)


def fashion_mnist(data_dir: Path | None = None) -> ImageSet:
    """70,000 articles of clothing, 28x28 grey, ten classes; 10,000 are for testing."""
    return _idx_set(FASHION, CLOTHES, data_dir)


def cifar10(data_dir: Path | None = None) -> ImageSet:
    """60,000 photos, 32x32 colour, ten classes; 10,000 are for testing."""
    return _cifar_set(CIFAR10, "labels", "label_names", data_dir)


def cifar100(data_dir: Path | None = None) -> ImageSet:
    """60,000 photos, 32x32 colour, a hundred classes; 10,000 are for testing."""
    return _cifar_set(CIFAR100, "fine_labels", "fine_label_names", data_dir)


# -- where they are ----------------------------------------------------------------------------------


def cache_dir() -> Path:
    """Return the folder downloads go to: $XDG_CACHE_HOME/ptools, ~/.cache/ptools."""
    if os.name == "nt" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local, "ptools")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "ptools")


Files = Mapping[str, Callable[[], bytes]]


def _found(kind: Kind, data_dir: Path | None) -> Files:
    """Return how to read each file of the set; download it if it is nowhere."""
    places = [data_dir] if data_dir else [Path("data"), cache_dir()]
    for place in places:
        if files := _there(kind, place):
            return files
    _download(kind, places[-1])
    files = _there(kind, places[-1])
    if not files:
        raise FileError(_wanted(kind, places[-1], "the download is incomplete"))
    return files


def _there(kind: Kind, root: Path) -> Files | None:
    """Return how to read each file of the set, if all are below `root`: plain, .gz, or in the archive."""
    files: dict[str, Callable[[], bytes]] = {}
    for name in kind.files:
        plain = root / kind.folder / name
        packed = plain.with_name(name + ".gz")
        if plain.is_file():
            files[name] = plain.read_bytes
        elif packed.is_file():
            files[name] = lambda path=packed: gzip.decompress(path.read_bytes())  # type: ignore[misc]
    if len(files) == len(kind.files):
        return files
    archive = root / kind.archive
    return _unpacked(archive, kind) if kind.archive and archive.is_file() else None


def _unpacked(archive: Path, kind: Kind) -> Files:
    try:
        with tarfile.open(archive) as opened:
            held = {
                Path(member.name).name: content.read()
                for member in opened
                if member.isfile() and (content := opened.extractfile(member))
            }
    except (OSError, tarfile.TarError, EOFError) as error:
        raise FileError(
            f"{archive} is damaged ({cause(error)}); delete it to download it again."
        ) from error
    if missing := set(kind.files) - set(held):
        raise FileError(f"{archive} lacks {sorted(missing)[0]}; delete it to download it again.")
    return {name: lambda data=held[name]: data for name in kind.files}  # type: ignore[misc]


def _download(kind: Kind, root: Path) -> None:
    """Let torchvision download into a folder of our own, then move file by file: none is ever torn."""
    import shutil
    import socket
    import tempfile

    from ptools import output

    output.note(f"downloading {kind.name} to {root}")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)
    try:
        root.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f".{kind.name}-", dir=root))
    except OSError as error:
        raise failed("write to", root, error) from error
    try:
        with output.aside():
            from torchvision import datasets

            getattr(datasets, kind.torchvision)(str(place), download=True)
        (root / kind.folder).mkdir(parents=True, exist_ok=True)
        for name in kind.files:
            (place / kind.folder / name).replace(root / kind.folder / name)
    except (Exception, SystemExit) as error:  # urllib, torchvision, the disk
        raise FileError(_wanted(kind, root, one_line(cause(error), 150))) from error
    finally:
        socket.setdefaulttimeout(before)
        shutil.rmtree(place, ignore_errors=True)


def _wanted(kind: Kind, root: Path, why: str) -> str:
    files = kind.archive or ", ".join(f"{name}.gz" for name in kind.files)
    place = root if kind.archive else root / kind.folder
    return (
        f"{kind.name} is not in {root} and cannot be downloaded ({why.rstrip('.')}); get {files} from "
        f"{kind.source} and put it into {place}, or say --data-dir."
    )


# -- reading them ------------------------------------------------------------------------------------


def _idx_set(kind: Kind, classes: tuple[str, ...], data_dir: Path | None) -> ImageSet:
    files = _found(kind, data_dir)
    images, labels, test_images, test_labels = (_idx(name, files[name]) for name in kind.files)
    return _checked(
        kind,
        classes,
        (images.unsqueeze(1), labels.long()),
        (test_images.unsqueeze(1), test_labels.long()),
    )


def _idx(name: str, read: Callable[[], bytes]) -> Tensor:
    """Return an IDX file of unsigned bytes. Source: http://yann.lecun.com/exdb/mnist/."""
    import torch

    try:
        data = bytearray(read())
        dimensions = data[3]
        shape = struct.unpack(f">{dimensions}I", data[4 : 4 + 4 * dimensions])
        if data[:3] != b"\0\0\x08":
            raise ValueError("no IDX file of unsigned bytes")
        return torch.frombuffer(data, dtype=torch.uint8)[4 + 4 * dimensions :].reshape(shape)
    except (OSError, EOFError, ValueError, IndexError, RuntimeError, struct.error) as error:
        raise FileError(_damaged(name, error)) from error


def _cifar_set(kind: Kind, key: str, names: str, data_dir: Path | None) -> ImageSet:
    import numpy as np
    import torch

    files = _found(kind, data_dir)
    held = {name: _arrays(name, files[name]) for name in kind.files}

    def part(chosen: list[str]) -> tuple[Tensor, Tensor]:
        pixels = np.concatenate([np.asarray(held[name]["data"], np.uint8) for name in chosen])
        labels = [int(label) for name in chosen for label in held[name][key]]
        return torch.from_numpy(pixels.reshape(-1, 3, 32, 32)), torch.tensor(labels)

    train = [n for n in kind.files if n.startswith(("data_batch", "train"))]
    test = [n for n in kind.files if n.startswith("test")]
    try:
        classes = tuple(str(name) for name in held[kind.files[-1]][names])
        return _checked(kind, classes, part(train), part(test))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FileError(_damaged(kind.folder, error)) from error


def _checked(
    kind: Kind, classes: tuple[str, ...], train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]
) -> ImageSet:
    try:
        return ImageSet(kind.name, classes, Split(*train), test=Split(*test))
    except ValueError as error:
        raise FileError(_damaged(kind.folder, error)) from error


def _damaged(name: str, error: Exception) -> str:
    return f"{name} is damaged ({cause(error)}); delete it to download it again."


class _Arrays(pickle.Unpickler):
    """Reads dictionaries, lists and arrays; whatever else a pickle names is refused."""

    def find_class(self, module: str, name: str) -> Any:
        import numpy as np

        if (module.split(".")[0], name) in _KNOWN:
            if name == "_reconstruct":
                return np.empty(0).__reduce__()[0]
            return getattr(np, name) if module.startswith("numpy") else _encode
        raise pickle.UnpicklingError(f"it names {module}.{name}")


_KNOWN = {
    ("numpy", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


def _encode(text: str, encoding: str) -> bytes:
    """Do what _codecs.encode does for the bytes of an array that Python 3 wrote for Python 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it wants encoding {encoding}")
    return text.encode("latin1")


def _arrays(name: str, read: Callable[[], bytes]) -> Mapping[str, Any]:
    try:
        held = _Arrays(io.BytesIO(read()), encoding="latin1").load()
        if not isinstance(held, dict):
            raise ValueError("no dictionary")
        return held
    except Exception as error:  # a pickle of anybody
        raise FileError(_damaged(name, error)) from error
