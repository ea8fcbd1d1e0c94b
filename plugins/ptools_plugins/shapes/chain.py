"""A chain of layers given as text: its question marks filled in, or why it does not fit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from ptools.tracing import chains, filling
    from ptools.tracing.repair.values import Failure
    from ptools_plugins.shapes.report import Report


def chain(report: Report, texts: Sequence[str]) -> Callable[[], nn.Module]:
    """Read the layers, fill in the question marks; where the chain does not fit, say why."""
    import torch

    from ptools.tracing import filling
    from ptools.tracing.chains import build
    from ptools.tracing.inputs import tensors
    from ptools.tracing.layers import parse
    from ptools.tracing.reading import read

    layers = parse(read(texts, sys.stdin))
    inputs = tensors(report.inputs, "meta", torch.float32)
    asked = [layer.name for layer in _leaves(layers) if layer.unknown or "Lazy" in layer.kind]
    if asked:
        layers = filling.fill(layers, inputs)
    report.texts = {layer.name: layer.text for layer in _leaves(layers)}
    report.filled = tuple(report.texts[name] for name in asked)
    found = filling.repair(layers, inputs)
    if found is not None:
        report.failure = _unfit(report, layers, found)
    return lambda: build(layers, torch.get_default_device())


def _leaves(layers: Sequence[chains.Layer], above: str = "") -> Iterator[chains.Layer]:
    """Yield the layers inside nested Sequentials, with their dotted names."""
    for layer in layers:
        if layer.layers:
            yield from _leaves(layer.layers, f"{above}{layer.name}.")
        else:
            yield replace(layer, name=above + layer.name)


def _unfit(report: Report, layers: Sequence[chains.Layer], found: filling.Repair) -> Failure:
    from ptools.tracing.repair.values import Failure, Fix

    fix, output = None, None
    if found.layers is not None:
        output = _output(report, found.layers)
        old, new = [x.text for x in layers], [x.text for x in found.layers]
        changed = [i for i, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]]
        if len(old) == len(new) and len(changed) == 1:
            old, new = [old[changed[0]]], [new[changed[0]]]
        fix = Fix(None, None, ", ".join(old), ", ".join(new), found.edits)
    return Failure(
        found.name, found.layer.kind, None, None, found.expected, found.got, found.cause,
        f"{found.name} ({found.layer.text}) cannot take its input", fix,
        verified=fix is not None, output=output,
    )  # fmt: skip


def _output(report: Report, layers: Sequence[chains.Layer]) -> Any:
    """Return the shapes that come out of the repaired chain."""
    from ptools.tracing.chains import build
    from ptools.tracing.study import Question, examine

    answer = examine(Question(lambda: build(layers, "meta"), report.inputs, own=False))
    return answer.trace.output if answer.trace is not None else None
