"""A failure under examination, and the edits that may repair it."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn

from ptools.tracing.repair.contracts import Misfit
from ptools.tracing.repair.sources import Edit, Site, Source
from ptools.tracing.repair.witness import Crash, Origin, Sites, Witness


class Candidate(NamedTuple):
    """A repair to be tried: edits of one file."""

    edits: tuple[Edit, ...]

    @classmethod
    def of(cls, *edits: Edit) -> Candidate:
        """Return the candidate that makes these edits."""
        return cls(edits)


@dataclass
class Case:
    """All that is known about one failure."""

    crash: Crash
    model: nn.Module | None
    inputs: list[torch.Tensor]
    witness: Witness | None
    sites: Sites
    texts: dict[str, str]  # files that were edited already, as they are now
    misfit: Misfit | None = None
    _sources: dict[str, Source] = field(default_factory=dict)

    def source(self, file: str) -> Source:
        if file not in self._sources:
            self._sources[file] = Source(file, self.texts.get(file))
        return self._sources[file]

    # -- where things stand in the source ------------------------------------------------------------

    def expression(self, where: Site | None) -> tuple[Source, ast.expr] | None:
        """Return the expression that stands at a site."""
        if where is None:
            return None
        try:
            source = self.source(where.file)
            node = source.at(where)
        except (OSError, SyntaxError, ValueError, IndexError):
            return None
        return (source, node) if node is not None else None

    def call(self, where: Site | None) -> tuple[Source, ast.Call] | None:
        """Return the call that stands at a site."""
        found = self.expression(where)
        return (found[0], found[1]) if found and isinstance(found[1], ast.Call) else None

    def creation(self, module: nn.Module | None) -> tuple[Source, ast.Call, Site] | None:
        """Return the user's call that made a module of torch.nn itself."""
        if module is None:
            return None
        sites = self.sites.get(module) or self._like(module)
        found = self.call(sites[0]) if sites else None
        if found is None or not _names(found[1], type(module).__name__):
            return None
        return (*found, sites[0])

    def _like(self, module: nn.Module) -> list[Site]:
        """A deep copy was made by no call of its own: take that of a module that reads the same."""
        text = repr(module)
        alike = (s for m, s in self.sites.items() if type(m) is type(module) and repr(m) == text)
        return next(alike, [])

    def files(self) -> list[str]:
        """Return the user's files that the failure passes or that made a module."""
        found = {site.file for site in self.crash.sites}
        return sorted(found | {site.file for sites in self.sites.values() for site in sites})

    def last_call(self) -> tuple[Source, ast.Call] | None:
        """Return the user's call in which the model stopped."""
        return self.call(self.crash.sites[0]) if self.crash.sites else None

    def origin(self, tensor: Any) -> Origin | None:
        return self.witness.origin(tensor) if self.witness and tensor is not None else None

    def layer_behind(self, tensor: Any) -> tuple[Origin, torch.Tensor] | None:
        """Return the nearest layer (or the input) that a tensor comes from, and what that gave."""
        origin = self.origin(tensor)
        for _ in range(200):
            if origin is None:
                return None
            if origin.kind == "input" or not origin.made_of:
                return (origin, tensor) if origin.kind != "function" else None
            if origin.kind == "layer" and not isinstance(origin.module, _ELEMENTWISE):
                return origin, tensor
            if any(t is tensor for t in origin.made_of):  # changed in place
                origin = origin.before
            else:
                tensor = max(origin.made_of, key=lambda t: t.numel())
                origin = self.origin(tensor)
        return None

    def is_input(self, tensor: Any) -> int | None:
        """Return which input a tensor is, or is but another view of; None for what was computed."""
        for _ in range(50):
            origin = self.origin(tensor)
            if origin is None:
                return None
            if origin.kind == "input":
                return next((i for i, x in enumerate(self.inputs) if x is tensor), None)
            if origin.kind != "function" or origin.label not in VIEWS or not origin.made_of:
                return None
            tensor = origin.made_of[0]
        return None


_ELEMENTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh,
    nn.Sigmoid, nn.Hardswish, nn.Hardsigmoid, nn.Softplus, nn.Softmax, nn.LogSoftmax, nn.Dropout,
    nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.Identity, nn.modules.batchnorm._NormBase,
    nn.LayerNorm, nn.GroupNorm,
)  # fmt: skip
VIEWS = {
    "Tensor.view", "Tensor.reshape", "reshape", "flatten", "Tensor.flatten", "unsqueeze", "squeeze",
    "Tensor.unsqueeze", "Tensor.squeeze", "permute", "Tensor.permute", "transpose", "Tensor.transpose",
    "Tensor.contiguous", "Tensor.float", "Tensor.to", "Tensor.detach", "Tensor.clone",
}  # fmt: skip


def _names(call: ast.Call, name: str) -> bool:
    """Return whether a call is of something called `name`: Conv2d(...) or nn.Conv2d(...)."""
    func = call.func
    return (isinstance(func, ast.Attribute) and func.attr == name) or (
        isinstance(func, ast.Name) and func.id == name
    )


# -- edits ---------------------------------------------------------------------------------------------


def value_of(node: ast.AST | None) -> int | None:
    """Return the whole number that an expression of constants is: 16*4*4; None for anything else."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.BinOp):
        left, right = value_of(node.left), value_of(node.right)
        if left is None or right is None or abs(left) > 2**40 or abs(right) > 2**40:
            return None
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        if isinstance(node.op, ast.FloorDiv) and right:
            return left // right
    return None


def argument(call: ast.Call, kind: type, name: str) -> ast.expr | None:
    """Return the expression given for the parameter `name` of `kind`'s constructor."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    order = [p for p in inspect.signature(kind).parameters if p != "self"]
    if name in order and order.index(name) < len(call.args):
        found = call.args[order.index(name)]
        return None if any(isinstance(a, ast.Starred) for a in call.args) else found
    return None


def set_argument(case: Case, module: nn.Module, name: str, value: int | str) -> Iterator[Edit]:
    """Yield the edits, best first, that make a module with the parameter `name` equal to `value`."""
    made = case.creation(module)
    if made is None:
        return
    source, call, where = made
    node = argument(call, type(module), name)
    if node is None:
        yield add_keyword(source, call, f"{name}={value}")
        return
    old = value_of(node)
    if old is not None or isinstance(value, str):
        yield source.replace(node, str(value))
        return
    yield from _by_name(case, source, node, where, int(value))


def _by_name(case: Case, source: Source, node: ast.expr, where: Site, value: int) -> Iterator[Edit]:
    """Replace a variable: by another one of that value, a multiple, the number, or where it is set."""
    text = source.code(node)
    same = [n for n, v in where.names.items() if v == value and n.islower() and n != text]
    local = [n for n in same if _is_parameter(source, node, n)]
    if not isinstance(node, ast.Name) or not _in_loop(source, node):
        for name in local[:3]:
            yield source.replace(node, name)
    now = where.names.get(text) if isinstance(node, ast.Name) else None
    if now and value % now == 0 and 2 <= value // now <= 8:
        yield source.replace(node, f"{text} * {value // now}")
    if now and value < now and now % value == 0 and now // value <= 8:
        yield source.replace(node, f"{text} // {now // value}")
    for one in local[:4]:
        for other in local_names(source, node, where)[:6]:
            if where.names[one] + where.names[other] == value:
                yield source.replace(node, f"{one} + {other}")
    yield source.replace(node, str(value))
    if isinstance(node, ast.Name):
        yield from _definitions(source, node.id, now, value)


def local_names(source: Source, node: ast.AST, where: Site) -> list[str]:
    """Return the parameters of the function around `node` that are whole numbers."""
    return [n for n in where.names if _is_parameter(source, node, n)]


def _is_parameter(source: Source, node: ast.AST, name: str) -> bool:
    function = source.around(node, ast.FunctionDef)
    if not isinstance(function, ast.FunctionDef):
        return False
    names = {a.arg for a in (*function.args.args, *function.args.kwonlyargs)}
    stored = (
        n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    )
    return name in names or name in set(stored)


def _in_loop(source: Source, node: ast.AST) -> bool:
    loops = (ast.For, ast.ListComp, ast.GeneratorExp, ast.While)
    return source.around(node, *loops) is not None


def _definitions(source: Source, name: str, old: int | None, value: int) -> Iterator[Edit]:
    """Yield edits of the constants that a name is set to: HIDDEN = 128, def __init__(self, hidden=128)."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Assign) and value_of(node.value) == old and old is not None:
            if any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
                yield source.replace(node.value, str(value))
        elif isinstance(node, ast.FunctionDef):
            defaults = node.args.defaults
            plain = node.args.args[len(node.args.args) - len(defaults) :]
            for parameter, default in zip(plain, defaults, strict=True):
                if parameter.arg == name and value_of(default) == old:
                    yield source.replace(default, str(value))


def add_keyword(source: Source, call: ast.Call, text: str) -> Edit:
    """Return the edit that gives a call one more argument."""
    _, end = source.span(call)
    inside = source.text[: end - 1].rstrip()
    comma = "" if inside.endswith(("(", ",")) else ", "
    if inside.endswith(","):
        comma = " "
    return Edit(source.file, len(inside), len(inside), f"{comma}{text}")


def rename(case: Case, module: nn.Module, name: str) -> Iterator[Edit]:
    """Yield the edit that makes another class: BatchNorm1d -> BatchNorm2d."""
    made = case.creation(module)
    if made is None:
        return
    source, call, _ = made
    _, end = source.span(call.func)
    old = type(module).__name__
    yield Edit(source.file, end - len(old), end, name)


def prefix(source: Source, call: ast.Call) -> str:
    """Return what stands before a class in its call: `nn.` of nn.Linear(...), or nothing."""
    return source.code(call.func.value) + "." if isinstance(call.func, ast.Attribute) else ""


def insert_before(case: Case, module: nn.Module, layer: str) -> Iterator[Edit]:
    """Yield the edit that puts a layer before `module` in the call of Sequential, or list, it stands in."""
    made = case.creation(module)
    if made is None:
        return
    source, call, _ = made
    parent = source.parents.get(call)
    start, _ = source.span(call)
    sequential = isinstance(parent, ast.Call) and _names(parent, "Sequential")
    if sequential or isinstance(parent, ast.List):
        yield Edit(
            source.file, start, start, _layer(source, call, layer) + _separator(source, call)
        )
    elif isinstance(parent, ast.Tuple):  # OrderedDict([("fc", nn.Linear(...))])
        start, _ = source.span(parent)
        name = layer.partition("(")[0].lower()
        text = f'("{name}", {_layer(source, call, layer)}){_separator(source, parent)}'
        yield Edit(source.file, start, start, text)
    else:
        yield source.replace(
            call,
            f"{_container(source, call)}Sequential({_layer(source, call, layer)}, {source.code(call)})",
        )


def _container(source: Source, call: ast.Call) -> str:
    return prefix(source, call)


def _layer(source: Source, call: ast.Call, layer: str) -> str:
    return prefix(source, call) + layer


def _separator(source: Source, node: ast.AST) -> str:
    """Return `, `, or a comma and the same indentation where the element stands on a line of its own."""
    start, _ = source.span(node)
    begin = source.text.rfind("\n", 0, start) + 1
    before = source.text[begin:start]
    return ",\n" + before if not before.strip() else ", "


def wrap(source: Source, node: ast.expr, template: str) -> Edit:
    """Return the edit that puts an expression into a template: `{}.flatten(1)`."""
    text = source.code(node)
    simple = isinstance(node, (ast.Name, ast.Attribute, ast.Call, ast.Subscript))
    if template.startswith("{}") and not simple:
        text = f"({text})"
    return source.replace(node, template.format(text))


def alias(source: Source, module: str) -> str:
    """Return how the file calls `module`, with a dot: `nn.` after `from torch import nn`."""
    parent, _, last = module.rpartition(".")
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                if name.name == module and name.asname:
                    return f"{name.asname}."
        elif isinstance(node, ast.ImportFrom) and node.module == parent:
            for name in node.names:
                if name.name == last:
                    return f"{name.asname or name.name}."
    return f"{module}."


def at_call(case: Case, template: str) -> Iterator[Candidate]:
    """Wrap the argument of the user's call in which the model stopped."""
    found = case.last_call()
    if found is None or not found[1].args:
        return
    source, call = found
    if template.startswith("torch.") and alias(source, "torch") != "torch.":
        template = alias(source, "torch") + template.removeprefix("torch.")
    for node in call.args[:2]:
        if not isinstance(node, ast.Starred):
            yield Candidate.of(wrap(source, node, template))
