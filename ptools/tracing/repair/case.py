"""A failure under examination, and the edits that may repair it."""

from __future__ import annotations

import ast
from collections import Counter
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
    weights: Counter[str] = field(default_factory=Counter)  # see tracing.study
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
        if found is None or not names(found[1], type(module).__name__):
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
        found |= {site.file for sites in self.sites.values() for site in sites}
        return sorted(file for file in found if self._readable(file))

    def _readable(self, file: str) -> bool:
        try:
            return bool(self.source(file).tree)
        except (OSError, SyntaxError, ValueError):
            return False

    def nodes(self, *more: str) -> Iterator[tuple[Source, ast.AST]]:
        """Yield every node of the user's files, and of `more`, with its source."""
        for file in dict.fromkeys([*self.files(), *more]):
            source = self.source(file)
            for node in ast.walk(source.tree):
                yield source, node

    def last_expression(self) -> tuple[Source, ast.expr] | None:
        """Return the user's expression in which the model stopped."""
        return self.expression(self.crash.sites[0]) if self.crash.sites else None

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


def names(call: ast.Call, name: str) -> bool:
    """Return whether a call is of something called `name`: Conv2d(...) or nn.Conv2d(...)."""
    func = call.func
    return (isinstance(func, ast.Attribute) and func.attr == name) or (
        isinstance(func, ast.Name) and func.id == name
    )
