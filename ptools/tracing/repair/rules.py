"""From a failure to the edits worth trying, the likeliest first. Every one of them is run before it is told.

misfit kinds      features, rank, dtype, small, shape, value, tuple, module, device, batch
function names    add, cat, matmul, view, ... of a forward() that computes by itself
exceptions        attributes, constructors (see `constructors`)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import chain, pairwise
from math import prod
from typing import Any

import torch
from torch import nn

from ptools.tracing.repair import case as edits
from ptools.tracing.repair.case import Candidate, Case
from ptools.tracing.repair.contracts import Misfit
from ptools.tracing.repair.sources import Edit, Source

_OUT = {
    nn.Linear: "out_features",
    nn.modules.conv._ConvNd: "out_channels",
    nn.RNNBase: "hidden_size",
    nn.Embedding: "embedding_dim",
}


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield edits of the source for a failure in forward()."""
    found = case.misfit
    if found is not None:
        yield from _by_misfit(case, found)
    yield from _by_function(case)
    yield from _by_sizes(case)


def _by_misfit(case: Case, found: Misfit) -> Iterator[Candidate]:
    rule = {
        "features": _features,
        "rank": _rank,
        "dtype": _dtype,
        "small": _small,
        "value": _value,
        "tuple": _tuple,
        "module": _module,
        "device": _device,
        "shape": _features,
    }.get(found.kind)
    if rule is not None:
        yield from rule(case, found)


def _one(*made: Edit) -> Candidate:
    return Candidate(made)


# -- sizes of features and channels ----------------------------------------------------------------------


def _features(case: Case, found: Misfit) -> Iterator[Candidate]:
    x, module = found.tensor, case.crash.module
    assert x is not None
    assert module is not None
    if isinstance(module, nn.Linear):
        yield from _flatten(case, x, module)
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
                yield _one(edit, other)
        yield _one(edit)
    if not made:
        yield from _override(case, module, parameter, value)


def _flatten(case: Case, x: torch.Tensor, module: nn.Linear) -> Iterator[Candidate]:
    """Flatten is missing, has eaten the batch, or mixes samples."""
    yield from _reflatten(case, x, module)
    want = module.in_features
    if x.dim() == 4 and x.shape[1] == want and prod(x.shape[1:]) != want:
        yield from _at_call(case, "{}.mean((2, 3))")
    if x.dim() < 3:
        return
    size = prod(x.shape[1:])
    places = (
        [[e] for e in edits.insert_before(case, module, "Flatten()")] if _in_container(case) else []
    )
    places += [list(c.edits) for c in _at_call(case, "torch.flatten({}, 1)")]
    for place in places:
        if size == want:
            yield _one(*place)
    if x.dim() == 4 or (size != want and x.dim() == 3 and _from_convolution(case, x)):
        for place in places:
            for edit in edits.set_argument(case, module, "in_features", size):
                yield _one(*place, edit)


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
    new = f"{base}.view({base}.size(0), -1)" if name == "view" else f"torch.flatten({base}, 1)"
    for text in dict.fromkeys([new, f"{base}.flatten(1)"]):
        edit = source.replace(call, text)
        yield _one(edit)
        if isinstance(module, nn.Linear):
            for other in edits.set_argument(case, module, "in_features", size):
                yield _one(edit, other)


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
    if x.dim() == 3 and want in shape[1:]:
        yield from _at_call(case, "{}.transpose(1, 2)")
    if x.dim() == 3 and want == shape[0]:
        yield from _at_call(case, "{}.transpose(0, 1)")
    if x.dim() == 4 and shape[-1] == want:
        yield from _at_call(case, "{}.permute(0, 3, 1, 2)")
    if x.dim() == 4 and shape[1] == want:
        yield from _at_call(case, "{}.permute(0, 2, 3, 1)")


def _producer(case: Case, x: torch.Tensor, found: Misfit) -> Iterator[Candidate]:
    """Let the layer before give what this one wants."""
    behind = case.layer_behind(x)
    if behind is None or behind[0].module is None or found.want is None:
        return
    for kind, parameter in _OUT.items():
        if isinstance(behind[0].module, kind):
            for edit in edits.set_argument(case, behind[0].module, parameter, found.want):
                yield _one(edit)


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
    yield _one(Edit(source.file, end, end, f"{joint}{target}{place} = {layer}"))


def resized(module: nn.Module, parameter: str, value: int) -> str:
    """Return the call that makes the same layer with another size; PyTorch's repr is such a call."""
    import re

    text = repr(module)
    named = re.sub(rf"\b{parameter}=\d+", f"{parameter}={value}", text)
    return named if named != text else re.sub(r"\(\d+", f"({value}", text, count=1)


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


def _at_call(case: Case, template: str) -> Iterator[Candidate]:
    """Wrap the argument of the user's call in which the model stopped."""
    found = case.call(case.crash.sites[0]) if case.crash.sites else None
    if found is None or not found[1].args:
        return
    source, call = found
    if template.startswith("torch.") and alias(source, "torch") != "torch.":
        template = alias(source, "torch") + template.removeprefix("torch.")
    for node in call.args[:2]:
        if not isinstance(node, ast.Starred):
            yield _one(edits.wrap(source, node, template))


# -- rank, type, value -----------------------------------------------------------------------------------


def _rank(case: Case, found: Misfit) -> Iterator[Candidate]:
    x, module = found.tensor, case.crash.module
    assert x is not None
    assert module is not None
    name = type(module).__name__
    for digit in "123":
        if f"{digit}d" in name:
            for n in dict.fromkeys((x.dim() - 2, x.dim() - 1)):
                if 1 <= n <= 3 and str(n) != digit:
                    for edit in edits.rename(case, module, name.replace(f"{digit}d", f"{n}d")):
                        yield _one(edit)
    if isinstance(module, nn.RNNBase) and x.dim() == 4:
        yield from _at_call(case, "{}.squeeze(1)")
        yield from _at_call(case, "{}.flatten(2).transpose(1, 2)")
        yield from _at_call(case, "{}.flatten(2)")
    if x.dim() == 2:
        yield from _at_call(case, "{}.unsqueeze(1)")
        yield from _at_call(case, "{}[:, :, None, None]")
    if x.dim() == 3:
        yield from _at_call(case, "{}.unsqueeze(1)")
        yield from _at_call(case, "{}.unsqueeze(0)")
    if x.dim() == 4:
        yield from _at_call(case, "{}.flatten(2).transpose(1, 2)")
        yield from _at_call(case, "torch.flatten({}, 1)")


def _dtype(case: Case, found: Misfit) -> Iterator[Candidate]:
    assert found.tensor is not None
    if isinstance(case.crash.module, nn.Embedding):
        yield from _at_call(case, "{}.long()")
        return
    if found.tensor.dtype == torch.uint8 and case.is_input(found.tensor) is not None:
        yield from _at_call(case, "{}.float() / 255")
    weights = next((p for p in case.crash.module.parameters()), None) if case.crash.module else None
    yield from _without_casts(case)
    if weights is not None and weights.dtype == torch.float32:
        yield from _at_call(case, "{}.float()")
    elif weights is not None:
        yield from _at_call(case, f"{{}}.to({weights.dtype})")


_CASTS = {"double", "half", "bfloat16", "cuda", "to"}


def _without_casts(case: Case) -> Iterator[Candidate]:
    """Take .double() or .to("meta") away where the layer is made, or its dtype= and device=."""
    made = case.creation(case.crash.module)
    if made is None:
        return
    source, call, _ = made
    outer = source.parents.get(call)
    if isinstance(outer, ast.Attribute) and outer.attr in _CASTS:
        whole = source.parents.get(outer)
        if isinstance(whole, ast.Call):
            yield _one(source.replace(whole, source.code(call)))
    for keyword in call.keywords:
        if keyword.arg in ("dtype", "device"):
            start, end = source.span(keyword)
            begin = source.text.rfind(",", 0, start)
            yield _one(Edit(source.file, begin if begin > 0 else start, end, ""))


def _device(case: Case, found: Misfit) -> Iterator[Candidate]:
    yield from _without_casts(case)
    yield from without_devices(case)
    weight = next(case.crash.module.parameters(), None) if case.crash.module else None
    if weight is not None and weight.device.type != "meta":
        yield from _at_call(case, f'{{}}.to("{weight.device}")')


def without_devices(case: Case) -> Iterator[Candidate]:
    """Take every device="..." and .to("...") of the files away, one at a time."""
    for file in {site.file for site in case.crash.sites} | _files(case):
        source = case.source(file)
        for node in ast.walk(source.tree):
            if isinstance(node, ast.keyword) and node.arg == "device":
                start, end = source.span(node)
                begin = source.text.rfind(",", 0, start)
                opening = source.text.rfind("(", 0, start)
                yield _one(Edit(file, begin if begin > opening else start, end, ""))
            elif _is_move(node):
                yield _one(source.replace(node, source.code(node.func.value)))  # type: ignore[attr-defined]


def _is_move(node: ast.AST) -> bool:
    """Return whether a node is x.cuda(), x.cpu() or x.to("meta")."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    return node.func.attr in ("cuda", "to", "cpu") and len(node.args) <= 1


def _files(case: Case) -> set[str]:
    return {site.file for sites in case.sites.values() for site in sites}


def _value(case: Case, found: Misfit) -> Iterator[Candidate]:
    if case.crash.module is not None and found.have is not None:
        for edit in edits.set_argument(case, case.crash.module, "num_embeddings", found.have):
            yield _one(edit)


def _small(case: Case, found: Misfit) -> Iterator[Candidate]:
    """The kernel is larger than what is left: pad, round up, shrink the kernel, leave the pool out."""
    module = case.crash.module
    assert module is not None
    assert found.have is not None
    kernel = edits_int(getattr(module, "kernel_size", 0))
    if isinstance(module, nn.modules.conv._ConvNd):
        for edit in edits.set_argument(case, module, "padding", kernel // 2):
            yield _one(edit)
    else:
        for edit in edits.set_argument(case, module, "ceil_mode", "True"):
            yield _one(edit)
    if found.have >= 1:
        for edit in edits.set_argument(case, module, "kernel_size", found.have):
            yield _one(edit)
    for edit in edits.rename(case, module, "Identity"):
        yield _one(edit)


def edits_int(value: Any) -> int:
    return int(max(value)) if isinstance(value, (tuple, list)) else int(value)


def _tuple(case: Case, found: Misfit) -> Iterator[Candidate]:
    """A layer returned (output, state): take the output."""
    call = case.crash.call
    value = next(iter([*call.args, *call.kwargs.values()]), None) if call else None
    origin = case.origin(value)
    place = case.expression(origin.site) if origin else None
    if place is not None:
        source, node = place
        statement = source.statement(node)
        if isinstance(statement, ast.Assign) and statement.value is node:
            target = statement.targets[0]
            if isinstance(target, ast.Name) and isinstance(value, tuple) and len(value) == 2:
                yield _one(source.replace(target, f"{target.id}, _"))
        if isinstance(value, dict):
            for key in value:
                yield _one(edits.wrap(source, node, "{}" + f"[{key!r}]"))
        yield _one(edits.wrap(source, node, "{}[0]"))
    yield from _split_sequential(case)
    if isinstance(value, dict):
        for key in value:
            yield from _at_call(case, "{}" + f"[{key!r}]")
    yield from _at_call(case, "{}[0]")


def _split_sequential(case: Case) -> Iterator[Candidate]:
    """self.net(x) with an LSTM inside: self.net[1:](self.net[:1](x)[0])."""
    index = case.crash.layer.rpartition(".")[2]
    found = case.call(case.crash.sites[0]) if case.crash.sites else None
    if found is None or not index.isdigit() or len(found[1].args) != 1:
        return
    source, call = found
    net, x = source.code(call.func), source.code(call.args[0])
    yield _one(source.replace(call, f"{net}[{index}:]({net}[:{index}]({x})[0])"))
    yield _one(source.replace(call, f"{net}[{index}:]({net}[:{index}]({x})[0][:, -1])"))


def _module(case: Case, found: Misfit) -> Iterator[Candidate]:
    """A layer's class, or a layer, stands where its output should: nn.ReLU(x) for nn.ReLU()(x)."""
    for file in _files(case) | {site.file for site in case.crash.sites}:
        source = case.source(file)
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Attribute) and hasattr(nn, node.attr):
                parent = source.parents.get(node)
                called = isinstance(parent, ast.Call) and parent.func is node
                value = getattr(nn, node.attr)
                if not called and isinstance(value, type) and issubclass(value, nn.Module):
                    yield _one(edits.wrap(source, node, "{}()"))


# -- functions of forward() --------------------------------------------------------------------------------


def _by_function(case: Case) -> Iterator[Candidate]:
    from ptools.tracing.repair import functions

    yield from functions.candidates(case)


def _by_sizes(case: Case) -> Iterator[Candidate]:
    """Last: a whole number in the source that equals a wrong size, replaced by the right one."""
    pairs = list(dict.fromkeys(sizes(case)))
    for old, new in pairs:
        for file in sorted({site.file for site in case.crash.sites} | _files(case)):
            source = case.source(file)
            for node in ast.walk(source.tree):
                whole = isinstance(node, ast.expr) and edits.value_of(node) == old
                if whole and edits.value_of(source.parents.get(node)) is None and old > 0:
                    yield _one(source.replace(node, str(new)))


def sizes(case: Case) -> Iterator[tuple[int, int]]:
    """Yield (a size in the source that may be wrong, the size it should be)."""
    found = case.misfit
    if found is not None and found.want and found.have:
        yield found.want, found.have
        yield found.have, found.want
    tensors = _operands(case)
    for one, other in pairwise(tensors):
        for a, b in chain(zip(one.shape, other.shape, strict=False), _reversed(one, other)):
            if a != b:
                yield int(a), int(b)
                yield int(b), int(a)


def _reversed(one: torch.Tensor, other: torch.Tensor) -> Iterator[tuple[int, int]]:
    yield from zip(reversed(one.shape), reversed(other.shape), strict=False)


def _operands(case: Case) -> list[torch.Tensor]:
    from ptools.tracing.repair.witness import each_tensor

    call = case.crash.function
    return list(each_tensor((call.args, call.kwargs))) if call else []
