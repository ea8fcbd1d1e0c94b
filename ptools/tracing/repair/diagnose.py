"""From an Answer to a Failure: look again, say what is wrong, try repairs until the model runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from ptools.errors import PtoolsError, cause, one_line
from ptools.tracing.build import build
from ptools.tracing.repair import adapt, constructors, faults, figures, rules
from ptools.tracing.repair.adapt import Adapt
from ptools.tracing.repair.case import Candidate, Case
from ptools.tracing.repair.contracts import misfit
from ptools.tracing.repair.patience import Patience
from ptools.tracing.repair.sources import edited, exchange, new_statements, read
from ptools.tracing.repair.story import describe
from ptools.tracing.repair.values import Failure, Fault, Fix, said
from ptools.tracing.repair.witness import Crash, Sites, Witness, each_tensor, recording, user_sites
from ptools.tracing.study import Answer, Question, examine, output_of, weights

_MORE = 30  # candidates after the first that fits but is not clearly the best
_STEPS = 3  # faults in one model that are repaired one after the other


def diagnose(question: Question, answer: Answer, patience: float = 10.0) -> Failure:
    """Return what is wrong with a model that did not fit, with repairs that were run.

    Edits of the model are tried for `patience` seconds, changes of the data for half as long; what
    was found until then is told.
    """
    code_time, data_time = Patience(patience), Patience(patience / 2)
    case = look_again(question, answer)
    failure = describe(case, answer)
    data_first = adapt.is_at_fault(case)
    data = _adapted(question, case, data_time) if data_first else None
    code = None
    if not (data and _settled(case)):
        code = _edited(question, case, code_time, _STEPS)
    if data is None:
        data = _resized(question, case, data_time)
    if data is None and _from_input(case):
        data = _adapted(question, case, data_time)
    if code is None and data is not None:
        code = _grown(question, case, data[0], data_time)
    if code is not None and data is not None and not _keeps_batch(question, code[1]):
        code = None
    found: dict[str, Any] = {"data_first": data_first}
    if code is not None:
        found |= {"fix": code[0], "verified": True, "output": output_of(code[1])}
    if data is not None:
        found |= {"data_fix": data[0], "verified": True}
        if code is None or data_first:
            found["output"] = output_of(data[1])
    if code is None and data is None:
        found["gave_up"] = code_time.exhausted or data_time.exhausted
    return replace(failure, **found)


def undiagnosed(answer: Answer) -> Failure:
    """Return a failure of which no more is known than the exception."""
    assert answer.error is not None
    error = raw(answer.words or answer.error)
    text = one_line(cause(error), 160)
    sites = user_sites(error.__traceback__)
    file, line = (sites[0].file, sites[0].line) if sites else (None, None)
    return Failure("", "", file, line, "", "", text, f"the model fails: {text}", stage=answer.stage)


def _from_input(case: Case) -> bool:
    """Return whether the input itself did not suit; what fails deep inside is no matter of it."""
    if isinstance(case.crash.error, Fault):
        return True
    found = case.misfit
    return found is not None and case.is_input(found.tensor) is not None


def _settled(case: Case) -> bool:
    """Return whether an edit of the model would be wrong, though it may run."""
    found = case.misfit
    if isinstance(case.crash.error, Fault):
        return case.crash.error.kind != "label_range"
    if found is None or found.kind == "batch":
        return found is not None
    if found.kind == "value":
        return False
    x = found.tensor
    gray = x is not None and x.dim() == 4 and int(x.shape[1]) in (1, 3, 4) and found.want in (1, 3)
    return not (found.kind == "features" and gray)


def look_again(question: Question, answer: Answer) -> Case:
    """Build and run once more, remembering where everything came from."""
    sites: Sites = {}
    assert answer.error is not None
    with question.world():
        try:
            with recording(sites):
                model = _built(question, answer.device)
        except (Exception, SystemExit) as error:
            return _case_of_constructor(question, error, sites)
        model.train(question.train)
        with torch.device(answer.device):
            inputs = question.feed(model, answer.device)
            witness = Witness(model, inputs)
            try:
                with witness:
                    model(*inputs)
            except (Exception, SystemExit) as error:
                crash = witness.crash(error)
                if isinstance(answer.error, Fault):  # it says more than meta does
                    crash.error = answer.error
                if answer.words is not None and type(answer.words) is type(error):
                    crash.error = answer.words  # meta says it in words that nobody can search for
            else:
                sites_of = user_sites(answer.error.__traceback__)
                crash = Crash(answer.error, answer.stage, sites=sites_of, step=witness.steps)
    case = Case(crash, model, inputs, witness, sites, dict(question.texts))
    case.weights = weights(model)
    if crash.module is not None and crash.call is not None and crash.stage == "forward":
        case.misfit = misfit(crash.module, crash.call.args, crash.call.kwargs)
    return case


def _built(question: Question, device: str) -> torch.nn.Module:
    if device == "meta":
        return build(question.new, question.dtype).model
    torch.manual_seed(0)
    model = question.new()
    return model.to(question.dtype) if question.dtype else model


def _case_of_constructor(question: Question, error: BaseException, sites: Sites) -> Case:
    error = raw(error)
    found = user_sites(error.__traceback__)
    return Case(Crash(error, "ctor", sites=found), None, [], None, sites, dict(question.texts))


def raw(error: BaseException) -> BaseException:
    """Return the model's own exception behind one line of ptools."""
    while isinstance(error, PtoolsError) and error.__cause__ is not None:
        error = error.__cause__
    return error


# -- trying ----------------------------------------------------------------------------------------------


def _candidates(case: Case) -> Iterator[Candidate]:
    error = case.crash.error
    if isinstance(error, Fault):
        yield from faults.candidates(case, error)
        return
    if case.crash.stage == "forward" and case.misfit is not None:
        yield from rules.candidates(case)
        yield from constructors.candidates(case)
    else:
        yield from constructors.candidates(case)
        yield from rules.candidates(case)


def _edited(
    question: Question, case: Case, patience: Patience, steps: int
) -> tuple[Fix, Answer] | None:
    """Return the first edit after which everything runs; where none does, try to go on from some."""
    found, onward = _first(question, case, _candidates(case), patience)
    if found is not None or steps <= 1:
        return found
    return _further(onward, case, patience, steps)


def _first(
    question: Question, case: Case, candidates: Iterator[Candidate], patience: Patience
) -> tuple[tuple[Fix, Answer] | None, list[tuple[Question, Answer]]]:
    """Return the best candidate that repairs, and those that led to another failure.

    The first one is the best, unless it gives another number of rows, or changes more than one
    layer: then some more are tried, for one that changes less.
    """
    tried: set[tuple[str, str]] = set()
    onward: list[tuple[Question, Answer]] = []
    fitting: list[tuple[tuple[bool, int, int], tuple[Fix, Answer]]] = []
    left = _MORE
    for candidate in candidates:
        if left == 0 or patience.ends():
            break
        changed = _texts(question, case, candidate)
        if changed is None or changed in tried:
            continue
        tried.add(changed)
        file, text = changed
        attempt = replace(question, texts={file: text})
        with patience.trial():
            answer = examine(attempt, confirm=False)
        if answer.fits and answer.trace is not None:
            aside = max(0, _changes(case, answer) - len(candidate.edits))  # layers not meant
            cost = (not _keeps_batch(question, answer), aside, len(fitting))
            fitting.append((cost, (_fix(file, text), answer)))
            if cost[:2] == (False, 0):
                break
        elif len(onward) < 6 and _moved(case, answer):
            onward.append((attempt, answer))
        left -= bool(fitting)
    best = min(fitting, key=lambda one: one[0])[1] if fitting else None
    return best, onward


def _changes(case: Case, answer: Answer) -> int:
    """Return how many layers have other weights than before; those that are new do not count."""
    return sum((case.weights - answer.weights).values())


def _keeps_batch(question: Question, answer: Answer) -> bool:
    """Return whether as many rows come out as went in; a repair that loses some is a poor one."""
    out = next(each_tensor(answer.output), None)
    batch = question.inputs[0].shape[:1] if question.inputs else ()
    return out is None or not batch or tuple(out.shape[:1]) == tuple(batch)


def _moved(case: Case, answer: Answer) -> bool:
    """Return whether an edit led to another failure, of which more can be said."""
    error = raw(answer.error) if answer.error is not None else None
    if error is None or answer.stage == "ctor":
        return False
    return said(error) != said(case.crash.error)


def _further(
    attempts: list[tuple[Question, Answer]], case: Case, patience: Patience, steps: int
) -> tuple[Fix, Answer] | None:
    """A model may have several faults: after an edit it may stop later, and be repaired there."""
    for attempt, answer in attempts:
        if patience.ends():
            return None
        with patience.trial():
            next_case = look_again(attempt, answer)
        stage = _stage(next_case) - _stage(case)
        later = stage > 0 or (stage == 0 and next_case.crash.step > case.crash.step)
        if not later and not (stage < 0 and next_case.misfit is not None):
            continue
        if (found := _edited(attempt, next_case, patience, steps - 1)) is not None:
            return found
    return None


def _stage(case: Case) -> int:
    return ("ctor", "forward", "silent", "loss").index(case.crash.stage)


def _texts(question: Question, case: Case, candidate: Candidate) -> tuple[str, str] | None:
    """Return (file, its new text), or None where the edits make no Python.

    A repair is told as one piece of text: edits in a second file are none.
    """
    files = {edit.file for edit in candidate.edits} | set(question.texts)
    if len(files) != 1:
        return None
    file = files.pop()
    before = case.source(file).text
    try:
        text = edited(before, candidate.edits)
        compile(text, file, "exec", dont_inherit=True)
    except (ValueError, SyntaxError):
        return None
    return (file, text) if text != before else None


def _fix(file: str, text: str) -> Fix:
    before = read(file)
    old, new, line = exchange(before, text)
    return Fix(file, line, old, new, new_statements(before, text))


def _adapted(question: Question, case: Case, patience: Patience) -> tuple[str, Answer] | None:
    error = case.crash.error
    if isinstance(error, Fault):
        return _tried(question, adapt.targets(error), patience)
    return _tried(question, adapt.adaptations(case), patience)


def _resized(question: Question, case: Case, patience: Patience) -> tuple[str, Answer] | None:
    """Try other image sizes, where the failure is a matter of size."""
    if case.crash.stage != "forward" or not _sized(case):
        return None
    found = _tried(question, adapt.resized(case), patience)
    if found is None or case.misfit is None or case.misfit.kind != "features":
        return found
    return f"{found[0]} (gives {case.misfit.want})", found[1]


def _grown(
    question: Question, case: Case, text: str, patience: Patience
) -> tuple[Fix, Answer] | None:
    """The model fits images of 32x32: a 32 in the source, image_size=32, may become today's size."""
    match = re.search(r"resize the input to (\d+)x(\d+)", text)
    if (
        match is None
        or match[1] != match[2]
        or case.inputs[0].shape[-1] != case.inputs[0].shape[-2]
    ):
        return None
    found = figures.replaced(case, int(match[1]), int(case.inputs[0].shape[-1]))
    return _first(question, case, found, patience)[0]


def _sized(case: Case) -> bool:
    found = case.misfit
    if found is None:
        return case.crash.function is not None or isinstance(case.crash.error, AssertionError)
    if found.kind == "features":
        return isinstance(case.crash.module, torch.nn.Linear)
    return found.kind in ("small", "value", "shape")


def _tried(
    question: Question, changes: Iterator[Adapt], patience: Patience
) -> tuple[str, Answer] | None:
    """Return the first change of the data with which everything runs."""
    for change in changes:
        if patience.ends():
            return None
        if change.target:
            attempt = replace(question, adapt_targets=(*question.adapt_targets, change.apply))
        else:
            attempt = replace(question, adapt=(*question.adapt, change.apply))
        try:
            with patience.trial():
                answer = examine(attempt, confirm=False)
        except Exception:  # the change does not suit this tensor
            continue
        if answer.fits and answer.trace is not None:
            return change.text, answer
    return None
