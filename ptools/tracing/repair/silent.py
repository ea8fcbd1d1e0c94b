"""Wrong without an exception: layers that are not registered, rows that mix samples, no output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ptools.tracing.repair import layout
from ptools.tracing.repair.values import Fault
from ptools.tracing.repair.witness import Witness, each_tensor

if TYPE_CHECKING:
    from ptools.tracing.study import Answer, Question


def look(question: Question, model: nn.Module, answer: Answer) -> Fault | None:
    """Return what is wrong with a model that ran, or None."""
    return (
        _unregistered(model)
        or _loose(model)
        or _nothing(model, answer)
        or _mixed(question, model, answer)
        or layout.look(question, model, answer)
    )


def _held(model: nn.Module) -> Iterator[tuple[nn.Module, str, str, Any]]:
    """Yield (module, attribute, its dotted name, value) of every plain list, tuple and dict."""
    for name, module in model.named_modules():
        for attribute, value in vars(module).items():
            if not attribute.startswith("_") and isinstance(value, (list, tuple, dict)):
                yield module, attribute, f"{name}.{attribute}" if name else attribute, value


def _unregistered(model: nn.Module) -> Fault | None:
    """Layers in a plain list or dict are unknown to parameters(), state_dict() and to().

    One module alone in a list, or frozen ones, are a known way of hiding a teacher: no fault.
    """
    registered = set(model.modules())
    for module, attribute, layer, value in _held(model):
        found = [m for m in _modules(value) if m not in registered]
        size = sum(p.numel() for m in found for p in m.parameters() if p.requires_grad)
        if not found or not size or (len(found) == 1 and not isinstance(value, dict)):
            continue
        kind = type(value).__name__
        return Fault(
            "unregistered", layer,
            f"is a plain {kind}: its {len(found)} layers are not registered",
            f"nn.Module{'Dict' if kind == 'dict' else 'List'}: parameters() > 0, {size:,} in it",
            f"a {kind}: 0 parameters for optimizer, state_dict() and .to()",
            attribute=attribute, container=kind, owner=module,
        )  # fmt: skip
    return None


def _loose(model: nn.Module) -> Fault | None:
    """Parameters in a plain list or dict are unknown to parameters() too."""
    known = {id(p) for p in model.parameters()}
    for module, attribute, layer, value in _held(model):
        items = list(value.values() if isinstance(value, dict) else value)
        found = [p for p in items if isinstance(p, nn.Parameter) and id(p) not in known]
        if not any(p.requires_grad for p in found):
            continue
        kind = type(value).__name__
        return Fault(
            "parameters", layer,
            f"is a plain {kind}: its {len(found)} parameters are not registered",
            "nn.ParameterDict" if kind == "dict" else "nn.ParameterList",
            f"a {kind}: optimizer, state_dict() and .to() never see them",
            attribute=attribute, container=kind, owner=module,
        )  # fmt: skip
    return None


def _modules(value: Any) -> Iterator[nn.Module]:
    if isinstance(value, nn.Module):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _modules(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _modules(item)


def _nothing(model: nn.Module, answer: Answer) -> Fault | None:
    if answer.output is not None:
        return None
    return Fault(
        "nothing",
        "",
        "returns nothing",
        "a Tensor",
        "None: forward() has no return that is reached",
    )


def _mixed(question: Question, model: nn.Module, answer: Answer) -> Fault | None:
    """Find a view whose rows straddle samples: x.view(-1, 320) of samples of 500 values each."""
    outputs = list(each_tensor(answer.output))
    if answer.trace is None or not question.inputs or not outputs or not question.inputs[0].shape:
        return None
    batch = question.inputs[0].shape[0]
    if batch < 2 or not outputs[0].dim() or outputs[0].shape[0] == batch:
        return None
    if answer.trace.data_dependent:
        return None
    with torch.device("meta"):
        inputs = question.feed(model, "meta")
        witness = Witness(model, inputs)
        try:
            with witness:
                model(*inputs)
        except Exception:  # the first run did not fail: nothing is said of this one
            return None
    for view in witness.views:
        rows, size = int(view.after[0]), torch.Size(view.before).numel()
        if view.before[0] != batch or rows in (0, batch) or rows != outputs[0].shape[0]:
            continue
        sample, row = size // batch, size // rows
        if sample % row and row % sample:
            return Fault(
                "mixed", view.layer, f"mixes samples: {view.label} turned {batch} samples into {rows} rows",
                f"batch {batch}: [{batch}, {sample}], one row a sample",
                f"batch {rows}: {list(view.after)} from {list(view.before)}, {sample} values a sample",
                view=view,
            )  # fmt: skip
    return None
