"""The run folder: what a training leaves behind, whole after every epoch.

config.json             everything that was set, with versions
metrics.json            every epoch; at the end test_loss and test_accuracy
best.pt                 the weights of the best epoch, and what they need to be used
events.out.tfevents*    the curves for TensorBoard
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ptools import __version__, checkpoints, files
from ptools.data import Batches, ImageSet
from ptools.training import Epoch, Settings, score
from ptools.training.events import EventFile

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn


class RunFolder:
    """One training in one folder. An interruption loses at most the epoch that was running.

    Every method raises FileError where the disk says no.
    """

    def __init__(
        self,
        folder: Path,
        images: ImageSet,
        net: nn.Module,
        model: str,
        settings: Settings,
        about: Mapping[str, Any] | None = None,  # more for config.json
    ) -> None:
        import torch

        self.folder, self.images, self.net, self.model = folder, images, net, model
        self.settings, self.statistics = settings, images.statistics()
        self.epochs: list[Epoch] = []
        self.best: Epoch | None = None
        old = [
            folder / "best.pt",
            folder / "metrics.json",
            *folder.glob("events.out.tfevents.*.ptools"),
        ]
        for file in old:
            file.unlink(missing_ok=True)  # of an earlier run, under --force
        versions = {"ptools": __version__, "torch": str(torch.__version__)}
        config = {"data": images.name, "model": model} | asdict(settings) | dict(about or {})
        self._write("config.json", config | versions)
        self.events = EventFile(folder)

    def keep(self, epoch: Epoch) -> Epoch:
        """Write down one epoch; keep its weights if they are the best so far."""
        self.epochs.append(epoch)
        curves = {
            "loss/train": epoch.loss,
            "loss/val": epoch.val_loss,
            "accuracy/train": epoch.accuracy,
            "accuracy/val": epoch.val_accuracy,
            "lr": epoch.lr,
        }
        self.events.scalars(epoch.epoch, curves)
        if self.best is None or _rank(epoch) > _rank(self.best):
            self.best = epoch
            self._save_best()
        self._write("metrics.json", self._metrics())
        return epoch

    def test(self) -> tuple[float, float]:
        """Return loss and accuracy of the best weights on the test images, and write them down."""
        kept = checkpoints.load(self.folder / "best.pt", device=self.settings.device)
        self.net.load_state_dict(kept["state_dict"])
        device = self.settings.device
        batches = Batches(self.images.test, self.statistics, batch_size=1024, device=device)
        loss, accuracy = score(self.net, batches)
        self._write(
            "metrics.json", self._metrics() | {"test_loss": loss, "test_accuracy": accuracy}
        )
        return loss, accuracy

    def close(self) -> None:
        self.events.close()

    def _metrics(self) -> dict[str, Any]:
        return {"epochs": [asdict(epoch) for epoch in self.epochs]}

    def _save_best(self) -> None:
        mean, std = self.statistics
        content = {
            "state_dict": {key: value.cpu() for key, value in self.net.state_dict().items()},
            "model": self.model,
            "classes": list(self.images.classes),
            "shape": list(self.images.shape),
            "mean": mean,
            "std": std,
        }
        checkpoints.save(content, self.folder / "best.pt", force=True)

    def _write(self, name: str, value: dict[str, Any]) -> None:
        files.write(self.folder / name, json.dumps(value, indent=2) + "\n", force=True)


def _rank(epoch: Epoch) -> tuple[float, float]:
    return epoch.val_accuracy, -epoch.val_loss
