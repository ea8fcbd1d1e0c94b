"""Writing: what comes back is what went in, in the container it came from, whole or not at all."""

from __future__ import annotations

import collections
import itertools
import os
import resource
import signal
import subprocess
import sys
import zipfile
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ptools import checkpoints
from ptools.errors import FileError

BOTH = pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])


def same(one: Any, two: Any) -> bool:
    """Whether two tensors are equal to the bit."""
    import torch

    bits = [t.detach().contiguous().reshape(-1).view(torch.uint8) for t in (one, two)]
    return one.dtype == two.dtype and one.shape == two.shape and torch.equal(*bits)


def state() -> dict[str, Any]:
    """Tensors of many dtypes and layouts."""
    import torch

    big = torch.randn(40, 50)
    return {
        "weight": torch.randn(3, 4),
        "half": torch.randn(5).half(),
        "bfloat": torch.randn(3).bfloat16(),
        "steps": torch.tensor(7),
        "mask": torch.tensor([True, False, True]),
        "float8": torch.randn(3).to(torch.float8_e4m3fn),
        "part": big[3:5],
        "transposed": big[:4, :6].t(),
        "channels_last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "expanded": torch.randn(3, 1).expand(3, 4),
        "empty": torch.empty(0, 3),
        "parameter": torch.nn.Parameter(torch.randn(2)),
    }


@BOTH
def test_round_trip(name: str, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    tensors = state()
    assert checkpoints.write(tensors, tmp_path / name) == []
    if name.endswith("pth"):
        theirs = torch.load(tmp_path / name, weights_only=True, mmap=True)
        assert list(theirs) == list(tensors)
        assert theirs["channels_last"].stride() == tensors["channels_last"].stride()
    else:
        theirs = load_file(tmp_path / name)
    ours = checkpoints.read(tmp_path / name).tensors
    for key, tensor in tensors.items():
        assert same(theirs[key], tensor), key
        assert same(ours[key], tensor), key
    with pytest.raises(FileError, match="--force"):
        checkpoints.write(tensors, tmp_path / name)


@BOTH
def test_a_part_is_written_without_the_rest(name: str, tmp_path: Path) -> None:
    import torch

    big = torch.zeros(1 << 20)
    checkpoints.write({"a": big[:10], "b": big[5:25].view(4, 5).t()}, tmp_path / name)
    assert (tmp_path / name).stat().st_size < 10_000


def test_shared_tensors_are_written_once(tmp_path: Path) -> None:
    import torch

    one = torch.randn(100, 100)
    half = [lambda: one.half()]
    given: dict[str, Any] = {"a": one, "b": one, "c": one.t(), "d": half[0], "e": half[0]}
    checkpoints.write(given, tmp_path / "w.pth")
    found = torch.load(tmp_path / "w.pth", weights_only=True)
    assert found["a"].data_ptr() == found["b"].data_ptr() == found["c"].data_ptr()
    assert found["d"].data_ptr() == found["e"].data_ptr()
    assert same(found["c"], one.t())
    assert (tmp_path / "w.pth").stat().st_size < 65_000
    weights = checkpoints.read(tmp_path / "w.pth")
    checkpoints.write(weights.tensors, tmp_path / "again.pth")
    assert (tmp_path / "again.pth").stat().st_size < 65_000
    checkpoints.write(weights.tensors, tmp_path / "w.safetensors")
    assert same(checkpoints.read(tmp_path / "w.safetensors").tensors["c"], one.t())


class Converted(Mapping[str, Any]):
    """Makes each tensor on access; holds how many are alive."""

    def __init__(self, tensors: Mapping[str, Any]) -> None:
        self.tensors = tensors
        self.alive: list[Any] = []

    def __getitem__(self, name: str) -> Any:
        import weakref

        made = self.tensors[name].half()
        self.alive = [*(ref for ref in self.alive if ref() is not None), weakref.ref(made)]
        assert len(self.alive) <= 2
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


@BOTH
def test_one_tensor_is_in_memory_at_a_time(name: str, tmp_path: Path) -> None:
    import torch

    tensors = {f"layer{i}": torch.full((1000,), float(i)) for i in range(20)}
    checkpoints.write(Converted(tensors), tmp_path / name)
    functions = {key: tensors[key].half for key in tensors}
    checkpoints.write(functions, tmp_path / f"functions-{name}")
    for file in (name, f"functions-{name}"):
        found = checkpoints.read(tmp_path / file).tensors
        assert all(same(found[key], tensors[key].half()) for key in tensors)


@BOTH
def test_progress_ends_at_the_total(name: str, tmp_path: Path) -> None:
    import torch

    seen: list[tuple[int, int]] = []
    tensors = {"a": torch.ones(1000), "b": torch.ones(10_000_000, dtype=torch.uint8)}
    checkpoints.write(tensors, tmp_path / name, progress=lambda *now: seen.append(now))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert {total for _, total in seen} == {10_004_000}
    assert seen[-1][0] == 10_004_000


def container() -> dict[str, Any]:
    import torch

    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(4, 2)).sum().backward()
    optimizer.step()
    return {
        "epoch": 3,
        "model": {"state_dict": model.state_dict(), "arch": "mlp"},
        "optimizer": optimizer.state_dict(),
        "args": Namespace(lr=0.1),
        "classes": ["a", "b"],
        "shape": torch.Size([1, 2]),
        "dtype": torch.float16,
        "mixed": (1, [2.5, {"x": None}], {1, 2}, b"bytes"),
    }


@pytest.mark.parametrize("new", [True, False], ids=["zip", "pickle"])
def test_the_container_is_kept(new: bool, tmp_path: Path) -> None:
    import torch

    content = container()
    torch.save(content, tmp_path / "w.tar", _use_new_zipfile_serialization=new)
    weights = checkpoints.read(tmp_path / "w.tar")
    given = {name: torch.full_like(tensor, 5) for name, tensor in weights.tensors.items()}
    dropped = checkpoints.write(given, tmp_path / "w.tar", like=weights, force=True)
    assert dropped == ["args (Namespace)"]
    found = torch.load(tmp_path / "w.tar", weights_only=True)
    assert list(found) == [key for key in content if key != "args"]
    inner = found["model"]["state_dict"]
    assert isinstance(inner, collections.OrderedDict)
    assert all(torch.equal(inner[name], given[name]) for name in given)
    assert inner._metadata == content["model"]["state_dict"]._metadata  # type: ignore[attr-defined]
    for key in ("epoch", "classes", "shape", "dtype", "mixed"):
        assert found[key] == content[key]
    before, after = content["optimizer"]["state"], found["optimizer"]["state"]
    assert all(same(after[i]["exp_avg"], before[i]["exp_avg"]) for i in before)
    assert found["optimizer"]["param_groups"] == content["optimizer"]["param_groups"]


def test_a_plain_state_dict_keeps_its_metadata(tmp_path: Path) -> None:
    import torch

    model = torch.nn.BatchNorm1d(3)
    torch.save(model.state_dict(), tmp_path / "w.pt")
    weights = checkpoints.read(tmp_path / "w.pt")
    checkpoints.write(weights.tensors, tmp_path / "copy.pt", like=weights)
    found = torch.load(tmp_path / "copy.pt", weights_only=True)
    assert found._metadata == model.state_dict()._metadata  # type: ignore[attr-defined]


def test_between_the_formats(tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    save_file({"w": state()["weight"]}, tmp_path / "a.safetensors", metadata={"by": "me"})
    weights = checkpoints.read(tmp_path / "a.safetensors")
    checkpoints.write(weights.tensors, tmp_path / "b.pth", like=weights)
    checkpoints.write(weights.tensors, tmp_path / "c.safetensors", like=weights)
    with safe_open(tmp_path / "c.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt", "by": "me"}
    assert checkpoints.read(tmp_path / "b.pth").format == "PyTorch zip"


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    tensors = state()
    for name in ("a.pth", "b.pth"):
        checkpoints.write(tensors, tmp_path / name)
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


@BOTH
def test_tensors_are_aligned(name: str, tmp_path: Path) -> None:
    import torch

    tensors = {
        "a": torch.ones(3).half(),
        "b": torch.ones(3),
        "c": torch.tensor(1),
        "d": torch.ones(1),
    }
    checkpoints.write(tensors, tmp_path / name)
    stored = checkpoints.read(tmp_path / name).tensors
    assert all(tensor.data_ptr() % tensor.element_size() == 0 for tensor in stored.values())
    source = checkpoints.read(tmp_path / name).tensors.stored  # type: ignore[attr-defined]
    assert all(entry.storage.start % 8 == 0 for key, entry in source.items() if key == "c")


def test_sparse_and_quantized_tensors(tmp_path: Path) -> None:
    import warnings

    import torch

    with warnings.catch_warnings(action="ignore"):  # torch is about to drop them
        quantized = torch.quantize_per_tensor(torch.randn(4), 0.1, 2, torch.qint8)
    sparse = torch.eye(3).to_sparse()
    checkpoints.write({"q": quantized, "s": sparse, "w": torch.ones(1)}, tmp_path / "w.pth")
    with warnings.catch_warnings(action="ignore"):
        found = torch.load(tmp_path / "w.pth", weights_only=True)
    assert torch.equal(found["q"].int_repr(), quantized.int_repr())
    assert torch.equal(found["s"].to_dense(), torch.eye(3))
    for name, tensor in (
        ("q", quantized),
        ("s", sparse),
        ("c", torch.ones(1, dtype=torch.complex128)),
    ):
        with pytest.raises(FileError, match=rf"cannot hold '{name}': safetensors has no"):
            checkpoints.write({name: tensor}, tmp_path / "w.safetensors")
    assert not (tmp_path / "w.safetensors").exists()


KILL = """
import os, signal, sys
from pathlib import Path
import torch
from ptools import checkpoints

weights = checkpoints.read(sys.argv[1])
def kill(done, total):
    os.kill(os.getpid(), signal.{signal})
checkpoints.write(weights.tensors, sys.argv[1], like=weights, force=True, progress=kill)
"""


@BOTH
@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_an_interruption_leaves_the_old_file(how: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    checkpoints.write(state(), path)
    before = path.read_bytes()
    command = [sys.executable, "-c", KILL.format(signal=how), str(path)]
    done = subprocess.run(command, stderr=subprocess.DEVNULL)
    assert done.returncode == (-signal.SIGKILL if how == "SIGKILL" else -signal.SIGINT)
    assert path.read_bytes() == before
    if how == "SIGINT":
        assert [p.name for p in tmp_path.iterdir()] == [name]
    checkpoints.write(state(), path, force=True)


@pytest.fixture
def limited() -> Iterator[None]:
    """No file of this process may grow beyond 64 KiB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@BOTH
@pytest.mark.usefixtures("limited")
def test_a_full_disk_leaves_the_old_file(name: str, tmp_path: Path) -> None:
    import torch

    path = tmp_path / name
    checkpoints.write({"w": torch.ones(3)}, path)
    for size in (1 << 14, 1 << 20):
        with pytest.raises(FileError, match=r"cannot write .*larger than this system allows"):
            checkpoints.write({"w": torch.ones(size)}, path, force=True)
    assert checkpoints.read(path).tensors["w"].tolist() == [1, 1, 1]
    assert [p.name for p in tmp_path.iterdir()] == [name]


@BOTH
def test_some_tensors_under_new_names(name: str, tmp_path: Path) -> None:
    """What lies in a file is copied from there, between formats and file systems too."""
    import torch

    tensors = state()
    folders = [tmp_path, *[Path("/dev/shm")] * os.access("/dev/shm", os.W_OK)]
    for number, (folder, save) in enumerate(itertools.product(folders, (True, False))):
        source = folder / f"ptools-test-{os.getpid()}.pt"
        torch.save(tensors, source, _use_new_zipfile_serialization=save)
        try:
            weights = checkpoints.read(source)
            path = tmp_path / f"{number}{name}"
            checkpoints.write({f"new.{key}": weights.stored(key) for key in tensors}, path)
        finally:
            source.unlink()
        found = checkpoints.read(path).tensors
        assert all(same(found[f"new.{key}"], tensors[key]) for key in tensors)
        if name.endswith("pth"):
            with zipfile.ZipFile(path) as archive:
                assert archive.testzip() is None  # every CRC-32 is right


@BOTH
def test_numbers_of_the_other_byte_order(name: str, tmp_path: Path) -> None:
    import torch

    torch.save(
        {"w": torch.ones(2), "i": torch.arange(3), "b": torch.ones(3).byte()}, tmp_path / "a"
    )
    with (
        zipfile.ZipFile(tmp_path / "a") as old,
        zipfile.ZipFile(tmp_path / "big", "w", zipfile.ZIP_STORED) as new,
    ):
        for entry in old.namelist():
            data = old.read(entry)
            if entry.endswith("byteorder"):
                data = b"big" if sys.byteorder == "little" else b"little"
            elif "/data/" in entry and len(data) != 3:
                size = 4 if len(data) == 8 else 8
                data = b"".join(data[i : i + size][::-1] for i in range(0, len(data), size))
            new.writestr(entry, data)
    weights = checkpoints.read(tmp_path / "big")
    checkpoints.write(weights.tensors, tmp_path / name, like=weights)
    for found in (weights.tensors, checkpoints.read(tmp_path / name).tensors):
        assert [found[key].tolist() for key in "wib"] == [[1, 1], [0, 1, 2], [1, 1, 1]]


@BOTH
def test_rewriting_a_file_in_its_place(name: str, tmp_path: Path) -> None:
    """What was read stays readable after the file's name belongs to another one."""
    path = tmp_path / name
    tensors = state()
    checkpoints.write(tensors, path)
    weights = checkpoints.read(path)
    checkpoints.write({"only": tensors["weight"]}, path, like=weights, force=True)
    assert same(weights.tensors["part"], tensors["part"])
    assert list(checkpoints.read(path).tensors) == ["only"]
