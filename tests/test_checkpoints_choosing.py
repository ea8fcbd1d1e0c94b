"""Which mapping in a file is the state_dict, what `key` names, and what is told of the rest."""

from __future__ import annotations

import collections
import pathlib
import warnings
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from ptools import checkpoints
from ptools.errors import UsageError


def state(value: float = 0.0, size: int = 2) -> dict[str, Any]:
    import torch

    return {f"layer{i}.weight": torch.full((2,), value) for i in range(size)}


def read(content: Any, tmp_path: Path, key: str | None = None) -> checkpoints.Weights:
    import torch

    torch.save(content, tmp_path / "w.pt")
    return checkpoints.read(tmp_path / "w.pt", key=key)


@pytest.mark.parametrize(
    ("content", "where", "seen"),
    [
        ({}, "", []),
        ({"state_dict": 1}, "state_dict", []),
        ({"model": 1}, "model", []),
        ({"net": 1, "acc": 0.9, "epoch": 3}, "net", []),
        ({"anything": 1}, "anything", []),
        ({"checkpoint": {"model": {"state_dict": 1}}}, "checkpoint.model.state_dict", []),
        ({"a": {"b": {"c": {"d": 1}}}}, "a.b.c.d", []),
        ({"model_ema": 2, "model": 1}, "model", ["model_ema"]),
        ({"state_dict_ema": 2, "state_dict": 1}, "state_dict", ["state_dict_ema"]),
        ({"params_ema": 2, "params": 1}, "params", ["params_ema"]),
        ({"ema": {"module": 2}, "model": 1}, "model", ["ema.module"]),
        ({"teacher": 2, "student": 1}, "student", ["teacher"]),
        ({"teacher": 2, "loss": 0.1}, "teacher", []),
        ({"discriminator": 2, "generator": 1}, "generator", ["discriminator"]),
        ({"small": 1, "large": 2}, "large", ["small"]),
        ({"ema.decay": 2, "model": 1}, "model", ["ema.decay"]),
    ],
    ids=str,
)
def test_the_choice(content: Any, where: str, seen: list[str], tmp_path: Path) -> None:
    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fill(item) for key, item in value.items()}
        return state(value, size=2 + value) if isinstance(value, int) and value < 3 else value

    filled = fill(content) if content else state()
    weights = read(filled, tmp_path)
    assert (weights.where, list(weights.seen)) == (where, seen)
    for other, number in weights.seen.items():
        assert len(read(filled, tmp_path, key=other).tensors) == number


def test_an_optimizer_is_no_state_dict(tmp_path: Path) -> None:
    import torch

    model = torch.nn.Linear(2, 2)
    for kind in (torch.optim.SGD, torch.optim.Adam):
        optimizer = kind(model.parameters(), lr=0.1)
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        content = {"optimizer": optimizer.state_dict(), "net": model.state_dict()}
        content["opt"] = content["optimizer"]
        content["optim_by_name"] = {"state": {"weight": {"exp_avg": torch.ones(2)}}}
        weights = read(content, tmp_path)
        assert (weights.where, weights.seen, weights.extras) == ("net", {}, [])


def test_tensors_beside_the_state_dict(tmp_path: Path) -> None:
    import torch

    content = {"model": state(size=2), "mean": torch.ones(3), "rng": torch.get_rng_state()}
    weights = read(content, tmp_path)
    assert weights.where == "model"
    assert list(read(content, tmp_path, key="").tensors) == ["mean", "rng"]


def test_a_key_that_is_not_there(tmp_path: Path) -> None:
    content = {"model": state(), "ema": state(1, 3)}
    with pytest.raises(
        UsageError, match=r"no state_dict at 'emma'; it has: 'model' \(2 tensors\)"
    ) as e:
        read(content, tmp_path, key="emma")
    assert "Did you mean 'ema'?" in str(e.value)
    assert read(content, tmp_path, key="ema").tensors["layer0.weight"].tolist() == [1, 1]


def test_what_is_no_tensor_is_named(tmp_path: Path) -> None:
    import numpy
    import torch

    inner = collections.OrderedDict(state())
    inner["fc._extra_state"] = {"scale": 2}
    inner["version"] = 3
    with warnings.catch_warnings(action="ignore"):  # torch is about to drop them
        inner["quantized"] = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
    inner["sparse"] = torch.eye(2).to_sparse()
    content = {
        "state_dict": inner,
        "epoch": 7,
        "classes": ["cat", "dog"],
        "best": numpy.float64(0.5),
        "curve": numpy.ones(3),
        "args": Namespace(lr=0.1, out=pathlib.PurePosixPath("x")),
        "counts": collections.Counter("aab"),
        "default": collections.defaultdict(list, a=[1]),
    }
    weights = read(content, tmp_path)
    assert list(weights.tensors) == ["layer0.weight", "layer1.weight"]
    assert weights.extras[-4:] == [
        "fc._extra_state (dict)",
        "version (int)",
        "quantized (quantized tensor)",
        "sparse (sparse tensor)",
    ]
    assert set(weights.extras[:-4]) == {
        *("quantized tensor", "sparse tensor", "numpy scalar", "numpy array", "Namespace"),
    }
    assert weights.metadata["classes"] == ["cat", "dog"]
    assert weights.metadata["epoch"] == 7
    assert weights.metadata["counts"] == {"a": 2, "b": 1}


def test_a_container_of_a_class_of_its_own(tmp_path: Path) -> None:
    """Lightning's and mmengine's files hold subclasses of dict; their entries are read."""
    import torch

    torch.save({"config": Config(lr=0.1), "weights": Config(state())}, tmp_path / "w.pt")
    weights = checkpoints.read(tmp_path / "w.pt")
    assert (weights.where, weights.extras) == ("weights", ["Config"])
    assert list(weights.tensors) == ["layer0.weight", "layer1.weight"]


class Config(dict):  # type: ignore[type-arg]  # as the configuration classes people save
    """A dict with a class of its own."""


def test_the_stored_order_and_the_prefix_stay(tmp_path: Path) -> None:
    import torch

    content = {f"module.{name}": torch.ones(1) for name in "zcab"}
    assert list(read(content, tmp_path).tensors) == list(content)
