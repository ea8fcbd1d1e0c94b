"""The result as one JSON document."""

from __future__ import annotations

from typing import Any

from ptools_plugins.regress.scan import Scan
from ptools_plugins.regress.work import Compared, Descent, Prepared, Study, in_your_units

__all__ = ["document"]


def document(study: Study, scan: Scan | None, compared: list[Compared]) -> dict[str, Any]:
    """Return everything; nan and inf are null, `became` says which."""
    prepared = study.prepared
    points, settings = prepared.points, prepared.settings
    found: dict[str, Any] = {
        "model": prepared.problem.model.text,
        "formula": prepared.problem.model.formula(points.columns, points.target),
        "points": points.size,
        "columns": points.columns,
        "target": points.target,
        "source": points.source,
        "how": settings.how,
        "dtype": settings.dtype,
        "parameters": prepared.names,
        "curvature": prepared.curve._asdict() if prepared.quadratic and prepared.curve else None,
        "condition_standardized": prepared.rounder,
        "descents": [_descent(descent, prepared) for descent in study.descents],
        "closed_form": None if study.closed is None else _list(study.closed),
    }
    if scan is not None:
        found["scan"] = {
            "w": _list(scan.w),
            "b": None if scan.b is None else _list(scan.b),
            "loss": scan.loss.tolist(),
            "best": {"w": scan.best_w, "b": scan.best_b, "loss": scan.least},
        }
    if compared:
        found["compared"] = [
            {
                "label": one.plan.label,
                "largest_difference": one.worst,
                "differences": one.differences,
                "losses": one.losses,
            }
            for one in compared
        ]
    return found


def _descent(descent: Descent, prepared: Prepared) -> dict[str, Any]:
    plan, path = descent.plan, descent.path
    limits = plan.limits
    return {
        "label": plan.label,
        "optimizer": plan.recipe.optimizer,
        "loss": plan.recipe.loss,
        "lr": plan.recipe.lr,
        "batch": plan.recipe.batch,
        "epochs": plan.recipe.epochs,
        "critical_lr": limits and limits.critical_lr,
        "best_lr": limits and limits.best_lr,
        "rate": limits and limits.rate,
        "predicted_step": plan.blow_up,
        "diverged_step": path.ended,
        "became": path.became or None,
        "failure": descent.failure,
        "steps": len(path.thetas) - 1,
        "result": _list(descent.theta),
        "in_your_units": _list(in_your_units(prepared, descent.theta)),
        "final_loss": descent.losses[-1],
        "losses": descent.losses,
        "thetas": path.epochs.tolist(),
    }


def _list(values: Any) -> list[float]:
    return [float(value) for value in values]
