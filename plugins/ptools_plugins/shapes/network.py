"""A model or a chain of layers: run dry, or diagnosed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from ptools.errors import PtoolsError, UsageError
from ptools_plugins.shapes.chain import chain
from ptools_plugins.shapes.report import Report, unused

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from ptools.tracing.inputs import Input
    from ptools.tracing.study import Answer, Question


def study(
    *,
    model: str | None,
    layers: Sequence[str],
    inputs: Sequence[Input],
    batch: int | str = 1,
    train: bool = False,
    dtype: str | None = None,
    field: bool = False,
    graph: Path | None = None,
    loss: str | None = None,
    targets: Sequence[Input] = (),
    choose_batch: bool = False,
    patience: float = 10.0,
) -> Report:
    """Run the model, or the chain of layers, dry; where it does not fit, find out why.

    `patience`: seconds for trying repairs.

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
    with _imports():
        if layers:
            make: Callable[[], nn.Module] = chain(report, layers)
        else:
            assert model is not None
            shape = inputs[0].shape if number is not None else inputs[0].shape[1:]
            make = _maker(model, shape, anew=False)
        question = _question(make, report, dtype, loss, targets)
    if model:
        question = replace(question, remake=_maker(model, shape, anew=True))
    if report.failure is None:
        _answer(report, question, patience)
    if report.trace is not None:
        _extras(report, question, field, graph)
    return report


@contextmanager
def _imports() -> Iterator[None]:
    """torch makes a million objects, none of them garbage: do not search them while it is imported."""
    import gc

    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


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


def _maker(model: str, shape: tuple[int, ...], *, anew: bool) -> Callable[[], nn.Module]:
    """Return what builds the model; `anew`: from its file as that is then."""
    from ptools import models

    prepared = None if anew else models.prepare(model, shape=shape)

    def make() -> nn.Module:
        try:
            return prepared() if prepared else models.build(model, shape=shape)
        except models.BuildError as error:  # the model's own exception is what is diagnosed
            assert error.__cause__ is not None
            raise error.__cause__ from None

    return make


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


def _answer(report: Report, question: Question, patience: float) -> None:
    from ptools.tracing.study import examine

    answer = examine(question)
    if isinstance(answer.error, PtoolsError):  # no such model: nothing to diagnose
        raise answer.error
    if answer.error is not None:
        _failed(report, question, answer, patience)
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


def _failed(report: Report, question: Question, answer: Answer, patience: float) -> None:
    import traceback

    from ptools.tracing.repair.diagnose import diagnose, undiagnosed

    assert answer.error is not None
    report.traceback = "".join(traceback.format_exception(answer.words or answer.error)).rstrip()
    try:
        report.failure = diagnose(question, answer, patience)
    except Exception as problem:  # somebody's model is odder than we thought: say what it said
        report.traceback += "\n" + "".join(traceback.format_exception(problem)).rstrip()
        report.failure = undiagnosed(answer)


def _train_only(question: Question, idle: set[str]) -> tuple[str, ...]:
    """Return the outermost of the unused modules that do run in train mode: auxiliary heads."""
    from ptools.tracing.study import examine

    inputs = question.inputs
    if question.batch == 1:  # batch normalisation refuses a batch of one in train mode
        inputs = tuple(one._replace(shape=(2, *one.shape[1:])) for one in inputs)
    trained = replace(question, inputs=inputs, train=True, own=False, loss=None)
    answer = examine(trained, confirm=False)
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
