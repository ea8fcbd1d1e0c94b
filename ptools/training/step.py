"""One step of a training: forward, loss, backward, and the optimiser every `accumulate` batches.

Step        what happens to one batch
Running     what the epoch has come to so far
autocast    mixed precision; outputs: the logits of whatever a model returns

Nothing here waits for the device: losses and logits stay on it until somebody reads what they come to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from ptools.training import losses, optim

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ptools.training.settings import Settings

__all__ = ["Running", "Step", "autocast", "outputs"]

AUXILIARY = 0.4  # of the heads that GoogLeNet and Inception have in training, as in torchvision


_WAITING = 2**22  # logits that wait to be counted: 16 MB


class _Batch(NamedTuple):
    """What one batch came to, still on the device."""

    step: int
    lr: float
    loss: Tensor  # what was minimised
    main: Tensor  # the same without auxiliary heads
    logits: Tensor  # (B, classes)
    labels: Tensor


@dataclass
class Running:
    """The epoch so far. Reading `loss` or `accuracy` is a CPU-GPU sync.

    Batches wait to be counted together: on a small network counting takes a 20th of its step. Whenever
    that is, the sums are the same to the bit: each batch has its own number, and they are added in order.
    """

    total: int  # batches of all epochs
    each: losses.Loss | None = None  # of logits and labels: (B,); None: what was minimised is shown
    done: int = 0  # batches so far, of `total`
    count: int = 0  # samples so far, of this epoch
    loss_sum: float = 0.0
    right_sum: int = 0
    waiting: list[_Batch] = field(default_factory=list)
    unseen: int = 0  # batches since the last look for losses that are not finite
    bad: tuple[int, float, float] | None = None  # step, lr, loss of the first that is not

    def reset(self) -> None:
        self.settle()
        self.count, self.loss_sum, self.right_sum = 0, 0.0, 0

    @property
    def loss(self) -> float:
        self.settle()
        return self.loss_sum / max(self.count, 1)

    @property
    def accuracy(self) -> float:
        self.settle()
        return self.right_sum / max(self.count, 1)

    def add(self, batch: _Batch) -> None:
        self.waiting.append(batch)
        self.count += len(batch.labels)
        self.done += 1
        self.unseen += 1
        if len(self.waiting) * batch.logits.numel() > _WAITING:
            self.settle()

    def settle(self) -> None:
        """Count the batches that wait."""
        import torch

        waiting, self.waiting = self.waiting, []
        if not waiting:
            return
        logits = torch.cat([batch.logits for batch in waiting])
        labels = torch.cat([batch.labels for batch in waiting])
        self.right_sum += int((logits.argmax(1) == labels).count_nonzero())
        minimised = torch.stack([batch.loss for batch in waiting]).tolist()
        if self.each is None:
            means = torch.stack([batch.main for batch in waiting]).tolist()
            sums = [mean * len(b.labels) for mean, b in zip(means, waiting, strict=True)]
        else:
            values = iter(self.each(logits, labels).tolist())
            sums = [sum(islice(values, len(batch.labels))) for batch in waiting]
        for batch, loss, shown in zip(waiting, minimised, sums, strict=True):
            self.loss_sum += shown
            if self.bad is None and not isfinite(loss):
                self.bad = batch.step, batch.lr, loss


def autocast(settings: Settings) -> Any:
    """Return the context of mixed precision, one for all steps: making it anew costs 10 us."""
    import torch

    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
    if settings.amp not in kinds:
        return nullcontext()
    return torch.autocast(torch.device(settings.device).type, kinds[settings.amp])


def outputs(found: Any) -> tuple[Tensor, list[Tensor]]:
    """Return the logits of a model and those of its auxiliary heads, as it has them in training."""
    if not isinstance(found, tuple):
        return found, []
    import torch

    return found[0], [other for other in found[1:] if torch.is_tensor(other)]


class Step:
    """What ignite's Engine calls per batch; `model` may be wrapped, compiled or a part of another.

    `step` counts the optimiser's steps, `lr` is that of the last one.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: Settings,
        *,
        batches: int,  # per epoch
        class_weights: Tensor | None = None,
        groups: Sequence[dict[str, Any]] | None = None,
    ) -> None:
        self.model, self.settings, self.batches = model, settings, batches
        self.optimizer = optim.optimizer(model, settings, groups)
        self.bare_step = optim.bare(self.optimizer)
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        per_epoch = -(-batches // settings.accumulate)
        self.schedule = optim.Schedule(
            settings.schedule, total=per_epoch * settings.epochs, per_epoch=per_epoch
        )
        self.casting, self.scaler = autocast(settings), _scaler(settings)
        self.objective = losses.objective(
            settings.loss, smoothing=settings.label_smoothing, weights=class_weights
        )
        changed = settings.label_smoothing or class_weights is not None
        each = losses.each(settings.loss) if changed else None
        self.running = Running(batches * settings.epochs, each)
        self.step, self.batch, self.lr = 0, 0, 0.0
        self.losses: list[float] = []  # that the plateau looks at
        self.lr_now()

    def lr_now(self) -> float:
        """Set and return the learning rate of the coming step."""
        self.lr = self.settings.lr * self.schedule.factor(self.step, self.losses)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * group["factor"]
        return self.lr

    @property
    def at_a_step(self) -> bool:
        """Whether the last batch ended with a step of the optimiser: no gradients are waiting."""
        return self.batch % self.settings.accumulate == 0 or self.batch == self.batches

    def __call__(self, engine: Any, batch: tuple[Tensor, Tensor]) -> None:
        images, labels = batch  # (B, C, H, W), (B,)
        self.batch += 1
        stepping = self.at_a_step
        with nullcontext() if stepping else self._apart():
            with self.casting:
                found = self.model(images)
            logits, others = outputs(found)
            logits = logits.float()  # (B, classes)
            main = loss = self.objective(logits, labels)
            for other in others:
                loss = loss + AUXILIARY * self.objective(other.float(), labels)
            self._backward(loss)
        if stepping:
            self._move()
        whole = loss.detach()
        self.running.add(
            _Batch(
                self.step,
                self.lr,
                whole,
                main.detach() if others else whole,
                logits.detach(),
                labels,
            )
        )

    def _backward(self, loss: Tensor) -> None:
        if self.settings.accumulate > 1:
            first = (self.batch - 1) // self.settings.accumulate * self.settings.accumulate
            loss = loss / min(self.settings.accumulate, self.batches - first)
        (self.scaler.scale(loss) if self.scaler else loss).backward()

    def _move(self) -> None:
        """Let the optimiser step, at the learning rate of this step."""
        import torch

        self.lr_now()
        if self.scaler:
            self.scaler.unscale_(self.optimizer)
        if self.settings.grad_clip:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.grad_clip)
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.bare_step()
        for parameter in self.parameters:  # as zero_grad does, in a tenth of its time
            parameter.grad = None
        self.step += 1

    def _apart(self) -> Any:
        """Return the context in which processes do not exchange gradients yet."""
        apart: Callable[[], Any] | None = getattr(self.model, "no_sync", None)
        return apart() if apart else nullcontext()

    def first_bad(self) -> tuple[int, float, float] | None:
        """Return (step, lr, loss) of the first loss since the last look that is not finite."""
        self.running.settle()
        self.running.unseen = 0
        return self.running.bad


def _scaler(settings: Settings) -> Any:
    import torch

    if settings.amp != "fp16":
        return None
    return torch.amp.GradScaler(torch.device(settings.device).type)
