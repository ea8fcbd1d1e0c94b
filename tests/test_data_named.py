"""MNIST and CIFAR in torchvision's layout: read as they lie, downloaded once, refused when damaged."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from ptools import data
from ptools.data import named
from ptools.errors import FileError

RANDOM = np.random.default_rng(0)


def idx(values: np.ndarray[Any, Any]) -> bytes:
    head = b"\0\0\x08" + bytes([values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.astype(np.uint8).tobytes()


def mnist(folder: Path, *, packed: bool) -> dict[str, np.ndarray[Any, Any]]:
    """Write a tiny MNIST: 40 and 20 images."""
    folder.mkdir(parents=True)
    arrays = {}
    for part, count in (("train", 40), ("t10k", 20)):
        arrays[f"{part}-images-idx3-ubyte"] = RANDOM.integers(0, 256, (count, 28, 28))
        arrays[f"{part}-labels-idx1-ubyte"] = np.arange(count) % 10
    for name, values in arrays.items():
        content = idx(values)
        path = folder / (name + ".gz" if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)
    return arrays


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")]
)
def test_idx_files(tmp_path: Path, name: str, folder: str, packed: bool) -> None:
    arrays = mnist(tmp_path / folder / "raw", packed=packed)
    images: Any = data.load(name, data_dir=tmp_path)
    assert images.name == name
    assert images.shape == (1, 28, 28)
    assert images.classes[9] == ("9" if name == "mnist" else "Ankle boot")
    assert np.array_equal(images.test.images[:, 0].numpy(), arrays["t10k-images-idx3-ubyte"])
    assert images.test.labels.tolist() == arrays["t10k-labels-idx1-ubyte"].tolist()
    assert sorted(images.val.labels.tolist()) == list(range(10))
    assert len(images.train) == 30
    whole: Any = data.load(name, data_dir=tmp_path, val=0)
    assert np.array_equal(whole.train.images[:, 0].numpy(), arrays["train-images-idx3-ubyte"])
    other: Any = data.load(name, data_dir=tmp_path, seed=1)
    assert not other.val.images.equal(images.val.images)


def test_torchvision_reads_the_same(tmp_path: Path) -> None:
    from torchvision.datasets import MNIST

    mnist(tmp_path / "MNIST" / "raw", packed=False)
    theirs, ours = MNIST(str(tmp_path)), data.load("mnist", data_dir=tmp_path, val=0)
    assert theirs.data.equal(ours.train.images[:, 0])  # type: ignore[union-attr]
    assert theirs.targets.equal(ours.train.labels)


def cifar(root: Path, name: str, *, archive: bool) -> dict[str, Any]:
    """Write a tiny CIFAR as its authors did, with Python 2."""
    ten = name == "cifar10"
    key = "labels" if ten else "fine_labels"
    folder = "cifar-10-batches-py" if ten else "cifar-100-python"
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"] if ten else ["train", "test"]
    held: dict[str, Any] = {}
    for file in names:
        pixels = RANDOM.integers(0, 256, (20, 3072), dtype=np.uint8)
        held[file] = {"data": pixels, key: [i % 10 for i in range(20)]}
    meta = "label_names" if ten else "fine_label_names"
    held["batches.meta" if ten else "meta"] = {meta: [f"class {i}" for i in range(10)]}
    files = {file: python2(content) + b"." for file, content in held.items()}
    root.mkdir(parents=True, exist_ok=True)
    if archive:
        with tarfile.open(root / (name.replace("r1", "r-1") + "-python.tar.gz"), "w:gz") as tar:
            for file, content in files.items():
                member = tarfile.TarInfo(f"{folder}/{file}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    else:
        (root / folder).mkdir()
        for file, content in files.items():
            (root / folder / file).write_bytes(content)
    return held


def python2(value: Any) -> bytes:
    """Return the opcodes by which Python 2 and its numpy pickled `value`."""
    if isinstance(value, dict):
        return b"}(" + b"".join(python2(k) + python2(v) for k, v in value.items()) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(python2, value)) + b"e"
    if isinstance(value, int):
        return b"K" + bytes([value])
    if isinstance(value, str):
        return b"U" + bytes([len(value)]) + value.encode()
    made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01btR"
    kind = b"cnumpy\ndtype\n(U\x02u1I0\nI1\ntR(I3\nU\x01|NNNI-1\nI-1\nI0\ntb"
    shape = b"(I%d\nI%d\nt" % value.shape
    data: bytes = b"T" + struct.pack("<I", value.nbytes) + value.tobytes()
    return made + b"(I1\n" + shape + kind + b"I00\n" + data + b"tb"


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_files(tmp_path: Path, name: str, archive: bool) -> None:
    held = cifar(tmp_path, name, archive=archive)
    images: Any = data.load(name, data_dir=tmp_path, val=0)
    assert images.shape == (3, 32, 32)
    assert images.classes == tuple(f"class {i}" for i in range(10))
    train = [
        content["data"] for file, content in held.items() if file.startswith(("data", "train"))
    ]
    assert np.array_equal(images.train.images.flatten(1).numpy(), np.concatenate(train))
    assert images.train.labels.tolist() == [i % 10 for i in range(20)] * len(train)
    assert len(images.test) == 20


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (Path("evil"),)  # type: ignore[return-value]


def test_a_pickle_that_wants_more_than_arrays_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cifar(tmp_path, "cifar100", archive=False)
    (tmp_path / "cifar-100-python" / "train").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(
        FileError, match=r"train is damaged \(UnpicklingError: it names pathlib.*delete it"
    ):
        data.load("cifar100", data_dir=tmp_path)
    assert not Path("evil").exists()


def test_damaged_files_are_named(tmp_path: Path) -> None:
    mnist(tmp_path / "MNIST" / "raw", packed=True)
    images = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    whole = images.read_bytes()
    for content in (
        whole[: len(whole) // 2],
        b"",
        b"x" * 100,
        gzip.compress(idx(np.zeros((3, 2, 2)))),
    ):
        images.write_bytes(content)
        with pytest.raises(FileError, match=r"is damaged \(.*delete it to download it again"):
            data.load("mnist", data_dir=tmp_path)


def test_without_a_network_the_files_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(FileError) as error:
        data.load("fashion-mnist", data_dir=tmp_path / "new")
    line = str(error.value)
    for part in ("t10k-labels-idx1-ubyte.gz", str(tmp_path / "new" / "FashionMNIST" / "raw")):
        assert part in line
    assert "\n" not in line
    with pytest.raises(
        FileError, match=r"get cifar-10-python\.tar\.gz from https://www\.cs\.toronto\.edu"
    ):
        data.load("cifar10", data_dir=tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == [], "a failed download leaves nothing"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve a tiny MNIST on this machine; yield its address."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    mnist(tmp_path / "served", packed=True)
    handler = partial(Quiet, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_download_goes_to_the_cache_and_is_found_there(
    tmp_path: Path, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import MNIST

    names = [f"{name}.gz" for name in named.MNIST.files]
    sums = [hashlib.md5((tmp_path / "served" / name).read_bytes()).hexdigest() for name in names]
    monkeypatch.setattr(MNIST, "mirrors", [served])
    monkeypatch.setattr(MNIST, "resources", list(zip(names, sums, strict=True)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    first: Any = data.load("mnist")
    place = tmp_path / "cache" / "ptools"
    kept = sorted(path.name for path in (place / "MNIST" / "raw").iterdir())
    assert kept == sorted(named.MNIST.files)
    assert [path.name for path in place.iterdir()] == ["MNIST"]
    monkeypatch.setattr(MNIST, "mirrors", [])
    again: Any = data.load("mnist")
    assert again.train.images.equal(first.train.images)
    place.rename(tmp_path / "data")  # where tutorials put it
    here: Any = data.load("mnist")
    assert here.train.images.equal(first.train.images)
