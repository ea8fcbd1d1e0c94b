"""What came of a training: a value for people and for --json.

Run             what it measured, and where it left it
outcome(...)    the Run of a training that has come to its end, or was interrupted
finished(...)   the Run of a folder in which nothing is left to do
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptools.training import folder as run_folder
from ptools.training.history import Epoch, ended

if TYPE_CHECKING:
    from ptools.training.loop import Training
    from ptools.training.scoring import Measured
    from ptools.training.session import Session

__all__ = ["Run", "finished", "outcome"]


@dataclass(frozen=True)
class Run:
    """What a training run measured and where it left it.

    `accuracy`, 0..1, and `loss` are those of the kept weights on the images called `measured_on`: test, or
    val where there are no test images; `test_accuracy` is None there.
    """

    folder: str
    data: str
    model: str
    parameters: int
    epochs: list[Epoch]
    best_epoch: int | None
    test_loss: float | None
    test_accuracy: float | None
    test_images: int
    interrupted: bool = False
    measured_on: str | None = None
    accuracy: float | None = None
    loss: float | None = None
    images: int = 0  # that were measured on
    seconds: float = 0.0
    best: str | None = None
    already: bool = False  # it was finished before: nothing was trained
    ended: str | None = None  # "patience", "time": why there are fewer epochs than wanted
    per_class: list[dict[str, Any]] = field(default_factory=list)
    confusion: list[list[int]] | None = None

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"run": self.folder, **asdict(self)}


def outcome(
    session: Session,
    found: Training,
    folder: Path,
    measured: tuple[str, Measured] | None,
    *,
    interrupted: bool,
) -> Run:
    """Return what a training of `session` came to; `measured` says on which images, and what."""
    on, scores = measured or (None, None)
    test, images = scores if on == "test" else None, session.images
    return Run(
        folder=str(folder),
        data=images.name,
        model=session.model,
        parameters=sum(p.numel() for p in session.net.parameters()),
        epochs=found.history,
        best_epoch=found.best_epoch,
        test_loss=test.loss if test else None,
        test_accuracy=test.accuracy if test else None,
        test_images=len(images.test) if images.test is not None else 0,
        interrupted=interrupted,
        measured_on=on,
        accuracy=scores.accuracy if scores else None,
        loss=scores.loss if scores else None,
        images=scores.images if scores else 0,
        seconds=found.seconds,
        best=str(folder / "best.pth") if found.history else None,
        ended=found.ended,
        per_class=scores.per_class(images.classes) if scores else [],
        confusion=scores.confusion if scores else None,
    )


def finished(folder: Path, session: Session) -> Run | None:
    """Return what a run that is finished measured; None where there is something left to do."""
    found = session.resumed
    assert found is not None
    path = folder / "metrics.json"
    metrics = run_folder.read(folder, "metrics.json") if path.is_file() else {}
    why = ended(found, session.settings)
    if (found["epoch"] <= session.settings.epochs and not why) or "measured_on" not in metrics:
        return None
    on = metrics["measured_on"]
    test = session.images.test
    return Run(
        folder=str(folder),
        data=session.images.name,
        model=session.model,
        parameters=sum(p.numel() for p in session.net.parameters()),
        epochs=[Epoch(**epoch) for epoch in metrics["epochs"]],
        best_epoch=metrics["best_epoch"],
        test_loss=metrics.get("test_loss"),
        test_accuracy=metrics.get("test_accuracy"),
        test_images=len(test) if test is not None else 0,
        measured_on=on,
        accuracy=metrics.get(f"{on}_accuracy"),
        loss=metrics.get(f"{on}_loss"),
        images=metrics.get("images", 0),
        seconds=metrics["seconds"],
        best=str(folder / "best.pth"),
        already=True,
        ended=why,
        per_class=metrics.get("per_class", []),
        confusion=metrics.get("confusion"),
    )
