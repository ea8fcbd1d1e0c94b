"""MobileNet v1 as it was published, and a new network of its first blocks: see docs/partial-load.md.

`python examples/mobilenet.py` saves the old network as its authors did: wrapped in DataParallel, nested
in a dict, and from a time when BatchNorm did not count its batches. 137 tensors.
"""

import torch
from torch import nn


def conv(i, o, stride):
    return nn.Sequential(
        nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True)
    )


def separable(i, o, stride):
    return nn.Sequential(
        nn.Conv2d(i, i, 3, stride, 1, groups=i, bias=False),
        nn.BatchNorm2d(i),
        nn.ReLU(inplace=True),
        nn.Conv2d(i, o, 1, bias=False),
        nn.BatchNorm2d(o),
        nn.ReLU(inplace=True),
    )


class MobileNet(nn.Module):
    def __init__(self, classes=1000):
        super().__init__()
        self.model = nn.Sequential(
            conv(3, 32, 2),
            separable(32, 64, 1),
            separable(64, 128, 2),
            separable(128, 128, 1),
            separable(128, 256, 2),
            separable(256, 256, 1),
            separable(256, 512, 2),
            *(separable(512, 512, 1) for _ in range(5)),
            separable(512, 1024, 2),
            separable(1024, 1024, 1),
            nn.AdaptiveAvgPool2d(1),
        )
        self.fc = nn.Linear(1024, classes)

    def forward(self, x):
        return self.fc(self.model(x).flatten(1))


class Landmarks(nn.Module):
    """The first seven blocks, each an attribute, and a head of our own behind them."""

    def __init__(self, points=68):
        super().__init__()
        self.conv1 = conv(3, 32, 2)
        self.conv2 = separable(32, 64, 1)
        self.conv3 = separable(64, 128, 2)
        self.conv4 = separable(128, 128, 1)
        self.conv5 = separable(128, 256, 2)
        self.conv6 = separable(256, 256, 1)
        self.conv7 = separable(256, 512, 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(512, 2 * points)

    def forward(self, x):
        for block in (
            self.conv1,
            self.conv2,
            self.conv3,
            self.conv4,
            self.conv5,
            self.conv6,
            self.conv7,
        ):
            x = block(x)
        return self.head(self.pool(x).flatten(1))


def save(path="mobilenet.tar"):
    """Save a network with weights and statistics of its own."""
    torch.manual_seed(1)
    net = MobileNet()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
    state = nn.DataParallel(net).state_dict()
    state = {key: value for key, value in state.items() if "num_batches" not in key}
    torch.save({"epoch": 90, "best_prec1": 69.5, "state_dict": state}, path)


if __name__ == "__main__":
    save()
