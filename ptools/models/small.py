"""Small networks that every course builds, sized for any input."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def cnn(classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """Three 5x5 convolutions (32, 32, 64), each with MaxPool 2; Linear 64; Linear."""
    return _convolutions(classes, shape, norm=False)


def cnn_bn(classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """The cnn with BatchNorm and ReLU after every convolution."""
    return _convolutions(classes, shape, norm=True)


def _convolutions(classes: int, shape: tuple[int, int, int], *, norm: bool) -> nn.Module:
    from torch import nn

    channels, height, width = shape
    layers: list[nn.Module] = []
    for out in (32, 32, 64):
        layers.append(nn.Conv2d(channels, out, 5, padding=2, bias=not norm))
        if norm:
            layers += [nn.BatchNorm2d(out), nn.ReLU()]
        if min(height, width) >= 2:  # nothing is left to pool in an image smaller than 8 pixels
            layers.append(nn.MaxPool2d(2))
            height, width = height // 2, width // 2
        channels = out
    between = [nn.ReLU()] if norm else []
    layers += [
        nn.Flatten(),
        nn.Linear(channels * height * width, 64),
        *between,
        nn.Linear(64, classes),
    ]
    return nn.Sequential(*layers)


def mlp(classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """Linear layers 512, 256, 128, 64 and classes, with ReLU between them."""
    from torch import nn

    layers: list[nn.Module] = [nn.Flatten()]
    inside = prod(shape)
    for out in (512, 256, 128, 64):
        layers += [nn.Linear(inside, out), nn.ReLU()]
        inside = out
    return nn.Sequential(*layers, nn.Linear(inside, classes))
