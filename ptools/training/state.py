"""last.ckpt: all that a training needs to go on, to the bit, from where it was saved.

captured(training)      all that a training is, as plain values and tensors
restore(training, ...)  a training that was just made goes on from them
random_state()          the random numbers of everything: torch on CPU and device, Python, numpy
undisturbed(device)     a block that leaves them as they are
restore_random(state)   the same numbers again
save(state, folder)     write it, whole or not at all
load(folder)            read it

    format      "ptools last 1"
    state_dict, optimizer, scaler
    epoch, batch, step   what comes next; the optimiser's steps so far
    began, seconds, epoch_seconds   learning rate at the epoch's beginning, time spent
    ranks       of every process: its random numbers, its running sums
    history     what every finished epoch measured; in the file, as JSON
    ended       None, or why no more epochs were wanted: "patience", "time"
    events      bytes of the event file that belong to it
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptools import checkpoints
from ptools.errors import FileError, PtoolsError
from ptools.training import parallel
from ptools.training.history import Epoch, ended, losses

if TYPE_CHECKING:
    from ptools.training.loop import Training

__all__ = [
    "NAME",
    "captured",
    "load",
    "random_state",
    "restore",
    "restore_random",
    "save",
    "undisturbed",
]

NAME = "last.ckpt"
FORMAT = "ptools last 1"


def random_state(device: str) -> dict[str, Any]:
    """Return the state of every generator that a model or an augmentation may draw from."""
    import torch

    version, numbers, gauss = random.getstate()
    found: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": [version, torch.tensor(numbers, dtype=torch.int64), gauss],
    }
    if device.partition(":")[0] != "cpu":
        found["device"] = _module(device).get_rng_state()
    if "numpy" in sys.modules:
        name, keys, *rest = sys.modules["numpy"].random.get_state()
        found["numpy"] = [name, torch.from_numpy(keys.astype("int64")), *rest]
    return found


def restore_random(state: Mapping[str, Any], device: str) -> None:
    """Go on with the numbers that `random_state` saved."""
    import torch

    torch.set_rng_state(state["torch"].cpu())
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers.tolist()), gauss))
    if "device" in state and device.partition(":")[0] != "cpu":
        _module(device).set_rng_state(state["device"].cpu())
    if "numpy" in state:
        import numpy as np

        name, keys, *rest = state["numpy"]
        np.random.set_state((name, keys.numpy().astype("uint32"), *rest))


@contextmanager
def undisturbed(device: str) -> Iterator[None]:
    """Keep the random numbers of a training from what is done beside it: rich draws some at import."""
    before = random_state(device)
    try:
        yield
    finally:
        restore_random(before, device)


def _module(device: str) -> Any:
    """Return torch.cuda, torch.mps or torch.xpu."""
    import torch

    return getattr(torch, device.partition(":")[0])


def captured(training: Training) -> dict[str, Any]:
    """Return all that it takes to go on to the same weights; all processes take part."""
    step, running = training.step, training.step.running
    running.settle()
    mine = {
        "random": training.random or random_state(training.settings.device),
        "loss_sum": running.loss_sum,
        "right_sum": running.right_sum,
        "count": running.count,
    }
    return {
        "state_dict": training.weights(),
        "optimizer": parallel.optimizer(training.net, step.optimizer, training.settings),
        "scaler": step.scaler.state_dict() if step.scaler else None,
        "epoch": training.epoch,
        "batch": step.batch,
        "step": step.step,
        "began": training.began,
        "seconds": training.seconds,
        "epoch_seconds": training.epoch_seconds,
        "history": [asdict(epoch) for epoch in training.history],
        "ended": training.ended,
        "ranks": training.team.gather(mine),
    }


def restore(training: Training, found: Mapping[str, Any]) -> None:
    """Go on from what `state` returned. Raises PtoolsError where it does not fit."""
    if len(found["ranks"]) != training.team.ranks and found["batch"]:
        raise PtoolsError(
            f"the run was saved within an epoch by {len(found['ranks'])} processes; go on with as "
            f"many, not {training.team.ranks}."
        )
    step, running = training.step, training.step.running
    training.epoch, step.batch, step.step = found["epoch"], found["batch"], found["step"]
    training.began, training.seconds = found["began"], found["seconds"]
    training.epoch_seconds, training.ended = found["epoch_seconds"], ended(found, training.settings)
    training.history = [Epoch(**epoch) for epoch in found["history"]]
    step.losses = losses(training.history)
    training.custom.on_epoch_start(training.epoch, training)
    parallel.load(training.net, step.optimizer, found, training.settings)
    if step.scaler and found["scaler"]:
        step.scaler.load_state_dict(found["scaler"])
    mine = found["ranks"][training.team.rank % len(found["ranks"])]
    running.loss_sum, running.right_sum = float(mine["loss_sum"]), int(mine["right_sum"])
    running.count = mine["count"]
    running.done = (training.epoch - 1) * step.batches + step.batch
    training.random = mine["random"]


def save(state: Mapping[str, Any], folder: Path) -> None:
    """Write last.ckpt. Raises FileError where the disk says no."""
    history = json.dumps(state["history"])  # one object: torch.save looks at each, 40 us an epoch
    found = {"format": FORMAT, **state, "history": history}
    checkpoints.save(found, folder / NAME, force=True)


def _check(folder: Path) -> None:
    """Raise FileError where last.ckpt is torn or damaged: torch reads over a flipped bit."""
    from zipfile import BadZipFile, ZipFile

    path = folder / NAME
    try:
        with ZipFile(path) as file:
            bad = file.testzip()
    except (BadZipFile, EOFError, NotImplementedError, OSError) as error:
        bad = str(error) or "torn"
    if bad:
        raise FileError(
            f"{path} is no checkpoint, or a damaged one ({bad}); best.pth may be whole: "
            f"ptools finetune {folder}"
        )


def load(folder: Path) -> dict[str, Any]:
    """Read last.ckpt, on the CPU. Raises FileError where it is none."""
    _check(folder)
    found = checkpoints.load(folder / NAME)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise FileError(
            f"{folder / NAME} is not what 'ptools train' writes there; it cannot go on."
        )
    return {**found, "history": json.loads(found["history"])}
