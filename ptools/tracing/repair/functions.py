"""Edits for what a forward() computes by itself: sums, concatenations, products, views, convolutions."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from math import prod

import torch
from torch import nn

from ptools.tracing.repair import edits, features, figures
from ptools.tracing.repair.case import Candidate, Case
from ptools.tracing.repair.edits import alias, largest
from ptools.tracing.repair.sources import Edit, Source
from ptools.tracing.repair.values import said
from ptools.tracing.repair.witness import Origin, each_tensor

_ARITHMETIC = {
    *("add", "sub", "mul", "div", "true_divide", "truediv", "maximum", "minimum", "where", "pow"),
    *("iadd", "isub", "imul", "itruediv", "radd", "rsub", "rmul", "rtruediv", "add_", "mul_"),
}


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield edits for the torch function in which forward() stopped."""
    call = case.crash.function
    if call is None:
        return
    name = case.crash.name.strip("_").replace("Tensor.", "").strip("_")
    tensors = list(each_tensor((call.args, call.kwargs)))
    if name in _ARITHMETIC and len(tensors) >= 2:
        yield from _sum(case, tensors[0], tensors[1])
    elif name in ("cat", "concat", "concatenate", "stack"):
        yield from _cat(case, tensors)
    elif (
        name in ("matmul", "mm", "bmm", "rmatmul", "spmm", "smm", "baddbmm", "mv")
        and len(tensors) >= 2
    ):
        yield from _matmul(case)
    elif name in ("view", "reshape", "unflatten"):
        yield from _view(case, tensors)
    elif "pool" in name:
        yield from _adaptive(case, tensors)
        yield from _keywords(case, "ceil_mode=True", "padding=1")
    elif name == "linear" and tensors:
        yield from _operand(case, "torch.flatten({}, 1)")
    if name.startswith("conv") or "dtype" in said(case.crash.error).lower():
        yield from _operand(case, "{}.float()", "{}.to(torch.float32)")


def _sum(case: Case, a: torch.Tensor, b: torch.Tensor) -> Iterator[Candidate]:
    """a + b of different shapes: a shortcut without projection, a missing padding, an odd size."""
    if a.dim() == b.dim() and a.dim() >= 3:
        for one, other in ((b, a), (a, b)):
            yield from _project(case, one, other)
        yield from _tune(case, (a, b))
    if b.dim() == 1 and a.dim() >= 3 and a.shape[1] == b.shape[0]:
        yield from _operand(case, "{}[:" + ", None" * (a.dim() - 2) + "]")
    if b.dim() == 2 and a.dim() == 4 and a.shape[1] == b.shape[1]:
        yield from _operand(case, "{}[:, :, None, None]")
    if b.dim() == 1:  # a bias
        yield from figures.replaced(case, int(b.shape[0]), int(a.shape[-1]))
        yield from figures.candidates(case)
    if abs(a.dim() - b.dim()) == 1 or a.dim() == b.dim() == 2:
        yield from _operand(case, "{}.unsqueeze(-1)", "{}.unsqueeze(1)", "{}.squeeze(-1)")
    if a.dim() == b.dim():
        yield from _operand(case, "{}.transpose(1, 2)", "{}.transpose(-2, -1)")
    if abs(a.dim() - b.dim()) >= 1:
        yield from _operand(case, "{}[:, :, None, None]", "{}[:, None]", "{}[..., None]")


def _project(case: Case, short: torch.Tensor, long: torch.Tensor) -> Iterator[Candidate]:
    """nn.Identity() in the shortcut becomes a 1x1 convolution to the other path's shape."""
    made = case.creation(_identity(case, short))
    strides = {max(1, -(-s // t)) for s, t in zip(short.shape[2:], long.shape[2:], strict=True)}
    if made is None or len(strides) != 1:
        return
    source, call, where = made
    i, o, s = int(short.shape[1]), int(long.shape[1]), strides.pop()
    conv = f"{edits.prefix(source, call)}Conv{short.dim() - 2}d"
    local = edits.local_names(source, call, where)
    # by the constructor's own names first, so that the class still serves its other users
    texts = [[n for n in local if where.names[n] == size] for size in (i, o, s)]
    rest = "" if s == 1 else ", {}"
    for a in texts[0][:2]:
        for b in [n for n in texts[1] if n != a or i == o][:2]:
            for c in texts[2][:2] or [str(s)]:
                yield Candidate((source.replace(call, f"{conv}({a}, {b}, 1{rest.format(c)})"),))
    rest = "" if s == 1 else f", stride={s}"
    yield Candidate((source.replace(call, f"{conv}({i}, {o}, 1{rest})"),))


def _identity(case: Case, short: torch.Tensor) -> nn.Module | None:
    """Return the Identity, or empty Sequential, that a shortcut passed unchanged."""
    origin = case.origin(short)
    if origin is not None and isinstance(origin.module, nn.Identity):
        return origin.module
    inside = case.crash.module.children() if case.crash.module is not None else iter(())
    plain = (nn.Identity, nn.Sequential)
    return next((m for m in inside if isinstance(m, plain) and not len(list(m.children()))), None)


def _tune(case: Case, tensors: tuple[torch.Tensor, ...]) -> Iterator[Candidate]:
    """Change one setting of one layer on the way to the operands, the mildest first."""
    layers = [origin.module for origin in _upstream(case, tensors)]
    padded: list[Edit] = []
    for module in layers:
        if isinstance(module, nn.modules.conv._ConvTransposeNd):
            yield from _set(case, module, "output_padding", 1)
        elif isinstance(module, nn.modules.conv._ConvNd) and not isinstance(module.padding, str):
            same = int(module.dilation[0]) * (int(module.kernel_size[0]) - 1) // 2
            if same > int(module.padding[0]):
                yield from _set(case, module, "padding", same)
                padded += list(edits.set_argument(case, module, "padding", same))[:1]
                if len(padded) > 1:
                    yield Candidate(tuple(dict.fromkeys(padded)))
    yield from _strided(case, tensors, layers)
    if all(t.shape[:2] == tensors[0].shape[:2] for t in tensors) or case.crash.name == "cat":
        yield from _interpolated(case, tensors)
    for module in filter(None, layers):
        yield from _reshaped(case, module, tensors)


def _strided(
    case: Case, tensors: tuple[torch.Tensor, ...], layers: list[nn.Module | None]
) -> Iterator[Candidate]:
    """A 1x1 convolution in a shortcut has the stride of the other path."""
    sizes = sorted(int(t.shape[-1]) for t in tensors if t.dim() > 2)
    ratio = -(-sizes[-1] // sizes[0]) if len(sizes) > 1 and sizes[0] else 1
    for module in layers:
        single = isinstance(module, nn.modules.conv._ConvNd) and set(module.kernel_size) == {1}
        if single and ratio > 1 and module.stride[0] == 1:  # type: ignore[union-attr, index]
            yield from _set(case, module, "stride", ratio)  # type: ignore[arg-type]


def _reshaped(
    case: Case, module: nn.Module, tensors: tuple[torch.Tensor, ...]
) -> Iterator[Candidate]:
    """Let one layer give as many channels as the other path, keep its size, or round up."""
    if isinstance(module, nn.modules.conv._ConvNd):
        for want in dict.fromkeys(int(t.shape[1]) for t in tensors if t.dim() > 1):
            if want != module.out_channels:
                yield from _set(case, module, "out_channels", want)
        if module.stride[0] > 1:
            yield from _set(case, module, "stride", 1)
    elif isinstance(module, nn.Linear):
        for want in dict.fromkeys(int(n) for t in tensors for n in (t.shape[-1], *t.shape[1:2])):
            if want not in (1, module.out_features):
                yield from _set(case, module, "out_features", want)
    elif isinstance(module, (nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AvgPoolNd)):
        kernel = largest(module.kernel_size)
        if kernel > 1:
            yield from _set(case, module, "padding", kernel // 2)
        yield from _set(case, module, "ceil_mode", "True")


def _set(case: Case, module: nn.Module, name: str, value: int | str) -> Iterator[Candidate]:
    for edit in edits.set_argument(case, module, name, value):
        yield Candidate((edit,))


def _upstream(case: Case, tensors: tuple[torch.Tensor, ...]) -> list[Origin]:
    """Return the layers that a tensor comes from, the nearest first, each once; at most 12."""
    found: dict[int, Origin] = {}
    queue, seen = list(tensors), set()
    while queue and len(found) < 12:
        tensor = queue.pop(0)
        origin = case.origin(tensor)
        if origin is None or id(tensor) in seen:
            continue
        seen.add(id(tensor))
        if origin.kind == "layer" and origin.module is not None:
            found.setdefault(id(origin.module), origin)
        queue += origin.made_of
    return list(found.values())


def _cat(case: Case, tensors: list[torch.Tensor]) -> Iterator[Candidate]:
    """torch.cat of different sizes: a decoder off by one, odd sizes, the wrong dimension."""
    if tensors and len({t.dim() for t in tensors}) == 1:
        yield from _tune(case, tuple(tensors))
        yield from _other_dimension(case, tensors[0].dim())
    else:
        yield from _operand(case, "{}.unsqueeze(1)", "{}.unsqueeze(-1)", "{}.flatten(1)",
                            "{}.squeeze(-1).squeeze(-1)")  # fmt: skip


def _other_dimension(case: Case, dims: int) -> Iterator[Candidate]:
    found = case.last_call()
    if found is None:
        return
    source, call = found
    node = next((k.value for k in call.keywords if k.arg in ("dim", "axis")), None)
    if node is None and len(call.args) > 1:
        node = call.args[1]
    order = [1, -1, *range(dims)]
    for dim in dict.fromkeys(order):
        if node is None:
            yield Candidate((edits.add_keyword(source, call, f"dim={dim}"),))
        elif source.code(node) != str(dim):
            yield Candidate((source.replace(node, str(dim)),))


def _parts(case: Case) -> tuple[Source, list[ast.expr]] | None:
    """Return the operands of a + b, torch.cat([a, b]), torch.add(a, b), a @ b in the source."""
    found = case.last_expression()
    if found is None:
        return None
    source, node = found
    if isinstance(node, ast.BinOp):
        return source, [node.left, node.right]
    if not isinstance(node, ast.Call):
        return None
    if node.args and isinstance(node.args[0], (ast.List, ast.Tuple)):
        return source, list(node.args[0].elts)
    owner = [node.func.value] if isinstance(node.func, ast.Attribute) else []
    if owner and source.code(owner[0]) in ("torch", "F", "nn.functional"):
        owner = []
    return source, [*owner, *node.args]


def _operand(case: Case, *templates: str) -> Iterator[Candidate]:
    """Put one operand into a template, the second first: it is the one that was added."""
    found = _parts(case)
    if found is None:
        return
    source, nodes = found
    for template in templates:
        for node in (*nodes[1:], *nodes[:1]):
            if not isinstance(node, (ast.Constant, ast.Starred)):
                yield Candidate((edits.wrap(source, node, template),))


def _interpolated(case: Case, tensors: tuple[torch.Tensor, ...]) -> Iterator[Candidate]:
    """Bring the smaller operand to the other's height and width."""
    found = _parts(case)
    if found is None or len(found[1]) != 2 or len(tensors) != 2:
        return
    source, (a, b) = found
    name = alias(source, "torch.nn.functional")
    pairs = [(a, b), (b, a)] if tensors[0].shape[2:] <= tensors[1].shape[2:] else [(b, a), (a, b)]
    for one, other in pairs:
        if isinstance(other, ast.Name):
            text = f"{name}interpolate({source.code(one)}, size={source.code(other)}.shape[2:])"
            yield Candidate((source.replace(one, text),))
    for one, size in zip((a, b), (tensors[1].shape[2:], tensors[0].shape[2:]), strict=True):
        text = f"{name}interpolate({source.code(one)}, size={tuple(map(int, size))})"
        yield Candidate((source.replace(one, text),))


def _matmul(case: Case) -> Iterator[Candidate]:
    yield from _operand(case, "{}.transpose(-2, -1)", "{}.T")
    found = _parts(case)
    if found is None or len(found[1]) != 2:
        return
    source, (a, b) = found
    yield Candidate((source.replace(a, source.code(b)), source.replace(b, source.code(a))))


def _view(case: Case, tensors: list[torch.Tensor]) -> Iterator[Candidate]:
    """A view that the memory or the number of elements does not allow."""
    found = case.last_call()
    if found is None or not tensors or not isinstance(found[1].func, ast.Attribute):
        return
    source, call = found
    func = call.func
    assert isinstance(func, ast.Attribute)
    x = tensors[0]
    if "stride" in said(case.crash.error) and func.attr == "view":
        _, end = source.span(func)
        yield Candidate((Edit(source.file, end - len("view"), end, "reshape"),))
        yield Candidate((edits.wrap(source, func.value, "{}.contiguous()"),))
    linear = _linear_after(case)
    yield from features.flattened(case, case.crash.sites[0], prod(x.shape[1:]), linear)
    for node in call.args:
        if edits.value_of(node) != -1:
            yield Candidate((source.replace(node, "-1"),))
            yield Candidate((source.replace(node, f"{source.code(func.value)}.size(0)"),))


def _adaptive(case: Case, tensors: list[torch.Tensor]) -> Iterator[Candidate]:
    """F.avg_pool2d(x, 7) of less than 7x7 is meant for everything that is left."""
    found = case.last_call()
    match = re.search(r"(avg|max)_pool(\d)d", case.crash.name)
    if found is None or match is None or not found[1].args:
        return
    source, call = found
    name = f"{alias(source, 'torch.nn.functional')}adaptive_{match[0]}"
    yield Candidate((source.replace(call, f"{name}({source.code(call.args[0])}, 1)"),))


def _linear_after(case: Case) -> nn.Module | None:
    """Return the Linear whose in_features is the size that the view asks for."""
    call = case.crash.function
    asked = {v for v in (call.args[1:] if call else ()) if isinstance(v, int)}
    asked |= {v for t in (call.args[1:] if call else ()) if isinstance(t, tuple) for v in t}
    modules = case.model.modules() if case.model is not None else iter(())
    return next((m for m in modules if isinstance(m, nn.Linear) and m.in_features in asked), None)


def _keywords(case: Case, *texts: str) -> Iterator[Candidate]:
    found = case.last_call()
    if found is None:
        return
    for text in texts:
        yield Candidate((edits.add_keyword(*found, text),))
