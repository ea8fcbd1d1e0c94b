"""What is minimised: cross-entropy, or a distance to the one-hot labels.

    ce     cross-entropy of the softmax                         targets: class numbers
    bce    binary cross-entropy of the sigmoid, per class       targets: one-hot
    mse, l1, huber    of the raw outputs                        targets: one-hot

A loss is a mean over the batch (and the classes, but for ce), as in torch.nn.functional.

objective(name, ...)   what is minimised: smoothed, weighted
plain(name)            the loss as it is shown: neither smoothed nor weighted; each(name): of every sample
scores(name, logits)   what the network says of each class
balanced(counts)       a weight per class
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["balanced", "each", "objective", "plain", "scores"]

Loss = Callable[["Tensor", "Tensor"], "Tensor"]

_TABLE = 1024  # classes of which the smoothed labels are kept: 4 MB
_DISTANCES = {
    "bce": "binary_cross_entropy_with_logits",
    "mse": "mse_loss",
    "l1": "l1_loss",
    "huber": "huber_loss",
}


def plain(name: str) -> Loss:
    """Return the loss `name` of (logits, labels) as it is shown: neither smoothed nor weighted."""
    return objective(name)


def each(name: str) -> Loss:
    """Return the same of every sample: (B,). What one has does not depend on the others."""
    from torch.nn import functional as F

    if name == "ce":
        return lambda logits, labels: F.cross_entropy(logits, labels, reduction="none")
    distance: Any = getattr(F, _DISTANCES[name])
    return lambda logits, labels: distance(
        logits, F.one_hot(labels, logits.shape[1]).to(logits.dtype), reduction="none"
    ).mean(1)


def scores(name: str, logits: Tensor) -> Tensor:
    """Return what a network trained with the loss `name` says of each class: (B, C).

    Probabilities of ce (softmax) and bce (sigmoid); of a distance the outputs themselves.
    """
    if name == "ce":
        return logits.softmax(1)
    return logits.sigmoid() if name == "bce" else logits


def objective(name: str, *, smoothing: float = 0.0, weights: Tensor | None = None) -> Loss:
    """Return what is minimised, of logits (B, C) and labels (B,).

    `weights` (C,) weigh the classes: of ce as torch does, a mean by weight; of the others the same.
    """
    if name != "ce":
        return _of_one_hot(_DISTANCES[name], smoothing, weights)
    if smoothing and weights is None:
        return _Smoothed(smoothing)
    from torch.nn.functional import cross_entropy

    return lambda logits, labels: cross_entropy(
        logits, labels, weight=weights, label_smoothing=smoothing
    )


class _Smoothed:
    """Cross-entropy with smoothed labels, a table of these kept: torch's takes 150 us more a step.

    That is a tenth of the step of a small network.
    """

    def __init__(self, smoothing: float) -> None:
        self.smoothing = smoothing
        self.tables: dict[tuple[int, int], Tensor] = {}  # (B, C): smoothed labels / -B, (C, C)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        from torch.nn.functional import cross_entropy, log_softmax

        if logits.shape[1] > _TABLE:
            return cross_entropy(logits, labels, label_smoothing=self.smoothing)
        count, classes = logits.shape
        table = self.tables.get((count, classes))
        if table is None or table.device != logits.device:
            table = self.tables[count, classes] = self._table(logits)
        return log_softmax(logits, 1).view(-1).dot(table.index_select(0, labels).view(-1))

    def _table(self, logits: Tensor) -> Tensor:
        count, classes = logits.shape
        rest = -self.smoothing / classes / count
        return logits.new_full((classes, classes), rest).fill_diagonal_(
            rest - (1 - self.smoothing) / count
        )


def _of_one_hot(function: str, smoothing: float, weights: Tensor | None) -> Loss:
    from torch.nn import functional as F

    distance: Any = getattr(F, function)

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        classes = logits.shape[1]
        target = F.one_hot(labels, classes).to(logits.dtype)
        if not smoothing and weights is None:
            found: Tensor = distance(logits, target)
            return found
        target = target * (1 - smoothing) + smoothing / classes
        each: Tensor = distance(logits, target, reduction="none").mean(1)  # (B,)
        if weights is None:
            return each.mean()
        mine = weights[labels]
        return (each * mine).sum() / mine.sum()

    return loss


def balanced(counts: Sequence[int]) -> list[float]:
    """Return a weight per class, N / (classes * n): every class weighs the same in all.

    A class without images has no say, and the weight 0.
    """
    total, classes = sum(counts), sum(1 for count in counts if count)
    return [total / (classes * count) if count else 0.0 for count in counts]
