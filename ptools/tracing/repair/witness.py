"""A second run of a model that failed, with eyes open: who made each tensor, and where it stopped.

The first run keeps nothing, to be fast. This one remembers for every module the expression that
created it, and for every tensor the layer or function that returned it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.overrides import TorchFunctionMode, resolve_name

from ptools.tracing.repair.sources import Site, site

Sites = dict[nn.Module, list[Site]]


class Origin(NamedTuple):
    """Who made a tensor: `kind` is input, layer or function; `label` its name, `made_of` its inputs."""

    kind: str
    label: str
    type: str = ""
    made_of: tuple[torch.Tensor, ...] = ()
    site: Site | None = None  # the user's expression that called it
    module: nn.Module | None = None
    before: Any = None  # the origin it had until this layer changed it in place


class View(NamedTuple):
    """A view or reshape that changed the first dimension."""

    label: str
    layer: str  # that was running
    before: tuple[int, ...]
    after: tuple[int, ...]
    site: Site | None


class Call(NamedTuple):
    """A module or a function with what it was called with."""

    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass
class Crash:
    """Where and on what a model stopped."""

    error: BaseException
    stage: str  # ctor, forward
    layer: str = ""  # of the innermost module that was running
    module: nn.Module | None = None
    call: Call | None = None  # of that module
    function: Call | None = None  # the torch function that raised
    name: str = ""  # of that function: add, cat, Tensor.view, ...
    sites: list[Site] = field(default_factory=list)  # in the user's source, innermost first
    step: int = 0  # how many modules and functions had returned


class Witness(TorchFunctionMode):
    """Remembers the origin of every tensor while it is entered."""

    def __init__(self, model: nn.Module, inputs: list[torch.Tensor]) -> None:
        super().__init__()
        self.model = model
        self.names: dict[nn.Module, str] = {m: n for n, m in model.named_modules()}
        self.origins: dict[int, Origin] = {}
        self.steps = 0
        self.views: list[View] = []
        self.sequences: list[tuple[nn.Module, str, tuple[int, ...]]] = []  # not batch_first
        self.failed: tuple[BaseException, Call, str] | None = None
        self._alive: list[Any] = []  # an id is of one tensor only while that tensor lives
        for place, tensor in enumerate(inputs):
            label = "the input" if len(inputs) == 1 else f"input {place + 1}"
            self._note(tensor, Origin("input", label))

    def __enter__(self) -> Witness:
        self._handle = register_module_forward_hook(self._returned)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._handle.remove()

    def origin(self, tensor: Any) -> Origin | None:
        return self.origins.get(id(tensor))

    def _note(self, value: Any, origin: Origin) -> None:
        for tensor in each_tensor(value):
            self._alive.append(tensor)
            before = self.origins.get(id(tensor))
            self.origins[id(tensor)] = origin._replace(before=before)
        if isinstance(value, (tuple, list, dict)):
            self._alive.append(value)
            self.origins[id(value)] = origin

    def _returned(self, module: nn.Module, args: Any, output: Any) -> None:
        self.steps += 1
        name = self.names.get(module)
        first = next(each_tensor(args), None)
        if not_batch_first(module) and first is not None and first.dim() == 3:
            self.sequences.append((module, name or "", tuple(first.shape)))
        simple = type(module).__module__.startswith("torch.") and not isinstance(
            module, (nn.Sequential, nn.ModuleList)
        )
        if name is not None and (simple or next(module.children(), None) is None):
            kind = type(module).__name__
            made_of = tuple(each_tensor(args))
            self._note(output, Origin("layer", name, kind, made_of, _here(), module))

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        try:
            output = func(*args, **kwargs)
        except BaseException as error:
            if self.failed is None or self.failed[0] is not error:
                self.failed = (error, Call(func, args, kwargs), _name(func))
            raise
        self.steps += 1
        if any(id(t) not in self.origins for t in each_tensor(output)):
            made_of = tuple(each_tensor((args, kwargs)))
            self._note(output, Origin("function", _name(func), "", made_of, _here()))
            self._view(func, args, output)
        return output

    def _view(self, func: Any, args: Any, output: Any) -> None:
        if _name(func) not in (
            "Tensor.view",
            "Tensor.reshape",
            "reshape",
            "Tensor.flatten",
            "flatten",
        ):
            return
        before, after = tuple(args[0].shape), tuple(output.shape)
        if before and after and before[0] != after[0]:
            self.views.append(View(_name(func), "", before, after, _here()))

    def crash(self, error: BaseException) -> Crash:
        """Return what is known about an exception that the model raised."""
        crash = Crash(error, "forward", step=self.steps)
        for call in _module_calls(error.__traceback__):
            if call.target in self.names:
                crash.module, crash.layer, crash.call = call.target, self.names[call.target], call
        if self.failed is not None and self.failed[0] is error:
            crash.function, crash.name = self.failed[1], self.failed[2]
        crash.sites = user_sites(error.__traceback__)
        return crash


def _here() -> Site | None:
    """Return the user's expression that is being evaluated, a few frames up."""
    frame = sys._getframe(2)
    for _ in range(12):
        where = site(frame.f_code, frame.f_lasti, frame)
        if where is not None or frame.f_back is None:
            return where
        frame = frame.f_back
    return None


def not_batch_first(module: nn.Module) -> bool:
    """Return whether a layer takes its sequences as (L, N, C)."""
    if isinstance(module, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):
        module = module.self_attn
    return getattr(module, "batch_first", None) is False


def each_tensor(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in a tensor, tuple, list or dict."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from each_tensor(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from each_tensor(item)


def user_sites(traceback: TracebackType | None) -> list[Site]:
    """Return where in the user's source a traceback passes, innermost first."""
    found: list[Site] = []
    while traceback is not None:
        where = site(traceback.tb_frame.f_code, traceback.tb_lasti, traceback.tb_frame)
        if where is not None:
            found.insert(0, where)
        traceback = traceback.tb_next
    return found


def _module_calls(traceback: TracebackType | None) -> Iterator[Call]:
    """Yield the modules that a traceback passes, outermost first."""
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code is nn.Module._call_impl.__code__:
            local = frame.f_locals
            yield Call(local["self"], local["args"], local["kwargs"])
        traceback = traceback.tb_next


def _name(func: Any) -> str:
    try:
        name = resolve_name(func) or getattr(func, "__name__", str(func))
    except Exception:
        name = getattr(func, "__name__", str(func))
    parts = name.split(".")
    return ".".join(parts[-2:]) if "Tensor" in parts else parts[-1]


@contextmanager
def recording(sites: Sites) -> Iterator[None]:
    """Note for every module that is made which expressions of the user's source made it."""
    original = nn.Module.__init__

    def init(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        sites[self] = _creation(self)
        original(self, *args, **kwargs)

    nn.Module.__init__ = init  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.__init__ = original  # type: ignore[method-assign]


def _creation(module: nn.Module) -> list[Site]:
    """Return the user's expressions that are being evaluated, innermost first.

    A frame of the module's own __init__ is left out: `super().__init__()` is not where it is made.
    """
    found: list[Site] = []
    frame = sys._getframe(2)
    while frame is not None:
        own = frame.f_code.co_name == "__init__" and frame.f_locals.get("self") is module
        if not own and (where := site(frame.f_code, frame.f_lasti, frame)) is not None:
            found.append(where)
        if frame.f_back is None:
            break
        frame = frame.f_back
    return found
