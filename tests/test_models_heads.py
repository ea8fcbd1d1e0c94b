"""The last layer of a network: found, replaced, added to, for torchvision's families and one's own."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ptools import models
from ptools.errors import UsageError
from ptools.models import Blueprint, heads
from ptools.models.heads import Head
from ptools.tracing.build import build

SHAPE = (1, 8, 8)


class Net(nn.Module):
    """A backbone of 16 numbers, and what becomes of them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3)
        self.fc = nn.Linear(16, 10)

    def features(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.stem(x).relu().mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.fc(self.features(x)))


class Functional(Net):
    """The last layer is never called as a module."""

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.linear(self.features(x), self.fc.weight, self.fc.bias)
        return torch.log_softmax(y * 2 + 1, dim=1)


class HeadFirst(Net):
    """What is registered last, and called last, does not decide the classes."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(16, 1)
        self.again = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x)
        logits = self.fc(y)
        return torch.as_tensor(logits * self.gate(y).sigmoid() + 0 * self.again(y).sum())


class ByValues(Net):
    """Its way depends on the values: the meta device has none."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.sum().item() >= 0 else x


class Convolutional(Net):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Conv2d(16, 10, 1, bias=False)  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.fc(self.stem(x)).amax((2, 3)))


class TwoHeads(Net):
    """One more output while it is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.aux = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:  # type: ignore[override]
        y = self.features(x)
        return (self.fc(y), self.aux(y)) if self.training else self.fc(y)


class Shared(Net):
    """The same layer under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([self.stem, self.fc])


OWN: dict[type[nn.Module], tuple[str, tuple[str, ...]]] = {
    Net: ("fc", ()),
    Functional: ("fc", ()),
    HeadFirst: ("fc", ()),
    ByValues: ("fc", ()),
    Convolutional: ("fc", ()),
    TwoHeads: ("fc", ("aux",)),
    Shared: ("fc", ()),
}


@pytest.mark.parametrize("kind", OWN)
def test_the_last_layer_of_ones_own_models(kind: type[nn.Module]) -> None:
    model = kind()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    dice = torch.get_rng_state()
    name, auxiliary = OWN[kind]
    assert heads.find(model, SHAPE) == Head(name, 10, auxiliary)
    assert torch.get_rng_state().equal(dice)
    assert model.training
    assert all(value.equal(before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("kind", OWN)
def test_a_replaced_layer_decides_the_classes_and_learns(kind: type[nn.Module]) -> None:
    model = kind()
    old = dict(model.named_parameters())
    replaced = heads.replace(model, 3, SHAPE)
    assert replaced is model
    assert model.eval()(torch.rand(2, *SHAPE)).shape == (2, 3)
    names = heads.find(model, SHAPE).names
    for name, parameter in model.named_parameters():
        assert (parameter is old[name]) == (name.rpartition(".")[0] not in names)
    outputs = model.train()(torch.rand(2, *SHAPE))
    for output in outputs if isinstance(outputs, tuple) else (outputs,):
        assert output.shape == (2, 3)
    layer = model.get_submodule("fc")
    assert (layer.bias is None) == (kind is Convolutional)


@pytest.mark.parametrize("kind", OWN)
def test_an_added_layer_comes_after_the_old_one(kind: type[nn.Module]) -> None:
    model = kind().eval()
    images = torch.rand(2, *SHAPE)
    seen: list[Tensor] = []
    longer = heads.append(copy.deepcopy(model), 3, SHAPE)
    assert longer(images).shape == (2, 3)
    old, new = model.state_dict(), longer.state_dict()
    assert sum(value.numel() for value in new.values()) > sum(v.numel() for v in old.values())
    if kind is Net:
        assert set(new) - set(old) == {"fc.0.weight", "fc.0.bias", "fc.1.weight", "fc.1.bias"}
        layer = longer.get_submodule("fc.1")
        layer.register_forward_hook(lambda _, args, out: seen.extend((args[0], out)))
        logits = longer(images)
        assert seen[0].equal(model(images))
        assert seen[1].equal(logits)


@pytest.mark.parametrize("kind", OWN)
def test_the_network_before_a_layer_was_added_shares_its_weights(kind: type[nn.Module]) -> None:
    model = kind().eval()
    old = model.state_dict()
    longer = heads.append(copy.deepcopy(model), 3, SHAPE)
    before = heads.without(longer, SHAPE)
    assert list(before.state_dict()) == list(old)
    images = torch.rand(2, *SHAPE)
    assert before(images).equal(model(images))
    with torch.no_grad():
        for parameter in before.parameters():
            parameter.zero_()
    kept = sum(bool(p.any()) for p in longer.parameters())
    assert kept == 2 * len(heads.find(longer, SHAPE).names)


def test_what_was_called_functionally_cannot_become_a_sequential() -> None:
    """Then the whole model is followed by the layer."""
    longer = heads.append(Functional(), 3, SHAPE)
    assert longer.state_dict()["add_linear.weight"].shape == (3, 10)
    assert "net.fc.weight" in longer.state_dict()


def test_at_the_end_of_a_sequential_nothing_is_renamed() -> None:
    model = models.build("cnn", classes=10, shape=SHAPE)
    old = set(model.state_dict())
    longer = heads.append(model, 3, SHAPE)
    assert set(longer.state_dict()) - old == {"add_linear.weight", "add_linear.bias"}
    assert heads.find(longer, SHAPE).name == "add_linear"
    assert set(heads.replace(longer, 5, SHAPE).state_dict()) == set(longer.state_dict())


def test_dtype_device_and_mode_stay() -> None:
    model = Net().to(torch.float64).eval()
    assert heads.append(model, 3, SHAPE).get_submodule("fc.1").weight.dtype == torch.float64
    with torch.device("meta"):
        model = Net().to(torch.bfloat16).eval()
    layer = heads.replace(model, 3, SHAPE).get_submodule("fc")
    assert (layer.weight.dtype, layer.weight.device.type) == (torch.bfloat16, "meta")
    assert not layer.training


class Scaled(Net):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(10))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.scale


@pytest.mark.parametrize(
    ("model", "shape", "says"),
    [
        (Scaled(), SHAPE, "no single layer of the model makes its 10 outputs"),
        (nn.Conv2d(1, 2, 3), SHAPE, r"returns \(2, 2, 6, 6\), not \(2, classes\)"),
        (Net(), (3, 8, 8), "does not take images of 3x8x8"),
        (Net(), (1, 2, 2), "does not take images of 1x2x2"),
    ],
)
def test_what_has_no_last_layer(model: nn.Module, shape: tuple[int, int, int], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        heads.find(model, shape)


def test_where_it_is_not_found_a_layer_can_be_added() -> None:
    longer = heads.append(Scaled(), 3, SHAPE)
    assert longer(torch.rand(2, *SHAPE)).shape == (2, 3)


@pytest.mark.parametrize("head", ["replace", "append"])
@pytest.mark.parametrize("spec", ["cnn", "cnn(classes=4)", "net.py:Net", "net.py:Net(7)"])
def test_a_blueprint_builds_the_same_again(
    head: str, spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, classes=10):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    plan = Blueprint(spec, 3, SHAPE, head=head)
    first, second = plan.build(), plan.build()
    second.load_state_dict(first.state_dict())
    images = torch.rand(2, *SHAPE)
    assert first.eval()(images).shape == (2, 3)
    assert second.eval()(images).equal(first(images))
    if head == "append" and spec == "cnn(classes=4)":
        assert first.get_submodule("add_linear").weight.shape == (3, 4)


# -- torchvision: one of each family, then all -------------------------------------------------------

FAMILIES = {
    "alexnet": "classifier.6",
    "convnext_tiny": "classifier.2",
    "densenet121": "classifier",
    "efficientnet_b0": "classifier.1",
    "googlenet": "fc",
    "inception_v3": "fc",
    "maxvit_t": "classifier.5",
    "mnasnet0_5": "classifier.1",
    "mobilenet_v2": "classifier.1",
    "mobilenet_v3_small": "classifier.3",
    "regnet_x_400mf": "fc",
    "resnet18": "fc",
    "shufflenet_v2_x0_5": "fc",
    "squeezenet1_1": "classifier.1",
    "swin_t": "head",
    "vgg11": "classifier.6",
    "vit_b_32": "heads.head",
}


def on_meta(name: str, classes: int | None = None) -> tuple[nn.Module, tuple[int, int, int]]:
    side = 299 if name == "inception_v3" else 224
    shape = (3, side, side)
    return build(lambda: models.build(name, classes=classes, shape=shape)).model, shape


def shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in model.state_dict().items()}


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "vgg11"])
def test_torchvisions_last_layer(name: str) -> None:
    model, shape = on_meta(name)
    assert heads.find(model, shape).name == FAMILIES[name]
    assert shapes(heads.replace(model, 7, shape)) == shapes(on_meta(name, 7)[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_of_torchvision(name: str) -> None:
    """A replaced head makes the very model that torchvision builds for so many classes."""
    model, shape = on_meta(name)
    found = heads.find(model, shape)
    assert found.name == FAMILIES[name]
    auxiliary = {"googlenet": {"aux1.fc2", "aux2.fc2"}, "inception_v3": {"AuxLogits.fc"}}
    assert set(found.auxiliary) == auxiliary.get(name, set())
    assert shapes(heads.replace(model, 7, shape)) == shapes(on_meta(name, 7)[0])


def test_the_families_are_all_of_torchvision() -> None:
    """Every model is built by the code of a family above."""
    from torchvision import models as torchvision

    every = torchvision.list_models(module=torchvision)
    makers = {name: torchvision.get_model_builder(name).__module__ for name in every}
    assert {makers[name] for name in FAMILIES} == set(makers.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_layer_is_added_to_every_family(name: str) -> None:
    model, shape = on_meta(name)
    old = sum(value.numel() for value in model.state_dict().values())
    longer = heads.append(model, 7, shape)
    assert heads.find(longer, shape).classes == 7
    added = len(heads.find(longer, shape).names)
    assert sum(v.numel() for v in longer.state_dict().values()) == old + added * 7007


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_heads_learn_too(name: str) -> None:
    side = 299 if name == "inception_v3" else 96  # less is too little for its auxiliary head
    shape = (3, side, side)
    model = heads.replace(models.build(name, shape=shape), 3, shape)
    outputs = model.train()(torch.rand(2, *shape))
    labels = torch.tensor([0, 2])
    losses = [nn.functional.cross_entropy(output, labels) for output in outputs]
    torch.autograd.backward(losses)
    assert all(p.grad is not None for p in model.parameters())
