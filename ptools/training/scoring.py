"""What a network is worth on images it does not train on: loss, accuracy, and which class it takes for which.

score(model, batches)     mean loss and accuracy
measure(model, batches)   the same, with the confusion counts and the surest mistakes
Measured, Mistake         what it returns
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ptools.training import losses
from ptools.training.distributed import ALONE, Team

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ptools.training.signals import Stop

__all__ = ["Measured", "Mistake", "Stopped", "measure", "score"]

_WORST = 24  # mistakes that are kept
_MANY = 1000  # classes: their confusion is a table of a million counts


class Stopped(Exception):
    """A signal came while images were scored; what was trained is whole."""


@dataclass(frozen=True)
class Mistake:
    """Image `index` of those measured: its label, what it was taken for, and how surely."""

    index: int
    label: int
    predicted: int
    score: float  # the probability; with --loss mse, l1 and huber, the output


@dataclass(frozen=True)
class Measured:
    """`loss` is a mean over the images, `accuracy` is 0..1, `confusion` counts (true, predicted)."""

    loss: float
    accuracy: float
    images: int
    confusion: list[list[int]] | None = None
    mistakes: tuple[Mistake, ...] = ()  # the surest, the worst first

    def per_class(self, classes: Iterable[str]) -> list[dict[str, Any]]:
        """Return images, right ones and accuracy of every class, for JSON."""
        rows = []
        for index, name in enumerate(classes if self.confusion else ()):
            counts = (self.confusion or [])[index]
            total, right = sum(counts), counts[index]
            share = right / total if total else None
            rows.append({"class": name, "images": total, "right": right, "accuracy": share})
        return rows


def score(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """Return mean cross-entropy and accuracy of `model` over `batches`, in eval mode."""
    found = measure(model, batches)
    return found.loss, found.accuracy


def measure(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    loss: str = "ce",
    confusion: bool = False,
    casting: AbstractContextManager[Any] | None = None,
    team: Team = ALONE,
    stop: Stop | None = None,
) -> Measured:
    """Return what `model` is worth over `batches`, in eval mode; of all processes together.

    With pictures left out nobody knows which image is which: there are no mistakes then.

    Raises Stopped when `stop` is asked for in between.
    """
    import torch

    shown = losses.plain(loss)
    model.eval()
    count, sums, table = 0, None, None
    worst: tuple[Mistake, ...] = ()
    with torch.no_grad():  # inference_mode would mark buffers that a model keeps
        for number, (images, labels) in enumerate(batches):
            if stop is not None and stop.asked:
                raise Stopped
            with casting or nullcontext():
                logits = model(images)  # (B, classes)
            logits = logits.float()
            if sums is None:
                sums = torch.zeros(2, device=logits.device)
            found = logits.argmax(1)
            sums[0] += shown(logits, labels) * len(labels)
            sums[1] += (found == labels).sum()
            if confusion and logits.shape[1] <= _MANY:
                table = _count(table, labels, found, logits.shape[1])
            if confusion:
                places = _places(number, batches, team, len(labels), count)
                worst = _worst(worst, places, losses.scores(loss, logits), labels)
            count += len(labels)
    mistakes: list[Mistake] = []
    if confusion and not any(team.highest([float(bool(getattr(batches, "bad", False)))])):
        mistakes = [mistake for some in team.gather(worst) for mistake in some]
    return replace(_together(team, count, sums, table), mistakes=_surest(mistakes))


def _places(number: int, batches: Any, team: Team, count: int, done: int) -> range:
    """Return which images a batch has; of several processes each has every so manieth of it."""
    if team.ranks == 1:
        return range(done, done + count)
    begun = number * batches.batch_size + team.rank
    return range(begun, begun + count * team.ranks, team.ranks)


def _count(table: Tensor | None, labels: Tensor, found: Tensor, classes: int) -> Tensor:
    pairs = (labels * classes + found).bincount(minlength=classes * classes)
    return pairs if table is None else table + pairs


def _worst(
    known: Sequence[Mistake], places: range, scores: Tensor, labels: Tensor
) -> tuple[Mistake, ...]:
    """Return the surest mistakes of those known and of a batch of the images at `places`."""
    score, found = scores.max(1)
    wrong = (found != labels).nonzero()[:, 0]
    rows = zip(wrong.tolist(), labels[wrong].tolist(), found[wrong].tolist(), score[wrong].tolist(),
               strict=True)  # fmt: skip
    more = [Mistake(places[at], label, answer, sure) for at, label, answer, sure in rows]
    return _surest([*known, *more])


def _surest(found: Sequence[Mistake]) -> tuple[Mistake, ...]:
    return tuple(sorted(found, key=lambda mistake: (-mistake.score, mistake.index))[:_WORST])


def _together(team: Team, count: int, sums: Tensor | None, table: Tensor | None) -> Measured:
    loss, right = (0.0, 0.0) if sums is None else sums.tolist()
    total, loss, right = team.sum([count, loss, right])
    if table is not None:
        counts = [int(value) for value in team.sum(table.tolist())]
        side = round(len(counts) ** 0.5)
        rows = [counts[start : start + side] for start in range(0, side * side, side)]
    return Measured(
        loss=loss / max(total, 1),
        accuracy=right / max(total, 1),
        images=int(total),
        confusion=rows if table is not None else None,
    )
