"""What is minimised: cross-entropy, or a distance to the one-hot labels.

    ce     cross-entropy of the softmax                         targets: class numbers
    bce    binary cross-entropy of the sigmoid, per class       targets: one-hot
    mse, l1, huber    of the raw outputs                        targets: one-hot

A loss is a mean over the batch (and the classes, but for ce), as in torch.nn.functional.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["balanced", "objective", "plain", "scores"]

Plain = Callable[["Tensor", "Tensor"], "Tensor"]
Objective = Callable[["Tensor", "Tensor"], "tuple[Tensor, Tensor]"]

_DISTANCES = {
    "bce": "binary_cross_entropy_with_logits",
    "mse": "mse_loss",
    "l1": "l1_loss",
    "huber": "huber_loss",
}


def plain(name: str) -> Plain:
    """Return the loss `name` of (logits, labels) as it is shown: neither smoothed nor weighted."""
    found = objective(name)
    return lambda logits, labels: found(logits, labels)[0]


def scores(name: str, logits: Tensor) -> Tensor:
    """Return what a network trained with the loss `name` says of each class: (B, C).

    Probabilities of ce (softmax) and bce (sigmoid); of a distance the outputs themselves.
    """
    if name == "ce":
        return logits.softmax(1)
    return logits.sigmoid() if name == "bce" else logits


def objective(name: str, *, smoothing: float = 0.0, weights: Tensor | None = None) -> Objective:
    """Return a function of logits (B, C) and labels (B,): what is minimised, and the plain loss.

    `weights` (C,) weigh the classes: of ce as torch does, a mean by weight; of the others the same.
    """
    if name != "ce":
        return _of_one_hot(_DISTANCES[name], smoothing, weights)
    return _cross_entropy(smoothing) if weights is None else _weighted(smoothing, weights)


def _cross_entropy(smoothing: float) -> Objective:
    from torch.nn.functional import log_softmax, nll_loss

    def loss(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        log_p = log_softmax(logits, 1)  # once for both: 30 us a step less on a small network
        found = nll_loss(log_p, labels)
        return (found.lerp(-log_p.mean(), smoothing) if smoothing else found), found

    return loss


def _weighted(smoothing: float, weights: Tensor) -> Objective:
    from torch.nn.functional import cross_entropy

    def loss(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        found = cross_entropy(logits, labels, weight=weights, label_smoothing=smoothing)
        return found, cross_entropy(logits.detach(), labels)

    return loss


def _of_one_hot(function: str, smoothing: float, weights: Tensor | None) -> Objective:
    from torch.nn import functional as F

    distance: Any = getattr(F, function)

    def loss(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        classes = logits.shape[1]
        target = F.one_hot(labels, classes).to(logits.dtype)
        if not smoothing and weights is None:
            found: Tensor = distance(logits, target)
            return found, found
        shown: Tensor = distance(logits.detach(), target)
        target = target * (1 - smoothing) + smoothing / classes
        each: Tensor = distance(logits, target, reduction="none").mean(1)  # (B,)
        if weights is None:
            return each.mean(), shown
        mine = weights[labels]
        return (each * mine).sum() / mine.sum(), shown

    return loss


def balanced(counts: Sequence[int]) -> list[float]:
    """Return a weight per class, N / (classes * n): every class weighs the same in all.

    A class without images has no say, and the weight 0.
    """
    total, classes = sum(counts), sum(1 for count in counts if count)
    return [total / (classes * count) if count else 0.0 for count in counts]
