"""Reading: every format gives torch's own tensors; every other file gives a line that says what it is."""

from __future__ import annotations

import json
import os
import pickle
import warnings
import zipfile
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ptools import checkpoints
from ptools.errors import FileError, UsageError

SHARED = Path(__file__).parents[2] / "shared" / "checkpoints"


def net() -> Any:
    from torch import nn

    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def assert_same(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    import torch

    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


def as_zip(state: Any, path: Path) -> None:
    import torch

    torch.save(state, path)


def as_pickle(state: Any, path: Path) -> None:
    import torch

    torch.save(state, path, _use_new_zipfile_serialization=False)


def as_script(model: Any, given: Any, path: Path, how: str = "trace") -> None:
    import torch

    with warnings.catch_warnings(action="ignore"):  # torch calls TorchScript deprecated
        jit: Any = torch.jit
        made = jit.script(model) if how == "script" else jit.trace(model, given)
        made.save(str(path))


def in_container(state: Any, path: Path) -> None:
    as_zip({"epoch": 3, "state_dict": state}, path)


@pytest.mark.parametrize("save", [as_zip, as_pickle, in_container])
@pytest.mark.parametrize("name", ["w.pth", "w.tar", "w.safetensors"])
def test_what_torch_saves(save: Callable[[Any, Path], None], name: str, tmp_path: Path) -> None:
    state = net().state_dict()
    save(state, tmp_path / name)
    weights = checkpoints.read(tmp_path / name)
    assert_same(weights.tensors, state)
    assert weights.shapes == {key: tuple(value.shape) for key, value in state.items()}
    assert weights.dtypes == {key: value.dtype for key, value in state.items()}


@pytest.mark.parametrize("save", [as_zip, as_pickle])
def test_every_dtype_and_view(save: Callable[[Any, Path], None], tmp_path: Path) -> None:
    import torch

    big = torch.arange(24.0).reshape(4, 6)
    state: dict[str, Any] = {
        str(dtype): torch.tensor([1, 0, 1]).to(dtype)
        for dtype in (
            *(torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16),
            *(torch.int8, torch.uint8, torch.bool, torch.complex64),
        )
    }
    state |= {"part": big[1:3], "transposed": big.t(), "column": big[:, 2], "scalar": big[0, 1]}
    state |= {"expanded": big[0, :1].expand(5), "empty": torch.empty(0, 3)}
    state["parameter"] = torch.nn.Parameter(torch.ones(2))
    save(state, tmp_path / "w.pt")
    assert_same(checkpoints.read(tmp_path / "w.pt").tensors, state)


def test_unsigned_and_8_bit_floats(tmp_path: Path) -> None:
    import torch

    state = {"u": torch.ones(3).to(torch.uint16), "f": torch.ones(3).to(torch.float8_e4m3fn)}
    torch.save(state, tmp_path / "w.pt")
    found = checkpoints.read(tmp_path / "w.pt").tensors
    assert found["u"].dtype == torch.uint16
    assert found["f"].float().tolist() == [1, 1, 1]


def test_torchscript_without_running_it(tmp_path: Path) -> None:
    import torch

    model = net().eval()
    for how in ("script", "trace"):
        as_script(model, torch.zeros(1, 3, 3, 3), tmp_path / "m.pt", how)
        weights = checkpoints.read(tmp_path / "m.pt")
        assert_same(weights.tensors, model.state_dict())
        assert weights.format == "TorchScript archive"


def test_torchscript_tells_parameters_from_other_tensors(tmp_path: Path) -> None:
    import torch

    class Scaled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Linear(2, 2)
            self.register_buffer("scale", torch.ones(2))
            self.weight = torch.nn.Parameter(torch.zeros(2))
            self.note = torch.ones(5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.inner(x) * self.scale + self.weight
            return result

    model = Scaled()
    as_script(model, torch.zeros(1, 2), tmp_path / "m.pt")
    assert_same(checkpoints.read(tmp_path / "m.pt").tensors, model.state_dict())


def test_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_file(net().state_dict(), tmp_path / "w.pth", metadata={"format": "pt"})
    weights = checkpoints.read(tmp_path / "w.pth")
    assert_same(
        dict(sorted(weights.tensors.items())), dict(sorted(load_file(tmp_path / "w.pth").items()))
    )
    assert (weights.format, weights.metadata) == ("safetensors", {"format": "pt"})
    with pytest.raises(UsageError, match="leave the key out"):
        checkpoints.read(tmp_path / "w.pth", key="model")


def shards(folder: Path, suffix: str) -> Mapping[str, Any]:
    """Write a model over two files with an index; return its state_dict."""
    import torch
    from safetensors.torch import save_file

    state: dict[str, Any] = net().state_dict()
    files = {name: f"part-{i % 2 + 1}{suffix}" for i, name in enumerate(state)}
    for file in set(files.values()):
        part = {name: state[name] for name in state if files[name] == file}
        (save_file if suffix == ".safetensors" else torch.save)(part, folder / file)
    index = json.dumps({"metadata": {}, "weight_map": files})
    (folder / f"model{suffix}.index.json").write_text(index)
    return state


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_sharded(suffix: str, tmp_path: Path) -> None:
    state = shards(tmp_path, suffix)
    for path in (tmp_path, tmp_path / f"model{suffix}.index.json"):
        weights = checkpoints.read(path)
        assert_same(dict(sorted(weights.tensors.items())), dict(sorted(state.items())))
        assert weights.format == "sharded, 2 files"


def test_shards_that_are_wrong(tmp_path: Path) -> None:
    shards(tmp_path, ".bin")
    index = tmp_path / "model.bin.index.json"
    (tmp_path / "part-2.bin").rename(tmp_path / "away")
    with pytest.raises(FileError, match=r"names part-2\.bin, which is missing"):
        checkpoints.read(index)
    content = index.read_text().replace("part-2.bin", "part-1.bin")
    index.write_text(content)
    with pytest.raises(FileError, match=r"says that part-1\.bin holds '0\.bias', but it does not"):
        checkpoints.read(index)
    for outside in ("../part-1.bin", "/etc/passwd", "a/../../b", "..\\\\b"):
        index.write_text(content.replace("part-1.bin", outside))
        with pytest.raises(FileError, match="points outside its folder"):
            checkpoints.read(index)
    index.write_text(content.replace("part-1.bin", index.name))
    with pytest.raises(FileError, match="an index within an index"):
        checkpoints.read(index)


def test_a_file_is_not_read_before_its_tensors_are_used(tmp_path: Path) -> None:
    import torch

    torch.save({"w": torch.ones(1 << 26)}, tmp_path / "w.pt")  # 256 MB

    def resident() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc")
    before = resident()
    weights = checkpoints.read(tmp_path / "w.pt")
    assert weights.tensors["w"].sum() == 1 << 26
    assert resident() - before < 100_000  # kB
    changed = weights.tensors["w"]
    changed[0] = 5  # a private copy of the page: the file stays as it is
    assert checkpoints.read(tmp_path / "w.pt").tensors["w"][0] == 1


# What is no checkpoint: a file's bytes, and what the message must say.
OTHERS: list[tuple[str, bytes, str]] = [
    ("empty", b"", r"is empty"),
    ("lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", r"git lfs pull"),
    ("html", b"\n<!DOCTYPE html>\n<html>", r"is a web page"),
    ("text", b"import torch\n\nprint('hello')\n", r"is a text file"),
    ("utf8", "größer\n".encode(), r"is a text file"),
    ("jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF", r"JPEG"),
    ("keras", b"\x89HDF\r\n\x1a\n\0\0", r"Keras"),
    ("gguf", b"GGUF\x03\0\0\0", r"GGUF"),
    ("onnx", b"\x08\x07\x12\x07pytorch\x1a\x051.8.0", r"ONNX"),
    ("gzip", b"\x1f\x8b\x08\0", r"gunzip"),
    ("bzip2", b"BZh91AY", r"bunzip2"),
    ("xz", b"\xfd7zXZ\0\0", r"unxz"),
    ("seven", b"7z\xbc\xaf'\x1c\0\x04", r"7z archive"),
    ("npy", b"\x93NUMPY\x01\0", r"numpy\.load"),
    ("json", b'{"a": 1}', r"no index of weights"),
    ("torn json", b'{"weight_map"', r"no index of weights"),
    ("noise", b"\x01\x02\x03\x04" * 9, r"no checkpoint, or its start is damaged"),
    ("torn zip", b"PK\x03\x04 torn", r"cut short or damaged"),
    ("pickle", pickle.dumps({"a": 1}), r"Python pickle that torch\.save did not write"),
    ("stop", b"\x80\x02.", r"damaged"),
    ("header", b"\xff" * 8 + b'{"a"', r"impossible size"),
    ("long header", b"\xff\xff\xff\x0f\0\0\0\0{}", r"impossible size"),
    ("short header", b"\x99\0\0\0\0\0\0\0{}", r"ends within its header"),
    ("no header", b"\x04\0\0\0\0\0\0\0{abc", r"no valid header"),
    ("tar", b"\0" * 257 + b"ustar" + b"\0" * 250, r"tar archive.*--trust"),
]


@pytest.mark.parametrize(("content", "message"), [other[1:] for other in OTHERS], ids=str)
def test_what_is_no_checkpoint(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(FileError, match=message) as caught:
        checkpoints.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_zip_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    for name, message in (
        ("a.txt", "no data.pkl"),
        ("a.npy", "numpy.load"),
        ("best.pth", "a zip file around best.pth"),
        ("m/model.json", "torch < 1.4"),
    ):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, b"")
            if "json" in name:
                archive.writestr("m/tensors/0", b"")
        with pytest.raises(FileError, match=message):
            checkpoints.read(path)


def test_places_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="does not exist"):
        checkpoints.read(tmp_path / "nothing.pt")
    with pytest.raises(FileError, match="a folder with no checkpoint"):
        checkpoints.read(tmp_path)
    for name in ("a.pt", "b.pt"):
        as_zip(net().state_dict(), tmp_path / name)
    with pytest.raises(FileError, match=r"several checkpoints \(a\.pt, b\.pt\)"):
        checkpoints.read(tmp_path)
    as_zip(net().state_dict(), tmp_path / "pytorch_model.bin")  # beside optimizer.pt and others
    assert checkpoints.read(tmp_path).path.name == "pytorch_model.bin"
    (tmp_path / "pytorch_model.bin").unlink()
    (tmp_path / "b.pt").unlink()
    assert checkpoints.read(tmp_path).path == tmp_path / "a.pt"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="no regular file"):
        checkpoints.read(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    as_zip(net().state_dict(), tmp_path / "w.pt")
    (tmp_path / "w.pt").chmod(0)
    with pytest.raises(FileError, match="may not be read"):
        checkpoints.read(tmp_path / "w.pt")


@pytest.mark.parametrize("kind", ["zip", "pickle", "safetensors", "script"])
def test_a_file_cut_anywhere_is_one_line(kind: str, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    path = tmp_path / "w"
    if kind == "script":
        as_script(net().eval(), torch.zeros(1, 3, 3, 3), path)
    elif kind == "safetensors":
        save_file(net().state_dict(), path)
    else:
        (as_zip if kind == "zip" else as_pickle)(net().state_dict(), path)
    whole = path.read_bytes()
    for length in {*range(0, len(whole) - 1, len(whole) // 50), 5, len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(FileError) as caught:
            checkpoints.read(path)
        assert "\n" not in str(caught.value)


def test_a_whole_module_needs_trust(tmp_path: Path) -> None:
    import torch

    model = net()
    for content in (model, {"epoch": 1, "model": model}):
        for save in (as_zip, as_pickle):
            save(content, tmp_path / "m.pt")
            with pytest.raises(FileError, match=r"whole pickled module.*code of the file.*--trust"):
                checkpoints.read(tmp_path / "m.pt")
            weights = checkpoints.read(tmp_path / "m.pt", trust=True)
            assert_same(weights.tensors, model.state_dict())
            assert weights.format == "pickled module"
    torch.save({"model": model, "state_dict": model.state_dict()}, tmp_path / "m.pt")
    assert checkpoints.read(tmp_path / "m.pt").extras == ["Sequential"]


def test_no_state_dict(tmp_path: Path) -> None:
    import torch

    for content, message in (
        ({"epoch": 3, "lr": 0.1}, "at its top are: epoch, lr"),
        ({}, "an empty dict"),
        ([1, 2], "but a list"),
        (torch.ones(2), "but a single tensor"),
        (Namespace(a=1), "but a Namespace"),
    ):
        as_zip(content, tmp_path / "w.pt")
        with pytest.raises(FileError, match=message):
            checkpoints.read(tmp_path / "w.pt")


@pytest.mark.skipif(not SHARED.exists(), reason="the shared checkpoints are not here")
def test_real_checkpoints() -> None:
    import torch
    from safetensors.torch import load_file

    for path in sorted(SHARED.glob("*/*")):
        weights = checkpoints.read(path)
        if weights.format == "safetensors":
            expected = load_file(path)
            assert_same(dict(sorted(weights.tensors.items())), dict(sorted(expected.items())))
            continue
        content = torch.load(path, map_location="cpu", weights_only=False)
        assert_same(weights.tensors, content["state_dict"] if weights.where else content)
    cgcnn = checkpoints.read(SHARED / "cgcnn" / "semi-metal-classification.pth.tar")
    assert (cgcnn.where, cgcnn.extras) == ("state_dict", ["numpy scalar"])
    resnet = checkpoints.read(SHARED / "akamaster_resnet20" / "resnet20-12fca82f.th")
    assert resnet.metadata == {"best_prec1": pytest.approx(91.78)}
