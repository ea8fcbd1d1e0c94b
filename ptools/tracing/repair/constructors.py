"""Edits for what is no matter of shapes: constructors, names, registration, return, the loss's side."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from difflib import get_close_matches
from math import gcd, prod
from typing import Any

import torch
from torch import nn

from ptools.tracing.repair import case as edits
from ptools.tracing.repair import rules
from ptools.tracing.repair.case import Candidate, Case
from ptools.tracing.repair.sources import Edit, Source
from ptools.tracing.repair.values import Fault


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield edits for an exception of a constructor, or of a name in forward()."""
    text = str(case.crash.error)
    if "before Module.__init__() call" in text:
        yield from _super_first(case)
    if "divisible" in text or "groups" in text:
        yield from _divisible(case)
    if (
        "is not a Module subclass" in text
        or "must be Tensor, not" in text
        or isinstance(case.crash.error, TypeError)
    ):
        yield from rules._module(case, case.misfit)  # type: ignore[arg-type]
    if match := re.search(r"unexpected keyword argument '(\w+)'", text):
        yield from _keyword(case, match[1])
    if isinstance(case.crash.error, (AttributeError, NameError)):
        yield from _name(case, case.crash.error)
    if isinstance(case.crash.error, NotImplementedError):
        yield from _forward(case)
    if "positional argument" in text:
        yield from _self(case)
    if any(word in text.lower() for word in ("device", "cuda", "meta")):
        yield from rules.without_devices(case)
        yield from _on_the_inputs_device(case)


def _on_the_inputs_device(case: Case) -> Iterator[Candidate]:
    yield from rules._at_call(case, "{}.cpu()")


def _super_first(case: Case) -> Iterator[Candidate]:
    """Put super().__init__() before the first layer."""
    found = case.expression(case.crash.sites[0]) if case.crash.sites else None
    if found is None:
        return
    source, node = found
    function = source.around(node, ast.FunctionDef)
    if not isinstance(function, ast.FunctionDef):
        return
    body = function.body
    first = body[1] if _is_docstring(body[0]) and len(body) > 1 else body[0]
    start, _ = source.span(first)
    before = source.text[source.text.rfind("\n", 0, start) + 1 : start]
    joint = "; " if before.strip() else "\n" + before
    insert = Edit(source.file, start, start, f"super().__init__(){joint}")
    later = [s for s in body if "super(" in source.code(s) and "__init__" in source.code(s)]
    yield Candidate((insert, *(_without(source, s) for s in later)))


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
    found = case.call(case.crash.sites[0]) if case.crash.sites else None
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
            yield Candidate((source.replace(node, str(n)),))
        for owner in ("embed_dim", "d_model", "out_channels", "in_channels"):
            other, size = edits.argument(call, kind, owner), values.get(owner)
            if other is not None and size and size % now:
                yield Candidate((source.replace(other, str(-(-size // now) * now)),))


def _number(node: ast.expr | None, names: dict[str, int]) -> int | None:
    if isinstance(node, ast.Name):
        return names.get(node.id)
    return edits.value_of(node)


def _keyword(case: Case, wrong: str) -> Iterator[Candidate]:
    """A misspelt keyword: kernal_size."""
    found = case.call(case.crash.sites[0]) if case.crash.sites else None
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
                yield Candidate((Edit(source.file, start, start + len(wrong), close),))


def _name(case: Case, error: AttributeError | NameError) -> Iterator[Candidate]:
    """A name that is not there: take the closest one that is."""
    wrong = error.name
    if not wrong or not case.crash.sites:
        return
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
                for close in get_close_matches(wrong, known, n=3, cutoff=0.5):
                    yield Candidate((Edit(file, end - len(wrong), end, close),))


def _forward(case: Case) -> Iterator[Candidate]:
    """forward is misspelt, or has another name."""
    for file in rules._files(case):
        source = case.source(file)
        for node in ast.walk(source.tree):
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
                    yield Candidate((Edit(file, place, place + len(name), "forward"),))


def _self(case: Case) -> Iterator[Candidate]:
    """def forward(x): without self."""
    for file in rules._files(case) | {site.file for site in case.crash.sites}:
        source = case.source(file)
        for node in ast.walk(source.tree):
            inside = isinstance(source.parents.get(node), ast.ClassDef)
            if inside and isinstance(node, ast.FunctionDef) and node.args.args:
                first = node.args.args[0]
                if first.arg not in ("self", "cls") and not node.decorator_list:
                    start, _ = source.span(first)
                    yield Candidate((Edit(file, start, start, "self, "),))


# -- faults without an exception ---------------------------------------------------------------------------


def for_fault(case: Case, fault: Fault) -> Iterator[Candidate]:
    """Yield edits for what is wrong without an exception, and for the loss."""
    if fault.kind == "unregistered":
        yield from _registered(case, fault)
    elif fault.kind == "nothing":
        yield from _return(case)
    elif fault.kind == "mixed":
        yield from _unmixed(case, fault.detail["view"])
    elif fault.kind in ("label_shape", "target_shape", "output", "probabilities", "loss"):
        yield from _output(case, fault)


def _registered(case: Case, fault: Fault) -> Iterator[Candidate]:
    """self.layers = [...] becomes nn.ModuleList([...])."""
    name = type(fault.detail["owner"]).__name__
    kind = "ModuleDict" if fault.detail["container"] == "dict" else "ModuleList"
    for file in sorted(rules._files(case)):
        source = case.source(file)
        for node in ast.walk(source.tree):
            if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
                continue
            owner = source.around(node, ast.ClassDef)
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            hit = any(
                isinstance(t, ast.Attribute) and t.attr == fault.detail["attribute"]
                for t in targets
            )
            if not hit or not isinstance(owner, ast.ClassDef) or owner.name != name:
                continue
            value = source.code(node.value)
            inner = "" if value in ("[]", "{}", "list()", "dict()") else value
            yield Candidate(
                (source.replace(node.value, f"{rules.alias(source, 'torch.nn')}{kind}({inner})"),)
            )


def _returns(case: Case) -> Iterator[tuple[Source, ast.FunctionDef]]:
    """Yield forward() of the model's own class."""
    if case.model is None:
        return
    for file in sorted(rules._files(case)):
        source = case.source(file)
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef) and node.name == type(case.model).__name__:
                for inner in node.body:
                    if isinstance(inner, ast.FunctionDef) and inner.name == "forward":
                        yield source, inner


def _return(case: Case) -> Iterator[Candidate]:
    """Return what the last statement computes."""
    for source, function in _returns(case):
        last = function.body[-1]
        start, end = source.span(last)
        if isinstance(last, ast.Expr):
            yield Candidate((Edit(source.file, start, start, "return "),))
        if isinstance(last, ast.Assign) and isinstance(last.targets[0], ast.Name):
            before = source.text[source.text.rfind("\n", 0, start) + 1 : start]
            joint = "; " if before.strip() else "\n" + before
            yield Candidate((Edit(source.file, end, end, f"{joint}return {last.targets[0].id}"),))


def _unmixed(case: Case, view: Any) -> Iterator[Candidate]:
    size = prod(view.before[1:])
    linears = [m for m in (case.model.modules() if case.model else ()) if isinstance(m, nn.Linear)]
    fitting = [m for m in linears if m.in_features == view.after[-1]]
    for module in (*fitting, None):
        both = [c for c in rules.flattened(case, view.site, size, module) if len(c.edits) > 1]
        yield from both
        yield from rules.flattened(case, view.site, size, None)


def _output(case: Case, fault: Fault) -> Iterator[Candidate]:
    """Change what forward() returns, or make the layers batch-first."""
    out, y = fault.detail.get("out"), fault.detail.get("target")
    if isinstance(out, torch.Tensor) and y is not None and out.dim() and y.dim():
        if out.shape[0] != y.shape[0]:
            yield from _batch_first(case)
            yield from _straddling(case)
        yield from _returned(case, _templates(fault, out, y))
    elif isinstance(out, dict):
        yield from _returned(case, [f"{{}}[{key!r}]" for key in out])
    elif isinstance(out, (tuple, list)):
        yield from _returned(case, [f"{{}}[{i}]" for i in range(len(out))])


def _templates(fault: Fault, out: torch.Tensor, y: torch.Tensor) -> list[str]:
    found = []
    if fault.kind == "probabilities":
        return ["torch.sigmoid({})"]
    if out.dim() == y.dim() + 1 and out.shape[-1] == 1:
        found += ["{}.squeeze(1)" if out.dim() == 2 else "{}.squeeze(-1)"]
    if y.dim() == out.dim() + 1:
        found += ["{}.unsqueeze(1)", "{}.unsqueeze(-1)"]
    if out.dim() == 3 and fault.kind == "label_shape":
        found += ["{}.transpose(1, 2)"]
    if out.dim() == 4 and fault.kind == "label_shape":
        found += ["{}.permute(0, 3, 1, 2)", "{}.flatten(1)", "{}.mean((2, 3))"]
    return [*found, "{}.transpose(0, 1)", "{}.flatten(1)", "{}[:, -1]", "{}.mean(1)"]


def _returned(case: Case, templates: list[str]) -> Iterator[Candidate]:
    for template in templates:
        for source, function in _returns(case):
            for node in ast.walk(function):
                if isinstance(node, ast.Return) and node.value is not None:
                    yield Candidate((edits.wrap(source, node.value, template),))


def _batch_first(case: Case) -> Iterator[Candidate]:
    modules = list(case.model.named_modules()) if case.model is not None else []
    plain = [m for _, m in modules if getattr(m, "batch_first", None) is False]
    every: list[Edit] = []
    for module in plain:
        for edit in edits.set_argument(case, module, "batch_first", "True"):
            every.append(edit)
            yield Candidate((edit,))
    if len(set(every)) > 1:
        yield Candidate(tuple(dict.fromkeys(every)))


def _straddling(case: Case) -> Iterator[Candidate]:
    for view in case.witness.views if case.witness else ():
        yield from _unmixed(case, view)
