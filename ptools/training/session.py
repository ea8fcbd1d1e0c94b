"""One training from its names to its run folder: what `train` and `finetune` have in common.

prepare(data, model, ...)    a Session: the images, the model built for them and tried on them
Session.run(...)             train, keep the best weights, measure them once
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptools import data as datasets
from ptools import files, output, registry, training
from ptools.data import ImageSet
from ptools.errors import PtoolsError, UsageError
from ptools.training import hardware, leaving, light, memory, optim, parallel
from ptools.training.distributed import ALONE, Team
from ptools.training.folder import RunFolder
from ptools.training.history import Epoch
from ptools.training.loop import Custom, Diverged, Training
from ptools.training.run import Run, outcome
from ptools.training.scoring import Measured, Stopped
from ptools.training.settings import DataOptions, Settings
from ptools.training.signals import Stop
from ptools.training.sources import Statistics
from ptools.training.step import Running

if TYPE_CHECKING:
    from torch import nn

    from ptools.models import Blueprint

__all__ = ["Session", "prepare"]

Watch = Callable[[Running | Epoch], object]


@dataclass(eq=False)
class Session:
    """A model on its device that takes the images; `data` and `model` are what was asked for.

    `custom` is what finetune does differently, `about` goes into config.toml, `resumed` is what last.ckpt
    of `folder` held where a run goes on.
    """

    data: str
    model: str
    images: ImageSet
    net: nn.Module
    settings: Settings
    blueprint: Blueprint
    statistics: Statistics
    options: DataOptions = field(default_factory=DataOptions)
    team: Team = ALONE
    custom: Custom = field(default_factory=Custom)
    about: dict[str, Any] = field(default_factory=dict)
    resumed: dict[str, Any] | None = None
    folder: Path | None = None
    told: set[str] = field(default_factory=set)  # the bad pictures

    def run(
        self,
        *,
        out: Path | None = None,
        force: bool = False,
        about: Mapping[str, Any] | None = None,
        watch: Watch = lambda _: None,
        on_start: Callable[[Session, Path], object] = lambda *_: None,
    ) -> Run:
        """Train, keep the best weights, measure them once on the test images.

        `about` goes into config.toml; `watch` is called after every batch and every epoch. Ctrl-C and
        SIGTERM end it after the iteration, and the Run says so. Raises FileError, PtoolsError.
        """
        self.about |= about or {}
        with Stop().listening() as stop, light.uncompiled(self.settings):
            found = self._training(stop)
            folder = self._claim(out, force=force)
            kept = self._folder(folder)
            measured, whole = None, False
            try:
                on_start(self, folder)
                whole = self._train(found, kept, watch)
                if whole:
                    measured = self._measure(found, kept)
            except Stopped:
                whole = False
            except Diverged as error:
                raise Diverged(f"{error}{_saved(found, folder)}") from error
            finally:
                found.release()
                if kept:
                    kept.close()
        if kept and self.settings.save_model and kept.best:
            leaving.save_model(self, kept)
        return outcome(self, found, folder, measured, interrupted=not whole)

    def _training(self, stop: Stop) -> Training:
        if self.settings.find_lr and not self.resumed:
            from ptools.training import finding

            lr = finding.find(self).lr
            self.settings = replace(self.settings, lr=lr, find_lr=False)
        found = Training(
            self.net,
            self.images,
            self.settings,
            statistics=self.statistics,
            custom=self.custom,
            team=self.team,
            stop=stop,
        )
        if self.resumed:
            found.load(self.resumed)
        return found

    def _claim(self, out: Path | None, *, force: bool) -> Path:
        """Return the folder to write to; rank 0 makes it, and all learn of its name or its error."""
        found: tuple[Path | None, PtoolsError | None] = (self.folder, None)
        if self.team.main and self.folder is None:
            try:
                name = _name(self.data, self.model)
                made = files.claim(out, force=force) if out else None
                found = made or files.claim_next(Path("runs"), name), None
            except PtoolsError as error:
                found = None, error
        folder, refused = self.team.shared(found)
        if refused is not None:
            raise refused
        return folder  # type: ignore[no-any-return]

    def _folder(self, folder: Path) -> RunFolder | None:
        if not self.team.main:
            return None
        kept = RunFolder(folder, self.config(), self._beside(), resumed=self.resumed)
        if not self.resumed:
            leaving.trace(self, kept)
        return kept

    def _train(self, found: Training, kept: RunFolder | None, watch: Watch) -> bool:
        """Train to the end; return whether it came there."""

        def on_epoch(epoch: Epoch) -> None:
            weights = found.weights()  # all processes take part
            if kept:
                kept.keep(epoch, weights, found.still())
            self._check_pictures(found)
            watch(epoch)

        save = kept.save if kept else lambda _: None
        try:
            return found.run(on_batch=watch, on_epoch=on_epoch, save=save)
        except memory.errors() as error:
            found.forget()
            raise memory.explained(error, self.net, self.images, self.settings) from error

    def _check_pictures(self, found: Training) -> None:
        """Say which pictures could not be decoded while they were streamed; stop under --strict."""
        bad = {p: why for b in (found.train, found.val) for p, why in getattr(b, "bad", {}).items()}
        if bad and self.options.strict:
            path, why = next(iter(bad.items()))
            raise PtoolsError(f"{path}: {why}; --strict stops at it.")
        for path in sorted(set(bad) - self.told):
            output.note(f"left out: {path}: {bad[path]}")
        self.told |= set(bad)

    def _measure(self, found: Training, kept: RunFolder | None) -> tuple[str, Measured] | None:
        """Measure the kept weights, as predict will use them: in fp32. None without images for it."""
        on, batches = ("test", found.test) if found.test is not None else ("val", found.val)
        if batches is None:
            if kept:
                kept.finish(None, None, self.images.classes, found.seconds)
            return None
        weights = kept.best_weights() if kept else None
        parallel.put(self.net, weights, self.settings, self.team)
        measured = found.score(batches, confusion=True)
        if kept:
            kept.finish(on, measured, self.images.classes, found.seconds)
            leaving.draw(self, kept, on, measured)
        return on, measured

    def config(self) -> dict[str, Any]:
        """Return what config.toml holds: enough to prepare the same session again."""
        mean, std = self.statistics
        named = {name: getattr(self.images, name) for name in ("train", "val", "test")}
        there = {name: part for name, part in named.items() if part is not None}
        return {
            "data": self.data,
            "model": self.model,
            **asdict(self.settings),
            **self.options.document(),
            "blueprint": self.blueprint.document(),
            "mean": mean,
            "std": std,
            "images": {name: len(there.get(name, ())) for name in named},
            "fingerprints": {name: datasets.fingerprint(part) for name, part in there.items()},
            "classes": list(self.images.classes),
            **self.about,
        }

    def _beside(self) -> dict[str, Any]:
        mean, std = self.statistics
        return {
            "blueprint": self.blueprint.document(),
            "model": self.model,
            "classes": list(self.images.classes),
            "shape": list(self.images.shape),
            "mean": mean,
            "std": std,
            "geometry": self.images.how.document(),
            "data": self.images.name,
            "loss": self.settings.loss,
        }


def prepare(
    data: str,
    model: str,
    settings: Settings,
    *,
    options: DataOptions | None = None,
    head: str | None = None,
    dropout: float | None = None,
    statistics: Statistics | None = None,
    team: Team = ALONE,
    step: bool = True,
) -> Session:
    """Load the images, build the model for them and try it on two. Nothing is written.

    `statistics` are mean and std for the normalisation: those of the images where none are given, and
    none at all under the plain recipe. The try is a whole training `step`, or only what comes out of the
    model, where it is to be frozen first. Raises UsageError, PluginError.
    """
    from ptools import models

    options = options or DataOptions()
    if options.channels is None and models.is_photographic(model):
        options = replace(options, channels=3)
    images, settings = _ready(data, settings, options, team)
    size = images.shape
    blueprint = models.Blueprint(
        models.anchored(model),
        len(images.classes),
        size,
        head=head,
        dropout=dropout or settings.dropout,
    )
    net = blueprint.build()
    models.initialise(net, settings.init)
    mean, std = [0.0] * size[0], [1.0] * size[0]
    if settings.normalise:
        mean, std = statistics or images.statistics()
    place = _place(data)
    found = Session(place, model, images, net, settings, blueprint, (mean, std), options, team)
    return _tried(found, step)


def loaded(data: str, settings: Settings, options: DataOptions, team: Team) -> ImageSet:
    """Load the images: rank 0 first, which may download them."""
    if team.main:
        images = datasets.load(data, seed=settings.seed, workers=settings.workers, **vars(options))
    team.gather(None)
    if not team.main:
        images = datasets.load(data, seed=settings.seed, workers=settings.workers, **vars(options))
    return images


def _ready(
    data: str, settings: Settings, options: DataOptions, team: Team
) -> tuple[ImageSet, Settings]:
    """Load the images and seed everything; refuse settings that cannot be before anything costs time."""
    from ptools.data import augment

    hardware.import_torch()
    optim.parse_schedule(settings.schedule)
    augment.parse(settings.augment)
    settings = replace(settings, device=hardware.pick_device(settings.device))
    images = loaded(data, settings, options, team)
    if settings.patience is not None and images.val is None:
        raise UsageError("--patience needs validation images to look at; give --val 0.1.")
    hardware.seed(settings.seed, deterministic=settings.deterministic)
    return images, settings


def _tried(session: Session, step: bool) -> Session:
    """Move the model to its device and layout, and try it."""
    import torch

    def check(settings: Settings) -> None:
        training.check(session.net, session.images, settings, step=step)

    session.settings = hardware.decide(session.settings, session.net, session.images.shape)
    if session.settings.shard:  # too large for one device: tried on the CPU
        check(replace(session.settings, device="cpu"))
        return session
    session.net.to(session.settings.device)
    if session.settings.channels_last:
        session.net.to(memory_format=torch.channels_last)
        try:
            check(session.settings)
            return session
        except UsageError:  # x.view(len(x), -1) after a convolution wants the other layout
            session.net.to(memory_format=torch.contiguous_format)
            session.settings = replace(session.settings, channels_last=False)
    check(session.settings)
    return session


def _saved(found: Training, folder: Path) -> str:
    if not found.history:
        return ""
    return f" The weights of epoch {found.best_epoch} are in {folder / 'best.pth'}."


def _place(data: str) -> str:
    """Return where a folder or file of data lies, for whoever goes on from another folder."""
    if data in registry.owners(registry.DATASETS) or not Path(data).exists():
        return data
    return str(Path(data).resolve())


def _name(data: str, model: str) -> str:
    """Return `digits-cnn-bn`, whatever a data set or a model is called."""
    words = f"{Path(data).stem}-{model.partition('(')[0].rpartition(':')[2]}"
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in words)
