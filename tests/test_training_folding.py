"""BatchNorm as a part of the convolution before it: where it may be, and that nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from ptools import models
from ptools.models import heads
from ptools.training.folding import folded
from ptools.training.tail import Tail, features, tail


def measured(net: nn.Module) -> nn.Module:
    """Give every BatchNorm statistics, as if it had been trained."""
    draw = torch.Generator().manual_seed(7)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            for tensor, low, high in (
                (module.running_mean, -0.3, 0.3), (module.running_var, 0.5, 2.0),
                (module.weight, 0.5, 1.5), (module.bias, -0.3, 0.3),
            ):  # fmt: skip
                if tensor is not None:
                    tensor.data.uniform_(low, high, generator=draw)
    return net.eval()


def norms(net: nn.Module) -> int:
    """Return how many BatchNorm are asked for an image."""
    asked: list[nn.Module] = []
    hooks = [
        module.register_forward_hook(lambda norm, *_: asked.append(norm))
        for module in net.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    with torch.no_grad():
        net(torch.rand(1, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    return len(asked)


@pytest.mark.parametrize(
    ("model", "left"), [("resnet18", 0), ("mobilenet_v2", 0), ("densenet121", 62), ("cnn-bn", 0)]
)
def test_the_features_are_the_same_and_the_network_is_untouched(model: str, left: int) -> None:
    """In DenseNet half of the BatchNorm stand before their convolution, behind a concatenation."""
    net = measured(models.build(model, classes=10, shape=(3, 32, 32)))
    net.to(memory_format=torch.channels_last)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    end = tail(net, heads.find(net, (3, 32, 32)).name)
    images = torch.rand(5, 3, 32, 32)
    twin = folded(net, end, images[:1])
    with torch.no_grad():
        one, other = features(net, end)(images), features(twin, end)(images)
    assert twin is not net
    assert torch.allclose(one, other, rtol=1e-4, atol=1e-5 * float(one.abs().max()))
    assert norms(twin) == left < norms(net)
    assert all(value.equal(before[key]) for key, value in net.state_dict().items())
    assert twin.get_submodule(end.names[-1]) is net.get_submodule(end.names[-1])


def test_folded_weights_have_the_type_of_mixed_precision() -> None:
    net = measured(Net())
    images = torch.rand(4, 3, 32, 32)
    twin = folded(net, Tail(("fc",)), images[:1], torch.bfloat16)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        one, other = features(net, Tail(("fc",)))(images), features(twin, Tail(("fc",)))(images)
    assert twin.get_parameter("conv.weight").dtype == torch.bfloat16
    assert net.get_parameter("conv.weight").dtype == torch.float32
    assert torch.allclose(one.float(), other.float(), rtol=0.03, atol=0.03)


class Net(nn.Module):
    """A convolution, its BatchNorm, a layer."""

    def __init__(self, **norm: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4, **norm)
        self.fc = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        out: Tensor = self.fc(x.relu().mean((2, 3)))
        return out

    def body(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn(self.conv(x))
        return out


class Branches(Net):
    """Goes two ways, by the values of its input: no graph says that."""

    def body(self, x: Tensor) -> Tensor:
        return super().body(x) if x.mean() > 0 else super().body(-x)


class Residual(Net):
    """The outputs of the convolution are asked for twice."""

    def body(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        out: Tensor = self.bn(x) + x
        return out


class Shared(Net):
    """The convolution runs twice, the BatchNorm behind one of these."""

    def body(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn(self.conv(x)) + self.conv(x.flip(3))
        return out


class Counts(Net):
    """Is another function each time that it is called."""

    calls = 0

    def body(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().body(x) * self.calls


def hooked() -> nn.Module:
    net = Net()
    net.bn.register_forward_hook(lambda _, __, out: out + 1)
    return net


def normalised() -> nn.Module:
    net = Net()
    parametrizations.weight_norm(net.conv)
    return net


@pytest.mark.parametrize(
    "make",
    [
        Branches, Residual, Shared, Counts, hooked, normalised,
        lambda: Net(track_running_stats=False),
    ],
    ids=["branches", "residual", "shared", "counts", "hooked", "normalised", "no statistics"],
)  # fmt: skip
def test_what_is_not_folded(make: Any) -> None:
    net = measured(make())
    assert folded(net, Tail(("fc",)), torch.rand(1, 3, 32, 32)) is net


def test_a_norm_that_measures_is_not_folded() -> None:
    net = measured(Net())
    net.get_submodule("bn").train()
    assert folded(net, Tail(("fc",)), torch.rand(1, 3, 32, 32)) is net


def test_a_tail_of_its_author_is_still_called() -> None:
    class Head(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(2 * x)

    net = measured(Net())
    net.fc = Head(4, 10)
    images = torch.rand(3, 3, 32, 32)
    twin = folded(net, Tail(("fc",)), images[:1])
    assert twin is not net
    with torch.no_grad():
        assert torch.allclose(twin(images), net(images), atol=1e-5)
