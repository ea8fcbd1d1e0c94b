"""The CIFAR-10 script of the tutorials: CIFAR10, ToTensor, DataLoader of 64, SGD 0.01.

python -m benchmarks.tutorials.cnn [--data-dir data] [--epochs 3]
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms


class Net(nn.Module):
    """Three 5x5 convolutions, each followed by MaxPool 2, and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(3, 32, 5, 1, 2),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 5, 1, 2),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 5, 1, 2),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, 64),
            nn.Linear(64, 10),
        )

    def forward(self, x: torch.Tensor) -> Any:
        return self.model(x)


def train(train_data: Any, epochs: int, net: nn.Module | None = None) -> nn.Module:
    """Train, printing the loss every 100 steps."""
    train_dataloader = DataLoader(train_data, batch_size=64)
    net = net or Net()
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-2)
    total_train_step = 0
    for _ in range(epochs):
        net.train()
        for imgs, targets in train_dataloader:
            outputs = net(imgs)
            loss = loss_fn(outputs, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total_train_step += 1
            if total_train_step % 100 == 0:
                print(f"step {total_train_step}, loss {loss.item():.4f}")
    return net


def evaluate(net: nn.Module, test_data: Any) -> float:
    """Return the accuracy in 0..1."""
    test_dataloader = DataLoader(test_data, batch_size=64)
    net.eval()
    right = 0
    with torch.no_grad():
        for imgs, targets in test_dataloader:
            right += int((net(imgs).argmax(1) == targets).sum())
    return right / len(test_data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--epochs", type=int, default=3)
    given = parser.parse_args()
    to_tensor = transforms.ToTensor()
    train_data, test_data = (
        datasets.CIFAR10(given.data_dir, train=part, transform=to_tensor, download=True)
        for part in (True, False)
    )
    net = train(train_data, given.epochs)
    print(f"accuracy {evaluate(net, test_data):.2%}")


if __name__ == "__main__":
    main()
