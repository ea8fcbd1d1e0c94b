"""Rank, data type, device, values, what is too small, what is no tensor."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import torch
from torch import nn

from ptools.tracing.repair import edits
from ptools.tracing.repair.case import Candidate, Case
from ptools.tracing.repair.contracts import Misfit
from ptools.tracing.repair.edits import at_call, largest
from ptools.tracing.repair.sources import Edit, Source


def rank(case: Case, found: Misfit) -> Iterator[Candidate]:
    x, module = found.tensor, case.crash.module
    assert x is not None
    assert module is not None
    name = type(module).__name__
    for digit in "123":
        if f"{digit}d" in name:
            for n in dict.fromkeys((x.dim() - 2, x.dim() - 1)):
                if 1 <= n <= 3 and str(n) != digit:
                    for edit in edits.rename(case, module, name.replace(f"{digit}d", f"{n}d")):
                        yield Candidate.of(edit)
    yield from _mentions(case, name, x.dim())
    if isinstance(module, nn.RNNBase) and x.dim() == 4:
        yield from at_call(case, "{}.squeeze(1)")
        yield from at_call(case, "{}.flatten(2).transpose(1, 2)")
        yield from at_call(case, "{}.flatten(2)")
    if x.dim() == 2:
        yield from at_call(case, "{}.unsqueeze(1)")
        yield from at_call(case, "{}[:, :, None, None]")
    if x.dim() == 3:
        yield from at_call(case, "{}.unsqueeze(1)")
        yield from at_call(case, "{}.unsqueeze(0)")
    if x.dim() == 4:
        yield from at_call(case, "{}.flatten(2).transpose(1, 2)")
        yield from at_call(case, "torch.flatten({}, 1)")


def _mentions(case: Case, name: str, dims: int) -> Iterator[Candidate]:
    """Change the class where it is only mentioned: NORM = {2: nn.BatchNorm3d}."""
    for digit in "123":
        for n in (dims - 2, dims - 1):
            if f"{digit}d" not in name or not 1 <= n <= 3 or str(n) == digit:
                continue
            for source, node in case.nodes():
                if isinstance(node, ast.Attribute) and node.attr == name:
                    _, end = source.span(node)
                    new = name.replace(f"{digit}d", f"{n}d")
                    yield Candidate.of(Edit(source.file, end - len(name), end, new))


def dtype(case: Case, found: Misfit) -> Iterator[Candidate]:
    assert found.tensor is not None
    if isinstance(case.crash.module, (nn.Embedding, nn.EmbeddingBag)):
        yield from at_call(case, "{}.long()")
        return
    if found.tensor.dtype == torch.uint8 and case.is_input(found.tensor) is not None:
        yield from at_call(case, "{}.float() / 255")
    weights = next((p for p in case.crash.module.parameters()), None) if case.crash.module else None
    yield from _without_casts(case)
    if weights is not None and weights.dtype == torch.float32:
        yield from at_call(case, "{}.float()")
    elif weights is not None:
        yield from at_call(case, f"{{}}.to({weights.dtype})")


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
            yield Candidate.of(source.replace(whole, source.code(call)))
    for keyword in call.keywords:
        if keyword.arg in ("dtype", "device"):
            yield Candidate.of(edits.without_keyword(source, keyword))


def device(case: Case, found: Misfit) -> Iterator[Candidate]:
    """Take away what moved the layer, or bring its input along."""
    yield from _without_casts(case)
    yield from without_devices(case)
    weight = next(case.crash.module.parameters(), None) if case.crash.module else None
    if weight is not None and weight.device.type != "meta":
        yield from at_call(case, f'{{}}.to("{weight.device}")')


def without_devices(case: Case) -> Iterator[Candidate]:
    """Take every device="..." and .to("...") of the files away, and every name of a device."""
    yield from _moves(case)
    for source, node in case.nodes():
        if isinstance(node, ast.Constant) and node.value in ("meta", "cuda", "cuda:0", "mps"):
            yield Candidate.of(source.replace(node, '"cpu"'))


def _moves(case: Case) -> Iterator[Candidate]:
    for source, node in case.nodes():
        if isinstance(node, ast.keyword) and node.arg == "device":
            yield Candidate.of(edits.without_keyword(source, node))
        elif _is_move(node):
            yield Candidate.of(source.replace(node, source.code(node.func.value)))  # type: ignore[attr-defined]


def missing(case: Case, found: Misfit) -> Iterator[Candidate]:
    """The layer before returned None: its forward() has no return, or not on every way."""
    yield from returns(case)


def returns(case: Case) -> Iterator[Candidate]:
    """Let every forward() of the files that may end without a return give what it last computed."""
    for source, node in case.nodes():
        if isinstance(node, ast.FunctionDef) and node.name == "forward" and node.body:
            yield from _return(source, node)


def _return(source: Source, function: ast.FunctionDef) -> Iterator[Candidate]:
    last = function.body[-1]
    start, end = source.span(last)
    before = source.text[source.text.rfind("\n", 0, start) + 1 : start]
    joint = "; " if before.strip() else "\n" + before
    if isinstance(last, ast.Expr):
        yield Candidate.of(Edit(source.file, start, start, "return "))
    elif isinstance(last, ast.Assign) and isinstance(last.targets[0], ast.Name):
        yield Candidate.of(Edit(source.file, end, end, f"{joint}return {last.targets[0].id}"))
    elif isinstance(last, (ast.If, ast.For, ast.With)) and len(function.args.args) > 1:
        name = function.args.args[1].arg
        yield Candidate.of(Edit(source.file, end, end, f"{joint}return {name}"))


def keys(case: Case, found: Misfit) -> Iterator[Candidate]:
    """The keys of an attention have another size than its queries: kdim= and vdim= say so."""
    made = case.creation(case.crash.module)
    if made is not None and found.have is not None:
        text = f"kdim={found.have}, vdim={found.have}"
        yield Candidate.of(edits.add_keyword(made[0], made[1], text))


def _is_move(node: ast.AST) -> bool:
    """Return whether a node is x.cuda(), x.cpu() or x.to("meta")."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    return node.func.attr in ("cuda", "to", "cpu") and len(node.args) <= 1


def value(case: Case, found: Misfit) -> Iterator[Candidate]:
    module = case.crash.module
    if module is None or found.have is None:
        return
    made = list(edits.set_argument(case, module, "num_embeddings", found.have))
    source = case.creation(module)
    node = edits.argument(source[1], type(module), "num_embeddings") if source else None
    if isinstance(node, ast.Name):
        made.reverse()  # a name is used elsewhere too, by the output layer say: change what it is
    for edit in made:
        yield Candidate.of(edit)


def small(case: Case, found: Misfit) -> Iterator[Candidate]:
    """The kernel is larger than what is left: pad, round up, shrink the kernel, leave the pool out."""
    module = case.crash.module
    assert module is not None
    assert found.have is not None
    kernel = largest(getattr(module, "kernel_size", 0))
    if isinstance(module, nn.modules.conv._ConvNd):
        for edit in edits.set_argument(case, module, "padding", kernel // 2):
            yield Candidate.of(edit)
    else:
        for edit in edits.set_argument(case, module, "ceil_mode", "True"):
            yield Candidate.of(edit)
    if found.have >= 1:
        for edit in edits.set_argument(case, module, "kernel_size", found.have):
            yield Candidate.of(edit)
    for edit in edits.rename(case, module, "Identity"):
        yield Candidate.of(edit)


def tuple_(case: Case, found: Misfit) -> Iterator[Candidate]:
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
                yield Candidate.of(source.replace(target, f"{target.id}, _"))
        if isinstance(value, dict):
            for key in value:
                yield Candidate.of(edits.wrap(source, node, "{}" + f"[{key!r}]"))
        yield Candidate.of(edits.wrap(source, node, "{}[0]"))
    yield from at_call(case, "{}[0][-1]")  # the hidden state of the last layer
    yield from _split_sequential(case)
    if isinstance(value, dict):
        for key in value:
            yield from at_call(case, "{}" + f"[{key!r}]")
    yield from at_call(case, "{}[0]")


def _split_sequential(case: Case) -> Iterator[Candidate]:
    """self.net(x) with an LSTM inside: self.net[1:](self.net[:1](x)[0])."""
    index = case.crash.layer.rpartition(".")[2]
    found = case.last_call()
    if found is None or not index.isdigit() or len(found[1].args) != 1:
        return
    source, call = found
    net, x = source.code(call.func), source.code(call.args[0])
    yield Candidate.of(source.replace(call, f"{net}[{index}:]({net}[:{index}]({x})[0])"))
    yield Candidate.of(source.replace(call, f"{net}[{index}:]({net}[:{index}]({x})[0][:, -1])"))


def module_(case: Case, found: Misfit | None) -> Iterator[Candidate]:
    """A layer's class, or a layer, stands where its output should: nn.ReLU(x) for nn.ReLU()(x)."""
    for source, node in case.nodes():
        if isinstance(node, ast.Attribute) and hasattr(nn, node.attr):
            parent = source.parents.get(node)
            called = isinstance(parent, ast.Call) and parent.func is node
            value = getattr(nn, node.attr)
            if not called and isinstance(value, type) and issubclass(value, nn.Module):
                yield Candidate.of(edits.wrap(source, node, "{}()"))
