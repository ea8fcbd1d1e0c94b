"""What a run leaves: its config again, the tables, the pictures, the graph."""

from __future__ import annotations

import csv
import json
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.graph_pb2 import GraphDef
from torch import nn

from ptools import toml
from ptools.testing import Run
from ptools.training import plots
from ptools.training.graph import graph
from ptools.training.history import Epoch
from ptools.training.scoring import Mistake, measure
from ptools_plugins.train import train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run that makes mistakes."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(out=folder, epochs=2, save_model=True, batch_size=256)
    return folder


def test_the_config_begins_the_same_run_again(run: Path, tmp_path: Path, ptools: Run) -> None:
    done = ptools("train", "--config", str(run), "--out", str(tmp_path / "again"))
    assert done.exit_code == 0, done.stderr
    first, second = (
        torch.load(folder / "best.pth", weights_only=True)["state_dict"]
        for folder in (run, tmp_path / "again")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    configs = [tomllib.loads((f / "config.toml").read_text()) for f in (run, tmp_path / "again")]
    assert configs[0] == configs[1]


def test_options_win_over_the_config(run: Path, tmp_path: Path, ptools: Run) -> None:
    given = ("--epochs", "1", "--val", "0", "--out", str(tmp_path / "o"))
    assert ptools("train", "--config", str(run / "config.toml"), *given).exit_code == 0
    config = tomllib.loads((tmp_path / "o" / "config.toml").read_text())
    assert (config["epochs"], config["batch_size"], config["val"]) == (1, 256, 0.0)


def test_a_recipe_in_parts_is_kept(tmp_path: Path, ptools: Run) -> None:
    """What no option says, such as normalisation, is in the file as well."""
    train(out=tmp_path / "a", recipe="plain", epochs=1, limit=64, model="mlp")
    assert (
        ptools("train", "--config", str(tmp_path / "a"), "--out", str(tmp_path / "b")).exit_code
        == 0
    )
    assert (tmp_path / "a/config.toml").read_text() == (tmp_path / "b/config.toml").read_text()


def test_a_config_with_a_mistake(tmp_path: Path, ptools: Run) -> None:
    file = tmp_path / "mine.toml"
    for text, says in (
        ("epoch = 3", "'epoch' is no option of train. Did you mean 'epochs'?"),
        ('epochs = "three"', "'three' is no whole number"),
        ("normalise = 1", "normalise is true or false, not 1"),
        ("epochs = ", "is no TOML"),
        ("[finetune]\nhead = 'fc'", "'ptools finetune'"),
    ):
        file.write_text(text)
        done = ptools("train", "--config", str(file))
        assert done.exit_code in (1, 2)
        assert says in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_the_table_of_the_epochs(run: Path) -> None:
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    epochs = json.loads((run / "metrics.json").read_text())["epochs"]
    assert [{k: float(v) for k, v in row.items()} for row in rows] == epochs


def test_without_validation_images_the_cells_are_empty(tmp_path: Path) -> None:
    train(out=tmp_path / "r", epochs=1, val=0, limit=64, model="mlp")
    with (tmp_path / "r/metrics.csv").open() as file:
        assert [row["val_loss"] for row in csv.DictReader(file)] == [""]


def test_the_confusion_counts(run: Path) -> None:
    found = json.loads((run / "confusion.json").read_text())
    metrics = json.loads((run / "metrics.json").read_text())
    assert found["classes"] == list("0123456789")
    assert (found["on"], found["counts"]) == ("test", metrics["confusion"])
    right = sum(found["counts"][i][i] for i in range(10))
    assert right / 359 == pytest.approx(metrics["test_accuracy"])


def test_the_pictures_show_something(run: Path) -> None:
    for name in ("curves.png", "confusion.png", "mistakes.png"):
        with Image.open(run / name) as picture:
            colours = picture.convert("RGB").getcolors(2**24)
            assert min(picture.size) > 150, name
        assert colours is not None
        assert len(colours) > 50, name


def test_the_graph_and_the_curves_are_in_the_event_file(run: Path) -> None:
    events = EventAccumulator(str(run))
    events.Reload()
    assert "loss/val" in events.Tags()["scalars"]
    assert [e.step for e in events.Scalars("seconds")] == [1, 2]
    assert any("Conv2d" in node.name for node in events.Graph().node)


def test_the_whole_module_is_written_on_request(run: Path) -> None:
    model = torch.load(run / "model.pth", weights_only=False)
    kept = torch.load(run / "best.pth", weights_only=True)["state_dict"]
    assert isinstance(model, nn.Module)
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())


def test_what_cannot_be_traced_has_no_graph() -> None:
    class Shy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("not now")

    net = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(4, 2))
    before = torch.random.get_rng_state()
    found = graph(net, (1, 2, 2))
    assert found is not None
    assert GraphDef.FromString(found).node
    assert graph(Shy(), (1, 2, 2)) is None
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_surest_mistakes_come_first() -> None:
    logits = torch.tensor([[4.0, 0.0], [0.0, 1.0], [0.0, 9.0], [3.0, 0.0]])
    batches = [(logits[:2], torch.tensor([1, 1])), (logits[2:], torch.tensor([0, 0]))]
    found = measure(nn.Identity(), batches, confusion=True).mistakes
    assert [(m.index, m.label, m.predicted) for m in found] == [(2, 0, 1), (0, 1, 0)]
    assert found[0].score == pytest.approx(1 / (1 + math.exp(-9)))


@pytest.mark.parametrize("classes", [2, 40, 100])
def test_pictures_of_any_number_of_classes(classes: int) -> None:
    names = [f"a $class$ with a long name {i}" for i in range(classes)]
    counts = torch.eye(classes, dtype=torch.int64).tolist()
    assert plots.confusion(names, counts)[:4] == b"\x89PNG"
    images = torch.zeros(1, 3, 5, 7, dtype=torch.uint8)
    assert plots.mistakes([Mistake(0, 0, 1, 0.5)], images, names)[:4] == b"\x89PNG"
    assert plots.curves([Epoch(1, 1.0, 0.5, None, None, 0.1, 1.0)])[:4] == b"\x89PNG"


plain = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.floats()
values: Any = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), values, max_size=4))
def test_toml_comes_back(document: dict[str, Any]) -> None:
    assert repr(toml.read(toml.written(document))) == repr(without_none(document))


def without_none(value: Any) -> Any:
    """Return a document as TOML can hold it; a table's plain values come before its tables."""
    if not isinstance(value, dict):
        return value
    kept = {k: without_none(v) for k, v in value.items() if v is not None}
    return dict(sorted(kept.items(), key=lambda item: isinstance(item[1], dict)))
