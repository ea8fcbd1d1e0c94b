"""The plugin keeps the promises of every command, and its numbers are torch's."""

from pathlib import Path

import pytest
from ptools_norms import norms

from ptools.testing import Run, assert_plugin_ok

pytest_plugins = ["ptools.testing"]


def test_norms_is_a_good_plugin(tiny_checkpoint: Path) -> None:
    assert_plugin_ok("norms", str(tiny_checkpoint))


def test_norms_are_those_of_torch(tiny_checkpoint: Path) -> None:
    import torch

    state = torch.load(tiny_checkpoint, weights_only=True)
    assert norms(tiny_checkpoint) == {key: t.norm().item() for key, t in state.items()}


def test_a_missing_file_is_one_line(ptools: Run) -> None:
    done = ptools("norms", "nowhere.pth")
    assert (done.exit_code, done.stderr) == (
        1,
        "Error: nowhere.pth does not exist; check the path.\n",
    )


def test_the_data_set_trains_the_model(
    ptools: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = ptools("train", "--data", "stripes", "--model", "linear", "--epochs", "4", "--json")
    assert done.document["test_accuracy"] == 1.0
