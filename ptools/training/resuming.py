"""A run folder -> the session that goes on where it was: `ptools train --resume RUN`.

Everything comes from the run: its config.toml says what was set, last.ckpt where it was. What may be given
anew is in MAY_CHANGE: it does not change the weights of the epochs that are done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ptools import data as datasets
from ptools.errors import FileError, UsageError, cause
from ptools.training import configured, finetuning, hardware, state
from ptools.training import folder as run_folder
from ptools.training.distributed import ALONE, Team
from ptools.training.session import Session, loaded
from ptools.training.settings import DataOptions, Settings

__all__ = ["MAY_CHANGE", "resume"]

MAY_CHANGE = ("epochs", "device", "patience", "time_budget", "save_every", "workers")


def resume(folder: Path, *, team: Team = ALONE, **changed: Any) -> Session:
    """Return the session of a run, to go on with. `changed` are settings of MAY_CHANGE.

    Raises UsageError, FileError where that is no run, or its data are others now.
    """
    hardware.import_torch()
    try:
        return _session(folder, team, changed)
    except _NOT_OURS as error:
        raise FileError(
            f"{folder} holds what 'ptools train' does not write there ({cause(error)}); begin again with "
            f"--config {folder}, or from its weights: ptools finetune {folder}"
        ) from error


_NOT_OURS = (ArithmeticError, AttributeError, LookupError, RecursionError, RuntimeError, TypeError,
             ValueError)  # fmt: skip


def _session(folder: Path, team: Team, changed: Mapping[str, Any]) -> Session:
    from ptools import models

    config = _config(folder)
    settings = _settings(folder, config, changed)
    options = DataOptions.of(config)
    found = state.load(folder)
    _check_epochs(folder, settings, found)
    images = loaded(config["data"], settings, options, team)
    blueprint = models.Blueprint.of(config["blueprint"])
    models.check_named(blueprint.model)
    _check_data(folder, config, images)
    hardware.seed(settings.seed, deterministic=settings.deterministic)
    net = blueprint.build()
    net.load_state_dict(found["state_dict"])
    if not settings.shard:
        net.to(settings.device)
    if settings.channels_last:
        import torch

        net.to(memory_format=torch.channels_last)
    session = Session(
        data=config["data"],
        model=config["model"],
        images=images,
        net=net,
        settings=settings,
        blueprint=blueprint,
        statistics=(config["mean"], config["std"]),
        options=options,
        team=team,
        about={name: config[name] for name in _ABOUT if name in config},
        resumed=found,
        folder=folder,
    )
    if session.about:
        session.custom = finetuning.again(session)
    return session


_ABOUT = ("loaded", "frozen", "finetune")  # of finetune


def _config(folder: Path) -> dict[str, Any]:
    if not (folder / run_folder.CONFIG).is_file():
        raise FileError(f"{folder} is no run of 'ptools train': it has no {run_folder.CONFIG}.")
    if not (folder / state.NAME).is_file():
        raise FileError(
            f"{folder} has no {state.NAME}: nothing was trained yet; start again with --out {folder} --force."
        )
    config = run_folder.read(folder, run_folder.CONFIG)
    missing = {"data", "model", "blueprint", "mean", "std"} - set(config)
    if missing:
        raise FileError(f"{folder / run_folder.CONFIG} has no {', '.join(sorted(missing))}.")
    return config


def _settings(folder: Path, config: Mapping[str, Any], changed: Mapping[str, Any]) -> Settings:
    given = {name: value for name, value in changed.items() if value is not None}
    refused = sorted(set(given) - set(MAY_CHANGE))
    if refused:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in refused)
        may = ", ".join(f"--{name.replace('_', '-')}" for name in MAY_CHANGE)
        raise UsageError(f"{names} cannot change within a run; with --resume there are {may}.")
    kept = {name: value for name, value in config.items() if name not in given}
    configured.check(kept, folder / run_folder.CONFIG)
    settings = Settings.of({**config, **given})
    return replace(settings, device=hardware.pick_device(settings.device))


def _check_epochs(folder: Path, settings: Settings, found: Mapping[str, Any]) -> None:
    begun = len(found["history"]) + bool(found["batch"])
    if settings.epochs < begun:
        raise UsageError(
            f"{folder} has begun {begun} epochs already; give --epochs {begun} or more."
        )


def _check_data(folder: Path, config: Mapping[str, Any], images: datasets.ImageSet) -> None:
    """Raise UsageError where the data are others than those of the run."""
    for name, count in config.get("images", {}).items():
        part = getattr(images, name, None)
        now = len(part) if part is not None else 0
        if now != count:
            raise UsageError(
                f"{config['data']} has {now} {name} images now, and had {count} when {folder} began; "
                "a run goes on with the same data only."
            )
    for name, before in config.get("fingerprints", {}).items():
        if datasets.fingerprint(getattr(images, name)) != before:
            raise UsageError(
                f"the {name} images of {config['data']} are others now than when {folder} began, by the "
                "names, sizes and order of their files; a run goes on with the same data only."
            )
    if list(images.classes) != config.get("classes", list(images.classes)):
        raise UsageError(
            f"the classes of {config['data']} are others now than when {folder} began, or in another "
            "order; a run goes on with the same data only."
        )
    if list(images.shape) != config["blueprint"]["shape"]:
        raise UsageError(
            f"the images of {config['data']} have another size than {folder} began with."
        )
