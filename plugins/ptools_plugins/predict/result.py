"""What came of it: the best classes of every picture, and how often they are right.

Prediction     top classes and their probabilities of every picture that was read
Confusion      how often each label was taken for each class, of the classes that occur
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from ptools_plugins.predict.pictures import Skipped

__all__ = ["Answer", "Confused", "Confusion", "Prediction"]


class Answer(NamedTuple):
    """The best classes of one picture with their values, the best first."""

    image: str
    label: str | None
    top: list[tuple[str, float]]


class Confused(NamedTuple):
    """A label that was taken for another class, `times` of its pictures."""

    label: str
    answer: str
    times: int
    of: int


@dataclass(frozen=True, eq=False)
class Confusion:
    """`counts` int64 (C, C): row label, column answer; `classes` are those that occur as either."""

    classes: tuple[str, ...]
    counts: Tensor

    @property
    def worst(self) -> list[Confused]:
        """What was confused, the most frequent first."""
        totals = self.counts.sum(1).tolist()
        found = [
            Confused(
                self.classes[row], self.classes[column], int(self.counts[row, column]), totals[row]
            )
            for row, column in self.counts.nonzero().tolist()
            if row != column
        ]
        return sorted(found, key=lambda one: -one.times)


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answers of a network, of the N pictures that were read, and the files that were not.

    `top` int64 (N, K) are classes and `values` float32 (N, K) their probabilities (or scores, as
    `measure` says), the best first; `labels` int64 (N,) is -1 where no folder names a class.
    """

    file: str
    model: str
    classes: tuple[str, ...]
    measure: str
    images: list[str]
    top: Tensor
    values: Tensor
    labels: Tensor
    skipped: list[Skipped]

    def answers(self) -> Iterator[Answer]:
        """Yield the pictures with names instead of numbers."""
        rows = zip(
            self.images, self.labels.tolist(), self.top.tolist(), self.values.tolist(), strict=True
        )
        for image, label, top, values in rows:
            named = [(self.classes[index], value) for index, value in zip(top, values, strict=True)]
            yield Answer(image, self.classes[label] if label >= 0 else None, named)

    @property
    def labelled(self) -> int:
        """How many of the pictures have a label."""
        return int((self.labels >= 0).sum())

    @property
    def right(self) -> int:
        """How many of the labels are the best class."""
        return int((self.labels == self.top[:, 0]).sum())

    @property
    def accuracy(self) -> float | None:
        """Right answers in 0..1, of the labelled pictures; None where there are none."""
        return self.right / self.labelled if self.labelled else None

    @cached_property
    def confusion(self) -> Confusion | None:
        """How labels and answers go together; None where there are no labels."""
        import torch

        known = self.labels >= 0
        if not known.any():
            return None
        pairs = torch.stack([self.labels[known], self.top[known, 0]])  # (2, N)
        occurring, inverse = torch.unique(pairs, return_inverse=True)
        rows, columns = inverse
        size = len(occurring)
        counts = (rows * size + columns).bincount(minlength=size * size).view(size, size)
        return Confusion(tuple(self.classes[index] for index in occurring.tolist()), counts)

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        images = [
            {
                "image": answer.image,
                "label": answer.label,
                "top": [{"class": name, self.measure: value} for name, value in answer.top],
            }
            for answer in self.answers()
        ]
        confusion = self.confusion
        return {
            "file": self.file,
            "model": self.model,
            "classes": list(self.classes),
            "images": images,
            "skipped": [asdict(one) for one in self.skipped],
            "labelled": self.labelled,
            "accuracy": self.accuracy,
            "confusion": confusion
            and {"classes": list(confusion.classes), "counts": confusion.counts.tolist()},
        }
