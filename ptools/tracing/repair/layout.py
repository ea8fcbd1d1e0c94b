"""Samples that look at each other: batch and time in the wrong order, without an exception.

A layer without batch_first takes (L, N, C). Given (N, L, C) it runs along the batch, and each sample's
output depends on the other samples: that is proved with values before it is said.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from ptools.tracing.repair.values import Fault
from ptools.tracing.repair.witness import View, Witness, each_tensor, not_batch_first

if TYPE_CHECKING:
    from ptools.tracing.study import Answer, Question

_BATCH = 3  # samples of the trial, unlike most other sizes


def look(question: Question, model: nn.Module, answer: Answer) -> Fault | None:
    """Return the layer, or view, because of which samples mix; None where nothing is proved.

    Only where the first dimension is known to be the batch, in eval mode (batch normalisation mixes
    by design in train mode), for a small model of the user's own.
    """
    assert answer.trace is not None
    if question.batch is None or question.train or not question.own or answer.device != "cpu":
        return None
    if not any(map(not_batch_first, model.modules())):
        return None
    trial = replace(
        question,
        inputs=tuple(one._replace(shape=(_BATCH, *one.shape[1:])) for one in question.inputs),
    )
    try:
        with torch.no_grad():
            torch.manual_seed(0)
            return _proved(trial, trial.new().eval())
    except Exception:  # another batch size does not suit it: nothing is proved
        return None


def _proved(question: Question, model: nn.Module) -> Fault | None:
    """Change sample 0 alone: the rows of the others may not change."""
    inputs = question.feed(model, "cpu")
    witness = Witness(model, inputs)
    with witness:
        before = next(each_tensor(model(*inputs)))
    if before.dim() == 0 or before.shape[0] != _BATCH:
        return None
    changed = [inputs[0].clone(), *inputs[1:]]
    sample = changed[0][0]
    changed[0][0] = 1 - (sample if sample.is_floating_point() else sample.clamp(0, 1))
    after = next(each_tensor(model(*changed)))
    return None if torch.allclose(before[1:], after[1:], atol=1e-6) else _said(witness)


def _said(witness: Witness) -> Fault | None:
    for view in witness.views:
        if _swapped(view):
            n, length = view.before[:2]
            return Fault(
                "layout", view.layer, f"{view.label} does not swap dimensions, it mixes samples",
                f"transpose: [{n}, {length}, ...] to [{length}, {n}, ...] with every value in its place",
                f"view of {list(view.before)} as {list(view.after)}: values of several samples in a row",
                view=view,
            )  # fmt: skip
    for module, inner, shape in witness.sequences:
        if shape[0] == _BATCH and shape[1] != _BATCH:
            name, module = _outermost(witness, inner, module)
            kind = type(module).__name__
            return Fault(
                "layout", name, f"({kind}) runs along the batch: samples look at each other",
                "batch_first=True, as the input is [N, L, ...]",
                "batch_first=False: it takes the samples for the steps of a sequence",
            )  # fmt: skip
    return None


def _outermost(witness: Witness, name: str, module: nn.Module) -> tuple[str, nn.Module]:
    """Return the whole of torch.nn that a layer is part of: the TransformerEncoder of its attention."""
    named = {n: m for m, n in witness.names.items()}
    parts = name.split(".")
    for length in range(1, len(parts)):
        above = named.get(".".join(parts[:length]))
        if isinstance(above, (nn.Transformer, nn.TransformerEncoder, nn.TransformerDecoder,
                              nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):  # fmt: skip
            return ".".join(parts[:length]), above
    return name, module


def _swapped(view: View) -> bool:
    a, b = view.before, view.after
    return len(a) == len(b) >= 2 and a[0] != a[1] and (a[1], a[0], *a[2:]) == tuple(b)
