"""Does this model take this input, and what comes out? The question behind `ptools shapes`.

1. It is built and run on meta: shapes, parameters, MACs, without memory.
2. Where meta stops because a decision needs values, a real run with zero weights takes its place.
3. A model of the user's own that is small is run once more with real values: data types, devices and
   token ids show only there.
4. The loss, where one is given; and what raises no exception but is wrong all the same.
"""

from __future__ import annotations

import gc
import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from ptools.errors import one_line
from ptools.tracing.build import build, build_real
from ptools.tracing.inputs import Input, tensors
from ptools.tracing.lazy import without_dynamo
from ptools.tracing.trace import Trace, dry_run, shapes_of

_REAL_BYTES = 256 * 2**20  # weights and activations of a run with real values ...
_REAL_MACS = 2_000_000_000  # ... and what it computes: about a tenth of a second
_ZERO_BYTES = 4 * 2**30  # weights of a run that takes the place of meta

Adapt = Callable[[list[torch.Tensor]], list[torch.Tensor]]


@dataclass(frozen=True)
class Question:
    """A model to be made, and how it is to be called."""

    make: Callable[[], nn.Module]
    inputs: tuple[Input, ...]
    remake: Callable[[], nn.Module] | None = None  # imports the model anew, for edited files
    train: bool = False
    dtype: torch.dtype | None = None  # of weights and inputs; None: as they are built
    loss: Callable[[], nn.Module] | None = None
    targets: tuple[Input, ...] = ()
    own: bool = True  # the user's code, of which nothing is known; False: of a library that works
    batch: int | None = None  # of the inputs' first dimension, where that is known to be one
    texts: Mapping[str, str] = field(default_factory=dict)  # files to be read as if they held this
    adapt: tuple[Adapt, ...] = ()  # done to the inputs, in this order
    adapt_targets: tuple[Adapt, ...] = ()

    def new(self) -> nn.Module:
        """Return the model, of the edited files where there are any."""
        return self.remake() if self.texts and self.remake else self.make()

    def feed(self, model: nn.Module, device: str) -> list[torch.Tensor]:
        """Return the tensors to call `model` with."""
        random.seed(0)
        torch.manual_seed(0)  # the same dice for every run of a model that throws some
        place = home(model) if device == "cpu" else device
        found = tensors(self.inputs, place, self.dtype or float_type(model))
        for change in self.adapt:
            found = change(found)
        return found

    def aims(self, device: str) -> list[torch.Tensor]:
        """Return what the loss compares the output with."""
        found = tensors(self.targets, device, self.dtype or torch.float32, unit=True)
        for change in self.adapt_targets:
            found = change(found)
        return found

    @contextmanager
    def world(self) -> Iterator[None]:
        """The circumstances of a run: the edited files, no warnings, the same random numbers."""
        from ptools.tracing.repair.sources import rewritten

        dice = random.getstate()
        with ExitStack() as exits:
            exits.callback(random.setstate, dice)
            gc.freeze()  # torch's own objects: to look through them costs as much as a dry run
            exits.callback(gc.unfreeze)
            exits.enter_context(without_dynamo())
            exits.enter_context(warnings.catch_warnings())
            exits.enter_context(torch.random.fork_rng(devices=[]))
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            if self.texts:
                exits.enter_context(rewritten(dict(self.texts)))
            yield


@dataclass(frozen=True)
class Answer:
    """A trace, or the error and where it was raised: ctor, forward, loss, silent."""

    trace: Trace | None = None
    error: BaseException | None = None
    stage: str = ""
    device: str = "meta"  # where that was seen
    output: Any = None
    weights: Counter[str] = field(default_factory=Counter)  # of edited files: see `weights`
    words: BaseException | None = None  # the same failure as a CPU words it, where that was tried

    @property
    def fits(self) -> bool:
        return self.error is None


def weights(model: nn.Module) -> Counter[str]:
    """Return the shapes of the weights of every layer that has some, and how many layers have them."""
    held = ([tuple(p.shape) for p in m.parameters(recurse=False) if not nn.parameter.is_lazy(p)]
            for m in model.modules())  # fmt: skip
    return Counter(str(shapes) for shapes in held if shapes)


def home(model: nn.Module) -> str:
    """Return the device of a model that puts itself on one, cuda if there is any; else the CPU."""
    places = {str(p.device) for p in model.parameters()}
    place = places.pop() if len(places) == 1 else "cpu"
    return "cpu" if place == "meta" else place


def float_type(model: nn.Module) -> torch.dtype:
    """Return the data type that all floating parameters share; float32 where they differ."""
    kinds = {p.dtype for p in model.parameters() if p.dtype.is_floating_point}
    return kinds.pop() if len(kinds) == 1 else torch.float32


def examine(question: Question, *, confirm: bool = True) -> Answer:
    """Run the model and say what came of it. `confirm`: a failure on meta is tried with values too."""
    with question.world():
        try:
            built = build(question.new, question.dtype)
        except (Exception, SystemExit) as error:
            return Answer(error=error, stage="ctor", device="cpu")
        answer = _on_meta(question, built.model)
        if answer.error is not None and (confirm or needs_values(answer.error)):
            answer = _with_values(question, built.model, answer)
        if answer.trace is not None and question.own and is_small(answer.trace):
            answer = _for_real(question, answer)
        if answer.fits:
            answer = _afterwards(question, built.model, answer)
        if answer.fits and question.texts:
            answer = replace(answer, weights=weights(built.model))
    return answer


def _on_meta(question: Question, model: nn.Module) -> Answer:
    model.train(question.train)
    try:
        with torch.device("meta"):
            inputs = question.feed(model, "meta")
            trace, output = dry_run(model, inputs)
    except (Exception, SystemExit) as error:
        return Answer(error=error, stage="forward")
    return Answer(trace, output=output)


def _with_values(question: Question, model: nn.Module, before: Answer) -> Answer:
    """Run with zero weights: some models decide by their data, and meta has none."""
    assert before.error is not None
    held = [p for p in model.parameters() if not nn.parameter.is_lazy(p)]
    size = sum(p.numel() * p.element_size() for p in held)
    if size > _ZERO_BYTES:
        return replace(before, error=_too_large(size)) if needs_values(before.error) else before
    try:
        model = build_real(question.new, question.dtype).train(question.train)
        inputs = question.feed(model, "cpu")
        if not needs_values(before.error):
            model(*inputs)  # fails as well, most likely, and in words that people can search for
        trace, output = dry_run(model, inputs)
    except (Exception, SystemExit) as error:
        if needs_values(before.error):
            return Answer(error=error, stage="forward", device="cpu")
        return replace(before, words=error)
    return Answer(replace(trace, data_dependent=True), device="cpu", output=output)


def _too_large(size: int) -> BaseException:
    from ptools.tracing.repair.values import Fault

    return Fault(
        "large", "", f"decides by its data, and {size / 2**30:.1f} GiB of weights are too many to run it",
        "operations that need no values: no .item(), .tolist(), nonzero() or `if tensor`",
        "a decision by the values of a tensor",
    )  # fmt: skip


def _for_real(question: Question, before: Answer) -> Answer:
    """Build as the user would and run on the CPU: values, data types and devices count."""
    error: BaseException | None = None
    for grad in (True, False) if not question.train else (True,):
        try:
            with torch.set_grad_enabled(grad):
                torch.manual_seed(0)
                model = question.new()
                model = model.to(question.dtype) if question.dtype else model
                output = model.train(question.train)(*question.feed(model, "cpu"))
            return replace(before, output=output, device="cpu")
        except (Exception, SystemExit) as problem:
            # without gradients it may do: weights changed in place
            error = error or problem
    if error is not None and "not implemented for" in one_line(error):
        return before  # this CPU cannot compute in that data type: no fault of the model
    return Answer(error=error, stage="forward", device="cpu")


def _afterwards(question: Question, model: nn.Module, answer: Answer) -> Answer:
    from ptools.tracing.repair import loss, silent

    error: BaseException | None = silent.look(question, model, answer)
    if error is None and question.loss is not None:
        error = loss.look(question, answer)
        if error is not None:
            return replace(answer, error=error, stage="loss")
    return answer if error is None else replace(answer, error=error, stage="silent")


def needs_values(error: BaseException) -> bool:
    """Return whether an error says that meta tensors have no values."""
    text = one_line(error, 10_000).lower()
    if 'required "forward" function' in text:
        return False
    return isinstance(error, NotImplementedError) or "meta" in text or "data-dependent" in text


def is_small(trace: Trace) -> bool:
    """Return whether a run with real values costs next to nothing."""
    return trace.weight_bytes + trace.activation_bytes <= _REAL_BYTES and trace.macs <= _REAL_MACS


def output_of(answer: Answer) -> Any:
    """Return the shapes of what the model returned."""
    return shapes_of(answer.output)
