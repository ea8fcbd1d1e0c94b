"""ptools partial-load --emit-python: the script it prints does the same load, without ptools."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ptools import models
from ptools.testing import Run
from tests.test_partial_load_models import load, place, save  # noqa: F401  (place is a fixture)

pytestmark = pytest.mark.usefixtures("place")


def script(ptools: Run, *args: str) -> str:
    """Run the script that --emit-python prints, then the command itself: the file of the script."""
    done = ptools("partial-load", *args, "--emit-python")
    assert done.exit_code in (0, 3), done.stderr
    assert "ptools" not in done.stdout
    Path("script.py").write_text(done.stdout)
    ran = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr + done.stdout
    return done.stdout


def assert_same(out: str, ptools: Run, *args: str) -> None:
    """The script's file holds what the command's holds."""
    read = load_file if out.endswith(".safetensors") else load
    by_script: Any = read(out)
    assert ptools("partial-load", *args, "--force").exit_code in (0, 3)
    by_command: Any = read(out)
    while not torch.is_tensor(next(iter(by_script.values()))):
        by_script, by_command = by_script["net"], by_command["net"]
    assert list(by_script) == list(by_command) or out.endswith(".safetensors")
    for key, value in by_command.items():
        assert value.dtype == by_script[key].dtype
        assert torch.equal(value, by_script[key]), key


@pytest.mark.parametrize("out", ["new.loaded.pth", "out.safetensors"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_script_for_files(out: str, nested: bool, ptools: Run) -> None:
    save("new.pth", "New", 2)
    if nested:
        torch.save({"a.b": {"c": load("old.pth")}, "epoch": 2}, "old.pth")
        torch.save({"net": {k: v.half() for k, v in load("new.pth").items()}}, "new.pth")
    args = ("old.pth", "new.pth", *(("-o", out) if out != "new.loaded.pth" else ()))
    script(ptools, *args)
    assert_same(out, ptools, *args)


@pytest.mark.slow
def test_a_script_for_a_model(ptools: Run) -> None:
    args = ("old.pth", "start.pth", "--model", "nets.py:New(classes=6)", "--seed", "3")
    script(ptools, *args)
    assert_same("start.pth", ptools, *args)
    torch.save(models.build("squeezenet1_1").state_dict(), "old.pth")
    args = ("old.pth", "start.pth", "--model", "squeezenet1_1(num_classes=3)", "--seed", "3")
    Path("start.pth").unlink()
    assert "weights=None" in script(ptools, *args)
    assert_same("start.pth", ptools, *args)


@pytest.mark.slow
def test_a_script_with_every_operation(ptools: Run) -> None:
    torch.manual_seed(0)
    shapes = {
        "q": (4, 4), "k": (4, 4), "v": (4, 4), "qkv": (12, 4), "g": (6, 1), "u": (6, 5),
        "conv": (8, 3, 3, 3), "pos": (1, 5, 8), "grid": (1, 8, 4, 4), "fc": (4, 8), "flat": (8, 2, 2),
    }  # fmt: skip
    torch.save({key: torch.randn(shape) for key, shape in shapes.items()}, "old.pth")
    wanted = {
        "a": ((12, 4), "cat0(q, k, v)"),
        "b": ((4, 4), "split0:1/3(qkv)"),
        "c": ((4, 12), "transpose(qkv)"),
        "d": ((4, 12), "transpose,cat1(q, k, v)"),
        "e": ((2, 12), "transpose,split0:1/2(qkv)"),
        "f": ((6, 5), "weight_norm(g, u)"),
        "h": ((8, 1, 3, 3), "channels(conv)"),
        "i": ((8, 5, 3, 3), "channels(conv)"),
        "j": ((1, 17, 8), "resize(pos)"),
        "l": ((1, 8, 7, 5), "resize(grid)"),
        "m": ((3, 8), "rows(fc)"),
        "n": ((8, 4), "reshape(flat)"),
        "o": ((4, 8, 1, 1), "fc"),
    }
    torch.save({key: torch.randn(shape).double() for key, (shape, _) in wanted.items()}, "new.pth")
    Path("old.txt").write_text("cat\ndog\nemu\nfox\n")
    Path("new.txt").write_text("fox\nape\ncat\n")
    maps = [f"--map={key}={text}" for key, (_, text) in wanted.items()]
    args = ("old.pth", "new.pth", *maps, "--classes", "old.txt", "new.txt")
    script(ptools, *args)
    assert_same("new.loaded.pth", ptools, *args)
    Path("new.loaded.pth").unlink()
    script(ptools, *args, "--dtype", "source")
    assert_same("new.loaded.pth", ptools, *args, "--dtype", "source")


def test_a_script_writes_nothing_by_itself(ptools: Run) -> None:
    save("new.pth", "New", 2)
    assert ptools("partial-load", "old.pth", "new.pth", "--emit-python").exit_code == 0
    assert not Path("new.loaded.pth").exists()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_sharded_files(suffix: str, ptools: Run) -> None:
    state = load("old.pth")
    files = {key: f"part-{i % 2 + 1}{suffix}" for i, key in enumerate(state)}
    for file in set(files.values()):
        part = {key: state[key] for key in state if files[key] == file}
        (save_file if suffix == ".safetensors" else torch.save)(part, file)
    index = Path(f"model{suffix}.index.json")
    index.write_text(json.dumps({"weight_map": files}))
    save("new.pth", "New", 2)
    for old, new in ((str(index), "new.pth"), (".", "new.pth"), ("new.pth", str(index))):
        args = (old, new, "-o", "out.pth", "--accept", "likely")
        assert "load_shards" in script(ptools, *args)
        assert_same("out.pth", ptools, *args)
        Path("out.pth").unlink()
