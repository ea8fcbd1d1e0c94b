"""Edits for what is no matter of shapes: constructors and names."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from difflib import get_close_matches
from math import gcd
from typing import Any

from torch import nn

from ptools.tracing.repair import edits, kinds
from ptools.tracing.repair.case import Candidate, Case
from ptools.tracing.repair.edits import at_call
from ptools.tracing.repair.sources import Edit, Source, is_users
from ptools.tracing.repair.values import said


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield edits for an exception of a constructor, or of a name in forward()."""
    text = said(case.crash.error)
    if "before Module.__init__() call" in text:
        yield from _super_first(case)
    if "divisible" in text or "groups" in text:
        yield from _divisible(case)
    if "list" in text and "Module subclass" in text:
        yield from _starred(case)
    if isinstance(case.crash.error, TypeError):
        yield from _floors(case)
        yield from _missing(case, text)
        yield from _first_of(case, text)
    if (
        "is not a Module subclass" in text
        or "must be Tensor, not" in text
        or isinstance(case.crash.error, TypeError)
    ):
        yield from kinds.module_(case, case.misfit)
    if match := re.search(r"unexpected keyword argument '(\w+)'", text):
        yield from _keyword(case, match[1])
    if isinstance(case.crash.error, (AttributeError, NameError)):
        yield from _name(case, case.crash.error)
    if 'required "forward"' in text:
        yield from _forward(case)
        yield from _indented(case)
        yield from _lists(case)
    if "positional argument" in text:
        yield from _self(case)
    if any(word in text.lower() for word in ("device", "cuda", "meta")):
        yield from kinds.without_devices(case)
        yield from _on_the_inputs_device(case)


def _starred(case: Case) -> Iterator[Candidate]:
    """nn.Sequential(layers) of a list: nn.Sequential(*layers)."""
    found = case.last_call()
    if found is not None and len(found[1].args) == 1:
        source, call = found
        yield Candidate.of(edits.wrap(source, call.args[0], "*{}"))


def _floors(case: Case) -> Iterator[Candidate]:
    """A size that was divided with / is a float: //."""
    found = case.last_call()
    if found is None:
        return
    source, call = found
    made = []
    for node in ast.walk(call):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            _, end = source.span(node.left)
            place = source.text.index("/", end)
            made.append(Edit(source.file, place, place + 1, "//"))
    if made:
        yield Candidate.of(*made)


def _missing(case: Case, text: str) -> Iterator[Candidate]:
    """An argument was left out: the usual value."""
    usual = {"kernel_size": (3, 1, 2), "num_heads": (4, 2, 1), "out_features": (10,)}
    found = case.last_call()
    match = re.search(r"missing \d+ required positional arguments?: '(\w+)'", text)
    if found is None or match is None:
        return
    for value in usual.get(match[1], ()):
        text = str(value) if not found[1].keywords else f"{match[1]}={value}"
        yield Candidate.of(edits.add_keyword(*found, text))


def _first_of(case: Case, text: str) -> Iterator[Candidate]:
    """A tuple stands where a tensor should: x + self.attn(x, x, x)."""
    found = case.last_expression()
    if found is None:
        return
    source, node = found
    if isinstance(node, ast.Subscript) and "indices must be" in text:  # a list of dicts
        yield Candidate.of(edits.wrap(source, node.value, "{}[0]"))
    if "tuple" not in text:
        return
    parts = [node.right, node.left] if isinstance(node, ast.BinOp) else []
    parts += list(node.args) if isinstance(node, ast.Call) else []
    for part in parts:
        yield Candidate.of(edits.wrap(source, part, "{}[0]"))


def _indented(case: Case) -> Iterator[Candidate]:
    """forward stands inside __init__: one step to the left."""
    for source, node in case.nodes():
        outer = source.parents.get(node)
        if not isinstance(node, ast.FunctionDef) or not isinstance(outer, ast.FunctionDef):
            continue
        start, end = source.span(node)
        begin = source.text.rfind("\n", 0, start) + 1
        step = node.col_offset - outer.col_offset
        rows = source.text[begin:end].splitlines(keepends=True)
        text = "".join(row[step:] if not row[:step].strip() else row for row in rows)
        yield Candidate.of(Edit(source.file, begin, end, text))


def _lists(case: Case) -> Iterator[Candidate]:
    """A ModuleList is called like a Sequential."""
    for module in case.sites:
        if isinstance(module, nn.ModuleList) and (made := case.creation(module)) is not None:
            source, call, _ = made
            _, end = source.span(call.func)
            name = Edit(source.file, end - len("ModuleList"), end, "Sequential")
            if len(call.args) == 1:
                yield Candidate.of(name, edits.wrap(source, call.args[0], "*{}"))


def _on_the_inputs_device(case: Case) -> Iterator[Candidate]:
    yield from at_call(case, "{}.cpu()")


def _super_first(case: Case) -> Iterator[Candidate]:
    """Put super().__init__() before the first layer."""
    found = case.last_expression()
    if found is None:
        return
    source, node = found
    function = source.around(node, ast.FunctionDef)
    if not isinstance(function, ast.FunctionDef):
        return
    body = function.body
    for statement in body:  # super().__init__ without parentheses
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Attribute):
            yield Candidate.of(edits.wrap(source, statement.value, "{}()"))
    first = body[1] if _is_docstring(body[0]) and len(body) > 1 else body[0]
    start, _ = source.span(first)
    before = source.text[source.text.rfind("\n", 0, start) + 1 : start]
    joint = "; " if before.strip() else "\n" + before
    insert = Edit(source.file, start, start, f"super().__init__(){joint}")
    later = [s for s in body if "super(" in source.code(s) and "__init__" in source.code(s)]
    yield Candidate.of(insert, *(_without(source, s) for s in later))


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _without(source: Source, statement: ast.stmt) -> Edit:
    """Return the edit that takes a statement away, with its line where it has one to itself."""
    start, end = source.span(statement)
    begin = source.text.rfind("\n", 0, start) + 1
    after = source.text.find("\n", end)
    after = len(source.text) if after < 0 else after
    if not source.text[begin:start].strip() and not source.text[end:after].strip():
        return Edit(source.file, begin, min(after + 1, len(source.text)), "")
    return Edit(source.file, start, end, "pass")


def _divisible(case: Case) -> Iterator[Candidate]:
    """num_heads must divide embed_dim, groups the channels: take the nearest number that does."""
    found = case.last_call()
    if found is None:
        return
    source, call = found
    names = case.crash.sites[0].names
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    kind = getattr(nn, name, None)
    if not isinstance(kind, type):
        return
    values = {
        p: _number(edits.argument(call, kind, p), names) for p in inspect.signature(kind).parameters
    }
    whole = [v for p in ("embed_dim", "d_model", "in_channels", "out_channels", "num_channels")
             if (v := values.get(p))]  # fmt: skip
    for parameter in ("num_heads", "nhead", "groups", "num_groups"):
        node, now = edits.argument(call, kind, parameter), values.get(parameter)
        if node is None or not now or not whole:
            continue
        common = gcd(*whole)
        fitting = [n for n in range(1, common + 1) if common % n == 0]
        for n in sorted(fitting, key=lambda n: (abs(n - now), n))[:4]:
            yield Candidate.of(source.replace(node, str(n)))
        for owner in ("embed_dim", "d_model", "out_channels", "in_channels"):
            other, size = edits.argument(call, kind, owner), values.get(owner)
            if other is not None and size and size % now:
                yield Candidate.of(source.replace(other, str(-(-size // now) * now)))


def _number(node: ast.expr | None, names: dict[str, int]) -> int | None:
    if isinstance(node, ast.Name):
        return names.get(node.id)
    return edits.value_of(node)


def _keyword(case: Case, wrong: str) -> Iterator[Candidate]:
    """A misspelt keyword: kernal_size."""
    found = case.last_call()
    if found is None:
        return
    source, call = found
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    kind = getattr(nn, name, None)
    known = list(inspect.signature(kind).parameters) if kind else []
    for keyword in call.keywords:
        if keyword.arg == wrong:
            start, _ = source.span(keyword)
            for close in get_close_matches(wrong, known, n=2):
                yield Candidate.of(Edit(source.file, start, start + len(wrong), close))


def _name(case: Case, error: AttributeError | NameError) -> Iterator[Candidate]:
    """A name that is not there: take the closest one that is."""
    wrong = error.name
    if not wrong or not case.crash.sites:
        return
    yield from _inside(case, wrong, getattr(error, "obj", None))
    yield from _assigned(case, wrong)
    yield from _init(case)
    owner = getattr(error, "obj", None)
    known = [n for n in dir(owner) if not n.startswith("__")] if owner is not None else []
    known += list(case.crash.sites[0].names)
    if isinstance(owner, nn.Module):
        known = [n for n, _ in owner.named_children()] + known
    for file in dict.fromkeys(site.file for site in case.crash.sites):
        source = case.source(file)
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Attribute) and node.attr == wrong:
                _, end = source.span(node)
                near = get_close_matches(wrong, known, n=3, cutoff=0.5)
                for close in sorted(near, key=lambda n: source.text.count(f"self.{n}")):
                    yield Candidate.of(Edit(file, end - len(wrong), end, close))


def _inside(case: Case, name: str, owner: Any) -> Iterator[Candidate]:
    """A method of a tensor is asked of a dict or tuple that holds one: self.seg(x).argmax(1)."""
    if not isinstance(owner, (dict, tuple, list)) or not case.crash.sites:
        return
    keys = list(getattr(owner, "_fields", ()))
    parts = (
        [f"[{key!r}]" for key in owner] if isinstance(owner, dict) else [f".{key}" for key in keys]
    )
    source = case.source(case.crash.sites[0].file)
    line = case.crash.sites[0].line
    for node in ast.walk(source.tree):
        asked = isinstance(node, ast.Attribute) and node.attr == name
        if asked and node.lineno <= line <= (node.end_lineno or node.lineno):  # type: ignore[attr-defined]
            for part in parts or ["[0]"]:
                yield Candidate.of(edits.wrap(source, node.value, "{}" + part))  # type: ignore[attr-defined]


def _assigned(case: Case, name: str) -> Iterator[Candidate]:
    """__init__ says pool = ... where self.pool = ... is meant."""
    for source, node in case.nodes():
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == name for t in node.targets
        ):
            outer = source.around(node, ast.FunctionDef)
            if isinstance(outer, ast.FunctionDef) and outer.name == "__init__":
                start, _ = source.span(node)
                yield Candidate.of(Edit(source.file, start, start, "self."))


def _init(case: Case) -> Iterator[Candidate]:
    """The constructor is called _init_ or __int__: it never ran."""
    for source, node in case.nodes(*_classes(case)):
        if not isinstance(node, ast.FunctionDef) or node.name == "__init__":
            continue
        near = get_close_matches(node.name, ["__init__"], n=1, cutoff=0.7)
        if not near or not isinstance(source.parents.get(node), ast.ClassDef):
            continue
        start, _ = source.span(node)
        place = source.text.index(node.name, start + len("def"))
        made = [Edit(source.file, place, place + len(node.name), "__init__")]
        for inner in ast.walk(node):
            if isinstance(inner, ast.Attribute) and inner.attr == node.name:
                _, end = source.span(inner)
                made.append(Edit(source.file, end - len(node.name), end, "__init__"))
        yield Candidate.of(*made)


def _classes(case: Case) -> list[str]:
    """Return the file of the model's own class, which may have made no layer at all."""
    if case.model is None:
        return []
    try:
        file = inspect.getfile(type(case.model))
    except (TypeError, OSError):
        return []
    return [file] if is_users(file) else []


def _forward(case: Case) -> Iterator[Candidate]:
    """forward is misspelt, or has another name."""
    for source, node in case.nodes(*_classes(case)):
        if not isinstance(node, ast.ClassDef):
            continue
        methods = {n.name: n for n in node.body if isinstance(n, ast.FunctionDef)}
        if "forward" in methods:
            continue
        near = get_close_matches("forward", [m.lower() for m in methods], n=2)
        for name, method in methods.items():
            if name.lower() in near or name in ("__call__", "call", "run"):
                start, _ = source.span(method)
                place = source.text.index(name, start + len("def"))
                yield Candidate.of(Edit(source.file, place, place + len(name), "forward"))


def _self(case: Case) -> Iterator[Candidate]:
    """def forward(x): without self."""
    for source, node in case.nodes():
        inside = isinstance(source.parents.get(node), ast.ClassDef)
        if inside and isinstance(node, ast.FunctionDef) and node.args.args:
            first = node.args.args[0]
            if first.arg not in ("self", "cls") and not node.decorator_list:
                start, _ = source.span(first)
                yield Candidate.of(Edit(source.file, start, start, "self, "))
