"""A model or a chain of layers: run dry, or diagnosed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ptools.errors import PtoolsError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from ptools.tracing import chains, filling
    from ptools.tracing.field import Field
    from ptools.tracing.inputs import Input
    from ptools.tracing.repair.values import Failure
    from ptools.tracing.study import Answer, Question
    from ptools.tracing.trace import Layer, Trace


@dataclass
class Report:
    """What was asked and what came of it: `trace`, or `failure`."""

    model: str | None  # None: a chain of layers
    inputs: tuple[Input, ...]
    mode: str
    batch: int | None
    trace: Trace | None = None
    failure: Failure | None = None
    fields: dict[str, Field] | None = None
    not_followed: tuple[str, ...] = ()  # operations that --rf does not understand
    train_only: tuple[str, ...] = ()  # modules that run in train mode only
    texts: dict[str, str] = field(default_factory=dict)  # of a chain: name -> `Conv2d(3, 8, 5)`
    filled: tuple[str, ...] = ()  # the layers whose question mark was replaced
    graph: str | None = None
    traceback: str = ""

    @property
    def layers(self) -> list[Layer]:
        """Return what ran, in order, and what did not."""
        return self.trace.layers if self.trace is not None else []

    def document(self) -> dict[str, Any]:
        """Return it for --json."""
        found: dict[str, Any] = {
            "model": self.model,
            "in": [list(one.shape) for one in self.inputs],
            "mode": self.mode,
            "batch": self.batch,
        }
        if self.filled:
            found["filled"] = list(self.filled)
        if self.trace is not None:
            found |= self._figures(self.trace)
        if self.graph is not None:
            found["graph"] = self.graph
        return found | {"failure": self.failure.document() if self.failure else None}

    def _figures(self, trace: Trace) -> dict[str, Any]:
        return {
            "params": trace.params,
            "trainable": trace.trainable,
            "frozen": trace.params - trace.trainable,
            "buffers": trace.buffers,
            "macs": trace.macs,
            "output": trace.output,
            "activation_bytes": trace.activation_bytes,
            "weight_bytes": trace.weight_bytes,
            "training_bytes": training_bytes(trace),
            "uncounted": [{"op": op, "layers": names} for op, names in trace.uncounted.items()],
            "unused": [layer.name for layer in unused(self.layers)],
            "train_only": list(self.train_only),
            "data_dependent": trace.data_dependent,
            "notes": trace.notes,
            "layers": [self._row(layer) for layer in self.layers],
        }

    def _row(self, layer: Layer) -> dict[str, Any]:
        row: dict[str, Any] = {
            "name": layer.name,
            "type": layer.type,
            **({"text": self.texts[layer.name]} if layer.name in self.texts else {}),
            "output": layer.output,
            "params": layer.params,
            "macs": layer.macs,
            "calls": layer.calls,
            "used": layer.used,
            "activation_bytes": layer.activation_bytes,
        }
        if self.fields is not None:
            seen = self.fields.get(layer.name)
            row["rf"] = _field(seen) if seen else None
        return row


def _field(seen: Field) -> dict[str, Any]:
    """Return sizes, strides and centres in pixels; null is the whole image."""
    return {
        "size": list(seen.size),
        "stride": [None if s is None else float(s) for s in seen.stride],
        "centre": list(seen.centre),
    }


def training_bytes(trace: Trace) -> dict[str, int]:
    """Return the memory of a training step: weights, gradients, activations, optimizer state."""
    sgd = trace.weight_bytes + trace.gradient_bytes + trace.activation_bytes
    return {
        "sgd": sgd,
        "sgd_momentum": sgd + trace.gradient_bytes,
        "adam": sgd + 2 * trace.gradient_bytes,
    }


def unused(layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers that neither ran nor lent their weights."""
    return [layer for layer in layers if not layer.used]


def rows(layers: Sequence[Layer], depth: int | None) -> list[Layer]:
    """Return what gets a line: leaves, and modules that have weights or compute by themselves.

    Modules below `depth` are folded into the one above them, with their figures.
    """
    if depth is None:
        return [one for one in layers if one.leaf or one.params or one.macs]
    kept: dict[str, Layer] = {}
    for layer in layers:
        parts = layer.name.split(".") if layer.name else []
        if len(parts) <= depth:
            kept[layer.name] = replace(layer, leaf=layer.leaf or len(parts) == depth)
    for layer in layers:
        parts = layer.name.split(".") if layer.name else []
        above = kept.get(".".join(parts[:depth]))
        if len(parts) > depth and above is not None:
            above.params += layer.params
            above.trainable += layer.trainable
            above.macs += layer.macs
            above.activation_bytes += layer.activation_bytes
            above.used = above.used or layer.used
    return [one for one in kept.values() if one.leaf or one.params or one.macs]


def study(
    *,
    model: str | None,
    layers: Sequence[str],
    inputs: Sequence[Input],
    batch: int | str = 1,
    train: bool = False,
    dtype: str | None = None,
    depth: int | None = None,
    field: bool = False,
    graph: Path | None = None,
    loss: str | None = None,
    targets: Sequence[Input] = (),
    choose_batch: bool = False,
) -> Report:
    """Run the model, or the chain of layers, dry; where it does not fit, find out why.

    Raises UsageError where the question makes no sense: an unknown model, a layer misspelt.
    """
    if model and layers:
        raise UsageError("give --model or layers, not both.")
    if targets and not loss:
        raise UsageError("--target is for a loss: add --loss CrossEntropyLoss.")
    if loss and not targets:
        raise UsageError("--loss compares with something: add --target 64:int64, say.")
    number = None if batch == "none" else int(batch)
    if choose_batch and targets and targets[0].shape:
        number = targets[0].shape[0]
    fed = tuple(one.batched(number) for one in inputs)
    report = Report(model, fed, "train" if train else "eval", number)
    if layers:
        make: Callable[[], nn.Module] = _chain(report, layers)
    else:
        assert model is not None
        make = _maker(model, inputs[0].shape if number is not None else inputs[0].shape[1:])
    question = _question(make, report, dtype, loss, targets)
    if report.failure is None:
        _answer(report, question)
    if report.trace is not None:
        _extras(report, question, field, graph)
    return report


def _question(
    make: Callable[[], nn.Module],
    report: Report,
    dtype: str | None,
    loss: str | None,
    targets: Sequence[Input],
) -> Question:
    import torch

    from ptools import models
    from ptools.tracing.study import Question

    return Question(
        make,
        report.inputs,
        train=report.mode == "train",
        dtype=getattr(torch, dtype) if dtype else None,
        loss=_loss(loss),
        targets=tuple(targets),
        own=report.model is not None and models.place(report.model) is not None,
        batch=report.batch,
    )


def _maker(model: str, shape: tuple[int, ...]) -> Callable[[], nn.Module]:
    from ptools import models

    def make() -> nn.Module:
        try:
            return models.build(model, shape=shape)
        except models.BuildError as error:  # the model's own exception is what is diagnosed
            assert error.__cause__ is not None
            raise error.__cause__ from None

    return make


def _chain(report: Report, texts: Sequence[str]) -> Callable[[], nn.Module]:
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
        report.failure = _unfit(layers, found)
    return lambda: build(layers, torch.get_default_device())


def _leaves(layers: Sequence[chains.Layer], above: str = "") -> Iterator[chains.Layer]:
    """Yield the layers inside nested Sequentials, with their dotted names."""
    for layer in layers:
        if layer.layers:
            yield from _leaves(layer.layers, f"{above}{layer.name}.")
        else:
            yield replace(layer, name=above + layer.name)


def _unfit(layers: Sequence[chains.Layer], found: filling.Repair) -> Failure:
    from ptools.tracing.repair.values import Failure, Fix

    fix = None
    if found.layers is not None:
        old, new = [x.text for x in layers], [x.text for x in found.layers]
        changed = [i for i, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]]
        if len(old) == len(new) and len(changed) == 1:
            old, new = [old[changed[0]]], [new[changed[0]]]
        fix = Fix(None, None, ", ".join(old), ", ".join(new), found.edits)
    return Failure(
        found.name, found.layer.kind, None, None, found.expected, found.got, found.cause,
        f"{found.name} ({found.layer.text}) cannot take its input", fix, verified=fix is not None,
    )  # fmt: skip


def _loss(text: str | None) -> Callable[[], nn.Module] | None:
    """Return what makes the loss: a class of torch.nn with literal arguments."""
    if text is None:
        return None
    from ptools.tracing import layers

    found = layers.parse(text if "(" in text else f"{text}()")
    if len(found) != 1 or not found[0].kind.endswith("Loss"):
        raise UsageError(
            f"--loss '{text}' is no loss of torch.nn: write CrossEntropyLoss, MSELoss."
        )
    return found[0].module


def _answer(report: Report, question: Question) -> None:
    from ptools.tracing.study import examine

    answer = examine(question)
    if isinstance(answer.error, PtoolsError):  # no such model: nothing to diagnose
        raise answer.error
    if answer.error is not None:
        _failed(report, question, answer)
        return
    report.trace = answer.trace


def _extras(report: Report, question: Question, field: bool, graph: Path | None) -> None:
    assert report.trace is not None
    idle = unused(report.trace.layers)
    if idle and not question.train:
        report.train_only = _train_only(question, {layer.name for layer in idle})
    if field:
        _fields(report, question)
    if graph is not None:
        _graph(report, question, graph)


def _failed(report: Report, question: Question, answer: Answer) -> None:
    import traceback

    from ptools.tracing.repair.diagnose import diagnose

    assert answer.error is not None
    report.traceback = "".join(traceback.format_exception(answer.words or answer.error)).rstrip()
    report.failure = diagnose(question, answer)


def _train_only(question: Question, idle: set[str]) -> tuple[str, ...]:
    """Return the outermost of the unused modules that do run in train mode: auxiliary heads."""
    from ptools.tracing.study import examine

    answer = examine(replace(question, train=True, own=False, loss=None), confirm=False)
    if answer.trace is None:
        return ()
    ran = [layer.name for layer in answer.trace.layers if layer.used and layer.name in idle]
    every = {layer.name for layer in answer.trace.layers}
    outer: dict[str, None] = {}
    for name in ran:
        parts = name.split(".")
        prefixes = (".".join(parts[: i + 1]) for i in range(len(parts)))
        outer[next(p for p in prefixes if p in idle or p not in every)] = None
    return tuple(outer)


def _fields(report: Report, question: Question) -> None:
    import torch

    from ptools.tracing.build import build
    from ptools.tracing.field import receptive_fields

    with question.world(), torch.device("meta"):
        model = build(question.make, question.dtype).model.train(question.train)
        found = receptive_fields(model, question.feed(model, "meta"))
    report.fields = found.layers
    report.not_followed = found.assumed


def _graph(report: Report, question: Question, logdir: Path) -> None:
    from ptools.tracing.build import build_real
    from ptools.tracing.graph import write_graph

    with question.world():
        model = build_real(question.make, question.dtype).train(question.train)
        report.graph = str(write_graph(model, question.feed(model, "cpu"), logdir))
