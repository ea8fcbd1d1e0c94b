"""The network whose layers are shown, while it runs.

choose(net, patterns)       the modules that names and patterns mean
with_kernels(net, names)    the weights of those that have some
Network.watch(image, ...)   the outputs of some layers for one image
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from ptools.errors import PtoolsError, UsageError, cause

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ptools.data import Geometry

__all__ = ["Network", "choose", "with_kernels"]

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
    some = close or [name for name in names if "." not in name][:6]
    return f"{'Near it are' if close else 'There are'}: {', '.join(some)}."


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
