"""The graph for TensorBoard: written whole, read back by TensorBoard itself."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ptools.errors import FileError, PtoolsError
from ptools.tracing.graph import write_graph


class Two(nn.Module):
    """Two inputs; what comes out is up to `output`."""

    def __init__(self, output: str = "sum") -> None:
        super().__init__()
        self.left = nn.Linear(4, 8)
        self.right = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5))
        self.output = output

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:
        a, b = self.left(x), self.right(y)
        outputs = {
            "sum": a + b,
            "dict": {"left": a, "sum": a + b},
            "nested": {"left": a, "more": {"sum": a + b, "none": None, "number": 3}},
            "dataclass": Pair(a, [b]),
        }
        return outputs[self.output]


@dataclass
class Pair:
    """What a model may give back."""

    one: torch.Tensor
    more: list[torch.Tensor]


def nodes(folder: Path) -> dict[str, str]:
    """Read the graph back as TensorBoard does: operator by node name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {node.name: node.op for node in events.Graph().node}


def inputs() -> list[torch.Tensor]:
    return [torch.rand(2, 4), torch.rand(2, 6)]


def test_resnet18_is_read_back(tmp_path: Path) -> None:
    from torchvision.models import resnet18

    file = write_graph(resnet18, [torch.rand(1, 3, 64, 64)], tmp_path / "new" / "runs")
    assert file.parent == tmp_path / "new" / "runs"
    assert [*file.parent.iterdir()] == [file]
    assert [*tmp_path.iterdir()] == [tmp_path / "new"]
    found = nodes(file.parent)
    for part in ("conv1", "bn1", "layer1", "layer4", "fc"):
        assert any(f"[{part}]" in name for name in found), part
    assert sum(op == "aten::_convolution" for op in found.values()) == 20


@pytest.mark.parametrize("output", ["sum", "dict", "nested", "dataclass"])
def test_two_inputs_and_any_output(tmp_path: Path, output: str) -> None:
    model = Two(output).train()
    write_graph(model, inputs(), tmp_path)
    found = nodes(tmp_path)
    assert model.training
    assert all(any(f"[{part}]" in name for name in found) for part in ("left", "right"))
    assert sum(op == "aten::linear" for op in found.values()) == 2
    assert {name.split("/")[0] for name, op in found.items() if op == "IO Node"}


def test_other_event_files_stay(tmp_path: Path) -> None:
    other = tmp_path / "events.out.tfevents.1.host.2.0"
    other.write_bytes(b"mine")
    files = {write_graph(Two(), inputs(), tmp_path) for _ in range(3)}
    assert len(files) == 3
    assert {*tmp_path.iterdir()} == {other, *files}
    assert other.read_bytes() == b"mine"


class Fails(nn.Module):
    """Cannot run."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise KeyError("no\nsuch layer")


class Counts(nn.Module):
    """Gives back no tensor."""

    def forward(self, x: torch.Tensor) -> int:
        return len(x)


@pytest.mark.parametrize("model", [Fails(), Counts(), nn.Linear(5, 5)])
def test_what_cannot_be_traced_leaves_nothing(
    tmp_path: Path, model: nn.Module, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PtoolsError, match=f"^{type(model).__name__} cannot be traced") as caught:
        write_graph(model, [torch.rand(2, 4)], tmp_path / "runs")
    assert "\n" not in str(caught.value)
    assert [*tmp_path.iterdir()] == []
    assert capsys.readouterr() == ("", "")


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("mine")
    with pytest.raises(FileError, match="no graph can be written there"):
        write_graph(Two(), inputs(), tmp_path / "runs")
    with pytest.raises(FileError, match="no graph can be written there"):
        write_graph(Two(), inputs(), tmp_path / "runs" / "below")
    assert [*tmp_path.iterdir()] == [tmp_path / "runs"]
    assert (tmp_path / "runs").read_text() == "mine"


@pytest.mark.slow
def test_nothing_is_printed(tmp_path: Path) -> None:
    """In a process of its own: also what C++ prints, and what a branch on a size warns of."""
    code = f"""
import torch
from ptools.tracing.graph import write_graph
class Branch(torch.nn.Module):
    def forward(self, x):
        return x + 1 if x.sum() > 0 else x
write_graph(Branch(), [torch.rand(2)], {str(tmp_path / "runs")!r})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert len([*(tmp_path / "runs").iterdir()]) == 1
