"""The network whose layers are shown: built, filled with weights, watched while it runs.

load(model, weights, ...)   a Network: with what its images must be like
choose(net, patterns)       the modules that names and patterns mean
with_kernels(net, names)    the weights of those that have some
Network.watch(image, ...)   the outputs of some layers for one image

A checkpoint of 'ptools train' says itself how it is built and what its images are like. One that names
code is built only where --model says that it is yours, as in 'ptools predict'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptools import output
from ptools.data.pictures import CROP, Geometry
from ptools.errors import FileError, PtoolsError, UsageError, cause, one_line
from ptools_plugins.tb_images import grids

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ptools.models import Blueprint

__all__ = ["Network", "choose", "load", "with_kernels"]

IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
_FEW = 16  # layers that are shown unasked


@dataclass(eq=False)
class Network:
    """A network in eval mode, and how a picture becomes its input."""

    name: str
    net: nn.Module
    geometry: Geometry
    mean: list[float] | None = None  # per channel, in 0..1; None: 0..1 as it is
    std: list[float] | None = None
    notes: list[str] = field(default_factory=list)

    def input(self, image: Tensor) -> Tensor:
        """Return uint8 (C, H, W) as the numbers (1, C, H, W) the network was made for."""
        import torch

        numbers = image.float()[None] / 255
        if self.mean is None or self.std is None:
            return numbers
        mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (self.mean, self.std))
        return (numbers - mean) / std

    def watch(self, numbers: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Run (1, C, H, W) through the network; return the first output of each of the layers.

        Raises PtoolsError where the network does not take it.
        """
        import torch

        seen: dict[str, Tensor] = {}

        def keep(name: str) -> Any:
            def hook(module: nn.Module, given: Any, made: Any) -> None:
                value = _tensor(made)
                if value is not None and name not in seen:
                    seen[name] = (
                        (value[0] if value.dim() and len(value) else value).detach().clone()
                    )

            return hook

        modules = dict(self.net.named_modules())
        hooks = [modules[name].register_forward_hook(keep(name)) for name in layers]
        try:
            with torch.inference_mode():
                self.net(numbers)
        except PtoolsError:
            raise
        except Exception as error:  # the network is anybody's
            size = "x".join(map(str, numbers.shape[1:]))
            raise PtoolsError(
                f"{self.name} does not take {size}: {cause(error)}; choose a --size, or look with "
                f"'ptools shapes --model {self.name} --in {size}'."
            ) from error
        finally:
            for hook in hooks:
                hook.remove()
        return {name: seen[name] for name in layers if name in seen}


def _tensor(made: Any) -> Tensor | None:
    """Return the first tensor of what a layer returned: LSTMs and attention return tuples."""
    import torch

    if torch.is_tensor(made):
        return made
    if isinstance(made, Mapping):
        made = list(made.values())
    if isinstance(made, (list, tuple)):
        return next((found for one in made if (found := _tensor(one)) is not None), None)
    return None


# -- built ------------------------------------------------------------------------------------------


def load(
    model: str | None,
    weights: str | None,
    shape: tuple[int, int, int],
    size: tuple[int, int] | None,
) -> Network:
    """Return the network of a model's name, a checkpoint, or both, for images like `shape` (C, H, W).

    Raises UsageError, FileError, BuildError; PtoolsError where the weights are of another network.
    """
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
        notes += _fill(net, file, name)
    return Network(_short(name), net.eval(), geometry, mean, std, notes)


def _fill(net: nn.Module, file: Path, name: str) -> list[str]:
    """Load the weights, of 'ptools quantize --apply' too; return what there is to say about it."""
    from ptools import checkpoints
    from ptools.checkpoints import int8
    from ptools.models import trained
    from ptools.training.weights import load_into

    held = checkpoints.read(file)
    if int8.is_int8(held):
        trained.fill(net, int8.opened(held), file, one_line(name))
        return []
    new = load_into(net, file).new
    return [f"{len(new)} tensors stay random: {', '.join(new[:4])}"] if new else []


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
    from ptools.checkpoints import int8

    try:
        held = int8.opened(checkpoints.read(file))
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
    from ptools.models import parts, trained

    if blueprint is not None:
        if model is None:
            assert file is not None
            trained.no_code(file, blueprint.model)
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
        if max(geometry.height, geometry.width) > grids.LARGEST:
            raise FileError(
                f"the file of the weights asks for images of {geometry.height}x{geometry.width}; train again."
            )
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
    if isinstance(values, (list, tuple)) and all(
        isinstance(v, (int, float)) and isfinite(v) for v in values
    ):
        return [float(value) for value in values]
    return None


def _matching(
    mean: list[float] | None, std: list[float] | None, channels: int
) -> tuple[list[float] | None, list[float] | None]:
    if mean is None or std is None or {len(mean), len(std)} != {channels} or min(std) <= 0:
        return None, None
    return mean, std


# -- which layers ------------------------------------------------------------------------------------


def choose(net: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Return the names of the modules that match, in the network's order; without patterns its stages.

    `*` matches dots as well: `layer1.*` is all there is in it. Raises UsageError for a pattern that
    matches nothing, with the nearest names.
    """
    names = [name for name, _ in net.named_modules() if name]
    if not names:
        raise UsageError("the network has no layers inside; write it as --op, or name another.")
    if not patterns:
        return _stages(net)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UsageError(f"--layers {pattern} matches no layer. {_nearest(pattern, names)}")
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _nearest(pattern: str, names: list[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(pattern.replace("*", ""), names, n=3, cutoff=0.4)
    if close:
        return f"Near it are: {', '.join(close)}."
    top = [name for name in names if "." not in name]
    return f"There are: {', '.join(top[:6])}{', ...' if len(names) > 6 else '.'}"


def _stages(net: nn.Module) -> list[str]:
    """Return the parts directly inside, or, where that is one, those inside it.

    Of single layers those that have a matrix of weights; what comes after them is much like them.
    """
    prefix, inside = "", net
    while len(children := list(inside.named_children())) == 1 and list(children[0][1].children()):
        prefix, inside = f"{prefix}{children[0][0]}.", children[0][1]
    blocks = [prefix + name for name, child in children if list(child.children()) or _weighs(child)]
    return (blocks or [prefix + name for name, _ in children])[:_FEW]


def _weighs(module: nn.Module) -> bool:
    return any(parameter.dim() >= 2 for parameter in module.parameters(recurse=False))


def with_kernels(net: nn.Module, names: Sequence[str], *, asked: bool) -> dict[str, Tensor]:
    """Return the weights of those layers that have some; unless `asked` for, of the first convolution."""
    from torch.nn.modules.conv import _ConvNd

    modules = dict(net.named_modules())
    if not asked:
        first = [name for name, module in modules.items() if isinstance(module, _ConvNd)]
        names = first[:1]
    found = {}
    for name in names:
        weight = getattr(modules[name], "weight", None)
        if weight is not None and getattr(weight, "dim", lambda: 0)() >= 2:
            turned = getattr(modules[name], "transposed", False) and modules[name].groups == 1
            found[name] = weight.transpose(0, 1) if turned else weight
    if not found:
        raise UsageError(
            "--kernels finds no weights in these layers; name convolutions or linear layers in --layers."
        )
    return found
