"""One step of a training: forward, loss, backward, and the optimiser every `accumulate` batches.

Nothing here waits for the device: sums and losses stay on it until somebody reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ptools.training import losses, optim

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ptools.training.settings import Settings

__all__ = ["Running", "Step", "autocast", "outputs"]

AUXILIARY = 0.4  # of the heads that GoogLeNet and Inception have in training, as in torchvision


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
        import torch

        self.model, self.settings, self.batches = model, settings, batches
        self.optimizer = optim.optimizer(model, settings, groups)
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        per_epoch = -(-batches // settings.accumulate)
        self.schedule = optim.Schedule(
            settings.schedule, total=per_epoch * settings.epochs, per_epoch=per_epoch
        )
        self.casting, self.scaler = autocast(settings), _scaler(settings)
        self.objective = losses.objective(
            settings.loss, smoothing=settings.label_smoothing, weights=class_weights
        )
        loss_sum, right_sum = torch.zeros(2, device=settings.device).unbind()
        self.running = Running(batches * settings.epochs, loss_sum, right_sum)
        self.step, self.batch, self.lr = 0, 0, 0.0
        self.losses: list[float] = []  # that the plateau looks at
        self.recent: list[tuple[int, float, Tensor]] = []  # step, lr, loss; not yet looked at
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
            loss, shown = self.objective(logits, labels)
            for other in others:
                loss = loss + AUXILIARY * self.objective(other.float(), labels)[0]
            self._backward(loss)
        if stepping:
            self._move()
        self._count(logits.detach(), labels, loss.detach(), shown.detach())

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
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1

    def _count(self, logits: Tensor, labels: Tensor, loss: Tensor, shown: Tensor) -> None:
        """Add to the running sums, in as few calls as there are."""
        running, count = self.running, len(labels)
        running.loss_sum.add_(shown, alpha=count)
        running.right_sum.add_((logits.argmax(1) == labels).count_nonzero())
        running.count += count
        running.done += 1
        self.recent.append((self.step, self.lr, loss))

    def _apart(self) -> Any:
        """Return the context in which processes do not exchange gradients yet."""
        apart: Callable[[], Any] | None = getattr(self.model, "no_sync", None)
        return apart() if apart else nullcontext()

    def first_bad(self) -> tuple[int, float, float] | None:
        """Return (step, lr, loss) of the first loss since the last look that is not finite."""
        from math import isfinite

        recent, self.recent = self.recent, []
        if isfinite(self.running.loss_sum.item()):  # the one sync: a nan stays in a sum
            return None
        for step, lr, loss in recent:
            if not isfinite(loss.item()):
                return step, lr, loss.item()
        return self.step, self.lr, self.running.loss_sum.item()


def _scaler(settings: Settings) -> Any:
    import torch

    if settings.amp != "fp16":
        return None
    return torch.amp.GradScaler(torch.device(settings.device).type)
