"""A dry run of a model: what comes out of every layer, and what it costs.

Nothing is registered on the model: module calls are seen by global hooks, operations by a dispatch
mode, what the backward pass will need by saved-tensor hooks. A MAC belongs to the innermost
module that was running.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from ptools.tracing import macs

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle


@dataclass
class Layer:
    """One module of the model; figures of modules inside it are theirs, not its own."""

    name: str  # dotted, "" is the model itself
    type: str
    params: int  # elements of its own parameters; shared ones count where they come first
    trainable: int
    leaf: bool  # it has no modules inside
    calls: int = 0
    output: Any = None  # of the first call: see `shapes_of`
    macs: int = 0
    activation_bytes: int = 0  # kept for the backward pass
    used: bool = False  # it ran, or its weights were used by another module, or one inside it was


@dataclass
class Trace:
    """What a dry run found. Sizes are elements where the name does not say bytes."""

    layers: list[Layer]  # in the order of the first call, then those that did not run
    output: Any  # see `shapes_of`
    params: int
    trainable: int
    buffers: int
    weight_bytes: int  # of parameters and buffers
    gradient_bytes: int  # of the parameters that are trained
    macs: int
    activation_bytes: int
    uncounted: dict[str, list[str]]  # operation -> the layers that called it
    data_dependent: bool = False  # the figures are of a real run: they depend on the values
    notes: list[str] = field(default_factory=list)


def dry_run(model: nn.Module, inputs: Sequence[torch.Tensor]) -> tuple[Trace, Any]:
    """Call the model with tensors; return what happened, and its output. All may lie on meta.

    Raises whatever the model raises.
    """
    watch = Watch(model)
    try:
        output = watch.run(inputs)
    except RuntimeError as error:
        if "saved tensor hooks" not in str(error):
            raise
        watch = Watch(model, activations=False)  # torch.func.grad and its like refuse the hooks
        output = watch.run(inputs)
        watch.notes["activation memory is not counted: torch.func allows no look at it"] = None
    return watch.trace(output), output


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every module call and every operation of one model while it is entered."""

    supports_higher_order_operators = True  # torch.cond and its like come here too

    def __init__(self, model: nn.Module, *, activations: bool = True) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model
        self.order: list[Layer] = []
        self.stack: list[Layer] = []
        self.uncounted: dict[str, dict[str, None]] = {}
        self.notes: dict[str, None] = {}
        self._activations = activations
        self._layers: dict[nn.Module, Layer] = {}
        # by address; the storages are held, so that no other takes over an address
        self._weights: dict[int, tuple[torch.UntypedStorage, Layer]] = {}
        self._kept: dict[int, tuple[torch.UntypedStorage, Layer]] = {}  # for the backward pass
        self._survey()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Leave out a wrapper for torch.compile: its import would cost as much as torch's own."""
        return False

    def run(self, inputs: Sequence[torch.Tensor]) -> Any:
        """Call the model while watching it, as training would: with gradients."""
        with ExitStack() as exits:
            for handle in self._hooks():
                exits.callback(handle.remove)
            exits.enter_context(_plain_kernels())
            if self._activations:
                exits.enter_context(saved_tensors_hooks(self._keep, _given_back))
            exits.enter_context(torch.enable_grad())
            exits.enter_context(self)
            return self.model(*inputs)

    def _survey(self) -> None:
        """Note whose a weight is: at the start, and again for what is made while it runs."""
        for name, module in self.model.named_modules():
            layer = self._layers.get(module)
            if layer is None:
                layer = self._layers[module] = Layer(
                    name, _type(module), 0, 0, leaf=_is_leaf(module)
                )
            for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                storage = None if nn.parameter.is_lazy(tensor) else _storage(tensor)
                if storage is not None:
                    self._weights.setdefault(storage._cdata, (storage, layer))

    def _hooks(self) -> Iterator[RemovableHandle]:
        yield register_module_forward_pre_hook(self._begin)
        yield register_module_forward_hook(self._end, always_call=True)

    def _begin(self, module: nn.Module, args: Any) -> None:
        if module not in self._layers:
            self._survey()  # it may have become a part of the model since
        layer = self._layers.get(module)
        if layer is None:
            return
        self.stack.append(layer)
        if not layer.calls:
            self.order.append(layer)
            layer.used = True
        layer.calls += 1

    def _end(self, module: nn.Module, args: Any, output: Any) -> None:
        layer = self._layers.get(module)
        if layer is None or not self.stack or self.stack[-1] is not layer:
            return
        self.stack.pop()
        if layer.output is None:
            layer.output = shapes_of(output)

    def _keep(self, tensor: torch.Tensor) -> torch.Tensor:
        """Note what autograd keeps, each storage once."""
        storage = _storage(tensor)
        if storage is None:
            self.notes["the activation memory is without sparse and nested tensors"] = None
        else:
            self._kept.setdefault(storage._cdata, (storage, self._running()))
        return tensor

    def _running(self) -> Layer:
        return self.stack[-1] if self.stack else self._layers[self.model]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not isinstance(func, torch._ops.OpOverload):
            return self._higher_order(func, args, kwargs)
        kind = macs.kind(func)
        if kind is False and func.has_kernel_for_dispatch_key(_COMPOSITE):
            with self:
                return func.decompose(*args, **kwargs)
        output = macs.zeros(func, args)
        if output is None:
            output = func(*args, **kwargs)
        self._use((*args, *kwargs.values()))
        if kind is True:
            return output
        try:
            if kind is not False:
                self._running().macs += kind(*args, **kwargs, out_val=output)
                return output
        except Exception:  # not an arrangement that the formula knows
            pass
        self._not_counted(func._overloadpacket._qualified_op_name)
        return output

    def _higher_order(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """torch.cond takes the branch that its values say; what others compute is not seen."""
        if func is torch.ops.higher_order.cond:
            chosen, yes, no, *operands = args
            if chosen.device.type == "meta":
                raise NotImplementedError(
                    "torch.cond decides by values, and meta tensors have none"
                )
            with self:
                return (yes if chosen else no)(*operands[0])
        self._not_counted(f"higher_order::{func.name()}")
        return func(*args, **kwargs)

    def _not_counted(self, operation: str) -> None:
        self.uncounted.setdefault(operation, {})[self._running().name] = None

    def _use(self, args: Any) -> None:
        """Note whose weights an operation reads: MultiheadAttention never calls its out_proj."""
        for value in args:
            if isinstance(value, torch.Tensor):
                storage = _storage(value)
                owner = self._weights.get(storage._cdata) if storage is not None else None
                if owner is not None:
                    owner[1].used = True
            elif isinstance(value, (list, tuple)) and value and isinstance(value[0], torch.Tensor):
                self._use(value)

    def trace(self, output: Any) -> Trace:
        """Return what was seen, once the model has returned `output`."""
        self._settle()
        ran = set(map(id, self.order))
        rest = [layer for layer in self._layers.values() if id(layer) not in ran]
        buffers = [b for b in self.model.buffers() if not nn.parameter.is_lazy(b)]
        parameters = [p for p in self.model.parameters() if not nn.parameter.is_lazy(p)]
        trainable = [p for p in parameters if p.requires_grad]
        return Trace(
            layers=self.order + rest,
            output=shapes_of(output),
            params=sum(p.numel() for p in parameters),
            trainable=sum(p.numel() for p in trainable),
            buffers=sum(b.numel() for b in buffers),
            weight_bytes=sum(t.numel() * t.element_size() for t in (*parameters, *buffers)),
            gradient_bytes=sum(p.numel() * p.element_size() for p in trainable),
            macs=sum(layer.macs for layer in self._layers.values()),
            activation_bytes=sum(layer.activation_bytes for layer in self._layers.values()),
            uncounted={op: list(names) for op, names in self.uncounted.items()},
            notes=list(self.notes),
        )

    def _settle(self) -> None:
        """Fill in what is known at the end only: a lazy layer gets its weights while it runs."""
        self._survey()
        seen: set[nn.Parameter] = set()
        for module in self.model.modules():
            own = [p for p in module.parameters(recurse=False) if not nn.parameter.is_lazy(p)]
            new = [p for p in own if p not in seen]
            seen.update(new)
            layer = self._layers[module]
            layer.type, layer.leaf = _type(module), _is_leaf(module)
            layer.params = sum(p.numel() for p in new)
            layer.trainable = sum(p.numel() for p in new if p.requires_grad)
            if isinstance(module, torch.jit.ScriptModule) and layer.calls:
                for inner in module.modules():  # they run without being called from Python
                    self._layers[inner].used = True
        for module in self.model.modules():  # a ModuleList does not run, what it holds does
            layer = self._layers[module]
            inside = list(module.modules())
            empty = not (layer.leaf or layer.params or inside[1:])
            layer.used = layer.used or empty or any(self._layers[m].used for m in inside)
        for address, (storage, layer) in self._kept.items():
            if address not in self._weights:
                layer.activation_bytes += storage.nbytes()


_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd


def _storage(tensor: torch.Tensor) -> torch.UntypedStorage | None:
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):  # sparse tensors have none
        return None


def _type(module: nn.Module) -> str:
    return str(getattr(module, "original_name", type(module).__name__))  # of a scripted module


def _is_leaf(module: nn.Module) -> bool:
    """Whether it has no modules inside, and can run: an empty ModuleList cannot."""
    runs = getattr(module.forward, "__func__", None) is not nn.Module.forward
    return runs and next(module.children(), None) is None


def _given_back(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """On a CPU, oneDNN and the fused attention hide matrix products from the dispatcher."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.backends.mkldnn.flags(enabled=False):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def shapes_of(value: Any) -> Any:
    """Return shapes for tensors: a list; inside tuples, dicts and dataclasses lists and dicts of them.

    None stands for what is no tensor.
    """
    if isinstance(value, torch.Tensor):
        return (
            [list(part.shape) for part in value.unbind()] if value.is_nested else list(value.shape)
        )
    if isinstance(value, dict):
        return {str(key): shapes_of(item) for key, item in value.items()}
    if isinstance(value, nn.utils.rnn.PackedSequence):
        return {"data": list(value.data.shape)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: shapes_of(getattr(value, name)) for name in value._fields}
    if isinstance(value, (list, tuple)):
        return [shapes_of(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: shapes_of(getattr(value, f.name, None)) for f in fields(value)}
    return None
