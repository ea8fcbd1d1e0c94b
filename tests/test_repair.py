"""The diagnosis: the layer is named, the repair is exact text, and it was run. No alarm for sound models."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from ptools.testing import Run
from ptools.tracing.inputs import Input
from ptools_plugins.shapes import network, show
from ptools_plugins.shapes.report import Report
from tests.broken_models import CASES, HEADER
from tests.sound_models import SOUND

Case = dict[str, Any]
BROKEN: dict[str, Case] = {case["id"]: case for case in CASES}
RIGHT: dict[str, Case] = {case["id"]: case for case in SOUND}
UNREPAIRED = {"dense_block_growth"}  # the index of a loop belongs into the sum
SHARED = Path(__file__).parents[2] / "shared" / "broken_models.py"

LENET = """\
import torch
import torch.nn as nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.pool = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5), nn.MaxPool2d(2)
        self.fc1 = nn.Linear(16 * 4 * 4, 120)
        self.fc2 = nn.Linear(120, 10)

    def forward(self, x):
        x = self.pool(self.conv1(x).relu())
        x = self.pool(self.conv2(x).relu())
        return self.fc2(self.fc1(torch.flatten(x, 1)).relu())
"""


def study(case: Case, folder: Path, code: str | None = None, patience: float = 120.0) -> Report:
    """Ask what the command line would be asked; a known batch where the case is about the batch."""
    (folder / "net.py").write_text(HEADER + (code or case["code"]))
    specs = case.get("inputs", [case["input"]])
    inputs = [Input(tuple(s), d, case.get("below") if "int" in d else None) for s, d in specs]
    batch: int | str = "none"
    if case.get("kind") == "batch_mixed":
        batch = inputs[0].shape[0]
        inputs = [one._replace(shape=one.shape[1:]) for one in inputs]
    target = case.get("target")
    return network.study(
        model=f"{folder}/net.py:Net",
        layers=(),
        inputs=inputs,
        batch=batch,
        train=case["mode"] == "train",
        loss=case.get("loss_name"),
        targets=[Input(tuple(target[0]), *target[1:])] if target else (),
        patience=patience,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_the_layer_is_named_and_the_repair_runs(name: str, tmp_path: Path) -> None:
    case = BROKEN[name]
    failure = study(case, tmp_path).failure
    assert failure is not None
    if case["where"] != "ctor":  # there the attribute is named that could not be set
        assert failure.layer == case["layer"]
    assert len(show.failure(failure)) <= 8
    if name in UNREPAIRED:
        assert (failure.fix, failure.data_fix, failure.verified) == (None, None, False)
        return
    assert failure.verified
    assert failure.fix or failure.data_fix
    if failure.fix is not None:
        text = (tmp_path / "net.py").read_text()
        assert text.count(failure.fix.old) == 1
        repaired = text.replace(failure.fix.old, failure.fix.new).removeprefix(HEADER)
        assert study(case, tmp_path, repaired).failure is None


@pytest.mark.slow
def test_who_has_no_patience_is_told(tmp_path: Path) -> None:
    case = BROKEN["bottleneck_expansion"]  # 60 candidates are tried before the one that runs
    hasty = study(case, tmp_path, patience=0.05).failure
    assert hasty is not None
    assert (hasty.verified, hasty.gave_up) == (False, True)
    patient = study(case, tmp_path).failure
    assert patient is not None
    assert (patient.verified, patient.gave_up) == (True, False)


def test_nine_of_ten_are_repaired() -> None:
    assert len(UNREPAIRED) <= len(BROKEN) / 10
    assert len(BROKEN) >= 40


@pytest.mark.slow
@pytest.mark.parametrize("name", RIGHT)
def test_no_alarm_for_a_sound_model(name: str, tmp_path: Path) -> None:
    report = study(RIGHT[name], tmp_path)
    assert report.failure is None
    assert report.trace is not None


@pytest.mark.skipif(not SHARED.exists(), reason="the shared examples are not here")
@pytest.mark.slow
def test_the_shared_examples(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("shared_broken_models", SHARED)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    losses = {
        "ce_int32_labels": ("CrossEntropyLoss", ((8,), "int32")),
        "mse_broadcast_silent": ("MSELoss", ((8,), "float32")),
    }
    for case in module.CASES:
        name, target = losses.get(case["id"], (None, None))
        folder = tmp_path / case["id"]
        folder.mkdir()
        failure = study({**case, "loss_name": name, "target": target}, folder).failure
        assert failure is not None, case["id"]
        assert failure.layer == case["layer"], case["id"]
        assert case["expected"] in failure.expected, case["id"]
        assert case["got"] in failure.got, case["id"]
        assert failure.verified, case["id"]


# -- the words ---------------------------------------------------------------------------------------


@pytest.fixture
def lenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "net.py"
    file.write_text(LENET)
    return file


def test_what_a_person_reads(lenet: Path, ptools: Run) -> None:
    done = ptools("shapes", "--model", "net.py:Net", "--in", "3x32x32", "--batch", "4")
    assert (done.exit_code, done.stderr) == (1, "")
    assert done.stdout.splitlines() == [
        "x fc1 (Linear, net.py:15) cannot take its input",
        "    got       [4, 400]   = 16*5*5 flattened, from pool (MaxPool2d) [4, 16, 5, 5]",
        "    expected  [*, 256]   in_features=256",
        "  fix         self.fc1 = nn.Linear(400, 120)    # net.py:9",
        "  or          resize the input to 28x28 (gives 256)",
        "  verified    with the fix the model runs: output [4, 10]",
    ]


def test_what_a_program_reads(lenet: Path, ptools: Run) -> None:
    done = ptools("shapes", "--model", "net.py:Net", "--in", "3x32x32", "--batch", "4", "--json")
    assert done.exit_code == 1
    failure = done.document["failure"]
    assert failure["layer"] == "fc1"
    assert (failure["type"], failure["line"], failure["verified"]) == ("Linear", 15, True)
    assert Path(failure["file"]).name == "net.py"
    assert failure["fix"]["line"] == 9
    assert set(failure["fix"]) == {"file", "line", "old", "new"}
    assert "28x28" in failure["data_fix"]
    text = LENET.replace(failure["fix"]["old"], failure["fix"]["new"])
    assert "nn.Linear(400, 120)" in text
    lenet.write_text(text)
    again = ptools("shapes", "--model", "net.py:Net", "--in", "3x32x32", "--batch", "4", "--json")
    assert (again.exit_code, again.document["failure"]) == (0, None)


def test_the_traceback_is_for_debug_only(lenet: Path, ptools: Run) -> None:
    args = ("shapes", "--model", "net.py:Net", "--in", "3x32x32")
    assert "Traceback" not in ptools(*args).stdout + ptools(*args).stderr
    done = ptools("--debug", *args)
    assert done.exit_code == 1
    assert "Traceback" in done.stderr
    assert "cannot be multiplied" in done.stderr


def test_a_repair_leaves_the_file_alone(lenet: Path, ptools: Run) -> None:
    ptools("shapes", "--model", "net.py:Net", "--in", "3x32x32")
    assert lenet.read_text() == LENET
    assert [path.name for path in lenet.parent.iterdir() if path.suffix == ".py"] == ["net.py"]


def test_a_fault_in_another_file_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ptools: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "nets"
    package.mkdir()
    (package / "__init__.py").write_text("")
    blocks = package / "blocks.py"
    blocks.write_text(
        "from torch import nn\n\n\ndef head():\n    return nn.Sequential(nn.Flatten(), nn.Linear(100, 10))\n"
    )
    (package / "net.py").write_text(
        "from torch import nn\n\nfrom .blocks import head\n\n\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.conv = nn.Conv2d(3, 4, 3)\n        self.head = head()\n\n"
        "    def forward(self, x):\n        return self.head(self.conv(x))\n"
    )
    args = ("shapes", "--model", "nets.net:Net", "--in", "3x8x8", "--json")
    done = ptools(*args, process=True)
    failure = done.document["failure"]
    assert failure["layer"] == "head.1"
    assert Path(failure["fix"]["file"]) == blocks
    blocks.write_text(blocks.read_text().replace(failure["fix"]["old"], failure["fix"]["new"]))
    assert ptools(*args, process=True).document["failure"] is None


def test_labels_and_loss_on_the_command_line(tmp_path: Path, ptools: Run) -> None:
    (tmp_path / "net.py").write_text("from torch import nn\n\n\nclass Net(nn.Linear):\n    pass\n")
    model = f"{tmp_path}/net.py:Net(4, 3)"

    def asked(target: str, *more: str) -> Any:
        args = ("shapes", "--model", model, "--in", "4", "--target", target, *more)
        return ptools(*args, "--loss", "CrossEntropyLoss", "--json").document["failure"]

    assert asked("64:int64") is None
    assert asked("64:int64:3") is None
    assert "label 3" in asked("64:int64:4")["got"]
    assert "int32" in asked("64:int32")["got"]
    assert asked("64x1:int64")["data_fix"] == "y.squeeze(1)"
    assert "batch 8" in asked("64:int64", "--batch", "8")["got"]


def test_values_that_only_a_real_run_sees(tmp_path: Path, ptools: Run) -> None:
    """meta takes float64 into a float32 layer, and ids beyond the vocabulary."""
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\nclass Lin(nn.Linear):\n    pass\n\n\nclass Emb(nn.Embedding):\n    pass\n"
    )
    double = ptools(
        "shapes", "--model", f"{tmp_path}/net.py:Lin(4, 2)", "--in", "4:float64", "--json"
    )
    assert double.document["failure"]["data_fix"] == "x.float()"
    ids = ("shapes", "--model", f"{tmp_path}/net.py:Emb(10, 2)", "--in")
    assert ptools(*ids, "7:int64:10").exit_code == 0
    beyond = ptools(*ids, "7:int64:11", "--json").document["failure"]
    assert "ids 0 to 9" in beyond["expected"]
    assert "10" in beyond["got"]


@pytest.mark.slow
def test_no_alarm_where_the_library_is_at_work(ptools: Run) -> None:
    """A wrong size for a model of torchvision: its source is not the user's to edit."""
    done = ptools("shapes", "--model", "vit_b_16", "--in", "3x32x32", "--json")
    failure = done.document["failure"]
    assert failure["fix"] is None
    assert failure["data_fix"] == "resize the input to 224x224"
    gray = ptools("shapes", "--model", "resnet18", "--in", "1x64x64", "--json").document["failure"]
    assert gray["layer"] == "conv1"
    assert "x.repeat(1, 3, 1, 1)" in gray["data_fix"]


def test_the_random_state_and_modules_are_put_back(lenet: Path, ptools: Run) -> None:
    import sys

    before, state = set(sys.modules), torch.get_rng_state()
    hooks = len(torch.nn.modules.module._global_forward_hooks)
    ptools("shapes", "--model", "net.py:Net", "--in", "3x32x32")
    assert torch.equal(torch.get_rng_state(), state)
    assert len(torch.nn.modules.module._global_forward_hooks) == hooks
    assert not {n for n in set(sys.modules) - before if re.fullmatch("net|torch._dynamo", n)} - {
        "net"
    }


def test_edits_of_text_with_other_letters(tmp_path: Path, ptools: Run) -> None:
    """Columns in a tree are bytes; the text is letters."""
    code = LENET.replace("import torch\n", "# größer → ∞\nimport torch\n", 1).replace(
        "self.fc1 = nn", "größe = '→'; self.fc1 = nn"
    )
    (tmp_path / "net.py").write_text(code, encoding="utf-8")
    args = ("shapes", "--model", f"{tmp_path}/net.py:Net", "--in", "3x32x32", "--json")
    fix = ptools(*args).document["failure"]["fix"]
    (tmp_path / "net.py").write_text(code.replace(fix["old"], fix["new"]), encoding="utf-8")
    assert ptools(*args).exit_code == 0
