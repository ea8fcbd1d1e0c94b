"""What a person reads: what is known beforehand, the table of epochs, the result beside the closed form."""

from __future__ import annotations

import math
from typing import Any

from ptools import output
from ptools_plugins.regress.descent import full_gradient, full_losses
from ptools_plugins.regress.scan import Scan
from ptools_plugins.regress.work import (
    TOLERANCE,
    Compared,
    Descent,
    Plan,
    Prepared,
    Study,
    in_your_units,
)

__all__ = ["before", "compared", "epochs", "results", "scanned"]

_ROWS = 20  # of a table of epochs without --every, about
_FIRST = 5  # epochs that are shown whatever --every says not
_WIDE = 5  # numbers of theta that have columns of their own
_COLUMNS = 80


def before(prepared: Prepared) -> None:
    """Print the model, its curvature, and a line for every descent, before the first step."""
    points, settings, curve = prepared.points, prepared.settings, prepared.curve
    formula = prepared.problem.model.formula(points.columns, points.target)
    losses, how = ", ".join(settings.losses), settings.how
    count = f"{points.size:,} point" + ("s" if points.size > 1 else "")
    output.paragraph(f"{formula}   ({count}, {losses}, {settings.dtype}, {how})")
    if prepared.quadratic and curve is not None:
        _curvature(prepared)
    elif curve is None:
        output.result("A network's loss is not quadratic: it has no critical learning rate.")
    else:
        output.result(f"{losses} is not quadratic: it has no critical learning rate.")
    if len(prepared.plans) == 1:
        _single(prepared.plans[0], prepared)
    else:
        _table(prepared)
    output.result()


def _single(plan: Plan, prepared: Prepared) -> None:
    """Print how the only descent goes down, its own limits where they are not the above, a warning."""
    recipe = plan.recipe
    full = recipe.batch >= prepared.points.size
    size = "all points at once" if full else f"{recipe.batch} points a step"
    if recipe.batch == 1:
        size = "1 point a step"
    epochs = f"{recipe.epochs:,} epoch" + ("s" if recipe.epochs > 1 else "")
    output.result(f"{plan.label}: lr {_lr(plan)}, {size}, {epochs}")
    if plan.limits and not (full and recipe.optimizer == "sgd"):
        best = f", best {_g(plan.limits.best_lr)}" if plan.limits.best_lr else ""
        output.result(f"  for these steps: critical lr {_g(plan.limits.critical_lr)}{best}")
    if plan.limits is None and prepared.quadratic and recipe.optimizer in ("sgd", "momentum"):
        output.result("  for these steps no critical lr is computed: they are too many")
    if plan.limits and plan.limits.diverges:
        output.result(f"  {_warning(plan, prepared)}")


def _table(prepared: Prepared) -> None:
    """Print a row per descent; what adapts its steps has no critical learning rate."""
    heads = ["descent", "lr", "critical lr", "best lr", "loss inf at step"]
    rows = []
    for plan in prepared.plans:
        known = plan.limits
        rows.append([
            plan.label,
            _lr(plan),
            _g(known.critical_lr) if known else "-",
            _g(known.best_lr) if known and known.best_lr else "-",
            f"{plan.blow_up:,}" if plan.blow_up else "never" if known else "-",
        ])  # fmt: skip
    output.result()
    output.table(heads, rows, right=heads[2:])


def _lr(plan: Plan) -> str:
    return _g(plan.recipe.lr) + (f" ({plan.chosen})" if plan.chosen else "")


def _curvature(prepared: Prepared) -> None:
    curve = prepared.curve
    assert curve is not None
    condition = "inf" if math.isinf(curve.condition) else f"{curve.condition:.4g}"
    output.result(
        f"Hessian: eigenvalues {_g(curve.lambda_min)} to {_g(curve.lambda_max)},"
        f" condition number {condition}"
    )
    if math.isinf(curve.condition):
        output.result("Columns depend on each other: some direction does not change the loss.")
    if prepared.rounder is not None:
        output.result(
            f"A long valley: with --standardize the condition number is {prepared.rounder:.4g}."
        )
    output.result(f"critical lr {_g(curve.critical_lr)} = 2/lambda_max")
    output.result(f"best lr     {_g(curve.best_lr)} = 2/(lambda_min + lambda_max)")


def _warning(plan: Plan, prepared: Prepared) -> str:
    if plan.blow_up is None:
        return "this lr is above the critical one: the loss will grow"
    steps = plan.recipe.epochs * -(-prepared.points.size // plan.recipe.batch)
    later = f", later than the {steps:,} asked for" if plan.blow_up > steps else ""
    return f"too large: the loss will be inf at step {plan.blow_up:,}{later}"


def chosen(count: int, every: int | None) -> list[int]:
    """Return the places, of 0 to count - 1, that a table shows: the first few, some, the last."""
    if every is None:
        some = _round((count - 1) / _ROWS)
        places = {*range(0, count, some), *range(min(count, _FIRST + 1))}
    else:
        places = set(range(0, count, every))
    return sorted({*places, count - 1})


def _round(value: float) -> int:
    """Return the next round number: 1, 2, 5, 10, 20, 50, ..."""
    power = 10 ** max(0, math.floor(math.log10(max(value, 1))))
    return int(next(f * power for f in (1, 2, 5, 10) if f * power >= value))


def epochs(study: Study, *, every: int | None) -> None:
    """Print the descent epoch by epoch: theta, gradient and loss, or the losses of several."""
    if len(study.descents) == 1:
        heads, rows = _one(study, every)
    else:
        heads, rows = _several(study, every)
    output.table(heads, rows, right=heads)
    shown = len(rows)
    most = max(len(descent.losses) for descent in study.descents)
    if every is None and shown < most:
        output.note(f"{shown} of {most:,} rows; --every 1 shows all.")
    output.result()


def _one(study: Study, every: int | None) -> tuple[list[str], list[list[str]]]:
    descent, names = study.descents[0], study.prepared.names
    thetas, rows = descent.path.epochs, []
    wide = 0 < len(names) <= _WIDE
    slopes = names if len(names) <= 2 else []
    for place in chosen(len(descent.losses), every):
        theta = thetas[place]
        gradient = full_gradient(study.prepared.problem, descent.plan.recipe, theta)
        norm = math.hypot(*map(float, gradient))
        row = [_epoch(descent, place)]
        row += [_g(value) for value in theta] if wide else []
        row += [_g(value) for value in gradient] if slopes else [_g(norm)]
        rows.append([*row, _g(descent.losses[place])])
    heads = ["epoch", *(names if wide else [])]
    heads += [f"dL/d{name}" for name in slopes] if slopes else ["|gradient|"]
    return [*heads, "loss"], rows


def _epoch(descent: Descent, place: int) -> str:
    """Return the epoch's number; a descent that broke off within one has the step instead."""
    path = descent.path
    if place * path.per_epoch < len(path.thetas):
        return str(place)
    return f"step {len(path.thetas) - 1}"


def _several(study: Study, every: int | None) -> tuple[list[str], list[list[str]]]:
    """Return a column of losses for every descent."""
    most = max(len(descent.losses) for descent in study.descents)
    rows = []
    for place in chosen(most, every):
        losses = [
            _g(descent.losses[place]) if place < len(descent.losses) else ""
            for descent in study.descents
        ]
        rows.append([str(place), *losses])
    heads = ["epoch", *(descent.plan.label for descent in study.descents)]
    if sum(max(10, len(head)) + 3 for head in heads) > _COLUMNS:
        letters = [chr(ord("a") + place) for place in range(len(study.descents))]
        for letter, descent in zip(letters, study.descents, strict=True):
            output.result(f"{letter}  {descent.plan.label}")
        output.result()
        heads = ["epoch", *letters]
    return heads, rows


def results(study: Study) -> None:
    """Print where every descent ended, and the closed form beside them."""
    prepared, names = study.prepared, study.prepared.names
    ways = [(descent.plan.label, descent.theta, descent.losses[-1]) for descent in study.descents]
    if study.closed is not None:
        recipe = study.descents[0].plan.recipe
        problem = prepared.problem._replace(
            phi=prepared.problem.phi.astype("float64"), y=prepared.problem.y.astype("float64")
        )
        one = len(prepared.settings.losses) == 1
        loss = full_losses(problem, recipe, [study.closed])[0] if one else math.nan
        ways.append(("least squares, closed form", study.closed, loss))
    losses = ["-" if math.isnan(w[2]) and w[1] is study.closed else _g(w[2]) for w in ways]
    if len(names) <= _WIDE:
        heads = ["", *names, "loss"]
        rows = [
            [label, *(_g(v) for v in (theta if names else [])), loss]
            for (label, theta, _), loss in zip(ways, losses, strict=True)
        ]
    else:
        heads = ["", *(label.replace("least squares, ", "") for label, _, _ in ways)]
        rows = [[name, *(_g(w[1][place]) for w in ways)] for place, name in enumerate(names)]
        rows.append(["loss", *losses])
    output.table(heads, rows, right=heads[1:])
    if prepared.scale is not None and names:
        _unscaled(study)
    for descent in study.descents:
        if descent.failure is None and descent.losses[-1] > descent.losses[0]:
            output.note(
                f"{descent.plan.label}: the loss ended above its start;"
                f" a smaller --lr than {_g(descent.plan.recipe.lr)} may go down."
            )


def _unscaled(study: Study) -> None:
    """Print the results of --standardize for the columns as they were."""
    prepared = study.prepared
    output.result()
    output.result("In your units:")
    for descent in study.descents:
        theta = in_your_units(prepared, descent.theta)
        pairs = zip(prepared.names, theta, strict=True)
        text = "  ".join(f"{name} = {_g(value)}" for name, value in pairs)
        output.paragraph(f"{descent.plan.label}  {text}")


def compared(found: list[Compared], study: Study, *, every: int | None) -> None:
    """Print the three ways side by side, and how far apart they ever are."""
    names = study.prepared.names
    value = names[0] if names else "loss"
    heads = ["epoch", *(f"{value} {how}" for how in found[0].paths), "apart"]
    for one in found:
        if len(found) > 1:
            output.result(f"{one.plan.label}:")
        counts = [len(path.epochs) for path in one.paths.values()]
        per_epoch, rows = one.paths["manual"].per_epoch, []
        for place in chosen(min(counts), every):
            shown = [
                f"{float(path.epochs[place][0]) if names else one.losses[how][place]:.10g}"
                for how, path in one.paths.items()
            ]
            until = one.differences[max(0, (place - 1) * per_epoch + 1) : place * per_epoch + 1]
            rows.append([str(place), *shown, f"{max(until, default=0.0):.1e}"])
        output.table(heads, rows, right=heads)
        output.result()
        _verdict(one, study)
    output.result()


def _verdict(one: Compared, study: Study) -> None:
    allowed = TOLERANCE[study.prepared.settings.dtype]
    steps = len(one.differences) - 1
    what = ", ".join(study.prepared.names[:6]) or "all weights"
    equal = "equal" if one.worst <= allowed else "NOT equal"
    output.paragraph(
        f"{equal} to {allowed:g} at each of {steps:,} steps: {what} are at most"
        f" {one.worst:.1e} apart"
    )


def scanned(found: Scan, study: Study) -> None:
    """Print what brute force found, and the loss over w."""
    output.result()
    tried = f"{len(found.w)} values of w"
    where = f"w = {_g(found.best_w)}"
    if found.b is not None and found.best_b is not None:
        tried = f"{len(found.w)} x {len(found.b)} pairs (w, b)"
        where += f", b = {_g(found.best_b)}"
    output.result(f"Brute force, {tried}: the least loss is {_g(found.least)} at {where}.")
    output.result()
    curve, best = found.curve, int(found.curve.argmin())
    step = max(1, len(curve) // 12)
    top = float(curve.max()) or 1.0
    rows = []
    for place in sorted({*range(best % step, len(curve), step)}):
        bar = "#" * round(30 * math.sqrt(float(curve[place]) / top))
        rows.append([_g(found.w[place]), _g(curve[place]), bar])
    head = "loss" if found.b is None else f"loss at b = {_g(found.best_b)}"
    output.table(["w", head, "its root"], rows, right=["w", head])


def _g(value: Any) -> str:
    """Return a number in five digits at most; rounding errors of zero are zero."""
    number = float(value)
    return "0" if abs(number) < 1e-12 else f"{number:.5g}"
