"""ptools shapes --model: what it prints, its JSON, its errors, and what it leaves alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ptools.testing import Install, Result, Run
from tests.test_output import on_terminal

RESNET = ("shapes", "--model", "resnet18", "--in", "3x224x224")
NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, classes=10, bias=True):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, bias=bias)
        self.norm = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, classes)
        self.fc.bias.requires_grad_(False)
        self.spare = nn.Linear(7, 7)

    def forward(self, x):
        x = self.norm(self.conv(x)).relu().mean((2, 3))
        return {"logits": self.fc(x), "features": (x, x[:, :2])}


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(100, 4)
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, image, tokens):
        return self.conv(image).mean((2, 3)) + self.words(tokens).mean(1)


class Bare(nn.Module):
    def forward(self, x):
        return torch.fft.rfft(x).real @ x.new_ones(3, 3)


def small(width=4):
    return nn.Sequential(nn.Linear(6, width), nn.Sequential(nn.ReLU(), nn.Linear(width, 2)))
"""
NOISY = """
import os, sys
from torch import nn

print("on import")
os.write(1, b"from C, on import\\n")
os.system("echo from a child")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        print("in the constructor")
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        print("in forward", file=sys.__stdout__)
        os.write(1, b"from C, in forward\\n")
        return self.fc(x)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "net.py").write_text(NET)
    return folder


def one_line(result: Result, code: int = 2) -> str:
    assert (result.exit_code, result.stdout) == (code, "")
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


def row(result: Result, name: str) -> list[str]:
    """Return the cells of one layer, or the words after the name of a total."""
    line = next(line for line in result.stdout.splitlines() if line.split()[:1] == [name])
    return re.split(r"  +", line)


# -- the table and the totals ------------------------------------------------------------------------


def test_the_issues_example(ptools: Run) -> None:
    result = ptools(*RESNET)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["layer", "type", "output", "params", "MACs", "share"]
    assert row(result, "conv1") == [
        "conv1",
        "Conv2d",
        "[1, 64, 112, 112]",
        "9,408",
        "118 M",
        "6.5 %",
    ]
    cells = ["layer4.1.conv2", "Conv2d", "[1, 512, 7, 7]", "2,359,296", "115.6 M", "6.4 %"]
    assert row(result, "layer4.1.conv2") == cells
    assert row(result, "fc") == ["fc", "Linear", "[1, 1000]", "513,000", "512 k", "0.0 %"]
    assert row(result, "output")[1:] == ["[1, 1000]"]
    assert "parameters   11,689,512 (all trainable); 9,620 buffers" in lines
    assert "1.814 G at batch 1" in result.stdout
    assert "1 MAC = 2 FLOPs" in result.stdout
    assert "weights 44.6 MiB" in result.stdout
    assert re.search(r"SGD \d+ MiB, Adam \d+ MiB", result.stdout)


def test_json_has_what_was_promised(ptools: Run) -> None:
    found = ptools(*RESNET, "--json").document
    promised = {
        "params", "trainable", "buffers", "macs", "output", "activation_bytes", "uncounted", "layers",
        "failure",
    }  # fmt: skip
    assert promised <= set(found)
    assert (found["params"], found["trainable"], found["buffers"]) == (
        11_689_512,
        11_689_512,
        9_620,
    )
    assert found["macs"] == 1_814_073_344
    assert found["output"] == [1, 1000]
    assert (found["uncounted"], found["failure"]) == ([], None)
    for layer in found["layers"]:
        assert {"name", "type", "output", "params", "macs"} <= set(layer)
    assert sum(layer["macs"] for layer in found["layers"]) == found["macs"]
    assert sum(layer["params"] for layer in found["layers"]) == found["params"]
    conv = next(layer for layer in found["layers"] if layer["name"] == "layer1.0.conv1")
    assert (conv["type"], conv["output"]) == ("Conv2d", [1, 64, 56, 56])
    assert (conv["params"], conv["macs"]) == (64 * 64 * 9, 64 * 64 * 9 * 56 * 56)


def test_memory_of_a_training_step(ptools: Run) -> None:
    found = ptools(
        "shapes", "--model", "net.py:small", "--in", "6", "--batch", "5", "--json"
    ).document
    weights = 4 * (6 * 4 + 4 + 4 * 2 + 2)
    assert found["weight_bytes"] == weights
    kept = 4 * 5 * (6 + 4)  # what goes into each Linear; ReLU's output is the second's input
    assert found["activation_bytes"] == kept
    steps = {"sgd": 2 * weights, "sgd_momentum": 3 * weights, "adam": 4 * weights}
    assert found["training_bytes"] == {name: size + kept for name, size in steps.items()}


def test_every_way_to_name_a_model(ptools: Run, place: Path, install: Install) -> None:
    (place / "pkg").mkdir()
    (place / "pkg" / "__init__.py").touch()
    (place / "pkg" / "mod.py").write_text(NET)
    install("netz", NET, "ptools_netz:small", group="ptools.models")
    for name, shape, params in [
        ("net.py:Net", "3x8x8", 3 * 8 * 9 + 8 + 16 + 90 + 56),
        ("net.py:Net(classes=3, bias=False)", "3x8x8", 3 * 8 * 9 + 16 + 27 + 56),
        ("pkg.mod:Net(5)", "3x8x8", 3 * 8 * 9 + 8 + 16 + 45 + 56),
        (str(place / "net.py") + ":small(width=9)", "6", 63 + 20),
        ("torchvision:resnet18(num_classes=10)", "3x32x32", 11_689_512 - 990 * 513),
        ("cnn", "3x32x32", None),
        ("cnn-bn(classes=7)", "1x28x28", None),
    ]:
        found = ptools("shapes", "--model", name, "--in", shape, "--json").document
        assert found["failure"] is None, name
        assert params in (None, found["params"]), name


def test_a_users_model_in_full(ptools: Run) -> None:
    result = ptools("shapes", "--model", "net.py:Net", "--in", "3x8x8", "--batch", "2")
    assert result.exit_code == 0
    assert row(result, "conv")[2:] == ["[2, 8, 6, 6]", "224", "15.55 k", "99.0 %"]
    assert row(result, "spare")[2] == "(unused)"
    assert row(result, "unused")[-1].split() == ["spare"]
    assert row(result, "output")[-1] == "{logits: [2, 10], features: ([2, 8], [2, 2])}"
    assert "386 (376 trainable, 10 frozen); 17 buffers" in result.stdout
    found = ptools("shapes", "--model", "net.py:Net", "--in", "3x8x8", "--json").document
    assert found["output"] == {"logits": [1, 10], "features": [[1, 8], [1, 2]]}
    assert (found["trainable"], found["frozen"], found["unused"]) == (376, 10, ["spare"])


def test_depth_folds_what_lies_deeper(ptools: Run) -> None:
    full = ptools(*RESNET, "--json").document
    for depth in range(4):
        result = ptools(*RESNET, "--depth", str(depth))
        table = result.stdout.split("\n\n")[0].splitlines()[1:]
        assert all(line.split()[0].count(".") < max(depth, 1) for line in table)
        counts = [
            int(c.replace(",", ""))
            for line in table
            for c in re.findall(r" (\d[\d,]+)(?:  |$)", line)
        ]
        assert sum(counts) == full["params"]
    assert len(ptools(*RESNET, "--depth", "0").stdout.split("\n\n")[0].splitlines()) == 2


def test_what_is_not_counted_is_said(ptools: Run) -> None:
    result = ptools("shapes", "--model", "net.py:Bare", "--in", "4", "--batch", "2")
    assert "not counted  aten::_fft_r2c in (model)" in result.stdout.splitlines()
    found = ptools(
        "shapes", "--model", "net.py:Bare", "--in", "4", "--batch", "2", "--json"
    ).document
    assert found["uncounted"] == [{"op": "aten::_fft_r2c", "layers": [""]}]
    assert found["macs"] == 2 * 9


@pytest.mark.parametrize(
    "name, heads, params",
    [("googlenet", "aux1, aux2", 6_379_984), ("inception_v3", "AuxLogits", 3_326_696)],
)
def test_auxiliary_heads_are_said(ptools: Run, name: str, heads: str, params: int) -> None:
    result = ptools("shapes", "--model", name, "--in", "3x299x299", "--depth", "1")
    assert f"auxiliary    {heads} ({params:,} parameters): in train mode only" in result.stdout


@pytest.mark.slow
def test_a_run_with_values_is_marked(ptools: Run) -> None:
    args = ("shapes", "--model", "ssdlite320_mobilenet_v3_large", "--in", "3x320x320")
    assert "a real run with zero weights: the figures depend on the data" in ptools(*args).stdout
    found = ptools(*args, "--json").document
    assert found["data_dependent"] is True
    assert round(found["macs"] / 1e9, 3) == 0.583


# -- options -----------------------------------------------------------------------------------------


def figures(ptools: Run, *args: str) -> dict[str, Any]:
    result = ptools("shapes", *args, "--json")
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = result.document
    return found


def test_batch(ptools: Run) -> None:
    args = ("--model", "net.py:small", "--in", "6")
    one, five = figures(ptools, *args), figures(ptools, *args, "--batch", "5")
    assert (one["in"], one["output"], one["batch"]) == ([[1, 6]], [1, 2], 1)
    assert (five["in"], five["output"], five["batch"]) == ([[5, 6]], [5, 2], 5)
    assert five["macs"] == 5 * one["macs"]
    assert five["activation_bytes"] == 5 * one["activation_bytes"]
    assert five["weight_bytes"] == one["weight_bytes"]
    none = figures(ptools, *args, "--batch", "none")
    assert (none["in"], none["output"], none["batch"]) == ([[6]], [2], None)
    seven = figures(ptools, "--model", "net.py:small", "--in", "7x6", "--batch", "none")
    assert (seven["output"], seven["macs"]) == ([7, 2], 7 * one["macs"])
    result = ptools("shapes", *args, "--batch", "none")
    assert "for these inputs" in result.stdout


def test_a_registered_model_with_its_batch_in_the_shape(ptools: Run) -> None:
    whole = figures(ptools, "--model", "cnn", "--in", "2x3x32x32", "--batch", "none")
    assert whole["output"] == [2, 10]
    assert whole["params"] == figures(ptools, "--model", "cnn", "--in", "3x32x32")["params"]


def test_train_mode(ptools: Run) -> None:
    args = ("--model", "googlenet", "--in", "3x224x224", "--batch", "2")
    evaluated, trained = figures(ptools, *args), figures(ptools, *args, "--train")
    assert (evaluated["mode"], trained["mode"]) == ("eval", "train")
    assert evaluated["output"] == [2, 1000]
    assert trained["output"] == {
        "logits": [2, 1000], "aux_logits2": [2, 1000], "aux_logits1": [2, 1000],
    }  # fmt: skip
    assert trained["macs"] > evaluated["macs"]
    assert (trained["unused"], trained["params"]) == ([], evaluated["params"])


def test_dtype(ptools: Run) -> None:
    args = ("--model", "net.py:small", "--in", "6")
    sizes = {
        dtype: figures(ptools, *args, "--dtype", dtype)
        for dtype in ("float64", "float32", "bfloat16", "float16")
    }
    plain = figures(ptools, *args)
    assert sizes["float32"] == plain
    for dtype, factor in (("float64", 2.0), ("bfloat16", 0.5), ("float16", 0.5)):
        assert sizes[dtype]["weight_bytes"] == factor * plain["weight_bytes"]
        assert sizes[dtype]["activation_bytes"] == factor * plain["activation_bytes"]
        assert sizes[dtype]["macs"] == plain["macs"]


def test_several_inputs(ptools: Run) -> None:
    args = ("--model", "net.py:Two", "--in", "3x32x32")
    found = figures(ptools, *args, "--in", "16:int64", "--batch", "3")
    assert found["in"] == [[3, 3, 32, 32], [3, 16]]
    assert found["output"] == [3, 4]
    assert found["macs"] == 3 * 4 * 30 * 30 * 27
    assert figures(ptools, *args, "--in", "16:int64:100")["failure"] is None
    beyond = ptools("shapes", *args, "--in", "16:int64:101", "--json")
    assert beyond.exit_code == 1
    assert beyond.document["failure"]["layer"] == "words"


# -- wrong usage -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args, says",
    [
        (["--model", "resnet18", "--in", "3x224x224", "--k", "5"], "--k is of the calculator"),
        (["--model", "resnet18", "--in", "3x224x224", "--ceil"], "--ceil is of the calculator"),
        (["--model", "resnet18", "--in", "3x224x224", "--out", "5"], "--out is of the calculator"),
        (["--in", "32", "--depth", "1"], "--depth is for a model"),
        (["--in", "32", "--batch", "2"], "--batch is for a model"),
        (["--in", "32", "--train"], "--train is for a model"),
        (["--model", "resnet18"], "--in"),
        (["--model", "resnet1", "--in", "3x224x224"], "resnet18"),
        (["--model", "none.py:Net", "--in", "3"], "none.py does not exist"),
        (["--model", "net.py:Nett", "--in", "3"], "Nett"),
        (["--model", "net.py:Net(1+1)", "--in", "3"], "literals"),
        (["--model", "net.py:NET", "--in", "3"], "NET"),
        (["--model", "no.such.module:Net", "--in", "3"], "no"),
        (["--model", "os:getcwd", "--in", "3"], "is a str, not a torch.nn.Module"),
        (["--model", "net.py:Net", "--in", "3y4"], "3x224x224"),
        (["--model", "net.py:Net", "--in", "16:int8:1000"], "int8"),
        (["--model", "net.py:Net", "--in", "3:float"], "no data type"),
        (["--model", "net.py:Net", "--in", "3", "--batch", "0"], "--batch"),
        (["--model", "net.py:Net", "--in", "3", "--batch", "many"], "--batch"),
        (["--model", "net.py:Net", "--in", "3", "--depth", "-1"], "--depth"),
        (["--model", "net.py:Net", "--in", "3", "--dtype", "int8"], "--dtype"),
        (["--model", "net.py:Net", "--in", "3", "Linear(3, 3)"], "--model or layers"),
        (["--model", "cnn", "--in", "32"], "channels x height x width"),
        (["--model", "net.py:Net", "--in", "3x8x8", "--target", "1:int64"], "--loss"),
    ],
)  # fmt: skip
def test_wrong_usage(ptools: Run, args: list[str], says: str) -> None:
    assert says in one_line(ptools("shapes", *args))


def test_a_model_that_does_not_fit_is_exit_code_1(ptools: Run) -> None:
    result = ptools("shapes", "--model", "net.py:small", "--in", "7")
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) <= 8
    assert "Traceback" not in result.stdout + result.stderr
    found = ptools("shapes", "--model", "net.py:small", "--in", "7", "--json")
    assert found.exit_code == 1
    assert found.document["failure"]["layer"] == "0"


# -- streams -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_document_whatever_the_model_prints(ptools: Run, place: Path) -> None:
    (place / "noisy.py").write_text(NOISY)
    args = ("shapes", "--model", "noisy.py:Net", "--in", "4")
    result = ptools(*args, "--json", process=True)
    assert result.document["params"] == 20  # json.loads refuses a second document
    for said in (
        "on import",
        "from C, on import",
        "from a child",
        "in forward",
        "from C, in forward",
    ):
        assert said in result.stderr
    table = ptools(*args, process=True)
    assert table.stdout.startswith("layer")
    assert "from C" not in table.stdout


def test_in_a_pipe(ptools: Run) -> None:
    result = ptools(*RESNET, process=True)
    assert "\x1b" not in result.stdout
    assert result.stderr == ""
    table = result.stdout.split("\n\n")[0].splitlines()
    assert len(table) == 1 + 20 + 20 + 9 + 3  # heads, Conv2d, BatchNorm2d, ReLU, pools and fc
    assert len({line.index("Conv2d") for line in table if " Conv2d " in line}) == 1


def test_at_80_columns() -> None:
    """Nothing is cut off on a terminal, and no line is broken by it."""
    shown = re.sub(r"\x1b\[[0-9;]*m", "", on_terminal(*RESNET, columns=80))
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80
    for text in (
        "layer4.0.downsample.0 Conv2d [1, 512, 7, 7] 131,072 6.423 M 0.4 %",
        "layer4.1.conv2 Conv2d [1, 512, 7, 7] 2,359,296 115.6 M 6.4 %",
        "parameters 11,689,512 (all trainable); 9,620 buffers",
    ):
        assert text in " ".join(shown.split())


# -- what is not imported, and what memory is not taken ----------------------------------------------


@pytest.mark.parametrize("args, code", [(["--in", "6"], 0), (["--in", "7"], 1)])
def test_a_users_model_imports_neither_torchvision_nor_torch_compile(
    ptools: Run, place: Path, args: list[str], code: int
) -> None:
    """2 CPU seconds each: for a model that fits, and for one that is diagnosed."""
    (place / "told.py").write_text(
        "import atexit, sys\n"
        + NET
        + "atexit.register(lambda: print('MODULES', *sys.modules, file=sys.stderr))\n"
    )
    result = ptools("shapes", "--model", "told.py:small", *args, process=True)
    assert result.exit_code == code
    modules = set(result.stderr.rpartition("MODULES")[2].split())
    assert "torch" in modules
    assert not {
        m for m in modules if m.split(".")[0] in ("torchvision", "tensorboard", "matplotlib")
    }
    assert not {m for m in modules if m.startswith(("torch._dynamo", "torch._inductor"))}


def test_a_models_own_files_are_left_alone(ptools: Run, place: Path) -> None:
    before = {p: p.read_bytes() for p in place.iterdir() if p.is_file()}
    assert ptools("shapes", "--model", "net.py:small", "--in", "6").exit_code == 0
    assert ptools("shapes", "--model", "net.py:small", "--in", "7").exit_code == 1
    assert {p: p.read_bytes() for p in place.iterdir() if p.is_file()} == before


def test_a_plain_value_in_python() -> None:
    from ptools.tracing.inputs import parse
    from ptools_plugins.shapes.network import study

    found = study(model="net.py:small", layers=(), inputs=[parse("6")])
    assert found.trace is not None
    assert found.trace.macs == 6 * 4 + 4 * 2
    assert json.loads(json.dumps(found.document()))["macs"] == found.trace.macs
