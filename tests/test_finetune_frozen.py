"""ptools finetune: a frozen backbone, features that are computed once, what trains when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ptools.checkpoints.freezing import trainable
from ptools.models import heads
from ptools.testing import Run
from ptools.training import Epoch, Running, Settings, frozen, tail
from ptools.training.session import Session, prepare
from ptools.training.tail import NotProven, Tail
from ptools_plugins.finetune import Finetuned, finetune

SHAPE = (1, 8, 8)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def kept(done: Finetuned) -> dict[str, Tensor]:
    path = Path(done.run.folder) / "best.pth"
    state: dict[str, Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return state


def backbone(session: Session) -> list[str]:
    """Freeze all but the tail; return its names."""
    end = tail.tail(session.net, heads.find(session.net, session.images.shape).name)
    frozen.freeze(session.net, patterns=["backbone"], tail=end.names)
    return list(end.names)


# -- features ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["cnn-bn", "convnet"])
def test_the_head_is_that_of_a_loop_that_computes_everything(model: str) -> None:
    """With BatchNorm, and with a Dropout before the last layer; momentum, schedule and shuffling too."""
    options: dict[str, Any] = {"epochs": 3, "amp": "off", "seed": 4, "lr": 0.05}
    done = finetune(model=model, weights="none", freeze=["backbone"], out=Path("once"), **options)
    assert done.plan.views == 1
    session = prepare("digits", model, Settings.chosen(**options), head="replace")
    names = backbone(session)
    run = session.run(out=Path("always"))
    one, other = kept(done), torch.load("always/best.pth", weights_only=True)["state_dict"]
    head = [key for key in one if key.startswith(f"{names[-1]}.")]
    assert len(head) == 2
    for key in one:
        assert torch.allclose(one[key], other[key], atol=1e-5 if key in head else 0, rtol=0), key
    assert [e.accuracy for e in done.run.epochs] == pytest.approx([e.accuracy for e in run.epochs])
    assert done.run.test_accuracy == run.test_accuracy


def test_the_backbone_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as many epochs do not run it once more; the kept weights are those of the whole network."""
    calls: list[int] = []
    run = nn.Conv2d.forward

    def counted(self: nn.Conv2d, images: Tensor) -> Tensor:
        calls.append(len(images))
        return run(self, images)

    monkeypatch.setattr(nn.Conv2d, "forward", counted)
    counts = []
    for epochs in (2, 4):
        calls.clear()
        done = finetune(model="cnn", weights="none", freeze=["backbone"], epochs=epochs)
        counts.append(sum(calls))
    assert counts[0] == counts[1]
    assert len(kept(done)) == 10


def test_a_damaged_picture_is_told_and_left_out(ptools: Run) -> None:
    dice = np.random.default_rng(0)
    for name in ("a", "b"):
        Path("x", name).mkdir(parents=True)
        for index in range(6):
            pixels = dice.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(f"x/{name}/{index}.png")
    whole = bytearray(Path("x/a/2.png").read_bytes())
    whole[60:400] = bytes(340)  # its head and its end are there
    Path("x/a/2.png").write_bytes(whole)
    done = ptools(
        *(
            "finetune",
            "--model",
            "cnn",
            "--weights",
            "none",
            "--freeze",
            "backbone",
            "--out",
            "run",
        ),
        *("--data", "x", "--cache", "none", "--val", "0", "--epochs", "2", "--batch-size", "4"),
    )
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count("left out: x/a/2.png: ") == 1, done.stderr


def test_views_are_augmentations_that_take_turns() -> None:
    import ptools.training.features as room

    session = prepare("digits", "cnn", Settings.chosen(augment="flip-crop", epochs=1))
    end = Tail(tuple(backbone(session)))
    train, _, _ = room.parts(session, end, views=2, tell=lambda *_: None)
    first, second, third = (torch.cat([x for x, _ in train.epoch(number)]) for number in (1, 2, 3))
    assert first.shape == (len(session.images.train), 64)
    assert not first.sort(0).values.allclose(second.sort(0).values)
    assert first.sort(0).values.allclose(third.sort(0).values)
    labels = [torch.cat([y for _, y in train.epoch(number)]) for number in (1, 3)]
    assert not labels[0].equal(labels[1])


def test_augmentation_without_views_computes_everything_and_says_so(ptools: Run) -> None:
    done = ptools("finetune", "--model", "cnn", "--weights", "none", "--freeze", "backbone", "--augment",
                  "flip", "--epochs", "1", "--json")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "--views 5 caches 5" in done.stderr
    assert done.document["finetune"]["views"] == 0
    done = ptools("finetune", "--model", "cnn", "--weights", "none", "--freeze", "backbone", "--augment",
                  "flip", "--views", "2", "--epochs", "1", "--json")  # fmt: skip
    assert done.document["finetune"]["views"] == 2
    assert "2 views of each" in done.stderr


# -- what is no backbone and tail --------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8))
        self.fc = nn.Linear(8, 10)

    def features(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.stem(x).relu().mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.fc(self.features(x)))


class After(Net):
    def forward(self, x: Tensor) -> Tensor:
        return torch.log_softmax(super().forward(x), 1)


class Random(Net):
    def features(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(super().features(x), training=self.training)


class Coupled(Net):
    def features(self, x: Tensor) -> Tensor:
        y = super().features(x)
        return y - y.mean(0)


class Twice(Net):
    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x)
        return torch.as_tensor(self.fc(y) + 0 * self.fc(2 * y))


class Measures(Net):
    """It counts its calls while it is trained."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def features(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls.add_(1)
        return super().features(x)


class Root(Net):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def features(self, x: Tensor) -> Tensor:
        return super().features(x) * self.scale


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (Net, ""),
        (After, "something is done to the output of fc"),
        (Random, "random, or differs in train mode"),
        (Coupled, "depend on the others"),
        (Twice, "not called once"),
        (Measures, "calls changes"),
        (Root, ""),
    ],
)
def test_features_are_cached_only_where_that_is_exact(kind: type[Net], says: str) -> None:
    model = kind()
    frozen.freeze(model, patterns=["backbone"], tail=["fc"])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    images = torch.rand(3, *SHAPE)
    if says:
        with pytest.raises(NotProven, match=says):
            tail.proven(model, Tail(("fc",)), images)
    else:
        assert tail.proven(model, Tail(("fc",)), images) == Tail(("fc",))
    assert all(value.equal(before[key]) for key, value in model.state_dict().items())
    assert model.training


def test_a_part_that_trains_is_no_backbone() -> None:
    model = Net()
    frozen.freeze(model, patterns=["stem.0"])
    with pytest.raises(NotProven, match=r"stem\.1 is not frozen"):
        tail.proven(model, Tail(("fc",)), torch.rand(2, *SHAPE))


FAMILIES = {
    "resnet18": ("fc",),
    "vgg11": ("classifier.5", "classifier.6"),
    "squeezenet1_1": ("classifier.0", "classifier.1", "classifier.2", "classifier.3"),
    "mobilenet_v3_small": ("classifier.2", "classifier.3"),
    "convnext_tiny": ("classifier.2",),
    "densenet121": ("classifier",),
    "swin_t": ("head",),
    "googlenet": ("fc",),
    "shufflenet_v2_x0_5": ("fc",),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_the_tail_of_torchvisions_families(name: str) -> None:
    from ptools import models

    shape = (3, 64, 64)
    model = models.build(name, classes=3, shape=shape)
    end = tail.tail(model, heads.find(model, shape).name)
    assert end.names == FAMILIES[name]
    frozen.freeze(model, patterns=["backbone"], tail=end.names)
    found = tail.proven(model, end, torch.rand(2, *shape))
    assert found.flat == (name == "squeezenet1_1")
    assert {id(p) for p in trainable(model)} == {id(p) for p in found.module(model).parameters()}


# -- what is frozen ----------------------------------------------------------------------------------


def test_frozen_means_eval_mode_with_all_that_is_inside() -> None:
    model = nn.Sequential(
        nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout()),
        nn.Dropout(),
        nn.Linear(4, 2),
    )
    frozen.freeze(model, patterns=["0"])
    model.train()
    assert [m.training for m in (model[0][1], model[0][2], model[1], model[2])] == [  # type: ignore[index]
        False, False, True, True
    ]  # fmt: skip
    frozen.thaw(model, ["0.0.weight"], ["0"])
    assert model[0][2].training  # type: ignore[index]
    assert model[0][0].weight.requires_grad  # type: ignore[index]
    assert not model[0][0].bias.requires_grad  # type: ignore[index]


def test_rates_of_backbone_and_head() -> None:
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    seen: list[list[tuple[int, float]]] = []
    hook = register_optimizer_step_pre_hook(
        lambda optimizer, *_: seen.append(
            [(sum(p.numel() for p in g["params"]), g["lr"]) for g in optimizer.param_groups]
        )
    )
    try:
        finetune(model="cnn", weights="none", epochs=1, lr=0.02, lr_backbone=0.005,
                 schedule="none", batch_size=1024)  # fmt: skip
    finally:
        hook.remove()
    assert [count for count, _ in seen[0]] == [650, 81_888]
    assert [rate for _, rate in seen[0]] == pytest.approx([0.02, 0.005])


# -- all of it, from an epoch on ----------------------------------------------------------------------


def test_what_was_frozen_trains_from_an_epoch_on() -> None:
    """Until then it is no part of the optimizer, and stays as it was to the bit."""
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    counts: list[list[int]] = []
    hook = register_optimizer_step_pre_hook(
        lambda optimizer, *_: counts.append([len(g["params"]) for g in optimizer.param_groups])
    )
    states: list[dict[str, Tensor]] = []

    def watch(now: Any) -> None:
        if isinstance(now, Epoch):
            states.append(torch.load("run/last.ckpt", weights_only=True)["state_dict"])

    try:
        done = finetune(model="cnn-bn", weights="none", freeze=["backbone"], unfreeze_at=3, epochs=3,
                        out=Path("run"), watch=watch)  # fmt: skip
    finally:
        hook.remove()
    assert done.plan.views == 1
    assert counts[0] == [2]
    assert counts[-1] == [2, 11]
    first, end = states[0], kept(done)
    still = [key for key in first if not key.startswith("15.")]
    assert len(still) == 20
    assert [e.epoch for e in done.run.epochs] == [1, 2, 3]
    last = torch.load("run/last.ckpt", weights_only=True)["state_dict"]
    assert all(states[1][key].equal(first[key]) for key in still)
    assert not any(last[key].equal(first[key]) for key in still)
    assert set(end) == set(last)


@pytest.mark.parametrize("options", [
    {"freeze": ["backbone"]},
    {"freeze": ["backbone"], "augment": "flip", "views": 2},
    {"freeze": ["backbone"], "unfreeze_at": 3, "lr_backbone": 0.001},
    {"freeze": ["0", "1"], "lr_backbone": 0.001},
])  # fmt: skip
@pytest.mark.parametrize(
    "after", [2, pytest.param(1, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
def test_an_interrupted_run_goes_on_to_the_same_weights(
    options: dict[str, Any], after: int
) -> None:
    """Stopped in the middle of an epoch, before and after everything trains."""
    import os
    import signal

    from ptools.training.resuming import resume

    common: dict[str, Any] = {
        "model": "cnn-bn",
        "weights": "none",
        "epochs": 4,
        "amp": "off",
        **options,
    }
    whole = finetune(**common, out=Path("whole"))
    batches = 20  # of 64 of the digits

    def stop(now: Any) -> None:
        if isinstance(now, Running) and now.done == after * batches + 7:
            os.kill(os.getpid(), signal.SIGTERM)

    cut = finetune(**common, out=Path("cut"), watch=stop)
    assert cut.run.interrupted
    assert len(cut.run.epochs) == after
    run = resume(Path("cut")).run()
    assert not run.interrupted
    wanted, found = kept(whole), torch.load("cut/best.pth", weights_only=True)["state_dict"]
    assert all(found[key].equal(wanted[key]) for key in wanted)
    assert run.test_accuracy == whole.run.test_accuracy


def test_the_kept_weights_are_those_of_their_epoch_before_and_after_the_thaw() -> None:
    """What is frozen is copied once; what moves is copied each time, and from the thaw on that is all."""
    from ptools.training.folder import RunFolder

    Path("kept").mkdir()
    folder = RunFolder(Path("kept"), {}, {})
    weights = {"body": torch.zeros(3), "head": torch.zeros(2)}
    wanted = []
    for number, still in enumerate([{"body"}, {"body"}, set(), set()], start=1):
        weights["head"] += 1
        if not still:
            weights["body"] += 10
        folder.keep(Epoch(number, 1.0, 0.5, 1.0, number / 10, 0.1, 1.0), weights, still)
        assert folder.waiting is not None
        wanted.append({key: value.clone() for key, value in weights.items()})
        held = folder.waiting[1]
        if number == 1:
            first = held["body"]
        assert (held["body"] is first) == bool(still)
        weights["head"] += 0.5  # the next epoch begins
        assert all(held[key].equal(wanted[-1][key]) for key in held)
    found = folder.best_weights()
    assert all(found[key].equal(wanted[-1][key]) for key in weights)
    folder.close()


REFUSED = [
    (["--freeze", "none", "--unfreeze-at", "2"], "needs something that is frozen"),
    (["--freeze", "backbone", "--unfreeze-at", "9"], "is after the last of 8 epochs"),
    (["--freeze", "backbone", "--views", "2"], "--augment flip-crop"),
    (["--augment", "flip", "--views", "2"], "add --freeze backbone"),
    (["--freeze", "none", "--freeze", "0"], "leave the others out"),
    (["--freeze", "backbone", "--lr-backbone", "0.1"], "--lr-backbone has no effect"),
    (["--lr", "find", "--lr-backbone", "0.1"], "needs an --lr that is known"),
    (["--weights", "DEFAULT"], "torchvision has no weights for 'cnn'"),
    (
        ["--weights", "nowhere.pth"],
        "nowhere.pth does not exist; --weights is a file, DEFAULT, or none",
    ),
]


def test_refusals_are_one_line_and_leave_nothing(ptools: Run) -> None:
    for args, says in REFUSED:
        done = ptools("finetune", "--model", "cnn", "--weights", "none", *args)
        assert (done.exit_code, done.stdout) == (2, ""), done.stderr
        assert says in done.stderr.splitlines()[-1], done.stderr
    for args, says in (
        ([], "name a run to start from, or --model"),
        (["--model", "cnn"], "--weights DEFAULT, FILE or none"),
        ([".", "--model", "cnn"], "leave out --model"),
    ):
        done = ptools("finetune", *args)
        assert (done.exit_code, done.stdout) == (2, "")
        assert says in done.stderr.splitlines()[-1], done.stderr
    assert list(Path.cwd().iterdir()) == []
