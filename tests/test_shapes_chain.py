"""ptools shapes with layers on the command line: the table, the question marks, the repair."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from ptools.testing import Run

CHAIN = ["Conv2d(3, 32, 5, padding=2)", "MaxPool2d(2)", "Flatten()", "Linear(8192, 64)"]


def test_the_example_of_the_issue(ptools: Run) -> None:
    done = ptools("shapes", "--in", "3x32x32", *CHAIN, "--json")
    assert done.exit_code == 0
    rows = [(r["name"], r["type"], r["output"], r["params"]) for r in done.document["layers"]]
    assert [row for row in rows if row[0]] == [
        ("0", "Conv2d", [1, 32, 32, 32], 2432),
        ("1", "MaxPool2d", [1, 32, 16, 16], 0),
        ("2", "Flatten", [1, 8192], 0),
        ("3", "Linear", [1, 64], 524352),
    ]
    assert done.document["macs"] == 32 * 32 * 32 * 75 + 8192 * 64
    assert done.document["failure"] is None


def test_one_row_a_layer_in_its_own_words(ptools: Run) -> None:
    lines = ptools("shapes", "--in", "3x32x32", *CHAIN).stdout.splitlines()
    assert lines[0].split() == ["layer", "type", "output", "params", "MACs", "share"]
    for number, layer in enumerate(CHAIN):
        assert lines[number + 1].startswith(f"{number}      {layer} ")
    assert lines[5] == ""


@pytest.mark.parametrize(
    ("layers", "filled"),
    [
        (["Conv2d(3, 32, 5)", "MaxPool2d(2)", "Flatten()", "Linear(?, 64)"], ["Linear(6272, 64)"]),
        (["Conv2d(?, 8, 3)", "BatchNorm2d(?)"], ["Conv2d(3, 8, 3)", "BatchNorm2d(8)"]),
        (["Flatten()", "LazyLinear(4)"], ["Linear(3072, 4)"]),
    ],
)
def test_question_marks(layers: list[str], filled: list[str], ptools: Run) -> None:
    done = ptools("shapes", "--in", "3x32x32", *layers, "--json")
    assert done.document["filled"] == filled
    shown = ptools("shapes", "--in", "3x32x32", *layers).stdout
    assert f"filled in    {', '.join(filled)}" in shown


def test_pasted_from_stdin_and_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ptools: Run
) -> None:
    pasted = (
        "nn.Sequential(\n    nn.Conv2d(3, 8, 3),  # first\n    nn.ReLU(),\n    nn.Flatten(),\n)"
    )
    file = tmp_path / "layers.txt"
    file.write_text(pasted)
    one = ptools("shapes", "--in", "3x8x8", str(file), "--json")
    monkeypatch.setattr(sys, "stdin", io.StringIO(pasted))
    other = ptools("shapes", "--in", "3x8x8", "-", "--json")
    assert one.document["output"] == other.document["output"] == [1, 288]


def test_a_chain_that_does_not_fit(ptools: Run) -> None:
    done = ptools(
        "shapes", "--in", "3x32x32", "Conv2d(3, 32, 5)", "MaxPool2d(2)", "Linear(8192, 64)"
    )
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "x 2 (Linear(8192, 64)) cannot take its input",
        "    got       [1, 32, 14, 14]   from 1 (MaxPool2d)",
        "    expected  [*, 8192]   in_features=8192",
        "  fix         insert Flatten() before 2 (Linear)",
        "              2: Linear(8192, 64) -> Linear(6272, 64)",
        "  verified    with the fix the model runs: output [1, 64]",
    ]


def test_the_repair_for_programs(ptools: Run) -> None:
    done = ptools("shapes", "--in", "3x32x32", "Conv2d(4, 8, 3)", "ReLU()", "--json")
    failure = done.document["failure"]
    assert (failure["layer"], failure["type"], failure["file"]) == ("0", "Conv2d", None)
    assert (failure["fix"]["old"], failure["fix"]["new"]) == ("Conv2d(4, 8, 3)", "Conv2d(3, 8, 3)")
    assert failure["verified"]


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        (["Conv2D(3, 8, 3)"], "Did you mean 'Conv2d'?"),
        (["Linear(8)"], "Linear"),
        (["ReLU"], "is no layer"),
        (["Conv2d(3, 8, kernal_size=3)"], "kernel_size"),
        (["Linear(__import__('os').system('true'), 3)"], "Linear"),
        (["Linear(?, ?)"], "Linear"),
        (["Conv2d(3, 8, 3)", "--k", "5"], "calculator"),
        (["Conv2d(3, 8, 3)", "--model", "resnet18"], "not both"),
    ],
)
def test_wrong_layers_are_one_line(layers: list[str], says: str, ptools: Run) -> None:
    done = ptools("shapes", "--in", "3x8x8", *layers)
    assert (done.exit_code, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr


def test_receptive_fields_of_a_chain(ptools: Run) -> None:
    chain = ["Conv2d(3, 8, 3)", "MaxPool2d(2)", "Conv2d(8, 8, 3)", "Flatten()", "Linear(?, 2)"]
    rows = ptools("shapes", "--in", "3x32x32", *chain, "--rf", "--json").document["layers"]
    fields = {row["name"]: row["rf"] for row in rows}
    assert fields["0"] == {"size": [3, 3], "stride": [1, 1], "centre": [1, 1]}
    assert fields["2"] == {"size": [8, 8], "stride": [2, 2], "centre": [3.5, 3.5]}
    assert fields["4"]["size"] == [None, None]


def test_the_graph_is_written_and_read_back(tmp_path: Path, ptools: Run) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "graph"
    done = ptools("shapes", "--in", "3x8x8", "--model", "cnn", "--graph", str(folder))
    assert done.exit_code == 0
    assert done.stderr.rstrip().endswith(f"tensorboard --logdir {folder}")
    (file,) = folder.iterdir()
    accumulator = EventAccumulator(str(file))
    accumulator.Reload()
    assert any("Conv2d" in node.name for node in accumulator.Graph().node)
