"""One training from its names to its run folder: what `train` and `finetune` have in common.

prepare(data, model, ...)    a Session: the images, the model built for them and tried on them
Session.run(...)             train, keep the best weights, measure them once
Run                          what came of it, and where it is
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptools import data as datasets
from ptools import files, models, training
from ptools.data import ImageSet
from ptools.training import Epoch, Running, Settings

if TYPE_CHECKING:
    from torch import nn

    from ptools.training.folder import RunFolder

__all__ = ["Run", "Session", "prepare"]


@dataclass(frozen=True)
class Run:
    """What a training run measured and where it left it."""

    folder: str
    data: str
    model: str
    parameters: int
    epochs: list[Epoch]
    best_epoch: int | None
    test_loss: float | None
    test_accuracy: float | None  # 0..1, of the best weights
    test_images: int
    interrupted: bool = False


@dataclass(frozen=True, eq=False)
class Session:
    """A model on its device that takes the images; `data` and `model` are what was asked for."""

    data: str
    model: str
    images: ImageSet
    net: nn.Module
    settings: Settings

    def run(
        self,
        *,
        out: Path | None = None,
        force: bool = False,
        about: Mapping[str, Any] | None = None,
        watch: Callable[[Running | Epoch], None] = lambda _: None,
        on_start: Callable[[ImageSet, nn.Module, Path], None] = lambda *_: None,
    ) -> Run:
        """Train, keep the best weights, measure them once on the test images.

        `about` goes into config.json; `watch` is called after every batch and every epoch. Ctrl-C ends
        it early, and the Run says so. Raises FileError, PtoolsError.
        """
        from ptools.training.folder import RunFolder

        name = _name(self.data, self.model)
        folder = files.claim(out, force=force) if out else files.claim_next(Path("runs"), name)
        kept = RunFolder(folder, self.images, self.net, self.model, self.settings, about)
        loss = accuracy = None
        interrupted = False
        try:
            on_start(self.images, self.net, folder)
            training.fit(
                self.net,
                self.images,
                self.settings,
                on_batch=watch,
                on_epoch=lambda epoch: watch(kept.keep(epoch)),
            )
            loss, accuracy = kept.test()
        except KeyboardInterrupt:
            interrupted = True
        finally:
            kept.close()
        return _outcome(kept, loss, accuracy, interrupted)


def prepare(
    data: str, model: str, *, epochs: int, batch_size: int, lr: float, seed: int, device: str
) -> Session:
    """Load the images, build the model for them and try it on two. Nothing is written.

    Raises UsageError, PluginError.
    """
    training.share_cores()
    import torch

    settings = Settings(
        epochs=epochs, batch_size=batch_size, lr=lr, seed=seed, device=training.pick_device(device)
    )
    images = datasets.load(data)
    torch.manual_seed(seed)
    net = models.build(model, classes=len(images.classes), shape=images.shape).to(settings.device)
    training.check(net, images, settings)
    return Session(data, model, images, net, settings)


def _outcome(run: RunFolder, loss: float | None, accuracy: float | None, interrupted: bool) -> Run:
    return Run(
        folder=str(run.folder),
        data=run.images.name,
        model=run.model,
        parameters=sum(p.numel() for p in run.net.parameters()),
        epochs=run.epochs,
        best_epoch=run.best.epoch if run.best else None,
        test_loss=loss,
        test_accuracy=accuracy,
        test_images=len(run.images.test),
        interrupted=interrupted,
    )


def _name(data: str, model: str) -> str:
    """Return `digits-cnn-bn`, whatever a data set or a model is called."""
    words = f"{Path(data).stem}-{model.partition('(')[0].rpartition(':')[2]}"
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in words)
