"""Build a model without memory for its weights: on the meta device.

    meta        the whole constructor runs there: nothing is allocated
    registered  the constructor needs real values (RegNet calls .tolist()): it runs on the CPU, but every
                parameter is put on meta the moment it is registered, and initialisation is skipped
    real        it reads its own parameters: it is built whole, then moved

A model that computes from its data needs real tensors: `build_real` gives it zero weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ptools.errors import one_line

if TYPE_CHECKING:
    Make = Callable[[], nn.Module]

_INITIALISERS = {
    "uniform_", "normal_", "trunc_normal_", "kaiming_uniform_", "kaiming_normal_", "xavier_uniform_",
    "xavier_normal_", "orthogonal_", "erfinv_", "exponential_", "log_normal_", "cauchy_", "geometric_",
}  # fmt: skip


class Built(NamedTuple):
    """A model on the meta device, and how it came there (see the module)."""

    model: nn.Module
    how: str


def build(make: Make, dtype: torch.dtype | None = None) -> Built:
    """Build the model that `make` returns on meta. Raises what its constructor raises.

    `dtype` is given to its floating parameters and buffers; None leaves them as they are built.
    """
    last: Exception | None = None
    for how, attempt in (("meta", _on_meta), ("registered", _registered), ("real", _real)):
        try:
            model = attempt(make)
        except Exception as error:
            if last is not None and _same(error, last) and "meta" not in one_line(error):
                raise  # it fails there for the same reason: the constructor is wrong
            last = error
            continue
        return Built(to_meta(model.to(dtype) if dtype else model), how)
    assert last is not None
    raise last


def build_real(make: Make, dtype: torch.dtype | None = None) -> nn.Module:
    """Build the model on the CPU with zero weights; buffers have their real values."""
    with _SkipInit(), torch.random.fork_rng(devices=[]):
        model = make()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.device.type == "cpu" and not _lazy(parameter):
                parameter.zero_()
    return model.to(dtype) if dtype else model


def to_meta(model: nn.Module) -> nn.Module:
    """Move parameters, buffers and tensors kept as plain attributes to meta, in place."""
    moved: dict[torch.Tensor, torch.Tensor] = {}  # tied weights stay tied
    for module in model.modules():
        for held in (module._parameters, module._buffers):
            for name, tensor in held.items():
                if tensor is not None and tensor.device.type != "meta" and not _lazy(tensor):
                    if tensor not in moved:
                        moved[tensor] = _on(tensor)
                    held[name] = moved[tensor]  # type: ignore[assignment]
        for name, value in list(vars(module).items()):
            if name not in ("_parameters", "_buffers", "_modules"):
                vars(module)[name] = _attribute(value, moved)
    return model


def _attribute(value: Any, moved: dict[torch.Tensor, torch.Tensor], depth: int = 3) -> Any:
    """Return an attribute with its tensors on meta: nn.LSTM keeps its weights in a list as well."""
    if isinstance(value, torch.Tensor):
        if value.device.type == "meta" or _lazy(value):
            return value
        return moved.setdefault(value, _on(value))
    if not depth:
        return value
    if type(value) is list:
        value[:] = [_attribute(one, moved, depth - 1) for one in value]
    elif type(value) is dict:
        value.update((key, _attribute(one, moved, depth - 1)) for key, one in list(value.items()))
    elif type(value) is tuple:
        return tuple(_attribute(one, moved, depth - 1) for one in value)
    return value


def _on(tensor: torch.Tensor) -> torch.Tensor:
    moved = tensor.detach().to("meta")
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(moved, requires_grad=tensor.requires_grad)
    return moved


def _lazy(tensor: torch.Tensor) -> bool:
    return nn.parameter.is_lazy(tensor)


def _same(one: Exception, other: Exception) -> bool:
    return type(one) is type(other) and one_line(one) == one_line(other)


def _on_meta(make: Make) -> nn.Module:
    with torch.device("meta"):
        return make()


def _real(make: Make) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        return make()


def _registered(make: Make) -> nn.Module:
    with _SkipInit(), _parameters_on_meta():
        return make()


class _SkipInit(TorchFunctionMode):
    """Leave out random initialisation: its values are not looked at, and its time is most of building.

    trunc_normal_ draws until every value lies between its bounds: without draws it would not end.
    """

    def __enter__(self) -> _SkipInit:
        self._truncated = getattr(nn.init, "_no_grad_trunc_normal_", None)
        if self._truncated is not None:
            nn.init._no_grad_trunc_normal_ = lambda tensor, *_, **__: tensor
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        if self._truncated is not None:
            nn.init._no_grad_trunc_normal_ = self._truncated

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in _INITIALISERS:
            return args[0] if args else (kwargs or {}).get("tensor")
        return func(*args, **(kwargs or {}))


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Put every parameter on meta as a module registers it. Not for use by several threads."""
    original = nn.Module.register_parameter

    def register(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        if param is not None and param.device.type != "meta" and not _lazy(param):
            param = _on(param)  # type: ignore[assignment]
        original(self, name, param)

    nn.Module.register_parameter = register  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.register_parameter = original  # type: ignore[method-assign]
