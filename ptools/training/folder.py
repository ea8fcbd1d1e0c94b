"""The run folder: what a training leaves behind, each file whole after every epoch.

config.json             everything that was set, with versions; enough to start again
metrics.json            every epoch; at the end what the kept weights are worth, by class
best.pth                 the weights that are kept, and what they need to be used
last.ckpt                 what it takes to go on, see ptools.training.state
events.out.tfevents*    the curves for TensorBoard

A kill between two of them costs nothing: last.ckpt comes last, best.pth just before it, and both may wait
where an epoch is shorter than their writing. A run that goes on does again what last.ckpt does not know of,
to the same bits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ptools import __version__, checkpoints, files
from ptools.errors import FileError
from ptools.training import state
from ptools.training.events import EventFile
from ptools.training.history import Epoch, best

if TYPE_CHECKING:
    from pathlib import Path

    from ptools.training.scoring import Measured

__all__ = ["RunFolder", "read"]

OWN = ("config.json", "metrics.json", "best.pth", state.NAME)


class RunFolder:
    """One training in one folder. An interruption loses nothing but the time since last.ckpt.

    `beside` is what best.pth holds beside the weights. Every method raises FileError where the disk
    says no.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        beside: Mapping[str, Any],
        *,
        resumed: Mapping[str, Any] | None = None,
    ) -> None:
        import torch

        self.folder, self.beside = folder, beside
        self.epochs: list[Epoch] = []
        self.waiting: tuple[Epoch, dict[str, Any]] | None = (
            None  # for best.pth, until last.ckpt is written
        )
        torn = (file for name in OWN for file in folder.glob(f".{name}.*.tmp"))  # of a killed write
        for file in torn:
            file.unlink(missing_ok=True)
        if resumed is None:
            self._clear()  # of an earlier run, under --force
        else:
            self.epochs = [Epoch(**epoch) for epoch in resumed["history"]]
        versions = {"ptools": __version__, "torch": str(torch.__version__)}
        self._write("config.json", {**config, **versions})
        self.events = EventFile(folder, resumed.get("events") if resumed else None)
        if self.epochs:
            self._write("metrics.json", self._metrics())

    def _clear(self) -> None:
        ours = self.folder.glob("events.out.tfevents.*.ptools")
        for file in (*(self.folder / name for name in OWN), *ours):
            file.unlink(missing_ok=True)

    @property
    def best(self) -> Epoch | None:
        """The epoch whose weights are kept."""
        return best(self.epochs) if self.epochs else None

    def keep(self, epoch: Epoch, weights: Mapping[str, Any]) -> None:
        """Write down one epoch; keep its weights if they are the best so far."""
        self.epochs.append(epoch)
        if self.best is epoch:
            self.waiting = epoch, _own(weights)
        curves = {
            "loss/train": epoch.loss,
            "loss/val": epoch.val_loss,
            "accuracy/train": epoch.accuracy,
            "accuracy/val": epoch.val_accuracy,
            "lr": epoch.lr,
            "seconds": epoch.seconds,
        }
        values = {tag: value for tag, value in curves.items() if value is not None}
        self.events.scalars(epoch.epoch, values)
        self._write("metrics.json", self._metrics())

    def save(self, found: Mapping[str, Any]) -> None:
        """Write last.ckpt, which knows how much of the event file is its own, and before it best.pth."""
        self._save_best()
        state.save({**found, "events": self.events.whole}, self.folder)

    def best_weights(self) -> dict[str, Any]:
        """Return the weights that are kept, on the CPU."""
        self._save_best()
        found: dict[str, Any] = checkpoints.load(self.folder / "best.pth")["state_dict"]
        return found

    def finish(
        self, on: str | None, found: Measured | None, classes: Sequence[str], seconds: float
    ) -> None:
        """Write down what the kept weights are worth on the images called `on`: test, val or none."""
        about: dict[str, Any] = {
            "best_epoch": self.best.epoch if self.best else None,
            "measured_on": on,
            "seconds": seconds,
        }
        if found:
            about |= {
                f"{on}_loss": found.loss,
                f"{on}_accuracy": found.accuracy,
                "images": found.images,
                "per_class": found.per_class(classes),
                "confusion": found.confusion,
            }
        self._write("metrics.json", self._metrics() | about)

    def close(self) -> None:
        """Write what still waits, and close the event file."""
        self.events.close()
        self._save_best()

    def _metrics(self) -> dict[str, Any]:
        return {"epochs": [asdict(epoch) for epoch in self.epochs]}

    def _save_best(self) -> None:
        if self.waiting is None:
            return
        epoch, weights = self.waiting
        content = {
            "state_dict": {key: value.cpu() for key, value in weights.items()},
            **self.beside,
            "epoch": epoch.epoch,
            "val_accuracy": epoch.val_accuracy,
        }
        checkpoints.save(content, self.folder / "best.pth", force=True)
        self.waiting = None

    def _write(self, name: str, value: dict[str, Any]) -> None:
        files.write(self.folder / name, json.dumps(value, indent=2) + "\n", force=True)


def _own(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return weights that stay as they are; the model's own go on moving."""
    return {key: value.detach().clone() for key, value in weights.items()}


def read(folder: Path, name: str) -> dict[str, Any]:
    """Read config.json or metrics.json of a run. Raises FileError where it is none."""
    path = folder / name
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise files.failed("read", path, error) from error
    except ValueError as error:
        raise FileError(f"{path} is no JSON; it was not written by ptools.") from error
    if not isinstance(found, dict):
        raise FileError(f"{path} is not what ptools writes there.")
    return found
