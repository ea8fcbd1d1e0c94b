"""The end of a network behind which nothing else happens: what trains when its backbone is frozen.

tail(model, head)        a Tail: the last layer, with the Dropout before it
Tail.module(model)       it alone, on the same weights
features(model, tail)    the rest: images -> what goes into the tail
proven(model, tail, ...) the tail once more, if the network is provably its tail after its features

Nothing is concluded from names: it is tried on images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ptools.errors import PtoolsError, cause

__all__ = ["NotProven", "Tail", "features", "proven", "tail"]


class NotProven(PtoolsError):
    """What goes into the tail cannot be computed once for all epochs; the message says why."""


@dataclass(frozen=True)
class Tail:
    """Modules that run one after the other at the end of a network.

    head   the last layer among them; flat: whether the output of the last one is flattened
    """

    names: tuple[str, ...]
    head: str = ""
    flat: bool = False

    def module(self, model: nn.Module) -> nn.Module:
        """Return the tail as a module of its own, which shares the layers of `model`."""
        layers = [model.get_submodule(name) for name in self.names]
        if self.flat:
            layers.append(nn.Flatten())
        return layers[0] if len(layers) == 1 else nn.Sequential(*layers)


def tail(model: nn.Module, head: str) -> Tail:
    """Return the tail that begins with the last layer `head`, or with the Dropout before it.

    In a Sequential it goes on to the end of that: SqueezeNet pools after its last layer.
    """
    where, _, leaf = head.rpartition(".")
    parent = model.get_submodule(where)
    if not head or type(parent).forward is not nn.Sequential.forward:
        return Tail((head,), head)
    names, children = zip(*parent.named_children(), strict=True)
    start = place = names.index(leaf)
    while place and not any(True for _ in children[place - 1].parameters()):
        place -= 1
        if isinstance(children[place], nn.modules.dropout._DropoutNd):
            start = place
    return Tail(tuple(f"{where}.{name}" if where else name for name in names[start:]), head)


def features(model: nn.Module, found: Tail) -> Callable[[Tensor], Tensor]:
    """Return the function from images (B, C, H, W) to what goes into the tail."""
    both = _both(model, found)
    return lambda images: both(images)[0]


def _both(model: nn.Module, found: Tail) -> Callable[[Tensor], tuple[Tensor, Any]]:
    """Return the function from images to what goes into the tail, and what the network returns."""
    first = model.get_submodule(found.names[0])

    def of(images: Tensor) -> tuple[Tensor, Any]:
        seen: list[Any] = []

        def keep(_: nn.Module, args: Any) -> None:  # a copy: the tail may work in place
            seen.append([a.clone() if torch.is_tensor(a) else a for a in args])

        hook = first.register_forward_pre_hook(keep)
        try:
            output = model(images)
        finally:
            hook.remove()
        if len(seen) != 1 or len(seen[0]) != 1 or not torch.is_tensor(seen[0][0]):
            raise NotProven(f"{found.names[0]} is not called once with one tensor")
        if len(seen[0][0]) != len(images):
            raise NotProven(f"{found.names[0]} does not get one row for each image")
        return seen[0][0], output

    return of


def proven(model: nn.Module, found: Tail, images: Tensor) -> Tail:
    """Return the tail, once the network has been shown to be no more than it, after its features.

    On `images` (at least 2): the tail of the features is the output; they are the same in train mode, as
    nothing before it is random or measures statistics; an image's are the same in any batch. The model
    is left in train mode. Raises NotProven.
    """
    measured = _frozen(model, found)
    of = _both(model, found)
    try:
        with torch.no_grad(), torch.random.fork_rng():
            model.eval()
            calm, wanted = of(images)
            alone, _ = of(images[:1])
            model.train()
            busy, _ = of(images)
            found.module(model).eval()
            output = found.module(model)(calm)
    except NotProven:
        raise
    except Exception as error:  # the model is the user's code
        raise NotProven(f"{found.names[0]} cannot be run alone ({cause(error)})") from error
    finally:
        model.train()
        changed = [name for name, was in measured.items() if _put_back(model, name, was)]
    if changed:
        raise NotProven(f"{changed[0]} changes while it trains")
    if not torch.equal(calm, busy):
        raise NotProven("what is frozen is random, or differs in train mode")
    if not torch.allclose(alone, calm[:1], rtol=1e-3, atol=1e-4):
        raise NotProven("the features of an image depend on the others in its batch")
    for flat in (False, True):
        shaped = output.flatten(1) if flat else output
        if torch.is_tensor(wanted) and shaped.shape == wanted.shape and _same(shaped, wanted):
            return replace(found, flat=flat)
    raise NotProven(f"something is done to the output of {found.names[-1]}")


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-5, atol=1e-6)


def _frozen(model: nn.Module, found: Tail) -> dict[str, Tensor]:
    """Return the buffers that training could change outside of the tail; raise NotProven where it trains."""
    inside = set(found.module(model).modules())
    measured: dict[str, Tensor] = {}
    model.train()
    for name, module in model.named_modules():
        if module in inside:
            continue
        if any(p.requires_grad for p in module.parameters(recurse=False)):
            raise NotProven(f"{name or 'the model itself'} is not frozen")
        if module.training:
            held = module.named_buffers(name, recurse=False)
            measured |= {key: buffer.clone() for key, buffer in held}
    return measured


def _put_back(model: nn.Module, name: str, was: Tensor) -> bool:
    """Give a buffer its value back; return whether it had another."""
    buffer = model.get_buffer(name)
    changed = not torch.equal(buffer, was)
    buffer.copy_(was)
    return changed
