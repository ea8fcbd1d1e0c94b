"""Edits for what is wrong without an exception, and for output and target that do not go together."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from math import prod
from typing import Any

import torch
from torch import nn

from ptools.tracing.repair import edits, features, figures, kinds
from ptools.tracing.repair.case import Candidate, Case
from ptools.tracing.repair.edits import alias
from ptools.tracing.repair.sources import Edit, Source
from ptools.tracing.repair.values import Fault
from ptools.tracing.repair.witness import not_batch_first


def candidates(case: Case, fault: Fault) -> Iterator[Candidate]:
    """Yield edits for what is wrong without an exception, and for the loss."""
    if fault.kind == "unregistered" or fault.kind == "parameters":
        yield from _registered(case, fault)
    elif fault.kind == "nothing":
        yield from kinds.returns(case)
    elif fault.kind == "layout":
        yield from _transposed(case, fault)
        yield from _batch_first(case)
    elif fault.kind == "doubled":
        yield from _undoubled(case, fault)
    elif fault.kind == "label_range":
        yield from _more_classes(case, fault)
    elif fault.kind == "mixed":
        yield from _unmixed(case, fault.detail["view"])
    elif fault.kind in ("label_shape", "target_shape", "output", "probabilities", "loss"):
        yield from _output(case, fault)


def _registered(case: Case, fault: Fault) -> Iterator[Candidate]:
    """self.layers = [...] becomes nn.ModuleList([...])."""
    name = type(fault.detail["owner"]).__name__
    what = "Parameter" if fault.kind == "parameters" else "Module"
    kind = f"{what}{'Dict' if fault.detail['container'] == 'dict' else 'List'}"
    for source, node in case.nodes():
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
            continue
        owner = source.around(node, ast.ClassDef)
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        hit = any(
            isinstance(t, ast.Attribute) and t.attr == fault.detail["attribute"] for t in targets
        )
        if not hit or not isinstance(owner, ast.ClassDef) or owner.name != name:
            continue
        value = source.code(node.value)
        if isinstance(node.value, ast.Tuple) and not value.startswith("("):
            value = f"[{value}]"
        inner = "" if value in ("[]", "{}", "list()", "dict()") else value
        yield Candidate(
            (source.replace(node.value, f"{alias(source, 'torch.nn')}{kind}({inner})"),)
        )


def _returns(case: Case) -> Iterator[tuple[Source, ast.FunctionDef]]:
    """Yield forward() of the model's own class."""
    if case.model is None:
        return
    for source, node in case.nodes():
        if isinstance(node, ast.ClassDef) and node.name == type(case.model).__name__:
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and inner.name == "forward":
                    yield source, inner


def _unmixed(case: Case, view: Any) -> Iterator[Candidate]:
    size = prod(view.before[1:])
    linears = [m for m in (case.model.modules() if case.model else ()) if isinstance(m, nn.Linear)]
    fitting = [m for m in linears if m.in_features == view.after[-1]]
    for module in (*fitting, None):
        both = [c for c in features.flattened(case, view.site, size, module) if len(c.edits) > 1]
        yield from both
        yield from features.flattened(case, view.site, size, None)


def _output(case: Case, fault: Fault) -> Iterator[Candidate]:
    """Change what forward() returns, or make the layers batch-first."""
    out, y = fault.detail.get("out"), fault.detail.get("target")
    if isinstance(out, torch.Tensor) and y is not None and out.dim() and y.dim():
        if out.shape[0] != y.shape[0]:
            yield from _batch_first(case)
            yield from _straddling(case)
            yield from features.joined(case)
        if out.dim() >= 4 and out.shape != y.shape:
            yield from _enlarged(case, out, y)
        yield from _returned(case, _templates(fault, out, y))
    elif isinstance(out, dict):
        yield from _returned(case, [f"{{}}[{key!r}]" for key in out])
    elif isinstance(out, (tuple, list)):
        yield from _returned(case, [f"{{}}[{i}]" for i in range(len(out))])


def _templates(fault: Fault, out: torch.Tensor, y: torch.Tensor) -> list[str]:
    found = []
    if fault.kind == "probabilities":
        return ["torch.sigmoid({})"]
    if out.dim() == y.dim() + 1 and out.dim() > 1 and out.shape[1] == 1:
        found.append("{}.squeeze(1)")
    if out.dim() == 3 and out.shape[1] == y.shape[0]:
        found.append("{}[-1]")  # a hidden state: (layers, N, H)
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
                    yield Candidate.of(edits.wrap(source, node.value, template))


def _batch_first(case: Case) -> Iterator[Candidate]:
    plain = [m for m in case.sites if not_batch_first(m)]
    every: list[Edit] = []
    for module in plain:
        for edit in edits.set_argument(case, module, "batch_first", "True"):
            every.append(edit)
            yield Candidate.of(edit)
    if len(set(every)) > 1:
        yield Candidate(tuple(dict.fromkeys(every)))
    for edit in dict.fromkeys(every):  # the last step is then out[:, -1], no more out[-1]
        for source, function in _returns(case):
            for node in ast.walk(function):
                if isinstance(node, ast.Subscript) and source.code(node.slice) == "-1":
                    text = f"{source.code(node.value)}[:, -1]"
                    yield Candidate.of(edit, source.replace(node, text))


def _enlarged(case: Case, out: torch.Tensor, y: torch.Tensor) -> Iterator[Candidate]:
    """The output is smaller than its target: enlarge it, or let the decoder reach the last pixel."""
    decoders = [m for m in case.sites if isinstance(m, nn.modules.conv._ConvTransposeNd)]
    single = [e for m in decoders for e in edits.set_argument(case, m, "output_padding", 1)]
    for edit in single:
        yield Candidate.of(edit)
    if len(single) > 1:
        yield Candidate(tuple(dict.fromkeys(single)))
    if out.shape[-1] and y.shape[-1] % out.shape[-1] == 0 and y.shape[-1] != out.shape[-1]:
        scale = int(y.shape[-1] // out.shape[-1])
        for source, function in _returns(case):
            name = alias(source, "torch.nn.functional")
            for node in ast.walk(function):
                if isinstance(node, ast.Return) and node.value is not None:
                    text = f"{name}interpolate({source.code(node.value)}, scale_factor={scale})"
                    yield Candidate.of(source.replace(node.value, text))


def _more_classes(case: Case, fault: Fault) -> Iterator[Candidate]:
    """There are more classes than outputs: the number is written somewhere."""
    yield from figures.replaced(case, fault.detail["classes"], fault.detail["most"] + 1)


def _transposed(case: Case, fault: Fault) -> Iterator[Candidate]:
    """A view that was to swap two dimensions: transpose."""
    view = fault.detail.get("view")
    found = case.call(view.site) if view is not None else None
    if found is not None and isinstance(found[1].func, ast.Attribute):
        source, call = found
        owner = source.code(call.func.value)  # type: ignore[attr-defined]
        yield Candidate.of(source.replace(call, f"{owner}.transpose(0, 1)"))


def _undoubled(case: Case, fault: Fault) -> Iterator[Candidate]:
    """Leave the last Softmax or Sigmoid out: the loss has its own."""
    modules = dict(case.model.named_modules()) if case.model is not None else {}
    made = case.creation(modules.get(fault.layer)) if fault.layer else None
    if made is not None:
        source, call, _ = made
        start, end = source.span(call)
        comma = source.text.rfind(",", 0, start)
        if comma >= 0 and not source.text[comma + 1 : start].strip():
            yield Candidate.of(Edit(source.file, comma, end, ""))
        yield Candidate.of(source.replace(call, f"{edits.prefix(source, call)}Identity()"))
    for source, function in _returns(case):
        for node in ast.walk(function):
            name = ast.unparse(node.func).lower() if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and name.rpartition(".")[2] in ("softmax", "sigmoid"):
                owner = name.rpartition(".")[0]
                plain = owner in ("torch", "f", "nn.functional", "self", "torch.nn.functional")
                inner = node.args[0] if plain and node.args else getattr(node.func, "value", None)
                if inner is not None:
                    yield Candidate.of(source.replace(node, source.code(inner)))


def _straddling(case: Case) -> Iterator[Candidate]:
    for view in case.witness.views if case.witness else ():
        yield from _unmixed(case, view)
