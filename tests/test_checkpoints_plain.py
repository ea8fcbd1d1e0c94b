"""What lies in files goes from file to file without torch, and comes out as torch would write it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ptools import checkpoints
from ptools.checkpoints.packing import pack
from ptools.checkpoints.slots import slots
from ptools.checkpoints.stored import SIZES

BOTH = pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
COMMAND = """
import atexit, sys
atexit.register(lambda: print("TORCH", "torch" in sys.modules, file=sys.stderr))
from ptools.__main__ import run
run()
"""
COPY = """
import sys
from ptools import checkpoints
old, new = sys.argv[1:]
weights = checkpoints.read(old)
checkpoints.write({f"new.{key}": weights.stored(key) for key in weights.tensors}, new, like=weights)
assert "torch" not in sys.modules
"""


def bits(tensor: Any) -> tuple[Any, ...]:
    """A tensor's dtype, shape and bytes."""
    import torch

    flat = tensor.detach().contiguous().reshape(-1)
    data = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
    return tensor.dtype, tuple(tensor.shape), data


def filled(dtype: Any, *shape: int) -> Any:
    """A tensor of any dtype, of random bits where these mean anything."""
    import torch

    if dtype == torch.bool:
        return torch.rand(shape) > 0.5
    size = torch.empty(0, dtype=dtype).element_size()
    raw = torch.randint(0, 256, (*shape[:-1], shape[-1] * size), dtype=torch.uint8)
    return raw.view(dtype)


def strange(seed: int = 0) -> dict[str, Any]:
    """Views that share a storage, strides of all kinds, rare dtypes; the names are in order."""
    import torch

    torch.manual_seed(seed)
    big, tied = torch.randn(40, 50), torch.randn(6, 4)
    return {
        "a.bfloat": torch.randn(3, 5).bfloat16(),
        "b.float8": torch.randn(3).to(torch.float8_e5m2),
        "c.complex": torch.randn(4, 2, dtype=torch.complex64),
        "d.part": big[3:5],
        "e.turned": big[:4, :6].t(),
        "f.stepped": big[::7, 3::2],
        "g.whole": big,
        "h.transposed": torch.randn(5, 7).t(),
        "i.last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "j.expanded": torch.randn(3, 1).expand(3, 4),
        "k.empty": torch.empty(0, 3),
        "l.steps": torch.tensor(7),
        "m.mask": torch.tensor([True, False, True]),
        "n.words": tied,
        "o.head": tied,
        "p.one": torch.randn(6)[2:3].reshape(1, 1),
    }


def saved(tensors: dict[str, Any], path: Path) -> None:
    """Save them as other programs do."""
    import torch
    from safetensors.torch import save_file

    if path.suffix == ".safetensors":
        alone = {key: tensor.clone().contiguous() for key, tensor in tensors.items()}
        save_file(alone, path)
    else:
        torch.save(tensors, path)


def theirs(path: Path) -> dict[str, Any]:
    """Read them as other programs do."""
    import torch
    from safetensors.torch import load_file

    if path.suffix == ".safetensors":
        return load_file(path)
    return torch.load(path, weights_only=True, mmap=True)  # type: ignore[no-any-return]


@pytest.mark.parametrize("old", ["old.pth", "old.safetensors"])
@pytest.mark.parametrize("new", ["new.pth", "new.safetensors"])
def test_two_files_need_no_torch(old: str, new: str, tmp_path: Path) -> None:
    """The command itself, in a process of its own."""
    tensors = strange()
    saved(tensors, tmp_path / old)
    renamed = {f"net.{key[2:]}.{key}": value for key, value in strange(1).items()}
    order = sorted(tensors) if old.endswith("safetensors") else list(tensors)
    saved({key: renamed[f"net.{key[2:]}.{key}"] for key in tensors}, tmp_path / new)
    command = [sys.executable, "-c", COMMAND, "partial-load", old, new, "-o", f"out.{new}"]
    keys = [f"--map={key}={key}" for key in order]
    done = subprocess.run([*command, *keys], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, "TORCH False" in done.stderr) == (0, True), done.stderr
    found = theirs(tmp_path / f"out.{new}")
    assert {key: bits(found[key]) for key in tensors} == {k: bits(v) for k, v in tensors.items()}


@BOTH
@pytest.mark.parametrize("before", ["zip", "pickle", "safetensors"])
def test_a_copy_needs_no_torch(before: str, name: str, tmp_path: Path) -> None:
    import torch

    tensors = strange()
    old = tmp_path / ("old.safetensors" if before == "safetensors" else "old.pth")
    if before == "safetensors":
        saved(tensors, old)
    else:
        around = {"state_dict": tensors, "kind": torch.float16, "size": torch.Size([1, 2])}
        torch.save(around, old, _use_new_zipfile_serialization=before == "zip")
    subprocess.run([sys.executable, "-c", COPY, old, tmp_path / name], check=True)
    found = theirs(tmp_path / name)
    if before != "safetensors" and name.endswith("pth"):
        assert (found["kind"], found["size"]) == (torch.float16, (1, 2))
        found = found["state_dict"]
    assert {k: bits(found[f"new.{k}"]) for k in tensors} == {k: bits(v) for k, v in tensors.items()}
    if before == "zip" and name.endswith("pth"):
        assert found["new.i.last"].stride() == tensors["i.last"].stride()
        assert found["new.n.words"].data_ptr() == found["new.o.head"].data_ptr()


def test_every_dtype_is_named_as_torch_names_it(tmp_path: Path) -> None:
    """The pickle of a tensor from a file is, to the byte, the pickle of that tensor from torch."""
    import torch

    for name in SIZES:
        dtype = getattr(torch, name, None)
        if dtype is None:
            continue  # a younger torch has it
        with warnings.catch_warnings(action="ignore"):  # complex32 is experimental
            tensors = {"w": filled(dtype, 3, 4)}
            torch.save(tensors, tmp_path / "w.pth")
            weights = checkpoints.read(tmp_path / "w.pth")
            written = io.BytesIO()
            pack(dict(slots({"w": weights.stored("w")})), written, lambda count: None)
            with zipfile.ZipFile(tmp_path / "w.pth") as one, zipfile.ZipFile(written) as two:
                assert one.read("w/data.pkl") == two.read("archive/data.pkl"), name
            written.seek(0)
            assert bits(torch.load(written, weights_only=True)["w"]) == bits(tensors["w"])
        assert weights.dtypes == {"w": dtype}
        assert weights.dtype_names == {"w": name}


def swapped(path: Path, to: Path, sizes: dict[int, int]) -> None:
    """Write a checkpoint as a machine of the other byte order does; `sizes` are bytes: of a number."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w", zipfile.ZIP_STORED) as new:
        for entry in old.namelist():
            data = old.read(entry)
            if entry.endswith("byteorder"):
                data = b"big" if sys.byteorder == "little" else b"little"
            elif "/data/" in entry:
                size = sizes[len(data)]
                data = b"".join(data[i : i + size][::-1] for i in range(0, len(data), size))
            new.writestr(entry, data)


@BOTH
def test_complex_numbers_of_the_other_byte_order(name: str, tmp_path: Path) -> None:
    """Each of the two parts is turned, not the two as one; parts of a storage as well."""
    import torch

    big = torch.randn(10)
    tensors = {"z": torch.randn(3, dtype=torch.complex64), "part": big[2:7], "turned": big[::3]}
    torch.save(tensors, tmp_path / "little.pth")
    swapped(tmp_path / "little.pth", tmp_path / "big.pth", {24: 4, 40: 4})
    weights = checkpoints.read(tmp_path / "big.pth")
    assert {k: bits(v) for k, v in weights.tensors.items()} == {
        k: bits(v) for k, v in tensors.items()
    }
    subprocess.run([sys.executable, "-c", COPY, tmp_path / "big.pth", tmp_path / name], check=True)
    found = theirs(tmp_path / name)
    assert {k: bits(found[f"new.{k}"]) for k in tensors} == {k: bits(v) for k, v in tensors.items()}


def test_a_bit_that_was_wrong_before_is_found_afterwards(tmp_path: Path) -> None:
    """The CRC-32 of a tensor goes along with it: what is damaged in OLD cannot become right."""
    import torch

    torch.save({"w": torch.ones(1000), "v": torch.zeros(1000)}, tmp_path / "w.pth")
    data = bytearray((tmp_path / "w.pth").read_bytes())
    at = data.index(torch.ones(1000).numpy().tobytes())
    data[at + 100] ^= 4
    (tmp_path / "w.pth").write_bytes(data)
    weights = checkpoints.read(tmp_path / "w.pth")
    checkpoints.write({key: weights.stored(key) for key in "vw"}, tmp_path / "copy.pth")
    with zipfile.ZipFile(tmp_path / "copy.pth") as archive:
        assert archive.testzip() == "archive/data/1"  # v was written first


def test_keys_that_are_strange_objects_are_left_out(tmp_path: Path) -> None:
    import torch

    content = {"model": {"w": torch.ones(2)}, "extra": {(1, subprocess.Popen): 1, ("a", 2): 3}}
    torch.save(content, tmp_path / "w.pth")
    weights = checkpoints.read(tmp_path / "w.pth")
    dropped = checkpoints.write(weights.tensors, tmp_path / "copy.pth", like=weights)
    assert dropped == ["extra (tuple)"]
    assert torch.load(tmp_path / "copy.pth", weights_only=True)["extra"] == {("a", 2): 3}
    assert b"subprocess" not in (tmp_path / "copy.pth").read_bytes()


def test_another_shape_of_the_same_numbers_needs_no_torch(tmp_path: Path) -> None:
    """A 1x1 convolution out of a Linear: the same bytes."""
    import torch

    old, new = {"fc.weight": torch.randn(5, 8)}, {"conv.weight": torch.randn(5, 8, 1, 1)}
    torch.save(old, tmp_path / "old.pth")
    torch.save(new, tmp_path / "new.pth")
    command = [sys.executable, "-c", COMMAND, "partial-load", "old.pth", "new.pth", "--json"]
    given = ["--map", "conv.weight=fc.weight"]
    done = subprocess.run([*command, *given], cwd=tmp_path, capture_output=True, text=True)
    assert json.loads(done.stdout)["written"] == ["new.loaded.pth"]
    assert "TORCH False" in done.stderr
    found = torch.load(tmp_path / "new.loaded.pth", weights_only=True)["conv.weight"]
    assert torch.equal(found, old["fc.weight"].reshape(5, 8, 1, 1))


def test_a_large_tensor_gets_its_checksum_while_it_is_copied(tmp_path: Path) -> None:
    """safetensors has no CRC-32, nor has a part of a larger storage."""
    import torch
    from safetensors.torch import save_file

    tensors = {"w": torch.randn(1000, 1001), "v": torch.randn(7)}
    save_file(tensors, tmp_path / "w.safetensors")
    torch.save({"w": tensors["w"][100:900]}, tmp_path / "part.pth")
    for name, wanted in (
        ("w.safetensors", tensors),
        ("part.pth", {"w": tensors["w"][100:900]}),
    ):
        weights, copy = checkpoints.read(tmp_path / name), tmp_path / f"{name}.pth"
        stored, seen = {key: weights.stored(key) for key in wanted}, [(0, 0)]
        checkpoints.write(stored, copy, progress=lambda *now, seen=seen: seen.append(now))
        assert seen[-1] == (sum(value.nbytes for value in wanted.values()),) * 2
        with zipfile.ZipFile(copy) as archive:
            assert archive.testzip() is None
        found = theirs(copy)
        assert {key: bits(found[key]) for key in wanted} == {k: bits(v) for k, v in wanted.items()}
