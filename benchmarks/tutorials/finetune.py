"""The transfer-learning script of the tutorials, done right: the backbone is really frozen.

    python -m benchmarks.tutorials.finetune FOLDER [--epochs 5]

requires_grad is off (so autograd skips its backward), its BatchNorms stay in eval mode, and only the
new head is in the optimizer. FOLDER has a subfolder per class.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, models, transforms

TRANSFORM = transforms.Compose(
    [
        transforms.Resize(256),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)


def frozen(classes: int, state: dict[str, Any] | None = None) -> nn.Module:
    """Return a resnet18 whose head is new and whose backbone is frozen; `state`: its weights."""
    net: nn.Module = models.resnet18(weights=None if state else "DEFAULT")
    if state:
        net.load_state_dict(state)
    for parameter in net.parameters():
        parameter.requires_grad = False
    net.fc = nn.Linear(512, classes)
    return net


def train(net: nn.Module, folder: str, epochs: int, *, batch_size: int = 8) -> nn.Module:
    """Train the head."""
    data = datasets.ImageFolder(folder, TRANSFORM)
    loader = DataLoader(data, batch_size=batch_size, shuffle=True)
    criterion = nn.CrossEntropyLoss()
    head = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(head, lr=0.001, momentum=0.9)
    net.eval()  # BatchNorm statistics stay; there is no dropout in the head
    for epoch in range(epochs):
        running_loss = 0.0
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = criterion(net(inputs), labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item() * len(inputs)
        print(f"epoch {epoch + 1}, loss {running_loss / len(data):.4f}")
    return net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--epochs", type=int, default=5)
    given = parser.parse_args()
    classes = len(datasets.ImageFolder(given.folder).classes)
    train(frozen(classes), given.folder, given.epochs)


if __name__ == "__main__":
    main()
