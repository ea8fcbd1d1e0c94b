"""Sizes of features and channels: the layer's own, those before it, a missing Flatten, another layout."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from math import prod
from typing import Any

import torch
from torch import nn

from ptools.tracing.repair import edits
from ptools.tracing.repair.case import Candidate, Case
from ptools.tracing.repair.contracts import Misfit
from ptools.tracing.repair.edits import alias, around_call, at_call
from ptools.tracing.repair.sources import Edit, Source

_OUT = {
    nn.Linear: "out_features",
    nn.modules.conv._ConvNd: "out_channels",
    nn.RNNBase: "hidden_size",
    nn.Embedding: "embedding_dim",
}


def features(case: Case, found: Misfit) -> Iterator[Candidate]:
    x, module = found.tensor, case.crash.module
    assert x is not None
    assert module is not None
    swapped = x.dim() == 3 and x.shape[2] > 1 and found.want == x.shape[1] != found.have
    if swapped:
        yield from _layout(case, found, x)
    if isinstance(module, nn.Linear):
        yield from _flatten(case, x, module)
    if x.dim() == 2 and found.have and found.want and found.want % found.have == 0:
        yield from joined(case)
    yield from _layout(case, found, x)
    if found.have is not None and found.parameter:
        yield from _resize_layer(case, module, found.parameter, found.have)
    yield from _producer(case, x, found)


def _resize_layer(case: Case, module: nn.Module, parameter: str, value: int) -> Iterator[Candidate]:
    name = "d_model" if isinstance(module, nn.TransformerEncoderLayer) else parameter
    made = list(edits.set_argument(case, module, name, value))
    groups = getattr(module, "groups", 1)
    for edit in made:
        if groups > 1 and groups == getattr(module, "in_channels", 0):
            for other in edits.set_argument(case, module, "groups", value):
                yield Candidate.of(edit, other)
        yield Candidate.of(edit)
    if not made:
        yield from _override(case, module, parameter, value)


def _flatten(case: Case, x: torch.Tensor, module: nn.Linear) -> Iterator[Candidate]:
    """Flatten is missing, has eaten the batch, or mixes samples."""
    yield from _reflatten(case, x, module)
    want = module.in_features
    if x.dim() == 4 and x.shape[1] == want and prod(x.shape[1:]) != want:
        yield from at_call(case, "{}.mean((2, 3))")
    if x.dim() < 3:
        return
    size = prod(x.shape[1:])
    places = (
        [[e] for e in edits.insert_before(case, module, "Flatten()")] if _in_container(case) else []
    )
    places += [list(c.edits) for c in at_call(case, "torch.flatten({}, 1)")]
    for place in places:
        if size == want:
            yield Candidate.of(*place)
    if x.dim() == 4 or (size != want and x.dim() == 3 and _from_convolution(case, x)):
        for place in places:
            for edit in edits.set_argument(case, module, "in_features", size):
                yield Candidate.of(*place, edit)


def _in_container(case: Case) -> bool:
    made = case.creation(case.crash.module)
    if made is None:
        return False
    source, call, _ = made
    return isinstance(source.parents.get(call), (ast.Call, ast.List, ast.Tuple))


def _from_convolution(case: Case, x: torch.Tensor) -> bool:
    behind = case.layer_behind(x)
    return behind is not None and any(word in behind[0].type for word in ("Conv", "Pool"))


def _reflatten(case: Case, x: Any, module: nn.Module | None) -> Iterator[Candidate]:
    """Replace a view or flatten that gives up the batch by one that keeps it."""
    start = case.origin(x)
    if start is not None and isinstance(start.module, nn.Flatten) and x.dim() == 1:
        for edit in edits.set_argument(case, start.module, "start_dim", 1):
            yield Candidate.of(edit)
    origin = case.origin(x)
    for _ in range(4):  # a ReLU may stand between
        if origin is None or origin.kind != "function" or "drop" in origin.label:
            return
        if any(word in origin.label for word in ("view", "reshape", "flatten")):
            break
        origin = case.origin(origin.made_of[0]) if origin.made_of else None
    if origin is None or not origin.made_of:
        return
    before = origin.made_of[0]
    if before.dim() < 2 or (x.dim() >= 2 and x.shape[0] == before.shape[0]):
        return
    yield from flattened(case, origin.site, prod(before.shape[1:]), module)


def flattened(case: Case, site: Any, size: int, module: nn.Module | None) -> Iterator[Candidate]:
    """Yield edits of the view at `site` that keep the batch; and of the Linear after it."""
    found = case.call(site)
    if found is None:
        return
    source, call = found
    base = _flattened_operand(source, call)
    if base is None:
        return
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    twice = re.fullmatch(r"[\w.]+", base)  # a call must not be made a second time
    new = f"{base}.view({base}.size(0), -1)" if name == "view" and twice else f"{base}.flatten(1)"
    if name == "flatten" and not base.endswith(")"):
        new = f"torch.flatten({base}, 1)"
    for text in dict.fromkeys([new, f"{base}.flatten(1)"]):
        edit = source.replace(call, text)
        yield Candidate.of(edit)
        if isinstance(module, nn.Linear):
            for other in edits.set_argument(case, module, "in_features", size):
                yield Candidate.of(edit, other)


def _flattened_operand(source: Source, call: ast.Call) -> str | None:
    """Return x of x.view(...), x.flatten(), torch.flatten(x)."""
    if not isinstance(call.func, ast.Attribute):
        return None
    owner = source.code(call.func.value)
    if owner == "torch" and call.args:
        return source.code(call.args[0])
    return owner if owner != "torch" else None


def _layout(case: Case, found: Misfit, x: torch.Tensor) -> Iterator[Candidate]:
    """The wanted size stands in another dimension: NLC for NCL, NHWC for NCHW."""
    want, shape = found.want, list(x.shape)
    if want is None or want not in shape:
        return
    if isinstance(case.crash.module, (nn.LayerNorm, nn.modules.batchnorm._NormBase)):
        yield from _normalised(case, x)
    if x.dim() == 3 and want in shape[1:]:
        yield from at_call(case, "{}.transpose(1, 2)")
    if x.dim() == 3 and want == shape[0]:
        yield from at_call(case, "{}.transpose(0, 1)")
    if x.dim() == 4 and shape[-1] == want:
        yield from at_call(case, "{}.permute(0, 3, 1, 2)")
    if x.dim() == 4 and shape[1] == want:
        yield from at_call(case, "{}.permute(0, 2, 3, 1)")


def _normalised(case: Case, x: torch.Tensor) -> Iterator[Candidate]:
    """A norm over another dimension: there and back again."""
    if x.dim() == 3:
        yield from around_call(case, "{}.transpose(1, 2)", "{}.transpose(1, 2)")
    if x.dim() == 4:
        yield from around_call(case, "{}.permute(0, 2, 3, 1)", "{}.permute(0, 3, 1, 2)")


def joined(case: Case) -> Iterator[Candidate]:
    """torch.cat without dim, or with dim=0, joins along the batch."""
    for source, node in case.nodes():
        name = getattr(node.func, "attr", "") if isinstance(node, ast.Call) else ""
        if not isinstance(node, ast.Call) or name not in ("cat", "concat"):
            continue
        old = node.args[1] if len(node.args) > 1 else None
        old = next((k.value for k in node.keywords if k.arg in ("dim", "axis")), old)
        for dim in ("1", "-1"):
            if old is None:
                yield Candidate.of(edits.add_keyword(source, node, f"dim={dim}"))
            elif source.code(old) == "0":
                yield Candidate.of(source.replace(old, dim))


def _producer(case: Case, x: torch.Tensor, found: Misfit) -> Iterator[Candidate]:
    """Let the layer before give what this one wants."""
    behind = case.layer_behind(x)
    if behind is None or behind[0].module is None or found.want is None:
        return
    for kind, parameter in _OUT.items():
        if isinstance(behind[0].module, kind):
            for edit in edits.set_argument(case, behind[0].module, parameter, found.want):
                yield Candidate.of(edit)


def _override(case: Case, module: nn.Module, parameter: str, value: int) -> Iterator[Candidate]:
    """The layer was made inside a library: put another one in its place where the model is made."""
    sites = case.sites.get(module, [])
    found = case.call(sites[0]) if sites else None
    if found is None or case.witness is None:
        return
    source, call = found
    statement = source.statement(call)
    if not isinstance(statement, ast.Assign) or statement.value is not call:
        return
    made_here = [m for m, where in case.sites.items() if where and where[0] == sites[0]]
    names = [case.witness.names[m] for m in made_here if m in case.witness.names]
    base = min(names, key=len, default="")
    inner = case.crash.layer[len(base) :].strip(".")
    if not inner or not case.crash.layer.startswith(base):
        return
    place = "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in inner.split("."))
    target = source.code(statement.targets[0])
    layer = alias(source, "torch.nn") + resized(module, parameter, value)
    _, end = source.span(statement)
    start, _ = source.span(statement)
    before = source.text[source.text.rfind("\n", 0, start) + 1 : start]
    joint = "; " if before.strip() else "\n" + before
    yield Candidate.of(Edit(source.file, end, end, f"{joint}{target}{place} = {layer}"))


def resized(module: nn.Module, parameter: str, value: int) -> str:
    """Return the call that makes the same layer with another size; PyTorch's repr is such a call."""
    text = repr(module)
    named = re.sub(rf"\b{parameter}=\d+", f"{parameter}={value}", text)
    return named if named != text else re.sub(r"\(\d+", f"({value}", text, count=1)
