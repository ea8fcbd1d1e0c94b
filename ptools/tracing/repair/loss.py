"""Output and target: what each loss takes, and what it takes silently and wrongly.

Source: the Shape sections of the losses in the torch.nn documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ptools.tracing.repair.case import VIEWS
from ptools.tracing.repair.values import Fault, said
from ptools.tracing.repair.witness import Witness, each_tensor

if TYPE_CHECKING:
    from ptools.tracing.study import Answer, Question

_SAME = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.BCELoss, nn.BCEWithLogitsLoss,
         nn.SoftMarginLoss, nn.MultiLabelSoftMarginLoss, nn.KLDivLoss)  # fmt: skip
_FLOAT = (nn.BCELoss, nn.BCEWithLogitsLoss, nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)
_CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss)


def look(question: Question, answer: Answer) -> BaseException | None:
    """Return why the loss cannot compare the output with the targets, or None where it can."""
    assert question.loss is not None
    device = "meta"
    found = next(each_tensor(answer.output), None)
    if found is not None:
        device = str(found.device)
    targets = question.aims(device)
    try:
        criterion = question.loss().to(device)
    except Exception as error:
        return error
    fault = _check(criterion, answer.output, targets)
    if fault is not None:
        return fault
    try:
        criterion(answer.output, *targets)
    except Exception as error:
        return _raised(criterion, answer.output, targets, error)
    return _doubled(question, criterion, answer.output)


def _doubled(question: Question, criterion: nn.Module, out: Any) -> Fault | None:
    """CrossEntropyLoss of a Softmax learns slowly, and nothing says why."""
    if not isinstance(out, torch.Tensor) or out.device.type != "cpu":
        return None
    names: tuple[str, ...] = ()
    if isinstance(criterion, nn.CrossEntropyLoss) and out.dim() >= 2:
        sums = out.double().sum(1)
        if torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
            names = ("Softmax", "softmax")
    elif isinstance(criterion, nn.BCEWithLogitsLoss):
        names = ("Sigmoid", "sigmoid")
    inside = bool(((out >= 0) & (out <= 1)).all())
    return _made_by(question, criterion, names) if names and inside else None


def _made_by(question: Question, criterion: nn.Module, names: tuple[str, ...]) -> Fault | None:
    """Return the fault where the output does come from such a layer or function."""
    model = question.new().train(question.train)
    inputs = question.feed(model, "cpu")
    witness = Witness(model, inputs)
    with witness, torch.no_grad():
        out = model(*inputs)
    origin = witness.origin(out)
    while origin is not None and origin.label in VIEWS and origin.made_of:
        origin = witness.origin(origin.made_of[0])
    what = (origin.type or origin.label.rpartition(".")[2]) if origin is not None else ""
    if origin is None or what not in names:
        return None
    return Fault(
        "doubled", origin.label if origin.kind == "layer" else "",
        f"gives probabilities, but {_name(criterion)} takes logits and has its own {what}",
        "logits, any real numbers", f"probabilities, of {what}", out=out, name=origin.label,
    )  # fmt: skip


def _name(criterion: nn.Module) -> str:
    return type(criterion).__name__


def _check(criterion: nn.Module, out: Any, targets: list[torch.Tensor]) -> Fault | None:
    builtin = type(criterion).__module__.startswith("torch.nn")
    if not builtin or not targets:
        return None
    if not isinstance(out, torch.Tensor):
        kind = type(out).__name__
        inside = f" with {', '.join(map(str, out))}" if isinstance(out, dict) else ""
        article = "an" if kind[:1] in "AEIOUaeiou" else "a"
        return Fault("output", "", f"{_name(criterion)} cannot take the output", "a Tensor",
                     f"{article} {kind}{inside}", out=out)  # fmt: skip
    y = targets[0]
    if isinstance(criterion, _CLASSES):
        return _classes(criterion, out, y)
    if isinstance(criterion, _FLOAT) and not y.is_floating_point():
        return Fault("target_dtype", "", f"{_name(criterion)} cannot take its target",
                     f"a target of {_dtype(out)}, as the output", _text(y), target=y, out=out)  # fmt: skip
    if isinstance(criterion, _SAME) and out.shape != y.shape:
        return _unequal(criterion, out, y)
    return None


def _unequal(criterion: nn.Module, out: torch.Tensor, y: torch.Tensor) -> Fault:
    try:
        both = list(torch.broadcast_shapes(out.shape, y.shape))  # type: ignore[no-untyped-call]
    except RuntimeError:
        title = f"{_name(criterion)} cannot compare output and target"
        expected, got = f"output {list(y.shape)}, as the target", f"output {list(out.shape)}"
        if out.dim() and y.dim() and out.shape[0] != y.shape[0]:
            expected, got = (
                f"batch {int(y.shape[0])}: {expected}",
                f"batch {int(out.shape[0])}: {got}",
            )
    else:
        title = f"{_name(criterion)} is silently wrong: output and target broadcast to {both}"
        expected, got = f"target {list(out.shape)}, as the output", f"target {list(y.shape)}"
    return Fault("target_shape", "", title, expected, got, target=y, out=out)


def _classes(criterion: Any, out: torch.Tensor, y: torch.Tensor) -> Fault | None:
    classes = int(out.shape[1 if out.dim() > 1 else 0]) if out.dim() else 0
    want = [*out.shape[:1], *out.shape[2:]] if out.dim() > 1 else []
    title = f"{_name(criterion)} cannot take its target"
    labels = f"{want} of int64 (Long), {classes} class{'' if classes == 1 else 'es'} (0 to {classes - 1})"
    if y.is_floating_point():
        if y.shape == out.shape and isinstance(criterion, nn.CrossEntropyLoss):
            return None  # class probabilities
        return Fault("label_dtype", "", title, labels, _text(y), target=y, out=out)
    if list(y.shape) != want:
        return _label_shape(criterion, out, y, want, labels)
    if y.dtype != torch.int64 and not (
        y.dtype == torch.uint8 and isinstance(criterion, nn.NLLLoss)
    ):
        return Fault("label_dtype", "", title, labels, _text(y), target=y, out=out)
    if y.device.type == "cpu" and y.numel():
        kept = y[y != getattr(criterion, "ignore_index", -100)]
        if kept.numel() and (int(kept.max()) >= classes or int(kept.min()) < 0):
            most, least = int(kept.max()), int(kept.min())
            got = f"label {most if most >= classes else least}, {classes} outputs"
            return Fault("label_range", "", title, labels, got, target=y, out=out, classes=classes,
                         most=most)  # fmt: skip
    return None


def _label_shape(
    criterion: nn.Module, out: torch.Tensor, y: torch.Tensor, want: list[int], labels: str
) -> Fault:
    title = (
        f"{_name(criterion)} cannot compare output {list(out.shape)} with target {list(y.shape)}"
    )
    expected, got = labels, _text(y)
    if out.dim() and y.dim() and out.shape[0] != y.shape[0]:
        expected = f"batch {int(y.shape[0])}, as the target {list(y.shape)}"
        got = f"batch {int(out.shape[0])}: output {list(out.shape)}"
    elif y.dim() == out.dim() - 1 and out.dim() > 1:  # the output is what is laid out otherwise
        expected = f"output {[*out.shape[:1], 'C', *y.shape[1:]]} for the target {list(y.shape)}"
        if out.dim() == 3 and out.shape[1] == y.shape[1]:
            expected = f"output [N, C, L] = {[int(out.shape[i]) for i in (0, 2, 1)]}"
        expected, got = expected.replace("'", ""), f"output {list(out.shape)}"
    return Fault("label_shape", "", title, expected, got, target=y, out=out, want=want)


def _raised(
    criterion: nn.Module, out: Any, targets: list[torch.Tensor], error: Exception
) -> BaseException:
    from ptools.errors import one_line

    if not isinstance(out, torch.Tensor) or not targets:
        return error
    if isinstance(criterion, nn.BCELoss) and "between 0 and 1" in said(error):
        low, high = float(out.min()), float(out.max())
        return Fault("probabilities", "", "BCELoss cannot take the output", "values between 0 and 1",
                     f"logits from {low:.2g} to {high:.2g}", out=out, target=targets[0])  # fmt: skip
    return Fault("loss", "", f"{_name(criterion)} fails: {one_line(error, 160)}",
                 "what the documentation of the loss says",
                 f"output {_text(out)}, target {_text(targets[0])}", out=out, target=targets[0])  # fmt: skip


def _text(x: torch.Tensor) -> str:
    return f"{list(x.shape)} of {_dtype(x)}"


def _dtype(x: torch.Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")
