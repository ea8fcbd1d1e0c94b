"""The engine behind `train` and `finetune`: pytorch-ignite's Engine over our own batches.

    Settings         what to do: epochs, batch size, learning rate, seed, device
    Running          the epoch so far, for a progress bar
    Epoch            what one epoch measured
    share_cores()    keep small networks fast on a busy machine
    pick_device()    which device `auto` is
    check(...)       does the model take these images? before anything is written
    fit(...)         train a model; calls you back per batch and per epoch
    score(...)       loss and accuracy of a model on a split
    session          one training from its names to its run folder
    weights, frozen  somebody's weights into a model; what of it does not move
    screen           what a person sees of it
    folder, events   the run folder and its event file

ignite is imported here and only when `fit` runs: `--help` and other commands never pay for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ptools.data import Batches, ImageSet
from ptools.errors import PtoolsError, UsageError, cause

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Epoch", "Running", "Settings", "check", "fit", "pick_device", "score", "share_cores"]


@dataclass(frozen=True)
class Settings:
    """What to do. `lr` is the peak of the one-cycle schedule (Smith & Topin, arXiv:1708.07120).

    Label smoothing (Szegedy et al., arXiv:1512.00567) raised the worst of 30 seeds on the digits from
    97.2 to 98.6 %: so few validation images rank the epochs badly, and it keeps every epoch calmer.
    """

    epochs: int = 8
    batch_size: int = 64
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    seed: int = 0
    device: str = "cpu"


@dataclass
class Running:
    """The epoch so far. The sums stay on the device: reading `loss` is a CPU-GPU sync."""

    total: int  # batches of all epochs
    loss_sum: Tensor
    right_sum: Tensor
    done: int = 0  # batches so far, of `total`
    count: int = 0  # samples so far, of this epoch

    def reset(self) -> None:
        self.count = 0
        self.loss_sum.zero_()
        self.right_sum.zero_()

    @property
    def loss(self) -> float:
        return self.loss_sum.item() / max(self.count, 1)

    @property
    def accuracy(self) -> float:
        return self.right_sum.item() / max(self.count, 1)


@dataclass(frozen=True)
class Epoch:
    """What one epoch measured: accuracies in 0..1, losses the mean cross-entropy in nats.

    Both losses are without label smoothing, to be compared; what is minimised is with it.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    lr: float
    seconds: float


def share_cores() -> None:
    """Let the threads of torch sleep while they wait for each other. Call it before torch is imported.

    By default they spin, and where another program wants the cores as well, a step of a small network
    then takes ten times as long: each thread waits for one that is not scheduled. Alone on the machine
    sleeping costs nothing measurable. A user's own OMP_WAIT_POLICY is kept.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pick_device(name: str) -> str:
    """Return `name`, with `auto` decided. Raises UsageError where the device is not there."""
    import torch

    if name == "auto":
        accelerator = torch.accelerator.current_accelerator() if _accelerated() else None
        return accelerator.type if accelerator else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"--device {name} cannot be used here; 'ptools device' says why."
        ) from error
    return name


def _accelerated() -> bool:
    import torch

    return hasattr(torch, "accelerator") and torch.accelerator.is_available()


def score(model: nn.Module, batches: Batches) -> tuple[float, float]:
    """Return mean cross-entropy and accuracy of `model` over `batches`, in eval mode."""
    import torch
    from torch.nn.functional import cross_entropy

    model.eval()
    count, loss, right = 0, torch.zeros((), device=batches.labels.device), 0
    with torch.no_grad():  # inference_mode would mark buffers that a model keeps
        for images, labels in batches:
            logits = model(images)  # (B, classes)
            loss += cross_entropy(logits, labels, reduction="sum")
            right += int((logits.argmax(1) == labels).sum())
            count += len(labels)
    return loss.item() / max(count, 1), right / max(count, 1)


def fit(
    model: nn.Module,
    data: ImageSet,
    settings: Settings,
    *,
    on_batch: Callable[[Running], None] = lambda _: None,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> list[Epoch]:
    """Train `model` in place on `data.train` and return what every epoch measured.

    Raises PtoolsError when the loss is no longer finite.
    """
    from ignite.engine import Engine, Events

    statistics = data.statistics()
    train = Batches(
        data.train,
        statistics,
        batch_size=settings.batch_size,
        device=settings.device,
        shuffle_seed=settings.seed,
    )
    val = Batches(data.val, statistics, batch_size=1024, device=settings.device)
    step = _Step(model, settings, len(train) * settings.epochs)
    engine = Engine(step)
    engine.logger.disabled = True  # it repeats our errors on stderr
    history: list[Epoch] = []

    @engine.on(Events.EPOCH_STARTED)
    def begin(engine: Any) -> None:
        model.train()
        step.begin()

    @engine.on(Events.ITERATION_COMPLETED)
    def tell(engine: Any) -> None:
        on_batch(step.running)

    @engine.on(Events.EPOCH_COMPLETED)
    def measure(engine: Any) -> None:
        history.append(_measure(engine.state.epoch, step, val))
        on_epoch(history[-1])

    engine.run(train, max_epochs=settings.epochs)
    return history


def check(model: nn.Module, data: ImageSet, settings: Settings) -> None:
    """Try the model on two images, so that a misfit is one line before anything is written.

    It is run in eval mode and, on a copy, through a whole training step. Raises UsageError where
    `model` does not take the images, does not return (N, classes), or has nothing to train.
    """
    import copy

    import torch

    count = min(2, settings.batch_size)
    images = torch.zeros(count, *data.shape, device=settings.device)
    try:
        with torch.random.fork_rng(), torch.no_grad():
            logits = model.eval()(images)
        _check_shape(logits, (count, len(data.classes)))
        if not any(p.requires_grad for p in model.parameters()):
            raise UsageError("the model has no parameters to train; choose another --model.")
        with torch.random.fork_rng():
            copy.deepcopy(model).train()(images).sum().backward()
    except UsageError:
        raise
    except Exception as error:  # the model is the user's code
        size = "x".join(map(str, data.shape))
        raise UsageError(
            f"the model does not train on batches of {count} images of {size}: {cause(error)}"
        ) from error


def _check_shape(logits: object, wanted: tuple[int, int]) -> None:
    shape = tuple(getattr(logits, "shape", ()))
    if shape != wanted:
        got = shape or f"a {type(logits).__name__}"
        raise UsageError(
            f"for {wanted[0]} images the model returns {got}; {wanted[1]} classes need {wanted}."
        )


class _Step:
    """One optimiser step: Nesterov SGD on cross-entropy under a one-cycle learning rate."""

    def __init__(self, model: nn.Module, settings: Settings, total: int) -> None:
        import torch
        from torch.nn.functional import cross_entropy

        from ptools.checkpoints.freezing import trainable

        self.model, self.settings, self.cross_entropy = model, settings, cross_entropy
        self.optimizer = torch.optim.SGD(
            trainable(model),  # weight decay and momentum would move frozen ones
            lr=settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=True,
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=settings.lr, total_steps=total + 1, cycle_momentum=False
        )
        loss_sum, right_sum = torch.zeros(2, device=settings.device).unbind()
        self.running = Running(total, loss_sum, right_sum)
        self.begin()

    def begin(self) -> None:
        self.started = perf_counter()
        self.lr = float(self.schedule.get_last_lr()[0])
        self.running.reset()

    def __call__(self, engine: Any, batch: tuple[Tensor, Tensor]) -> None:
        images, labels = batch  # (B, C, H, W), (B,)
        logits = self.model(images)  # (B, classes)
        loss: Any = self.cross_entropy(
            logits, labels, label_smoothing=self.settings.label_smoothing
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        running = self.running
        logits = logits.detach()
        running.loss_sum += self.cross_entropy(logits, labels, reduction="sum")
        running.right_sum += (logits.argmax(1) == labels).sum()
        running.count += len(labels)
        running.done += 1


def _measure(number: int, step: _Step, val: Batches) -> Epoch:
    from math import isfinite

    running, lr = step.running, step.settings.lr
    if not isfinite(running.loss):
        raise PtoolsError(
            f"the loss became {running.loss} in epoch {number}; try --lr {lr / 10:g}, not {lr:g}."
        )
    loss, accuracy = running.loss, running.accuracy
    val_loss, val_accuracy = score(step.model, val)
    seconds = perf_counter() - step.started
    return Epoch(number, loss, accuracy, val_loss, val_accuracy, step.lr, seconds)
