"""The words of a diagnosis: the layer, what it expects, what it got and where that came from."""

from __future__ import annotations

import ast
import re
from difflib import get_close_matches
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ptools.errors import cause, one_line
from ptools.tracing.repair.case import Case
from ptools.tracing.repair.contracts import Misfit
from ptools.tracing.repair.sources import Site
from ptools.tracing.repair.values import Failure, Fault, said
from ptools.tracing.repair.witness import each_tensor

if TYPE_CHECKING:
    from ptools.tracing.study import Answer

_VERBS = {"add": "add", "iadd": "add", "radd": "add", "sub": "subtract", "mul": "multiply", "cat": "join",
          "matmul": "multiply", "mm": "multiply", "bmm": "multiply", "div": "divide"}  # fmt: skip


def describe(case: Case, answer: Answer) -> Failure:
    """Return the failure in words; repairs are added to it when they have been run."""
    error = case.crash.error
    if isinstance(error, Fault):
        return _fault(case, error)
    if case.crash.stage == "ctor":
        return _constructor(case)
    if case.misfit is not None:
        return _misfit(case, case.misfit)
    return _function(case)


def _fault(case: Case, fault: Fault) -> Failure:
    name = fault.layer or _model_name(case)
    file, line = _place_of_fault(case, fault)
    return Failure(
        fault.layer, _model_name(case) if not fault.layer else "", file, line,
        fault.expected, fault.got, fault.title,
        f"{name}{_where(file, line)} {fault.title}", stage=case.crash.stage,
    )  # fmt: skip


def _place_of_fault(case: Case, fault: Fault) -> tuple[str | None, int | None]:
    view = fault.detail.get("view")
    if view is not None and view.site is not None:
        return view.site.file, view.site.line
    owner = fault.detail.get("owner")
    sites = case.sites.get(owner, []) if owner is not None else []
    if sites:
        return sites[0].file, sites[0].line
    files = sorted({s.file for found in case.sites.values() for s in found})
    return (files[0], None) if files else (None, None)


def _model_name(case: Case) -> str:
    return type(case.model).__name__ if case.model is not None else "the model"


def _where(file: str | None, line: int | None, kind: str = "") -> str:
    place = f"{file.rpartition('/')[2]}:{line}" if file and line else ""
    inside = ", ".join(part for part in (kind, place) if part)
    return f" ({inside})" if inside else ""


def _constructor(case: Case) -> Failure:
    """The statements `self.block = Block(...)`, `self.attn = ...` name the layer that cannot be made."""
    kind, file, line, text = "", None, None, ""
    if case.crash.sites:
        site = case.crash.sites[0]
        file, line = site.file, site.line
        found = case.expression(site)
        if found is not None:
            source, node = found
            text = " ".join(source.code(node).split())
            kind = source.code(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
    layer = ".".join(filter(None, map(partial(_assigned, case), reversed(case.crash.sites))))
    message = one_line(case.crash.error, 160)
    if "before Module.__init__() call" in message:
        layer, kind = "", ""
        message = "sets a layer before super().__init__() was called"
    expected, got = _wanted(case, message)
    return Failure(
        layer, kind, file, line, expected, got or text or message, message,
        f"{layer or 'the model'}{_where(file, line, kind)} cannot be made: {message}", stage="ctor",
    )  # fmt: skip


def _assigned(case: Case, site: Site) -> str:
    """Return the attribute that the statement at a site sets: attn of self.attn = ..."""
    found = case.expression(site)
    statement = found[0].statement(found[1]) if found is not None else None
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Attribute):
        return statement.targets[0].attr
    return ""


def _wanted(case: Case, message: str) -> tuple[str, str]:
    """Return what was expected and given, where the exception says it in its own way."""
    error = case.crash.error
    if "super().__init__()" in message:
        return "super().__init__() first in the constructor", said(error)
    if isinstance(error, AttributeError) and error.name:
        return (
            f"a name that {one_line(getattr(error.obj, '__name__', 'the object'))} has",
            error.name,
        )
    return message, ""


def _misfit(case: Case, found: Misfit) -> Failure:
    crash = case.crash
    kind = type(crash.module).__name__
    file, line = (crash.sites[0].file, crash.sites[0].line) if crash.sites else (None, None)
    story = _story(case, found.tensor if found.tensor is not None else _first(case))
    if found.tensor is not None:
        shape = str(list(found.tensor.shape))
        what = "" if found.parameter == "in_features" else found.got
        got = f"{shape}   " + (f"{what}, {story}" if what and story else what or story)
    else:
        got = f"{found.got}, {story}" if story else found.got
    return Failure(
        crash.layer, kind, file, line, found.expected, got.rstrip(), story or one_line(crash.error),
        f"{crash.layer or kind}{_where(file, line, kind)} cannot take its input",
    )  # fmt: skip


def _first(case: Case) -> Any:
    call = case.crash.call
    return next(iter([*call.args, *call.kwargs.values()]), None) if call else None


def _story(case: Case, value: Any) -> str:
    """Say where a tensor came from, one step upstream: `= 16*5*5 flattened, from pool (MaxPool2d) [...]`."""
    origin = case.origin(value)
    if origin is None:
        return ""
    if origin.kind == "input":
        return origin.label
    behind = case.layer_behind(value)
    if origin.kind == "layer" and not isinstance(value, torch.Tensor):
        return f"from {origin.label} ({origin.type})"
    if behind is None:
        return f"from {origin.label}()"
    source, before = behind
    name = source.label if source.kind == "input" else f"from {source.label} ({source.type})"
    if before is value or not isinstance(value, torch.Tensor):
        return name
    shape = list(before.shape)
    inner = _unflattened(case, value)
    if inner:
        return f"= {'*'.join(map(str, inner))} flattened, {name} {shape}"
    if shape == list(value.shape):
        return name
    return f"{name} {shape}"


def _unflattened(case: Case, value: torch.Tensor) -> list[int]:
    """Return the sizes, batch left out, that a flattened tensor had before: 16, 5, 5 of 400."""
    if value.dim() != 2:
        return []
    tensor = value
    for _ in range(20):
        origin = case.origin(tensor)
        if origin is None or not origin.made_of:
            return []
        tensor = origin.made_of[0]
        inner = [int(n) for n in tensor.shape[1:]]
        if len(inner) > 1 and tensor.shape[0] == value.shape[0] and prod(inner) == value.shape[1]:
            return inner
        if origin.kind == "layer" and origin.type not in ("Flatten", "Dropout", "ReLU", "Identity"):
            return []
    return []


def _function(case: Case) -> Failure:
    """forward() itself stopped: in a sum, a view, a name."""
    crash = case.crash
    kind = type(crash.module).__name__ if crash.module is not None else _model_name(case)
    file, line = (crash.sites[0].file, crash.sites[0].line) if crash.sites else (None, None)
    message = one_line(crash.error, 160)
    expected, got, title = message, "", f"fails: {message}"
    tensors = (
        list(each_tensor((crash.function.args, crash.function.kwargs))) if crash.function else []
    )
    name = crash.name.replace("Tensor.", "").strip("_")
    spoken = re.findall(r"[\[(](\d+(?:, ?\d+)+)[\])]", message)
    told = re.search(r"[Ee]xpected (\S+),? but (?:got|found) (\S+?)[!.]?$", message)
    devices = {str(t.device) for t in tensors}
    if isinstance(crash.error, NotImplementedError) and 'required "forward"' in message:
        expected, got = _names(case)
        title = "has no forward()"
    elif len(devices) > 1:
        odd = next(t for t in tensors if str(t.device) != str(case.inputs[0].device))
        expected = f"all tensors on device {case.inputs[0].device}"
        got = f"{list(odd.shape)} on device {odd.device}"
        title = "mixes devices"
    elif name in ("view", "reshape") and tensors:
        expected, title = _viewed(case, name, message)
        got = f"{name} of {list(tensors[0].shape)}   {_story(case, tensors[0])}".rstrip()
    elif len(spoken) == 2 and "xpected" in message:
        expected, got = (f"[{shape}]" for shape in spoken)
        title = message
    elif told is not None:
        expected, got, title = told[1], told[2], message
    elif len(tensors) >= 2 and name in _VERBS:
        a, b = tensors[0], tensors[1]
        expected = f"{list(a.shape)}   {_story(case, a)}".rstrip()
        got = f"{list(b.shape)}   {_story(case, b)}".rstrip()
        title = f"cannot {_VERBS[name]} {list(a.shape)} and {list(b.shape)}"
    elif tensors:
        got = f"{name} of {list(tensors[0].shape)}   {_story(case, tensors[0])}".rstrip()
    elif not expected or expected == message:
        expected, got = _names(case)
        title = message
    return Failure(
        crash.layer, kind, file, line, expected, got, got or cause(crash.error),
        f"{crash.layer or kind}{_where(file, line, kind if crash.layer else '')} {title}",
    )  # fmt: skip


def _viewed(case: Case, name: str, message: str) -> tuple[str, str]:
    """Return what a view asks for, and why it cannot be had."""
    if "stride" in message:
        return (
            "memory in one piece: .contiguous(), or .reshape()",
            "cannot view what was transposed",
        )
    call = case.crash.function
    sizes = list(call.args[1:]) if call is not None else []
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = list(sizes[0])
    return f"{sizes}, as {name}() asks", f"cannot {name} it: {message}"


def _names(case: Case) -> tuple[str, str]:
    """Return what was looked for and what is there, where a name or an argument is wrong."""
    error = case.crash.error
    owner = case.crash.module if case.crash.module is not None else case.model
    if 'required "forward"' in said(error) and owner is not None:
        own = [n for n, v in vars(type(owner)).items() if callable(v) and not n.startswith("_")]
        own = [] if type(owner).__module__.startswith("torch.") else own
        what = (
            f"{type(owner).__name__} has {', '.join(own)}"
            if own
            else f"{type(owner).__name__} has none"
        )
        return "a method called forward", what
    if isinstance(error, AttributeError) and error.name:
        known = (
            [n for n, _ in error.obj.named_children()] if isinstance(error.obj, nn.Module) else []
        )
        close = get_close_matches(error.name, known, n=1, cutoff=0.5)
        expected = close[0] if close else f"self.{error.name}, set in __init__()"
        return expected, f"{error.name}, which {type(error.obj).__name__} has not"
    return one_line(error, 160), cause(error)[:160]
