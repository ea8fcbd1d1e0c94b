"""A freeze manifest, applied: what is frozen stays as it is, whatever train() and an optimizer do."""

from __future__ import annotations

import copy
import io
import json
import pickle
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from ptools.checkpoints.freezing import Manifest, apply_freeze, read_manifest, trainable
from ptools.errors import FileError, UsageError


class Net(nn.Module):
    """A backbone and a head, with a BatchNorm in each."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Sequential(nn.Conv2d(4, 2, 3), nn.BatchNorm2d(2))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.backbone(x))
        return out


BACKBONE = [f"backbone.{name}" for name in ("0.weight", "0.bias", "1.weight", "1.bias")]
MANIFEST = {"format": "ptools freeze 1", "parameters": BACKBONE, "eval": ["backbone.1"]}


def frozen() -> Net:
    torch.manual_seed(0)
    model = Net()
    apply_freeze(model, MANIFEST)
    return model


def state(model: nn.Module, part: str) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items() if k.startswith(part)}


def train(model: nn.Module) -> None:
    optimizer = torch.optim.SGD(trainable(model), 0.1, weight_decay=0.1, momentum=0.9)
    for _ in range(3):
        model.train()
        optimizer.zero_grad()
        model(torch.randn(4, 3, 8, 8)).square().sum().backward()
        optimizer.step()


def test_what_was_frozen_is_said_and_counted() -> None:
    found = apply_freeze(Net(), MANIFEST)
    assert found.parameters == BACKBONE
    assert found.eval == ["backbone.1"]
    assert found.counts == {"tensors": 4, "parameters": 4 * 27 + 4 + 4 + 4, "eval": 1}


def test_training_moves_the_head_and_nothing_else() -> None:
    model = frozen()
    backbone, head = state(model, "backbone"), state(model, "head")
    train(model)
    assert all(torch.equal(value, backbone[key]) for key, value in state(model, "backbone").items())
    assert not any(torch.equal(value, head[key]) for key, value in state(model, "head").items())


def test_the_optimizer_gets_the_rest_each_once() -> None:
    model = frozen()
    assert [id(p) for p in trainable(model)] == [id(p) for p in model.head.parameters()]


def copied(model: Net, how: str) -> nn.Module:
    if how == "deepcopy":
        return copy.deepcopy(model)
    if how == "pickle":
        return pickle.loads(pickle.dumps(model))  # type: ignore[no-any-return]
    if how == "torch.save":
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        return torch.load(file, weights_only=False)  # type: ignore[no-any-return]
    return nn.DataParallel(model) if how == "wrapped" else model


@pytest.mark.parametrize("how", ["itself", "deepcopy", "pickle", "torch.save", "wrapped"])
def test_a_frozen_batchnorm_stays_in_eval_mode(how: str) -> None:
    model = copied(frozen(), how)
    for _ in range(2):
        model.train()
        norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        assert [norm.training for norm in norms] == [False, True]
        assert model.training
        before = [norm.running_mean.clone() for norm in norms if norm.running_mean is not None]
        model(torch.randn(4, 3, 8, 8))
        assert torch.equal(before[0], norms[0].running_mean)  # type: ignore[arg-type]
        assert not torch.equal(before[1], norms[1].running_mean)  # type: ignore[arg-type]
        model.eval()


def test_a_copy_is_frozen_by_itself() -> None:
    model = frozen()
    twin = copy.deepcopy(model)
    for one in (twin, model):
        norm: Any = one.backbone[1]
        assert norm.train.module is norm


def test_the_names_of_the_state_dict_stay_the_same() -> None:
    assert list(frozen().state_dict()) == list(Net().state_dict())
    assert [name for name, _ in frozen().named_modules()] == [n for n, _ in Net().named_modules()]
    Net().load_state_dict(frozen().state_dict())
    frozen().load_state_dict(Net().state_dict())


def test_freezing_twice_is_freezing_once() -> None:
    model = frozen()
    assert apply_freeze(model, MANIFEST).counts["tensors"] == 4
    model.train()
    assert not model.backbone[1].training


@pytest.mark.parametrize("wrap", ["data parallel", "compile", "both"])
def test_a_wrapped_model(wrap: str) -> None:
    model: nn.Module = Net()
    if wrap != "data parallel":
        model = cast(nn.Module, torch.compile(model, backend="eager"))
    if wrap != "compile":
        model = nn.DataParallel(model)
    found = apply_freeze(model, MANIFEST)
    assert len(list(trainable(model))) == 4
    assert found.parameters[0].endswith("backbone.0.weight")
    train(model)


def test_a_buffer_among_the_names_is_no_error() -> None:
    names = [*BACKBONE, "backbone.1.running_mean"]
    assert apply_freeze(Net(), {**MANIFEST, "parameters": names}).parameters == BACKBONE


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"parameters": ["backbone.0.wieght"]}, "no parameter 'backbone.0.wieght'.*Did you mean"),
        ({"parameters": [*BACKBONE, "tail"]}, "no parameter 'tail'.*for another model"),
        ({"eval": ["backbone.9"]}, "no module 'backbone.9'"),
    ],
)
def test_a_manifest_of_another_model_changes_nothing(
    change: dict[str, list[str]], says: str
) -> None:
    model = Net()
    with pytest.raises(UsageError, match=says):
        apply_freeze(model, {**MANIFEST, **change})
    assert all(p.requires_grad for p in model.parameters())
    assert model.backbone[1].training


def test_a_file_a_mapping_or_the_value(tmp_path: Path) -> None:
    path = tmp_path / "net.freeze.json"
    path.write_text(json.dumps({**MANIFEST, "weights": "net.pth", "counts": {"tensors": 4}}))
    value = read_manifest(path)
    assert value == Manifest(BACKBONE, ["backbone.1"], {"tensors": 4}, "net.pth")
    assert value.document()["format"] == "ptools freeze 1"
    for given in (path, str(path), value, value.document()):
        assert apply_freeze(Net(), given).parameters == BACKBONE


NO_MANIFESTS = [
    "",
    "{",
    "[]",
    "{}",
    "\0\1",
    '{"format": "ptools freeze 1"}',
    '{"parameters": []}',
    '{"format": "ptools freeze 1", "parameters": "all"}',
    '{"format": "ptools freeze 1", "parameters": [3]}',
]


@pytest.mark.parametrize("content", NO_MANIFESTS)
def test_what_is_no_manifest(content: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(FileError, match=r"x\.json") as raised:
        read_manifest(path)
    assert "\n" not in str(raised.value)


def test_a_missing_manifest(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot read"):
        apply_freeze(Net(), tmp_path / "nowhere.json")
