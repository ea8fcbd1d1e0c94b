"""The MNIST script of the tutorials: MNIST, ToTensor, Normalize, DataLoader of 64, SGD 0.01.

python -m benchmarks.tutorials.mlp [--data-dir data] [--epochs 10]
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmarks.tutorials.cnn import evaluate

TRANSFORM = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])


class Net(nn.Module):
    """784-512-256-128-64-10 with ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.l1 = nn.Linear(784, 512)
        self.l2 = nn.Linear(512, 256)
        self.l3 = nn.Linear(256, 128)
        self.l4 = nn.Linear(128, 64)
        self.l5 = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.view(-1, 784)
        for layer in (self.l1, self.l2, self.l3, self.l4):
            x = functional.relu(layer(x))
        return torch.as_tensor(self.l5(x))


def train(train_data: Any, epochs: int, net: nn.Module | None = None) -> nn.Module:
    """Train, printing the mean loss of every 300 steps."""
    train_loader = DataLoader(train_data, shuffle=True, batch_size=64)
    net = net or Net()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.5)
    for epoch in range(epochs):
        running_loss = 0.0
        for batch_idx, (inputs, target) in enumerate(train_loader):
            optimizer.zero_grad()
            outputs = net(inputs)
            loss = criterion(outputs, target)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
            if batch_idx % 300 == 299:
                print(f"[{epoch + 1}, {batch_idx + 1:5d}] loss: {running_loss / 300:.3f}")
                running_loss = 0.0
    return net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--epochs", type=int, default=10)
    given = parser.parse_args()
    train_data, test_data = (
        datasets.MNIST(given.data_dir, train=part, transform=TRANSFORM, download=True)
        for part in (True, False)
    )
    net = train(train_data, given.epochs)
    print(f"accuracy {evaluate(net, test_data):.2%}")


if __name__ == "__main__":
    main()
