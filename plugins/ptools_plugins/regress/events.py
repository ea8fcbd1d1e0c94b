"""Scalars for TensorBoard: the loss of every epoch, and theta where its numbers have names."""

from __future__ import annotations

import re
from pathlib import Path

from ptools.files import claim_next
from ptools_plugins.regress.work import Study

__all__ = ["write"]

_NAMED = 16  # numbers of theta at most


def write(study: Study, logdir: Path) -> Path:
    """Write an event file per descent, each in a folder of its own in `logdir`; return `logdir`.

    Raises FileError where the disk says no.
    """
    from ptools.training.events import EventFile

    names = study.prepared.names[:_NAMED]
    for descent in study.descents:
        label = re.sub(r"[^\w.]+", "-", descent.plan.label)
        events = EventFile(claim_next(logdir, label))
        for epoch, (loss, theta) in enumerate(
            zip(descent.losses, descent.path.epochs, strict=True)
        ):
            values = {"loss": loss}
            values |= {f"theta/{name}": float(theta[at]) for at, name in enumerate(names)}
            events.scalars(epoch, values)
        events.close()
    return logdir
