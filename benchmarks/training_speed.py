"""Images per CPU second of `ptools train`: beside the tutorials, beside the bare network.

cnn          the CIFAR-10 script; one fixed batch
mlp          the MNIST script; one fixed batch
overhead     a loop written by hand
checkpoint   what one within an epoch costs

On random images of those shapes: a step costs the same on all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.training_data import cifar10, mnist, random_set
from benchmarks.training_pairs import Pairs, Row, paired

_BATCH = 64
_NETS = """
from torch import nn
def tiny(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
def small(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 667), nn.ReLU(), nn.Linear(667, 10))
"""


def cnn(*, quick: bool) -> list[Row]:
    """Return the rows of the CIFAR-10 network, in bf16 where the CPU has it, and in fp32."""
    from torchvision import transforms

    from benchmarks.tutorials import cnn as tutorial

    shape, count = (3, 32, 32), 40 * _BATCH if quick else 200 * _BATCH
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        data = random_set(Path(folder, "site"), shape, count)
        pictures = cifar10(Path(folder), count, transforms.ToTensor())
        for amp in _precisions():
            others: dict[str, Callable[[], object]] = {
                "tutorial": partial(tutorial.train, pictures, 1),
                "fixed": _fixed("cnn", shape, count, amp=amp),
            }
            pairs = paired(data, "cnn", others, epochs=2 if quick else 4, amp=amp)
            rows += _both("cnn", amp, pairs, "1.35x" if amp == "off" else "2.2x", "95 %")
    return rows


def mlp(*, quick: bool) -> list[Row]:
    """Return the rows of the MNIST network, as the command chooses by itself, and in fp32."""
    from benchmarks.tutorials import mlp as tutorial

    shape, count = (1, 28, 28), 100 * _BATCH if quick else 938 * _BATCH
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        data = random_set(Path(folder, "site"), shape, count)
        digits = mnist(Path(folder), count, tutorial.TRANSFORM)
        for amp in _precisions():
            others: dict[str, Callable[[], object]] = {
                "tutorial": partial(tutorial.train, digits, 1),
                "fixed": _fixed("mlp", shape, count, amp=amp),
            }
            pairs = paired(data, "mlp", others, epochs=2 if quick else 4, amp=amp)
            rows += _both("mlp", amp, pairs, "3x", "90 %")
    return rows


def _precisions() -> list[str]:
    """Return bf16 where the CPU has it, and none."""
    from ptools.training.hardware import native_bf16

    return ["bf16", "off"] if native_bf16("cpu") else ["off"]


def _both(name: str, amp: str, pairs: Pairs, times: str, share: str) -> list[Row]:
    kind = f"{name}, {'fp32' if amp == 'off' else amp}"
    return [
        Row(f"{kind}, against the tutorial", f"{pairs.ratio('tutorial'):.2f}x", times),
        Row(f"{kind}, epoch against a fixed batch", f"{pairs.ratio('fixed'):.1%}", share),
    ]


def overhead(*, quick: bool) -> list[Row]:
    """Return what an iteration of the command costs beyond one of a loop written by hand."""
    shape, steps = (1, 8, 8), 300 if quick else 1000
    with tempfile.TemporaryDirectory() as folder:
        data = random_set(Path(folder, "site"), shape, steps * _BATCH)
        net = f"{_nets(folder)}:tiny"  # so that little else is measured
        pairs = paired(
            data, net, {"hand": _hand(data, net, shape, steps)}, epochs=5 if quick else 9
        )
    return [
        Row(
            "overhead over a hand-written loop",
            f"{pairs.longer('hand') / steps * 1e6:.0f} us",
            "50 us",
        )
    ]


def checkpoint(*, quick: bool) -> list[Row]:
    """Return what a checkpoint costs: an epoch with one after each step, less an epoch without."""
    steps, per_epoch = 50, []
    with tempfile.TemporaryDirectory() as folder:
        net = f"{_nets(folder)}:small"
        data = random_set(Path(folder, "site"), (1, 8, 8), steps * _BATCH)
        for every in (0.0, 1e9):
            pairs = paired(
                data, net, {}, epochs=3 if quick else 9, drawn=False, save_every=every
            )  # not drawn: as a save waits for the disk, there would be more of it
            per_epoch.append(min(pairs.command))  # two runs, not in turns: the least disturbed
    each = (per_epoch[0] - per_epoch[1]) / steps
    return [Row("one mid-epoch checkpoint, 50k parameters", f"{each * 1e3:.1f} ms", "3 ms")]


def _nets(folder: str) -> Path:
    file = Path(folder, "nets.py")
    file.write_text(_NETS)
    return file


def _fixed(name: str, shape: tuple[int, int, int], count: int, *, amp: str) -> Callable[[], None]:
    """Return as many steps as `count` images take, all on one batch: forward, backward, SGD."""
    import torch
    from torch.nn.functional import cross_entropy

    from ptools import models

    net = models.build(name, classes=10, shape=shape).train()
    images, labels = torch.rand(_BATCH, *shape), torch.randint(10, (_BATCH,))
    if name == "cnn":  # as the command has it
        net.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    optimizer = _sgd(
        net, lr=1e-9
    )  # learnt by heart, it would have gradients of denormal numbers: slow

    def work() -> None:
        for _ in range(-(-count // _BATCH)):
            with torch.autocast("cpu", torch.bfloat16, enabled=amp == "bf16"):
                logits = net(images)
            loss: Any = cross_entropy(logits.float(), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return work


def _hand(data: str, name: str, shape: tuple[int, int, int], steps: int) -> Callable[[], None]:
    """Return an epoch as one writes it by hand for the same training: the same recipe, no more."""
    import torch
    from torch.nn.functional import cross_entropy

    from ptools import data as datasets
    from ptools import models

    images = datasets.load(data, val=0)
    pixels, targets = images.train.pixels(torch.arange(steps * _BATCH)), images.train.labels
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in images.statistics())
    scale, shift = 1 / (255 * std), mean / std
    net = models.build(name, classes=10, shape=shape).train()
    optimizer = _sgd(net)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.05, total_steps=100 * steps, cycle_momentum=False
    )

    def work() -> None:
        loss_sum, right_sum = torch.zeros(()), torch.zeros(())
        for index in torch.split(torch.randperm(len(targets)), _BATCH):
            batch, labels = pixels[index].float().mul_(scale).sub_(shift), targets[index]
            logits = net(batch)
            loss: Any = cross_entropy(logits, labels, label_smoothing=0.1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            loss_sum += loss.detach()
            right_sum += (logits.argmax(1) == labels).sum()

    return work


def _sgd(net: Any, lr: float = 0.01) -> Any:
    import torch

    return torch.optim.SGD(
        net.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4, nesterov=True, fused=True
    )
