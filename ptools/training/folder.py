"""The run folder: what a training leaves behind, each file whole at any moment.

config.toml             everything that was set, with versions: ptools train --config
metrics.json            every epoch; at the end what the kept weights are worth, by class
metrics.csv             a row per epoch
best.pth                 the weights that are kept, and what they need to be used
last.ckpt                 what it takes to go on, see ptools.training.state
events.out.tfevents*    the curves and the graph for TensorBoard
curves.png              at the end, or where it was interrupted; with images to measure on also
confusion.png, .json    which class was taken for which, in counts
mistakes.png            the surest wrong answers
model.pth               under --save-model: the whole module, pickled

A kill between two of them costs nothing: last.ckpt comes last, best.pth and the metrics just before it, and
all of them may wait where an epoch is shorter than their writing. A run that goes on does again what
last.ckpt does not know of, to the same bits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, astuple, fields
from typing import TYPE_CHECKING, Any

from ptools import __version__, checkpoints, files, output, toml
from ptools.errors import FileError, cause
from ptools.training import state
from ptools.training.events import EventFile
from ptools.training.history import Epoch, best

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from ptools.training.scoring import Measured

__all__ = ["RunFolder", "read"]

CONFIG = "config.toml"
OWN = (
    CONFIG,
    "metrics.json",
    "metrics.csv",
    "best.pth",
    state.NAME,
    "curves.png",
    "confusion.json",
    "confusion.png",
    "mistakes.png",
    "model.pth",
)


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
        self.unwritten = False  # epochs that metrics.json does not have yet
        self.waiting: tuple[Epoch, dict[str, Any]] | None = (
            None  # for best.pth, until last.ckpt is written
        )
        self.still: dict[str, Tensor] = {}  # of the weights that were kept: those that do not move
        torn = (file for name in OWN for file in folder.glob(f".{name}.*.tmp"))  # of a killed write
        for file in torn:
            file.unlink(missing_ok=True)
        if resumed is None:
            self._clear()  # of an earlier run, under --force
        else:
            self.epochs = [Epoch(**epoch) for epoch in resumed["history"]]
        versions = {"ptools": __version__, "torch": str(torch.__version__)}
        text = toml.written({**config, "versions": versions})
        files.write(folder / CONFIG, text, force=True)
        self.events = EventFile(folder, resumed.get("events") if resumed else None)
        self.unwritten = bool(self.epochs)
        self._write_metrics()

    def _clear(self) -> None:
        ours = self.folder.glob("events.out.tfevents.*.ptools")
        for file in (*(self.folder / name for name in OWN), *ours):
            file.unlink(missing_ok=True)

    @property
    def best(self) -> Epoch | None:
        """The epoch whose weights are kept."""
        return best(self.epochs) if self.epochs else None

    def keep(
        self, epoch: Epoch, weights: Mapping[str, Any], still: Collection[str] = frozenset()
    ) -> None:
        """Write down one epoch; keep its weights if they are the best so far.

        Those of `still` do not move from epoch to epoch: on cached features a copy of a whole backbone
        can take longer than the epoch.
        """
        self.epochs.append(epoch)
        if self.best is epoch:
            copied = {key: value for key, value in self.still.items() if key in still}
            own = {
                key: copied[key] if key in copied else _own(value) for key, value in weights.items()
            }
            self.still = {key: own[key] for key in still}
            self.waiting = epoch, own
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
        self.unwritten = True

    def save(self, found: Mapping[str, Any]) -> None:
        """Write last.ckpt, which knows how much of the event file is its own, and before it best.pth."""
        self._save_best()
        self._write_metrics()
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
        self._write_metrics()
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
            if found.confusion:
                table = {"on": on, "classes": list(classes), "counts": found.confusion}
                self._write("confusion.json", table)
        self._write("metrics.json", self._metrics() | about)

    def draw(self, name: str, made: Callable[[], bytes]) -> None:
        """Write a picture; where it cannot be drawn, that is a note, and the run is whole."""
        try:
            files.write(self.folder / name, made(), force=True)
        except FileError:
            raise
        except Exception as error:  # fonts, odd class names: matplotlib's
            output.note(f"{name} could not be drawn: {cause(error)}")

    def close(self) -> None:
        """Write what still waits, and close the event file."""
        self.events.close()
        self._save_best()
        self._write_metrics()
        if self.epochs:
            from ptools.training import plots

            self.draw("curves.png", lambda: plots.curves(self.epochs))

    def _write_metrics(self) -> None:
        if not self.unwritten:
            return
        self.unwritten = False
        self._write("metrics.json", self._metrics())
        names = [field.name for field in fields(Epoch)]
        rows = [",".join("" if v is None else repr(v) for v in astuple(e)) for e in self.epochs]
        files.write(
            self.folder / "metrics.csv", "\n".join([",".join(names), *rows, ""]), force=True
        )

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


def _own(weight: Tensor) -> Tensor:
    """Return a weight that stays as it is; the model's own goes on moving."""
    return weight.detach().clone()


def read(folder: Path, name: str) -> dict[str, Any]:
    """Read config.toml or metrics.json of a run. Raises FileError where it is none."""
    path = folder / name
    kind = "TOML" if name.endswith(".toml") else "JSON"
    try:
        text = path.read_bytes()
        found = toml.read(text.decode()) if kind == "TOML" else json.loads(text)
    except OSError as error:
        raise files.failed("read", path, error) from error
    except ValueError as error:
        raise FileError(f"{path} is no {kind}; it was not written by ptools.") from error
    if not isinstance(found, dict):
        raise FileError(f"{path} is not what ptools writes there.")
    return found
