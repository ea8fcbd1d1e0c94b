"""ptools inspect of files: what is in them, figures, two of them; nothing in them is run."""

from __future__ import annotations

import argparse
import json
import math
import os
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ptools.testing import Result, Run
from ptools_plugins.inspection import opening
from ptools_plugins.inspection.figures import Figures, blocks
from ptools_plugins.inspection.outline import outline

pytestmark = pytest.mark.usefixtures("place")


def net(blocks: int = 3) -> Any:
    """A network with alike blocks, BatchNorms, and a layer that differs."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    block = [nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)) for _ in range(blocks)]
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(*block), nn.Linear(4, 2))


def training(path: str = "ckpt.pth") -> dict[str, Any]:
    """Write what a training leaves: weights, an optimizer's state, epoch, metrics, settings."""
    import numpy as np
    import torch

    model = net()
    state = {  # as Adam has it; torch.optim would import for 2 s
        number: {"step": torch.tensor(1.0), "exp_avg": p.data * 2, "exp_avg_sq": p.data.square()}
        for number, p in enumerate(model.parameters())
    }
    saved = {
        "epoch": 12,
        "best_acc1": torch.tensor(71.25),
        "best_acc5": np.float64(90.5),
        "val_loss": 0.25,
        "args": argparse.Namespace(lr=0.01, arch="mine"),
        "history": [float(i) for i in range(20)],
        "state_dict": model.state_dict(),
        "optimizer": {"state": state, "param_groups": [{"lr": 0.01, "params": list(state)}]},
    }
    torch.save(saved, path)
    return saved


def keys(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in found["keys"]}


# -- one file -----------------------------------------------------------------------------------------


def test_a_training_checkpoint(ptools: Run) -> None:
    saved = training()
    found = ptools("inspect", "ckpt.pth", "--json").document
    state = saved["state_dict"]
    assert found["format"] == "PyTorch zip"
    assert found["file_bytes"] == Path("ckpt.pth").stat().st_size
    assert found["weights"] == {
        "where": "state_dict", "tensors": len(state),
        "parameters": sum(t.numel() for t in state.values()), "bytes": sum(t.nbytes for t in state.values()),
    }  # fmt: skip
    rows = keys(found)
    for name, tensor in state.items():
        row = rows[f"state_dict.{name}"]
        assert row["shape"] == list(tensor.shape)
        assert row["dtype"] == str(tensor.dtype).removeprefix("torch.")
        assert (row["parameters"], row["bytes"]) == (tensor.numel(), tensor.nbytes)
    assert rows["optimizer.state.0.exp_avg"]["shape"] == [4, 3, 3, 3]
    values = found["values"]
    assert (values["epoch"], values["val_loss"], values["best_acc5"]) == (12, 0.25, 90.5)
    assert values["best_acc1"] == 71.25
    assert (values["args.lr"], values["args.arch"]) == (0.01, "mine")
    assert values["optimizer.param_groups.0.lr"] == 0.01
    assert values["history"] == saved["history"]
    assert found["objects"] == {"args": "argparse.Namespace"}


def test_what_is_shown_of_it(ptools: Run) -> None:
    training()
    lines = ptools("inspect", "ckpt.pth").stdout.splitlines()
    assert lines[0].startswith("ckpt.pth  (PyTorch zip, ")
    assert lines[1].startswith("state_dict: 25 tensors, 617 parameters, ")
    assert lines[2].startswith("beside it: ")
    for line in ("epoch      12", "best_acc1  71.25", "best_acc5  90.5", "val_loss   0.25", "args.lr    0.01",
                 "history    list of 20: 0, 1, 2, ... 19"):  # fmt: skip
        assert line in lines
    assert any(line.startswith("args       a pickled argparse.Namespace") for line in lines)
    assert len(lines) <= 40
    text = "\n".join(lines)
    assert "\n    {0..2}\n" in text  # three alike blocks are one
    assert "4x4x3x3  x 3" in text
    assert "\noptimizer.state" in text
    assert "exp_avg" not in text


def test_all_has_every_key_and_grep_some(ptools: Run) -> None:
    training()
    every = ptools("inspect", "ckpt.pth", "--all").stdout
    assert every.count("exp_avg_sq") == 16
    some = ptools("inspect", "ckpt.pth", "--grep", "conv bias").exit_code
    assert some == 0
    found = ptools("inspect", "ckpt.pth", "--grep", "state_dict running", "--json").document
    assert [row["key"].rpartition(".")[2] for row in found["keys"]] == [
        "running_mean",
        "running_var",
    ] * 3
    done = ptools("inspect", "ckpt.pth", "--grep", "zebra")
    assert done.stderr == "no key has 'zebra'\n"


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_depth_opens_levels(depth: int, ptools: Run) -> None:
    import torch

    torch.save(net().state_dict(), "w.pth")
    lines = ptools("inspect", "w.pth", "--depth", str(depth)).stdout.splitlines()
    deepest = max(len(line) - len(line.lstrip()) for line in lines)
    assert deepest == 2 * depth


@pytest.mark.parametrize("how", ["zip", "pickle", "safetensors", "script", "module", "shards"])
def test_every_format(how: str, ptools: Run) -> None:
    import warnings

    import torch
    from safetensors.torch import save_file

    model = net().eval()
    state = model.state_dict()
    target = "w.bin"
    if how == "zip":
        torch.save(state, target)
    elif how == "pickle":
        torch.save(state, target, _use_new_zipfile_serialization=False)
    elif how == "safetensors":
        save_file(state, target, metadata={"epoch": "3"})
    elif how == "module":
        torch.save(model, target)
    elif how == "script":
        with warnings.catch_warnings(action="ignore"):
            jit: Any = torch.jit
            jit.script(model).save(target)
    else:
        target = shards(state)
    found = ptools("inspect", target, "--json").document
    rows = keys(found)
    assert {*rows} == {*state}
    assert all(rows[name]["shape"] == list(tensor.shape) for name, tensor in state.items())
    if how == "safetensors":
        assert found["values"] == {"epoch": "3"}
    if how == "module":
        assert found["objects"] == {"": "torch.nn.modules.container.Sequential"}
    if how == "shards":
        assert {row["file"] for row in rows.values()} == {"a.safetensors", "b.safetensors"}
        shown = ptools("inspect", "shards").stdout
        assert "a.safetensors  13 tensors, " in shown
        assert shown.startswith("shards/model.safetensors.index.json  (sharded, 2 files, ")


def shards(state: dict[str, Any]) -> str:
    from safetensors.torch import save_file

    Path("shards").mkdir()
    names = list(state)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, some in parts.items():
        save_file({name: state[name] for name in some}, Path("shards", file))
    where = {name: file for file, some in parts.items() for name in some}
    index = Path("shards", "model.safetensors.index.json")
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return str(index)


def test_what_is_no_state_dict_is_shown_too(ptools: Run) -> None:
    import torch

    torch.save(torch.tensor([1.0, math.nan, math.inf, 3.0]), "one.pt")
    (row,) = ptools("inspect", "one.pt", "--stats", "--json").document["keys"]
    assert row["key"] == "tensor"
    assert row["stats"] == {
        "count": 4, "nan": 1, "inf": 1, "mean": 2.0, "std": math.sqrt(2), "min": 1.0, "max": 3.0
    }  # fmt: skip
    assert "1 +1 inf" in ptools("inspect", "one.pt", "--stats").stdout
    torch.save({"lr": 0.1, "names": ["a", "b"], "deep": [{"x": torch.ones(2)}]}, "odd.pt")
    found = ptools("inspect", "odd.pt", "--json").document
    assert found["values"] == {"lr": 0.1, "names": ["a", "b"]}
    assert [row["key"] for row in found["keys"]] == ["deep.0.x"]
    torch.save({"a": 1}, "none.pt")
    done = ptools("inspect", "none.pt")
    assert (done.exit_code, done.stdout.splitlines()[1:]) == (0, ["no tensors", "", "a  1"])


def test_tied_weights_and_views_of_large_storages(ptools: Run) -> None:
    import torch

    weight = torch.rand(8, 4)
    torch.save({"head": weight, "embed": weight, "slice": torch.rand(1 << 20)[:4]}, "w.pt")
    found = ptools("inspect", "w.pt", "--json").document
    assert found["tied"] == {"embed": "head"}
    assert found["weights"]["parameters"] == 36
    shown = ptools("inspect", "w.pt").stdout
    assert "\nTied: embed = head\n" in shown
    assert "It keeps 4.19 MB for them: views were saved; save x.clone() instead." in shown


def test_no_torch_and_no_numpy_to_look_into_a_file() -> None:
    training()
    code = (
        "import sys; from ptools.cli import main; code = main(['inspect', *sys.argv[1:]]); "
        "print({'torch', 'rich'} & {*sys.modules}, code)"
    )
    for args in (
        ["ckpt.pth"],
        ["ckpt.pth", "--stats"],
        ["ckpt.pth", "ckpt.pth"],
        ["ckpt.pth", "--json"],
    ):
        done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True)
        assert done.stdout.endswith("\nset() 0\n"), done.stdout + done.stderr


# -- figures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", ["zip", "pickle"])
def test_figures_are_those_of_torch(save: str, ptools: Run) -> None:
    import torch

    torch.manual_seed(1)
    big = torch.randn(700_001) * 3 + 1000  # more than one block, and a mean far from zero
    given: dict[str, Any] = {
        "big": big, "t": torch.randn(5, 7).t(), "part": big[10:20], "b": torch.tensor([True, False, True]),
        "one": torch.tensor([2.5]), "empty": torch.empty(0, 3),
    }  # fmt: skip
    numbers = torch.tensor([1.0, 2.0, 3.5, -0.5, 7.0])
    for name in ("float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "uint16",
                 "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"):  # fmt: skip
        values = numbers.abs() if name.startswith("u") else numbers
        given[name] = values.to(getattr(torch, name))
    torch.save(given, "w.pt", _use_new_zipfile_serialization=save == "zip")
    rows = keys(ptools("inspect", "w.pt", "--stats", "--json").document)
    for name, tensor in given.items():
        stats, wide = rows[name]["stats"], tensor.double()
        assert (stats["count"], stats["nan"], stats["inf"]) == (tensor.numel(), 0, 0)
        if tensor.numel() == 0:
            assert stats["mean"] is stats["min"] is None
            continue
        assert stats["mean"] == pytest.approx(wide.mean().item(), rel=1e-9)
        assert (stats["min"], stats["max"]) == (wide.min().item(), wide.max().item())
        if tensor.numel() > 1:
            assert stats["std"] == pytest.approx(wide.std().item(), rel=1e-9)
        else:
            assert stats["std"] is None


@pytest.mark.parametrize(
    "name", ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"]
)
def test_every_code_of_the_8_bit_floats(name: str) -> None:
    import numpy as np
    import torch

    codes = torch.arange(256, dtype=torch.uint8).view(getattr(torch, name))
    torch.save({"w": codes}, "w.pt")
    (item,) = opening.read(Path("w.pt")).items
    (found,) = blocks(item.tensor)
    np.testing.assert_array_equal(found, codes.float().numpy())


def test_complex_numbers_have_no_figures(ptools: Run) -> None:
    import torch

    torch.save({"w": torch.tensor([1 + 2j])}, "w.pt")
    (row,) = ptools("inspect", "w.pt", "--stats", "--json").document["keys"]
    assert row["stats"] is None
    assert ptools("inspect", "w.pt", "--stats").exit_code == 0


def test_figures_of_several_are_those_of_their_concatenation() -> None:
    import torch

    torch.manual_seed(2)
    parts = {"a": torch.randn(10), "b": torch.randn(1000) + 50, "c": torch.tensor([math.nan])}
    torch.save(parts, "w.pt")
    found = Figures(opening.read(Path("w.pt")).items).of(["a", "b", "c"])
    whole = torch.cat([parts["a"], parts["b"]]).double()
    assert found is not None
    assert (found.count, found.nan) == (1011, 1)
    assert found.mean == pytest.approx(whole.mean().item(), rel=1e-12)
    assert found.std == pytest.approx(whole.std().item(), rel=1e-12)


def test_the_picture_counts_what_numpy_counts(ptools: Run) -> None:
    import numpy as np
    import torch
    from PIL import Image

    from ptools_plugins.inspection.picture import histogram

    torch.manual_seed(3)
    torch.save(
        {"w": torch.randn(300_000), "n": torch.tensor([1.0, math.nan, 2.0, math.inf])}, "w.pt"
    )
    items = {item.key: item for item in opening.read(Path("w.pt")).items}
    stats = Figures(items.values()).of(["w"])
    assert stats is not None
    counts, edges = histogram([items["w"]], stats)
    expected, bounds = np.histogram(torch.load("w.pt")["w"].numpy().astype("f8"), len(counts))
    np.testing.assert_array_equal(counts, expected)
    np.testing.assert_allclose(edges, bounds)
    done = ptools("inspect", "w.pt", "--png", "w.png")
    assert done.stderr.endswith("Wrote w.png\n")
    with Image.open("w.png") as picture:
        assert picture.size[0] == 900
        colours = picture.convert("RGB").getcolors(1 << 20)
        assert colours is not None
        assert sum(n for n, colour in colours if colour == (0x4C, 0x78, 0xA8)) > 5000
    failed(
        ptools("inspect", "w.pt", "--png", "w.png"),
        "w.png exists; choose another name or add --force",
    )
    assert ptools("inspect", "w.pt", "--png", "w.png", "--force").exit_code == 0
    torch.save({"i": torch.arange(3)}, "i.pt")
    failed(
        ptools("inspect", "i.pt", "--png", "i.png"), "i.pt has no floating-point tensor to draw."
    )


# -- many keys ----------------------------------------------------------------------------------------


def test_thousands_of_keys_fit_a_screen(ptools: Run) -> None:
    import torch

    names = ("q.weight", "k.weight", "v.weight", "o.weight", "norm.weight")
    state = {f"layers.{i}.{name}": torch.zeros(2, 2) for i in range(400) for name in names}
    state |= {f"odd{i}.w": torch.zeros(i % 7 + 1) for i in range(500)}
    torch.save({"model": state}, "w.pt")
    done = ptools("inspect", "w.pt")
    assert len(done.stdout.splitlines()) <= 40
    assert "\n    {0..399}\n" in done.stdout
    assert "\n  odd{0..499}.w    (500 tensors) " in done.stdout
    assert len(ptools("inspect", "w.pt", "--json").document["keys"]) == 2500
    assert len(ptools("inspect", "w.pt", "--all").stdout.splitlines()) > 2500


def test_a_line_stands_for_its_tensors_and_no_other() -> None:
    import torch

    state = net(12).state_dict()
    torch.save(state, "w.pt")
    items = opening.read(Path("w.pt")).items
    for room in (5, 10, 20, 40):
        lines = [line for line in outline(items, room) if not line.heading]
        assert len(lines) <= room
        told = [item.key for line in lines for item in line.items]
        assert sorted(told) == sorted(state)
    every = [line for line in outline(items) if not line.heading]
    assert [line.items[0].key for line in every] == list(state)


# -- two files ----------------------------------------------------------------------------------------


def test_two_files(ptools: Run) -> None:
    import torch

    one = {"same": torch.ones(3), "moved": torch.zeros(4), "gone": torch.ones(2), "wide": torch.ones(2, 3),
           "half": torch.tensor([1.0, 1 / 3]), "nan": torch.tensor([math.nan])}  # fmt: skip
    two = {**one, "wide": torch.ones(3, 2), "new": torch.ones(5), "half": one["half"].half(),
           "moved": torch.tensor([0.0, 0.0, 0.5, -2.0])}  # fmt: skip
    del two["gone"]
    torch.save({"epoch": 3, "same": "x", "model": one}, "a.pth")
    torch.save({"epoch": 5, "same": "x", "model": two}, "b.pth")
    found = ptools("inspect", "a.pth", "b.pth", "--json").document
    assert found["same"] is False
    assert (found["equal"], found["in_both"]) == (2, 5)
    assert [row["key"] for row in found["only"]["a"]] == ["gone"]
    assert [row["key"] for row in found["only"]["b"]] == ["new"]
    assert found["shapes"] == {"wide": [[2, 3], [3, 2]]}
    assert found["dtypes"] == {"half": ["float32", "float16"]}
    assert found["values"] == {"epoch": [3, 5]}
    moved, half = (
        next(row for row in found["changed"] if row["key"] == key) for key in ("moved", "half")
    )
    assert (moved["largest"], moved["differing"], moved["relative"]) == (2.0, 2, None)
    assert half["differing"] == 1
    assert half["largest"] == pytest.approx(abs(one["half"][1] - two["half"][1].float()).item())
    shown = ptools("inspect", "a.pth", "b.pth").stdout
    for title in ("Beside the weights (1)", "Only in a (1)", "Only in b (1)", "Other shapes (1)",
                  "Other dtypes (1)", "Other values (2)"):  # fmt: skip
        assert f"\n{title}\n" in shown
    assert shown.endswith("\nOf 5 tensors that both have, 2 are equal.\n")


def test_the_same_weights_in_other_clothes(ptools: Run) -> None:
    import torch
    from safetensors.torch import save_file

    state = net().state_dict()
    torch.save(state, "a.pth")
    save_file(state, "b.safetensors")
    torch.save({"module." + name: tensor for name, tensor in state.items()}, "ddp.pth")
    torch.save({"epoch": 1, "net": state}, "in.pth")
    for other in ("b.safetensors", "in.pth"):
        assert ptools("inspect", "a.pth", other, "--json").document["same"] is True
        assert f"All {len(state)} tensors are equal." in ptools("inspect", "a.pth", other).stdout
    found = ptools("inspect", "a.pth", "ddp.pth", "--json").document
    assert (found["equal"], found["prefix"]) == (len(state), ["", "module."])
    assert "keys without their 'module.'" in ptools("inspect", "ddp.pth", "a.pth").stdout


def test_infinite_and_complex_differences(ptools: Run) -> None:
    import torch

    torch.save({"w": torch.tensor([1.0, math.inf]), "c": torch.tensor([1 + 1j])}, "a.pth")
    torch.save({"w": torch.tensor([1.0, math.nan]), "c": torch.tensor([1 + 2j])}, "b.pth")
    found = {row["key"]: row for row in
             ptools("inspect", "a.pth", "b.pth", "--json").document["changed"]}  # fmt: skip
    assert found["w"]["differing"] == 1
    assert found["w"]["largest"] is None  # inf, which JSON lacks
    assert found["c"]["differing"] == 1
    assert " inf " in ptools("inspect", "a.pth", "b.pth").stdout


def test_long_differences_fit_a_screen(ptools: Run) -> None:
    import torch

    torch.save({f"a{i}.w": torch.ones(i % 5 + 1) for i in range(300)}, "a.pth")
    torch.save({f"{'ab'[i % 2]}{i}.w": torch.zeros(i % 5 + 1) for i in range(300)}, "b.pth")
    done = ptools("inspect", "a.pth", "b.pth")
    assert len(done.stdout.splitlines()) <= 40
    assert "more (--all)" in done.stdout


# -- strangers ----------------------------------------------------------------------------------------


class Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


def test_a_key_does_not_steer_the_terminal(ptools: Run) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"\x1b[31mred\n\nkey": torch.ones(1)}, "w.safetensors")
    done = ptools("inspect", "w.safetensors")
    assert "\n?[31mred key  1 " in done.stdout
    assert all(line.isprintable() for line in done.stdout.splitlines())


def test_nothing_in_a_file_is_run(ptools: Run) -> None:
    import torch

    torch.save({"state_dict": {"w": torch.ones(2)}, "bomb": Bomb()}, "w.pth")
    torch.save(
        {"w": torch.ones(2), "bomb": Bomb()}, "old.pth", _use_new_zipfile_serialization=False
    )
    for file in ("w.pth", "old.pth"):
        for options in ([], ["--all"], ["--stats"], ["--json"]):
            assert ptools("inspect", file, *options).exit_code == 0
        assert ptools("inspect", file, file).exit_code == 0
    found = ptools("inspect", "w.pth", "--json").document
    assert found["objects"] == {"bomb": "posix.mkdir"}
    assert not Path("ran").exists()


def test_a_model_of_a_class_that_is_nowhere(ptools: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole pickled module is read without its class, and without --trust."""
    import torch

    gone = ModuleType("gone")
    exec("from torch import nn\nclass Net(nn.Linear): ...", vars(gone))
    monkeypatch.setitem(sys.modules, "gone", gone)
    torch.save({"epoch": 2, "model": gone.Net(3, 2)}, "whole.pth")
    monkeypatch.delitem(sys.modules, "gone")
    found = ptools("inspect", "whole.pth", "--json").document
    assert found["objects"] == {"model": "gone.Net"}
    assert {row["key"] for row in found["keys"]} == {"model.weight", "model.bias"}
    assert found["weights"]["where"] == "model"
    assert found["values"]["epoch"] == 2
    assert found["weights"]["parameters"] == 8


def test_objects_that_hold_themselves_or_go_on_for_ever(ptools: Run) -> None:
    import torch

    loop: dict[str, Any] = {"w": torch.ones(2)}
    loop["self"] = loop
    torch.save(loop, "loop.pth")
    assert ptools("inspect", "loop.pth", "--json").document["objects"] == {"self": "itself"}
    bomb: Any = [1.0]
    for _ in range(40):
        bomb = {"a": bomb, "b": bomb}
    torch.save(bomb, "bomb.pth")
    done = ptools("inspect", "bomb.pth")
    assert done.exit_code == 1
    assert "holds more than 200,000 values" in done.stderr
    deep: Any = {"w": torch.ones(1)}
    for _ in range(150):
        deep = {"x": deep}
    torch.save(deep, "deep.pth")
    assert "nested without end" in json.dumps(ptools("inspect", "deep.pth", "--json").document)


def test_names_that_steer_a_terminal_are_printed_as_question_marks(ptools: Run) -> None:
    import torch

    torch.save({"\x1b[31mred": torch.ones(1), "a\nb": torch.ones(1)}, "w.pth")
    done = ptools("inspect", "w.pth")
    assert done.exit_code == 0
    assert "\x1b" not in done.stdout
    assert "?[31mred" in done.stdout
    assert "a b" in done.stdout


def failed(done: Result, said: str) -> None:
    assert (done.exit_code, done.stdout) == (1, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_is_no_checkpoint_is_one_line(ptools: Run) -> None:
    Path("lfs.pth").write_text("version https://git-lfs.github.com/spec/v1\n")
    Path("page.pth").write_text("<!DOCTYPE html><html></html>")
    Path("empty.pth").touch()
    Path("notes.pth").write_text("some notes")
    Path("plain.pkl").write_bytes(pickle.dumps({"a": 1}))
    Path("folder").mkdir()
    failed(ptools("inspect", "lfs.pth"), "lfs.pth is a Git LFS pointer, not the weights")
    failed(ptools("inspect", "page.pth"), "page.pth is a web page")
    failed(ptools("inspect", "empty.pth"), "empty.pth is empty")
    failed(ptools("inspect", "notes.pth"), "notes.pth is a text file")
    failed(
        ptools("inspect", "plain.pkl"), "plain.pkl is a Python pickle that torch.save did not write"
    )
    failed(ptools("inspect", "none.pth"), "none.pth does not exist; check the path.")
    failed(ptools("inspect", "folder"), "folder is a folder with no checkpoint")
    failed(ptools("inspect", "./x/y"), "x/y does not exist; check the path.")


def test_damaged_files_are_one_line(ptools: Run) -> None:
    training()
    whole = Path("ckpt.pth").read_bytes()
    Path("cut.pth").write_bytes(whole[: len(whole) // 2])
    failed(ptools("inspect", "cut.pth"), "cut.pth is cut short or damaged")
    Path("cut.safetensors").write_bytes((1000).to_bytes(8, "little") + b'{"a":')
    failed(
        ptools("inspect", "cut.safetensors"),
        "cut.safetensors is damaged: it ends within its header",
    )


def test_tar_files(ptools: Run) -> None:
    """One of torch 0.1 needs torch's unpickler, and so --trust; any other only holds files."""
    Path("a.pth").write_text("x")
    with tarfile.open("files.tar", "w") as archive:
        archive.add("a.pth")
    failed(
        ptools("inspect", "files.tar"),
        "is a tar archive around 1 files (a.pth), no checkpoint; unpack",
    )
    for name in ("pickle", "storages", "tensors"):
        Path(name).write_bytes(b"\x80\x02]q\x00.")
    with tarfile.open("old.tar", "w") as archive:
        for name in ("pickle", "storages", "tensors"):
            archive.add(name)
    failed(ptools("inspect", "old.tar"), "add --trust if you trust it")
    failed(ptools("inspect", "old.tar", "--trust"), "old.tar")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["w.pth", "--source"], "--source is not for a file of weights; leave it out."),
        (["w.pth", "w.pth", "--stats"], "--stats is not for two files; leave it out."),
        (["w.pth", "w.pth", "--png", "x.png"], "--png is not for two files; leave it out."),
        (["w.pth", "json"], "'json' is no file; two of them are compared, names are not."),
    ],
)
def test_wrong_usage(args: list[str], said: str, ptools: Run) -> None:
    import torch

    torch.save({"w": torch.ones(1)}, "w.pth")
    done = ptools("inspect", *args)
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"Error: {said}\n")


def test_a_folder_of_the_name_of_a_package_is_no_file(ptools: Run) -> None:
    Path("json").mkdir()
    assert ptools("inspect", "json", "--json").document["kind"] == "package"
