"""The options of ptools train: each has its effect, and is what its documentation says."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptools import data
from ptools.errors import UsageError
from ptools.training import DataOptions, Settings, check, fit, losses, optim
from ptools.training.settings import parse
from ptools.training.step import Step
from ptools_plugins.train import train

pytestmark = pytest.mark.usefixtures("place")


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def batch(count: int = 12) -> tuple[Tensor, Tensor]:
    numbers = torch.Generator().manual_seed(1)
    images = torch.randn(count, 1, 8, 8, generator=numbers)
    return images, torch.randint(0, 10, (count,), generator=numbers)


def weights_after(settings: Settings, batches: list[tuple[Tensor, Tensor]], **more: Any) -> Tensor:
    """Return the weights after a Step over each of the batches, one epoch."""
    model = net().train()
    step = Step(model, settings, batches=len(batches), **more)
    for images, labels in batches:
        step(None, (images, labels))
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# -- recipes ---------------------------------------------------------------------------------------


def test_a_recipe_is_a_set_of_defaults_and_every_option_wins() -> None:
    fast, plain = Settings.chosen("fast"), Settings.chosen("plain")
    assert (fast.lr, fast.momentum, fast.nesterov, fast.schedule) == (0.05, 0.9, True, "onecycle")
    assert fast.normalise
    assert (plain.lr, plain.momentum, plain.schedule) == (0.01, 0.0, "step:5:0.1")
    assert (plain.batch_size, plain.weight_decay, plain.label_smoothing) == (64, 0.0, 0.0)
    assert (plain.normalise, plain.amp, plain.channels_last) == (False, "off", False)
    given, how = parse(
        {"recipe": "plain", "lr": 0.3, "momentum": 0.0, "weight_decay": 0.0, "epochs": None,
         "val": 0.25, "compile": False}
    )  # fmt: skip
    assert (given.lr, given.epochs, how.val, given.compile) == (0.3, 8, 0.25, False)
    zero, _ = parse({"weight_decay": 0.0, "momentum": 0.0, "label_smoothing": 0.0, "seed": 0})
    assert (zero.weight_decay, zero.momentum, zero.label_smoothing) == (0.0, 0.0, 0.0)
    assert not zero.nesterov
    adam = Settings.chosen("fast", optimizer="adam")
    assert (adam.lr, adam.momentum, adam.nesterov, adam.weight_decay) == (0.002, 0.9, False, 0.0)
    assert Settings.chosen("fast", loss="bce").label_smoothing == 0.0
    with pytest.raises(TypeError):
        parse({"learning_rate": 1})


def test_settings_survive_json() -> None:
    from dataclasses import asdict

    one = Settings.chosen("plain", optimizer="rmsprop", patience=3, grad_clip=0.5)
    assert Settings.of(json.loads(json.dumps(asdict(one)))) == one
    how = DataOptions(data_dir=Path("here"), size=(3, 4), limit=5)
    again = DataOptions.of(json.loads(json.dumps(how.document())))
    assert (again.data_dir, again.size, again.limit) == (Path("here").resolve(), (3, 4), 5)


def test_plain_is_not_normalised_and_fast_is() -> None:
    config = {}
    for recipe in ("fast", "plain"):
        train(model="mlp", recipe=recipe, epochs=1, out=Path(recipe))
        config[recipe] = tomllib.loads(Path(recipe, "config.toml").read_text())
    assert (config["plain"]["mean"], config["plain"]["std"]) == ([0.0], [1.0])
    assert config["fast"]["mean"] == data.load("digits").statistics()[0]


# -- optimisers, schedules, losses: those of torch -------------------------------------------------


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "rmsprop"])
def test_the_optimisers_are_those_of_torch(name: str) -> None:
    settings = Settings.chosen(
        "fast", optimizer=name, lr=0.01, weight_decay=0.02, schedule="none", label_smoothing=0.0
    )
    betas: dict[str, Any] = {"betas": (0.9, 0.999)}
    momentum: dict[str, Any] = {"momentum": 0.9, "nesterov": True}
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "sgd": (torch.optim.SGD, momentum), "adam": (torch.optim.Adam, betas),
        "adamw": (torch.optim.AdamW, betas), "rmsprop": (torch.optim.RMSprop, {}),
    }  # fmt: skip
    make, more = kinds[name]
    model = net()
    theirs = make(model.parameters(), lr=0.01, weight_decay=0.02, **more)
    batches = [batch(n) for n in (8, 12, 9)]
    for images, labels in batches:
        theirs.zero_grad()
        loss: Any = F.cross_entropy(model(images), labels)
        loss.backward()
        theirs.step()
    wanted = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert torch.allclose(weights_after(settings, batches), wanted, atol=1e-6)


@pytest.mark.parametrize("total", [1, 2, 3, 10, 160])
def test_one_cycle_is_that_of_torch(total: int) -> None:
    ours = optim.Schedule("onecycle", total=total, per_epoch=total)
    assert all(0 < ours.factor(step) <= 1 for step in range(total))
    if total < 4:
        return
    optimizer = torch.optim.SGD(net().parameters(), lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=total, cycle_momentum=False
    )
    for step in range(total):
        assert ours.factor(step) == pytest.approx(theirs.get_last_lr()[0], rel=1e-6)
        if step < total - 1:
            optimizer.step()
            theirs.step()


def test_the_other_schedules() -> None:
    step = optim.Schedule("step:2:0.1", total=60, per_epoch=10)
    assert [step.factor(s) for s in (0, 19, 20, 40)] == pytest.approx([1, 1, 0.1, 0.01])
    cosine = optim.Schedule("cosine", total=60, per_epoch=10)
    assert [cosine.factor(s) for s in (0, 30, 60)] == pytest.approx([1, 0.5, 0], abs=1e-9)
    assert optim.Schedule("none", total=60, per_epoch=10).factor(59) == 1
    plateau = optim.Schedule("plateau:2:0.5", total=60, per_epoch=10)
    optimizer = torch.optim.SGD(net().parameters(), lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2)
    seen: list[float] = []
    for loss in (3.0, 2.0, 2.0, 2.1, 2.2, 1.9, 1.9, 1.9, 1.9, 1.9):
        seen.append(loss)
        theirs.step(loss)
        assert plateau.factor(0, seen) == optimizer.param_groups[0]["lr"]
    assert plateau.factor(0, seen) == 0.25
    for text in ("often", "step", "step:0:0.1", "step:5:2", "plateau:x:0.1", "cosine:3"):
        with pytest.raises(UsageError, match="is no schedule"):
            optim.parse_schedule(text)


def test_the_losses_are_those_of_torch() -> None:
    logits = torch.randn(7, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.tensor([0, 1, 2, 3, 3, 3, 0])
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0])
    one_hot = F.one_hot(labels, 4).float()
    smooth = losses.objective("ce", smoothing=0.1)
    for count in (7, 5, 7):  # the last batch of an epoch is smaller
        found = smooth(logits[:count], labels[:count])
        wanted = F.cross_entropy(logits[:count], labels[:count], label_smoothing=0.1)
        assert torch.allclose(found, wanted)
        ours, theirs = (torch.autograd.grad(loss, logits)[0] for loss in (found, wanted))
        assert torch.allclose(ours, theirs, atol=1e-7)
    many = torch.randn(3, 2000, generator=torch.Generator().manual_seed(0))
    wanted = F.cross_entropy(many, labels[:3], label_smoothing=0.1)
    assert torch.allclose(smooth(many, labels[:3]), wanted)
    assert torch.equal(losses.plain("ce")(logits, labels), F.cross_entropy(logits, labels))
    weighted = losses.objective("ce", smoothing=0.1, weights=weight)(logits, labels)
    assert torch.allclose(
        weighted, F.cross_entropy(logits, labels, weight=weight, label_smoothing=0.1)
    )
    for name, torchs in (
        ("bce", F.binary_cross_entropy_with_logits), ("mse", F.mse_loss),
        ("l1", F.l1_loss), ("huber", F.huber_loss),
    ):  # fmt: skip
        found = losses.plain(name)(logits, labels)
        assert torch.allclose(found, torchs(logits, one_hot))
        assert torch.allclose(losses.each(name)(logits, labels).mean(), found)
        smoothed = losses.objective(name, smoothing=0.2)(logits, labels)
        assert torch.allclose(smoothed, torchs(logits, one_hot * 0.8 + 0.05))
        same = losses.objective(name, weights=torch.ones(4))(logits, labels)
        assert torch.allclose(same, found)
    assert losses.balanced([10, 30, 0]) == pytest.approx([2.0, 2 / 3, 0.0])


@pytest.mark.parametrize("loss", ["ce", "bce", "mse", "l1", "huber"])
def test_sums_are_the_same_whenever_they_are_counted(loss: str) -> None:
    """A run that goes on has counted at other batches than the one that was not interrupted."""
    batches = [batch(size) for size in (*range(50, 61), 5, 1)]
    found = []
    for every in (1, 3, 100):
        step = Step(net(), Settings.chosen(loss=loss, label_smoothing=0.1), batches=len(batches))
        for number, one in enumerate(batches, 1):
            step(None, one)
            if number % every == 0:
                step.running.settle()
        found.append((step.running.loss, step.running.accuracy))
    assert found[0] == found[1] == found[2]


def test_balanced_classes_weigh_the_same() -> None:
    """Of 60 images 50 are of one class: only with weights is the other learned as well."""
    images = torch.zeros(60, 1, 2, 2, dtype=torch.uint8)
    labels = torch.tensor([0] * 50 + [1] * 10)
    found = data.Split(images, labels)
    rare = data.ImageSet("rare", ("a", "b"), found, found, None)
    for how, share in (("none", 10 / 60), ("balanced", 0.5)):
        model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        fit(model, rare, Settings(epochs=60, class_weights=how, schedule="none", label_smoothing=0))
        assert model(torch.zeros(1, 1, 2, 2)).softmax(1)[0, 1].item() == pytest.approx(
            share, abs=0.03
        )


def test_accumulated_batches_step_as_one_does() -> None:
    """Also the group at an epoch's end, which is smaller: its mean is of its own batches."""
    images, labels = batch(20)
    parts = [(images[n : n + 4], labels[n : n + 4]) for n in range(0, 20, 4)]
    common: dict[str, Any] = {"schedule": "none", "lr": 0.1}
    small = weights_after(Settings(accumulate=2, **common), parts)
    joined = [(images[:8], labels[:8]), (images[8:16], labels[8:16]), (images[16:], labels[16:])]
    assert torch.allclose(small, weights_after(Settings(**common), joined), atol=1e-6)


def test_gradients_are_clipped() -> None:
    before = torch.cat([p.detach().flatten() for p in net().parameters()])
    common: dict[str, Any] = {"schedule": "none", "lr": 1.0, "momentum": 0.0, "nesterov": False,
                              "weight_decay": 0.0}  # fmt: skip
    moved = weights_after(Settings(grad_clip=0.01, **common), [batch()]) - before
    assert moved.norm().item() == pytest.approx(0.01, rel=1e-3)
    assert (weights_after(Settings(**common), [batch()]) - before).norm().item() > 0.1


def test_auxiliary_heads_count() -> None:
    """As GoogLeNet and Inception have them: 0.4 of the loss of each, in training only."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main, self.aux = nn.Linear(64, 10), nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Any:
            x = x.flatten(1)
            return (self.main(x), self.aux(x)) if self.training else self.main(x)

    model = Two()
    check(model, data.load("digits"), Settings())
    images, labels = batch()
    wanted = 0.4 * F.cross_entropy(model.aux(images.flatten(1)), labels, label_smoothing=0.1)
    (gradient,) = torch.autograd.grad(wanted, [model.aux.bias])
    step = Step(model.train(), Settings(accumulate=2), batches=2)
    step(None, (images, labels))
    assert model.aux.bias.grad is not None
    assert torch.allclose(model.aux.bias.grad * 2, gradient, atol=1e-6)
