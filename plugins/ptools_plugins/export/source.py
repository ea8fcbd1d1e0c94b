"""What is exported: the network of a run or of a file of weights, and what is known of its inputs.

Source           in eval mode on the CPU, with classes, normalisation and size where the file has them
find(file, ...)  build it and fill it

What names code (`net.py:Net`) is not imported because a file says so: --model names it, or --trust.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ptools import checkpoints, models
from ptools.checkpoints import int8
from ptools.data.pictures import Geometry
from ptools.errors import FileError, UsageError, one_line
from ptools.models import Blueprint, trained
from ptools.tracing.inputs import Input

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

__all__ = ["Source", "find"]

_PHOTO = (3, 224, 224)


@dataclass(frozen=True, eq=False)
class Source:
    """A network in eval mode. `inputs` are without the batch.

    `classes`, `geometry`, `mean` and `std` (per channel, of pixels in 0..1) are None where the file
    does not say; `loss` is what the network was trained with: ce, bce, mse, l1, huber.
    """

    file: Path
    net: nn.Module
    model: str
    inputs: tuple[Input, ...]
    classes: tuple[str, ...] | None = None
    geometry: Geometry | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    loss: str = "ce"

    @property
    def pictorial(self) -> bool:
        """Whether it takes one picture (C, H, W) of 1 or 3 channels."""
        first = self.inputs[0]
        shaped = len(first.shape) == 3 and first.shape[0] in (1, 3)
        return len(self.inputs) == 1 and shaped and first.dtype in (None, "float32")

    def metadata(self) -> dict[str, str]:
        """Return what travels in the exported file: names -> JSON (`model`, `loss`: plain text)."""
        import json

        from ptools import __version__

        known: dict[str, Any] = {
            "classes": self.classes,
            "mean": self.mean,
            "std": self.std,
            "size": self.inputs[0].shape if len(self.inputs) == 1 else None,
            "geometry": self.geometry and self.geometry.document(),
        }
        texts = {"ptools": __version__, "model": self.model, "loss": self.loss}
        return texts | {k: json.dumps(v) for k, v in known.items() if v is not None}


def find(
    file: Path,
    *,
    model: str | None = None,
    inputs: Sequence[Input] = (),
    trust: bool = False,
) -> Source:
    """Build the network of `file`, a run folder or a checkpoint, and put the weights into it.

    `model` says how to build it instead of the file, and must where the file is a plain state_dict;
    `inputs` what goes in, without the batch. Raises FileError, UsageError, BuildError.
    """
    file = trained.best(file)
    weights = int8.opened(checkpoints.read(file, trust=trust))
    about: Any = weights.tree if isinstance(weights.tree, dict) else weights.metadata
    if "blueprint" in about or "shape" in about:
        source = _trained(file, about, model, trust=trust)
    else:
        source = _plain(file, model, inputs)
    way = ", or make a file that fits with 'ptools partial-load'"
    trained.fill(source.net, weights, file, source.model, way=way)
    return replace(source, net=source.net.eval(), inputs=tuple(inputs) or source.inputs)


def _trained(file: Path, about: Any, model: str | None, *, trust: bool) -> Source:
    """Return the network as 'ptools train' left it; older files have `model` and `shape` alone."""
    names = about.get("classes")
    classes = tuple(one_line(name) for name in names) if isinstance(names, (list, tuple)) else ()
    document = about.get("blueprint") or {
        "model": about.get("model") or model,
        "classes": len(classes),
        "shape": about.get("shape"),
    }
    try:
        blueprint = Blueprint.of(document)
        shape = blueprint.shape
        kept = about.get("geometry")
        geometry = Geometry.of(kept) if kept is not None else Geometry(*shape, resize="exact")
    except FileError as error:
        raise FileError(f"{file}: {error}") from error
    if classes and len(classes) != blueprint.classes:
        raise FileError(f"{file} names {len(classes)} classes for {blueprint.classes} outputs.")
    if model:
        blueprint = replace(blueprint, model=model)
    elif not trust:
        trained.no_code(file, blueprint.model)
    return Source(
        file=file,
        net=blueprint.build(),
        model=blueprint.model,
        inputs=(Input(shape),),
        classes=classes or None,
        geometry=geometry,
        mean=_numbers(about.get("mean"), shape[0], above=-1e6),
        std=_numbers(about.get("std"), shape[0], above=1e-9),
        loss=str(about.get("loss", "ce")),
    )


def _numbers(values: Any, count: int, *, above: float) -> list[float] | None:
    if not isinstance(values, (list, tuple)) or len(values) != count:
        return None
    if not all(isinstance(v, (int, float)) and above <= v <= 1e6 for v in values):
        return None
    return [float(value) for value in values]


def _plain(file: Path, model: str | None, inputs: Sequence[Input]) -> Source:
    """Return the network that the user names, for weights that say nothing of themselves."""
    if model is None:
        raise UsageError(
            f"{file} does not say which network it is of; add --model, as in --model resnet18."
        )
    if not inputs and not models.is_photographic(model):
        raise UsageError(f"say what '{model}' takes, without the batch: --in 3x32x32.")
    given = tuple(inputs) or (Input(_PHOTO),)
    net = models.build(model, shape=given[0].shape)
    return Source(file=file, net=net, model=model, inputs=given)
