"""The last layer of a network: found by dry runs, replaced by a wider one, or followed by another.

outputs(model, shape)   how many classes come out
find(model, shape)      a Head: the layer whose outputs are the classes
replace(model, ...)     a new layer of its kind in its place
append(model, ...)      a new layer after it
without(model, shape)   the network before `append`, on the same weights

No table of names: a layer is the last one if, made one output wider, it makes the network one
class wider. That is tried on the meta device, where weights take no memory, and it is a proof also
for functional code. What only training uses (the auxiliary heads of GoogLeNet) is found the same way.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ptools.errors import UsageError, cause
from ptools.tracing.build import to_meta
from ptools.tracing.lazy import without_dynamo
from ptools.tracing.study import float_type

__all__ = ["Head", "append", "find", "outputs", "replace", "without"]

ADDED = (
    "add_linear"  # as in the tutorials: classifier.add_module("add_linear", nn.Linear(1000, 10))
)


@dataclass(frozen=True)
class Head:
    """The last layer of a network.

    name       as in named_modules(): "fc", "classifier.6"
    classes    its outputs
    auxiliary  layers that make more outputs of the same width in train mode: "AuxLogits.fc"
    """

    name: str
    classes: int
    auxiliary: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.auxiliary)


def outputs(model: nn.Module, shape: tuple[int, int, int]) -> int:
    """Return how many classes the model tells apart. Raises UsageError where it takes no such images."""
    return _Trial(model, shape).classes()


def find(model: nn.Module, shape: tuple[int, int, int]) -> Head:
    """Return the last layer of `model` for images of `shape`: an nn.Linear or a convolution.

    Lazy layers must have their weights. Raises UsageError where the model does not take the images, does
    not return (N, classes), or no single layer decides how many classes there are.
    """
    trial = _Trial(model, shape)
    names = trial.names()
    if not names:
        raise UsageError(
            f"no single layer of the model makes its {trial.classes()} outputs; give the model as many "
            "as there are classes, or add a layer with --head append."
        )
    return Head(names[0], trial.classes(), tuple(names[1:]))


def replace(model: nn.Module, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """Put new layers of `classes` outputs in the place of the last ones; return the model.

    They are of the old ones' kind, dtype and device, with a bias if these had one, and initialised as
    such layers are. Raises UsageError, see `find`.
    """
    for name in find(model, shape).names:
        layer = model.get_submodule(name)
        model = _put(model, layer, _wider(layer, classes))
    return model


def append(model: nn.Module, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """Add a layer of `classes` outputs after the last one; return the model.

    In a Sequential it is added at the end, as `classifier.add_linear`; another last layer becomes a
    Sequential of itself and the new one, `fc.0` and `fc.1`. Where the last layer cannot be found, the
    model as a whole becomes `net`, followed by `add_linear`. Raises UsageError where the model does
    not take the images or does not return (N, classes).
    """
    trial = _Trial(model, shape)
    inside, names = trial.classes(), trial.names()
    if names and trial.fits(names, classes):
        return _extended(model, names, classes)
    parameter = next(model.parameters(), None)
    like: Any = {} if parameter is None else {"device": parameter.device, "dtype": parameter.dtype}
    whole = nn.Sequential()
    whole.add_module("net", model)
    whole.add_module(ADDED, nn.Linear(inside, classes, **like))
    return whole.train(model.training)


def without(model: nn.Module, shape: tuple[int, int, int]) -> nn.Module:
    """Return what `append` added to, under its own names; parameters and buffers are the model's."""
    shared: dict[int, Any] = {id(t): t for t in (*model.parameters(), *model.buffers())}
    view = copy.deepcopy(model, shared)
    for name in find(model, shape).names:
        where, _, leaf = name.rpartition(".")
        parent = view.get_submodule(where)
        if leaf == ADDED and [key for key, _ in parent.named_children()] == ["net", ADDED]:
            return parent.get_submodule("net")
        if leaf == ADDED:
            del parent._modules[ADDED]
        else:
            view = _put(view, parent, parent.get_submodule("0"))
    return view


def _extended(model: nn.Module, names: list[str], classes: int) -> nn.Module:
    """Return the model with a layer after each of `names`."""
    for name in names:
        layer = model.get_submodule(name)
        parent = model.get_submodule(name.rpartition(".")[0]) if name else None
        new = _after(layer, classes).train(layer.training)
        plain = parent is not None and type(parent).forward is nn.Sequential.forward
        if plain and list(parent.children())[-1] is layer:  # type: ignore[union-attr]
            parent.add_module(ADDED, new)  # type: ignore[union-attr]
        else:
            model = _put(model, layer, nn.Sequential(layer, new).train(layer.training))
    return model


def _after(layer: Any, classes: int) -> nn.Module:
    """Return a layer for the outputs of `layer`: linear, or a convolution of size 1."""
    like = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    outputs = layer.weight.shape[0]
    if isinstance(layer, nn.Linear):
        return nn.Linear(outputs, classes, **like)
    kind = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}[layer.weight.dim()]
    return kind(outputs, classes, 1, **like)


def _wider(layer: nn.Module, classes: int) -> nn.Module:
    """Return a new layer of the same kind with `classes` outputs."""
    new: Any = copy.deepcopy(layer)
    for name, old in list(new._parameters.items()):
        if old is not None:
            fresh = torch.empty(classes, *old.shape[1:], device=old.device, dtype=old.dtype)
            new._parameters[name] = nn.Parameter(fresh)
    setattr(new, "out_features" if isinstance(new, nn.Linear) else "out_channels", classes)
    new.reset_parameters()
    return new.train(layer.training)  # type: ignore[no-any-return]


def _put(model: nn.Module, old: nn.Module, new: nn.Module) -> nn.Module:
    """Put a layer in the place of another, wherever the model holds it; return the model."""
    if model is old:
        return new
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child is old and parent is not new:
                parent._modules[name] = new
    return model


class _Trial:
    """A copy of a model to try things on: on meta, or with the real weights where it needs values."""

    def __init__(self, model: nn.Module, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self.model, self.device = _copy(model, "meta"), "meta"
        try:
            self.seen = self._watch(train=False)
        except Exception:
            place = next((p.device.type for p in model.parameters()), "cpu")
            self.model, self.device = _copy(model, place), place
            self.seen = self._watched()

    def classes(self) -> int:
        """Return how many classes come out. Raises UsageError where that is not (N, classes)."""
        outputs, _ = self.seen
        if not outputs or outputs[0].dim() != 2:
            size = "x".join(map(str, self.shape))
            got = tuple(outputs[0].shape) if outputs else "no tensor"
            raise UsageError(f"for 2 images of {size} the model returns {got}, not (2, classes).")
        return int(outputs[0].shape[1])

    def names(self) -> list[str]:
        """Return the layer that makes the classes, then those behind more outputs in train mode."""
        classes = self.classes()
        main = self._maker(self.seen, classes, index=0, train=False)
        if main is None:
            return []
        if len([m for m in self.model.modules() if _is_layer(m, classes)]) == 1:
            return [main]  # no other could make outputs of that width
        try:
            seen = self._watch(train=True)
        except Exception:  # then it cannot be trained at all, which others say better
            return [main]
        makers = (
            self._maker(seen, classes, index=index, train=True)
            for index, output in enumerate(seen[0])
            if index and tuple(output.shape[1:]) == (classes,)
        )
        return list(dict.fromkeys([main, *(name for name in makers if name is not None)]))

    def fits(self, names: list[str], classes: int) -> bool:
        """Return whether (2, classes) comes out once layers are added after `names`."""
        try:
            with torch.random.fork_rng(devices=[]):
                longer = _extended(self.model, names, classes)
            return tuple(self._run(longer, train=False)[0].shape) == (2, classes)
        except Exception:
            return False

    def _maker(
        self, seen: tuple[list[Tensor], list[str]], classes: int, *, index: int, train: bool
    ) -> str | None:
        """Return the layer that makes output `index`; those called last are tried first."""
        names: list[str] = [n for n, m in self.model.named_modules() if _is_layer(m, classes)]
        order = dict.fromkeys([*reversed(seen[1]), *reversed(names)])
        for name in (name for name in order if name in names):
            layer = self.model.get_submodule(name)
            with torch.random.fork_rng(
                devices=[]
            ):  # a trial must not move the dice of the real one
                new = _wider(layer, classes + 1)
            changed = _put(self.model, layer, new)
            try:
                output = self._run(changed, train=train)[index]
            except Exception:
                continue
            finally:
                _put(changed, new, layer)
            if tuple(output.shape[1:]) == (classes + 1,):
                return name
        return None

    def _watched(self) -> tuple[list[Tensor], list[str]]:
        try:
            return self._watch(train=False)
        except Exception as error:  # the model is the user's code
            size = "x".join(map(str, self.shape))
            raise UsageError(f"the model does not take images of {size}: {cause(error)}") from error

    def _watch(self, *, train: bool) -> tuple[list[Tensor], list[str]]:
        """Return the tensors that come out, and the modules in the order of their calls."""
        calls: list[str] = []
        names = {module: name for name, module in self.model.named_modules()}
        hooks = [m.register_forward_hook(lambda m, *_: calls.append(names[m])) for m in names]
        try:
            return self._run(self.model, train=train), calls
        finally:
            for hook in hooks:
                hook.remove()

    def _run(self, model: nn.Module, *, train: bool) -> list[Tensor]:
        """Return the tensors that come out for two images. Raises what the model raises."""
        model.train(train)
        dice = torch.random.fork_rng(devices=[])
        with torch.no_grad(), dice, without_dynamo(), torch.device(self.device):
            images = torch.zeros(2, *self.shape, dtype=float_type(model))
            return list(_tensors(model(images)))


def _is_layer(module: nn.Module, outputs: int) -> bool:
    """Whether it is a layer that can be made anew with another number of outputs."""
    plain = {name for name, p in module._parameters.items() if p is not None}
    if not isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return False
    whole = plain in ({"weight"}, {"weight", "bias"}) and getattr(module, "groups", 1) == 1
    return whole and module.weight.shape[0] == outputs


def _copy(model: nn.Module, device: str) -> nn.Module:
    """Return a copy on meta, or one that shares the parameters (not the buffers: these may change)."""
    share: dict[int, Any] = {id(p): _like(p, device) for p in model.parameters()}
    if device == "meta":
        share |= {id(b): b.detach().to("meta") for b in model.buffers()}
    copied = copy.deepcopy(model, share)
    return to_meta(copied) if device == "meta" else copied


def _like(parameter: nn.Parameter, device: str) -> nn.Parameter:
    if device != "meta":
        return parameter
    return nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in what a model returned."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _tensors(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _tensors(one)
