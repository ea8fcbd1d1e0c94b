"""All it takes to build a trained network again: a few plain values, kept beside its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ptools.errors import FileError

if TYPE_CHECKING:
    from torch import nn

_HEADS = (None, "replace", "append")


@dataclass(frozen=True)
class Blueprint:
    """A network as it was trained.

    model     how it is named: "cnn", "resnet18", "net.py:Net(3)"
    classes   its outputs
    shape     of one image: (C, H, W)
    head      what was done to its last layer: None, "replace", "append"; see ptools.models.heads
    dropout   p of every Dropout in it; None: as the model has it
    """

    model: str
    classes: int
    shape: tuple[int, int, int]
    head: str | None = None
    dropout: float | None = None

    def build(self) -> nn.Module:
        """Return the network: names and shapes as trained, weights as it initialises itself.

        Raises UsageError where no such model is or it does not take the images, BuildError where
        its constructor fails.
        """
        from ptools import models
        from ptools.models import parts

        classes = None if self.head == "append" else self.classes
        net = models.build(self.model, classes=classes, shape=self.shape)
        parts.materialise(net, self.shape)
        if self.head is not None:
            net = self._with_head(net)
        if self.dropout is not None:
            parts.set_dropout(net, self.dropout)
        return net

    def _with_head(self, net: nn.Module) -> nn.Module:
        from ptools import models
        from ptools.models import heads  # it brings the dry run with it: 80 ms

        if self.head == "append":
            return heads.append(net, self.classes, self.shape)
        if models.is_sized(self.model) or heads.outputs(net, self.shape) == self.classes:
            return net
        return heads.replace(net, self.classes, self.shape)

    def document(self) -> dict[str, Any]:
        """Return it as plain values, for JSON and for weights_only checkpoints."""
        return asdict(self) | {"shape": list(self.shape)}

    @classmethod
    def of(cls, document: Any) -> Blueprint:
        """Return what `document` describes. Raises FileError where that is no blueprint."""
        known = {"model", "classes", "shape", "head", "dropout"}
        if not isinstance(document, dict) or not {"model", "classes", "shape"} <= set(document):
            raise FileError("the blueprint of the network is missing; was it written by ptools?")
        found = {key: value for key, value in document.items() if key in known}
        wrong = [key for key, value in found.items() if not _RULES[key](value)]
        if wrong:
            raise FileError(f"the blueprint of the network has no valid {', '.join(wrong)}.")
        return cls(**found | {"shape": tuple(found["shape"])})


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


_RULES: dict[str, Any] = {
    "model": lambda v: isinstance(v, str) and bool(v),
    "classes": _whole,
    "shape": lambda v: isinstance(v, (list, tuple)) and len(v) == 3 and all(map(_whole, v)),
    "head": lambda v: v in _HEADS,
    "dropout": lambda v: v is None or (isinstance(v, (int, float)) and 0 <= v < 1),
}
