"""The network of a run: read from its file without running anything in it, and built again.

Network          in eval mode on its device, with its classes and what its pictures must be like
load(run, ...)   of the folder or the checkpoint that a training left

What names code (`net.py:Net`, `package.module:make('text')`) is not imported because a file says so:
such a network is built where the user names it with --model, or trusts the file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ptools import checkpoints
from ptools.checkpoints import int8
from ptools.data.pictures import Geometry
from ptools.errors import FileError, UsageError, one_line
from ptools.models import Blueprint, trained

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

__all__ = ["Network", "load"]

_MEASURES = {"ce": "probability", "bce": "probability"}  # of another loss: the score itself


@dataclass(frozen=True, eq=False)
class Network:
    """A trained network in eval mode. `loss` is what it was trained with: ce, bce, mse, l1, huber."""

    file: Path
    net: nn.Module
    blueprint: Blueprint
    classes: tuple[str, ...]
    geometry: Geometry
    mean: list[float]  # per channel, in 0..1
    std: list[float]
    loss: str
    device: str

    @property
    def measure(self) -> str:
        """What an answer holds per class: "probability" or "score"."""
        return _MEASURES.get(self.loss, "score")

    def __call__(self, images: Tensor) -> Tensor:
        """Return probabilities or scores (B, classes), on the CPU, of uint8 images (B, C, H, W)."""
        import torch

        images = images.to(self.device)
        mean, std = (
            torch.tensor(values, device=images.device).view(1, -1, 1, 1)
            for values in (self.mean, self.std)
        )
        with torch.inference_mode():
            logits: Tensor = self.net(images.float().mul_(1 / (255 * std)).sub_(mean / std))
            _check(logits, (len(images), len(self.classes)))
            logits = logits.float()
            if self.loss == "ce":
                logits = logits.softmax(1)
            elif self.loss == "bce":
                logits = logits.sigmoid()
            return logits.cpu()


def _check(logits: object, wanted: tuple[int, int]) -> None:
    shape = tuple(getattr(logits, "shape", ()))
    if shape != wanted:
        got = shape or f"a {type(logits).__name__}"
        raise UsageError(
            f"for {wanted[0]} images the network returns {got}, not {wanted}; "
            "give the --model that was trained."
        )


def load(
    run: Path, *, model: str | None = None, device: str = "cpu", trust: bool = False
) -> Network:
    """Build the network of a run folder or a checkpoint and put its weights into it.

    `model` says how to build it instead of the file. Raises FileError, UsageError, BuildError.
    """
    file = trained.best(run)
    weights = int8.opened(checkpoints.read(file, trust=trust))
    about = weights.tree if isinstance(weights.tree, dict) else weights.metadata
    classes = _classes(file, about)
    blueprint = _blueprint(file, about, len(classes), model)
    if not model and not trust:
        trained.no_code(file, blueprint.model)
    mean, std = _statistics(file, about, blueprint.shape[0])
    geometry = _geometry(file, about, blueprint.shape)
    net = _build(file, blueprint)
    trained.fill(net, weights, file, blueprint.model)
    return Network(
        file=file,
        net=net.eval().to(device),
        blueprint=blueprint,
        classes=classes,
        geometry=geometry,
        mean=mean,
        std=std,
        loss=str(about.get("loss", "ce")),
        device=device,
    )


def _classes(file: Path, about: Any) -> tuple[str, ...]:
    names = about.get("classes")
    if not isinstance(names, (list, tuple)) or not names:
        best = file.parent / "best.pth"
        if best != file and best.exists():
            raise FileError(f"{file} does not say which classes it tells apart; take {best}.")
        raise FileError(
            f"{file} does not say which classes it tells apart: it was not written by 'ptools train'; "
            f"'ptools finetune --weights {file} --model M --data FOLDER' makes one that does."
        )
    found = map(str, names)
    return tuple(name if name.isprintable() else one_line(name) for name in found)


def _blueprint(file: Path, about: Any, classes: int, model: str | None) -> Blueprint:
    """Return how to build the network; older files have `model` and `shape` instead."""
    document = about.get("blueprint")
    if document is None:
        document = {"model": about.get("model"), "classes": classes, "shape": about.get("shape")}
        if model:
            document["model"] = model
    try:
        found = Blueprint.of(document)
    except FileError as error:
        raise FileError(f"{file}: {error}") from error
    if found.classes != classes:
        raise FileError(f"{file} names {classes} classes for {found.classes} outputs; train again.")
    return replace(found, model=model) if model else found


def _geometry(file: Path, about: Any, shape: tuple[int, int, int]) -> Geometry:
    document = about.get("geometry")
    try:
        geometry = (
            Geometry.of(document) if document is not None else Geometry(*shape, resize="exact")
        )
    except FileError as error:
        raise FileError(f"{file}: {error}") from error
    if (geometry.channels, geometry.height, geometry.width) != shape:
        raise FileError(f"{file} says two things about the size of an image; train again.")
    return geometry


def _statistics(file: Path, about: Any, channels: int) -> tuple[list[float], list[float]]:
    found = []
    for name, least in (("mean", -1e6), ("std", 1e-9)):
        values = about.get(name)
        if not isinstance(values, (list, tuple)) or len(values) != channels:
            raise FileError(f"{file} has no {name} for {channels} channels; train again.")
        if not all(isinstance(v, (int, float)) and least <= v <= 1e6 for v in values):
            raise FileError(
                f"{file} has no usable {name}: {one_line(list(values), 80)}; train again."
            )
        found.append([float(value) for value in values])
    return found[0], found[1]


def _build(file: Path, blueprint: Blueprint) -> nn.Module:
    try:
        return blueprint.build()
    except UsageError as error:
        raise type(error)(f"{file}: {error} (--model says how to build it.)") from error
