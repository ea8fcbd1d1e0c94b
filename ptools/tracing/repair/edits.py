"""Edits of the user's source: another argument, another class, a layer more, an expression wrapped."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator

from torch import nn

from ptools.tracing.repair.case import Candidate, Case, names
from ptools.tracing.repair.sources import Edit, Site, Source


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
        for name in local_names(source, node, where):  # a number where the constructor has a name
            if where.names[name] == value and not isinstance(value, str):
                yield source.replace(node, name)
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
    for one in local[:4]:
        for other in local_names(source, node, where)[:6]:
            if where.names[one] + where.names[other] == value:
                yield source.replace(node, f"{one} + {other}")
    changed = list(_definitions(source, text, now, value)) if isinstance(node, ast.Name) else []
    defaults = [edit for edit in changed if _is_parameter(source, node, text)]
    yield from defaults
    yield source.replace(node, str(value))
    yield from (edit for edit in changed if edit not in defaults)


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
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            same = node.value is not None and old is not None and value_of(node.value) == old
            if same and node.target.id == name and node.value is not None:
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


def without_keyword(source: Source, keyword: ast.keyword) -> Edit:
    """Return the edit that takes an argument out of its call, with the comma before it."""
    start, end = source.span(keyword)
    comma, opening = source.text.rfind(",", 0, start), source.text.rfind("(", 0, start)
    return Edit(source.file, comma if comma > opening else start, end, "")


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
    sequential = isinstance(parent, ast.Call) and names(parent, "Sequential")
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
            f"{prefix(source, call)}Sequential({_layer(source, call, layer)}, {source.code(call)})",
        )


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
    """Wrap the argument of the user's call in which the model stopped, or the call that made it."""
    found = case.last_call()
    if found is None or not found[1].args:
        return
    source, call = found
    if template.startswith("torch.") and alias(source, "torch") != "torch.":
        template = alias(source, "torch") + template.removeprefix("torch.")
    for node in call.args[:2]:
        if not isinstance(node, ast.Starred):
            yield Candidate.of(wrap(source, node, template))
    given = case.crash.call
    origin = case.origin(next(iter(given.args), None)) if given is not None else None
    maker = case.expression(origin.site) if origin is not None and origin.kind != "input" else None
    if maker is not None and maker[1] is not call and maker[1] not in call.args:
        yield Candidate.of(wrap(*maker, template))


def around_call(case: Case, before: str, after: str) -> Iterator[Candidate]:
    """Change what goes into the layer, and what comes out of it back: NCHW to NHWC and back."""
    found = case.last_call()
    if found is None or len(found[1].args) != 1:
        return
    source, call = found
    inner = edited_inside(source, call, before)
    yield Candidate.of(source.replace(call, after.format(inner)))


def edited_inside(source: Source, call: ast.Call, template: str) -> str:
    """Return the text of a call with its argument in a template."""
    start, _ = source.span(call)
    edit = wrap(source, call.args[0], template)
    text = source.code(call)
    return text[: edit.start - start] + edit.new + text[edit.end - start :]


def largest(size: object) -> int:
    """Return a size that may be given per dimension, as a number: kernel_size=(3, 5) is 5."""
    return int(max(size)) if isinstance(size, (tuple, list)) else int(size)  # type: ignore[call-overload]
