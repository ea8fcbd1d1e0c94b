"""The network whose layers are shown: built, and filled with weights.

load(model, weights, ...)   a Network: with what its images must be like

A checkpoint of 'ptools train' says itself how it is built and what its images are like. One that names
code is built only where --model says that it is yours, as in 'ptools predict'.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptools import output
from ptools.data.pictures import CROP, Geometry
from ptools.errors import FileError, UsageError, one_line
from ptools_plugins.tb_images.network import Network

if TYPE_CHECKING:
    from torch import nn

    from ptools.models import Blueprint

__all__ = ["load"]

IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def load(
    model: str | None,
    weights: str | None,
    shape: tuple[int, int, int],
    size: tuple[int, int] | None,
) -> Network:
    """Return the network of a model's name, a checkpoint, or both, for images like `shape` (C, H, W).

    Raises UsageError, FileError, BuildError; PtoolsError where the weights are of another network.
    """
    from ptools.training.weights import load_into

    file, about = _source(model, weights)
    model = about.get("spec", model)
    blueprint = _blueprint(about)
    if blueprint is None and model is None:
        raise UsageError(f"{file} does not say of which network it is; add --model.")
    geometry, mean, std, notes = _images(about, model, shape, size, trained=file is not None)
    net = _build(file, blueprint, model, (geometry.channels, geometry.height, geometry.width))
    name = model or (blueprint.model if blueprint else "")
    if file is None:
        notes.append(f"{name} has random weights: --weights FILE shows trained ones")
    else:
        loaded = load_into(net, file)
        if loaded.new:
            notes.append(f"{len(loaded.new)} tensors stay random: {', '.join(loaded.new[:4])}")
    return Network(_short(name), net.eval(), geometry, mean, std, notes)


def _short(spec: str) -> str:
    """Return a name for tags: resnet18, Net."""
    return one_line(spec.partition("(")[0].rpartition(":")[2], 60)


def _source(model: str | None, name: str | None) -> tuple[Path | None, dict[str, Any]]:
    """Return the file of the weights, and what is known of its network: by itself, or by torchvision."""
    from ptools.models import pretrained, trained

    if name is None:
        return None, {}
    path = Path(name)
    if path.exists():
        file = trained.best(path)
        return file, _about(file)
    if not pretrained.is_a_name(name):
        raise UsageError(
            f"{name} does not exist; --weights is a run folder, a file, or DEFAULT (torchvision's)."
        )
    if model is None:
        raise UsageError(f"--weights {name} are torchvision's: add --model, such as resnet18.")
    found = pretrained.weights(model, name)
    about = {
        "spec": found.spec,
        "geometry": Geometry(len(found.mean), found.crop, found.crop).document(),
        "mean": found.mean,
        "std": found.std,
    }
    return found.fetch(output.note), about


def _about(file: Path) -> dict[str, Any]:
    """Return what a checkpoint says of itself beside its tensors."""
    from ptools import checkpoints

    try:
        held = checkpoints.read(file)
    except FileError as error:
        says, offered, _ = str(error).partition(": add --trust")
        if not offered:
            raise
        way = f"ptools partial-load {file} plain.pth --model ... --trust"
        raise FileError(f"{says}; if you trust it, '{way}' makes a plain file of it.") from error
    return held.tree if isinstance(held.tree, dict) else dict(held.metadata)


def _blueprint(about: dict[str, Any]) -> Blueprint | None:
    from ptools.models import Blueprint

    return Blueprint.of(about["blueprint"]) if isinstance(about.get("blueprint"), dict) else None


def _build(
    file: Path | None, blueprint: Blueprint | None, model: str | None, shape: tuple[int, int, int]
) -> nn.Module:
    from ptools import models
    from ptools.models import parts

    if blueprint is not None:
        if model is None and models.place(blueprint.model):
            spec = one_line(blueprint.model)
            raise UsageError(
                f"{file} is of '{spec}', and building that runs its code: add --model '{spec}' "
                "if it is yours."
            )
        return replace(blueprint, model=model or blueprint.model).build()
    assert model is not None
    net = models.build(model, shape=shape)
    parts.materialise(net, shape)
    return net


def _images(
    about: dict[str, Any],
    model: str | None,
    shape: tuple[int, int, int],
    size: tuple[int, int] | None,
    *,
    trained: bool,
) -> tuple[Geometry, list[float] | None, list[float] | None, list[str]]:
    """Return what the network's images are like: as the file says, as ImageNet's, or as these are."""
    from ptools import models

    notes: list[str] = []
    mean, std = _numbers(about.get("mean")), _numbers(about.get("std"))
    if about.get("geometry") is not None:
        geometry = Geometry.of(about["geometry"])
        if size is not None:
            geometry = replace(geometry, height=size[0], width=size[1])
        return geometry, *_matching(mean, std, geometry.channels), notes
    if model and models.is_photographic(model):
        side = 299 if "inception" in model else 224
        return Geometry(3, *(size or (side, side)), CROP), *IMAGENET, notes
    geometry = Geometry(shape[0], *(size or shape[1:]), CROP)
    if trained and mean is None:
        notes.append(
            "the file does not say how its images were normalised: they go in as 0..1; "
            "--transform 'ToTensor(); Normalize(...)' says it"
        )
    return geometry, *_matching(mean, std, shape[0]), notes


def _numbers(values: Any) -> list[float] | None:
    if isinstance(values, (list, tuple)) and all(isinstance(v, (int, float)) for v in values):
        return [float(value) for value in values]
    return None


def _matching(
    mean: list[float] | None, std: list[float] | None, channels: int
) -> tuple[list[float] | None, list[float] | None]:
    if mean is None or std is None or {len(mean), len(std)} != {channels} or min(std) <= 0:
        return None, None
    return mean, std
