"""Run folders -> what they say of themselves. Neither torch nor numpy is needed for it.

Found                a run: what was set, what was measured, how far it is
read(folder)         the run in a folder
listing(folders)     all runs in folders and a few levels below, sorted
is_run(folder)       whether a folder looks like one
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ptools import files
from ptools.errors import FileError, UsageError, cause

DEPTH = 4  # levels below a folder that are searched
FINISHED, RUNNING, UNFINISHED = "finished", "running?", "unfinished"
_CONFIG, _METRICS = "config.toml", "metrics.json"
_OURS = (_METRICS, "last.ckpt", "best.pth")


@dataclass(frozen=True)
class Found:
    """A run, as far as it came. Accuracies are from 0 to 1; None is what was not measured.

    `epochs` are those that are done, of `wanted`; `val_accuracy` and `val_loss` are those of the best
    epoch; `written`, seconds since 1970, is when it wrote last.
    """

    run: str
    data: str
    model: str
    state: str
    epochs: int
    wanted: int | None
    best_epoch: int | None
    val_accuracy: float | None
    val_loss: float | None
    test_accuracy: float | None
    test_loss: float | None
    seconds: float
    written: float
    best: str | None
    last: str | None
    settings: dict[str, Any]
    history: list[dict[str, Any]]
    measured_on: str | None
    images: int | None  # that were measured on
    per_class: list[dict[str, Any]]

    def document(self) -> dict[str, Any]:
        """Return it for JSON, without what is long: the epochs' figures and the classes'."""
        found = asdict(self)
        del found["history"], found["per_class"]
        return found


@dataclass(frozen=True)
class Listing:
    """Runs in their order, and a line on each folder that could not be read."""

    runs: list[Found]
    damaged: list[str]

    def document(self) -> list[dict[str, Any]]:
        return [run.document() for run in self.runs]


def listing(folders: Sequence[Path], *, sort: str = "time", missing_ok: bool = False) -> Listing:
    """Find the runs in `folders`. Raises UsageError for a folder that is not there.

    `sort`: time, the newest first; accuracy, the best first; name, with numbers in their order.
    """
    found: list[Found] = []
    damaged: list[str] = []
    seen: set[tuple[int, int]] = set()
    for top in folders:
        if not top.is_dir():
            if missing_ok and not top.exists():
                continue
            raise UsageError(f"{top} is no folder; name a run, or a folder with runs.")
        for folder in _below(top, DEPTH, seen, damaged):
            try:
                found.append(read(folder))
            except FileError as error:
                damaged.append(str(error))
    return Listing(sorted(found, key=_ORDERS[sort]), damaged)


def _below(
    folder: Path, depth: int, seen: set[tuple[int, int]], damaged: list[str]
) -> Iterator[Path]:
    """Yield the runs in `folder` and below; a folder that two ways lead to is visited once."""
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            inside = {entry.name: _leads_on(entry) for entry in entries}
    except OSError as error:
        damaged.append(str(files.failed("read", folder, error)))
        return
    if _looks_like_one(inside):
        yield folder
    if depth:
        for name in sorted(inside):
            if inside[name]:
                yield from _below(folder / name, depth - 1, seen, damaged)


def _leads_on(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder to search; a link to itself cannot even be asked."""
    try:
        return not entry.name.startswith(".") and entry.is_dir()
    except OSError:
        return False


def is_run(folder: Path) -> bool:
    try:
        return _looks_like_one([path.name for path in folder.iterdir()])
    except OSError:
        return False


def _looks_like_one(names: Mapping[str, Any] | Sequence[str]) -> bool:
    """Other programs have a config.toml too: something that a training wrote lies beside ours."""
    if _CONFIG not in names:
        return _METRICS in names and "best.pth" in names
    return any(name in _OURS or name.startswith("events.out.tfevents.") for name in names)


def read(folder: Path) -> Found:
    """Read a run. Raises FileError where a file of it is damaged or missing."""
    config = _loaded(folder / _CONFIG)
    path = folder / _METRICS
    metrics = _loaded(path) if path.exists() else {"epochs": []}
    try:
        return _found(folder, config, metrics)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise FileError(f"{folder} is not as ptools leaves a run: {cause(error)}.") from error


def _loaded(path: Path) -> dict[str, Any]:
    import json

    from ptools import toml

    kind, parse = ("TOML", toml.read) if path.suffix == ".toml" else ("JSON", json.loads)
    try:
        found = parse(path.read_text("utf-8"))
    except OSError as error:
        raise files.failed("read", path, error) from error
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is no {kind}; it was not written by ptools.") from error
    if not isinstance(found, dict):
        raise FileError(f"{path} is not what ptools writes there.")
    return found


def _found(folder: Path, config: dict[str, Any], metrics: dict[str, Any]) -> Found:
    history = [_epoch(epoch) for epoch in metrics["epochs"]]
    finished = "measured_on" in metrics
    best = metrics["best_epoch"] if finished else _best(history)
    kept = next((epoch for epoch in history if epoch["epoch"] == best), {})
    written = _written(folder)
    going_on = time.time() - written < _patience(config, history)
    there = {name: str(folder / name) for name in _OURS if (folder / name).exists()}
    return Found(
        run=str(folder),
        data=str(config["data"]),
        model=str(config["model"]),
        state=FINISHED if finished else RUNNING if going_on else UNFINISHED,
        epochs=len(history),
        wanted=int(config["epochs"]) if "epochs" in config else None,
        best_epoch=best,
        val_accuracy=kept.get("val_accuracy"),
        val_loss=kept.get("val_loss"),
        test_accuracy=_number(metrics.get("test_accuracy")),
        test_loss=_number(metrics.get("test_loss")),
        seconds=_number(metrics.get("seconds")) or sum(epoch["seconds"] for epoch in history),
        written=written,
        best=there.get("best.pth"),
        last=there.get("last.ckpt"),
        settings=config,
        history=history,
        measured_on=metrics.get("measured_on"),
        images=int(metrics["images"]) if "images" in metrics else None,
        per_class=[_class(row) for row in metrics.get("per_class", [])],
    )


_FIGURES = ("loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds")


def _epoch(found: Mapping[str, Any]) -> dict[str, Any]:
    return {"epoch": int(found["epoch"]), **{name: _number(found[name]) for name in _FIGURES}}


def _class(found: Mapping[str, Any]) -> dict[str, Any]:
    return {"class": str(found["class"]), "accuracy": _number(found["accuracy"])}


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _best(history: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the epoch that is kept so far: `ptools.training.history.best`, which is slow to import."""
    if not history:
        return None
    if history[-1]["val_accuracy"] is None:
        return int(history[-1]["epoch"])
    best = max(history, key=lambda e: (e["val_accuracy"] or 0.0, -(e["val_loss"] or 0.0)))
    return int(best["epoch"])


def _written(folder: Path) -> float:
    """Return when one of the run's own files was written last."""
    times = []
    for name in (_CONFIG, *_OURS):
        try:
            times.append((folder / name).stat().st_mtime)
        except OSError:  # it is not there, or was replaced just now
            continue
    return max(times, default=0.0)


def _patience(config: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> float:
    """Return for how many seconds a run that goes on may write nothing."""
    epoch = float(history[-1]["seconds"]) if history else 0.0
    return max(60.0, 2 * float(config.get("save_every", 30)), 2 * epoch)


def _natural(name: str) -> list[tuple[int, str]]:
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split("([0-9]+)", name)
    ]


def _merit(run: Found) -> tuple[bool, float, float]:
    """What is better comes first: on validation images, as a training chooses its weights by them."""
    chosen = run.test_accuracy if run.val_accuracy is None else run.val_accuracy
    loss = run.test_loss if run.val_loss is None else run.val_loss
    return chosen is None, -(chosen or 0.0), loss or 0.0


_ORDERS: dict[str, Any] = {
    "time": lambda run: (-run.written, _natural(run.run)),
    "name": lambda run: _natural(run.run),
    "accuracy": _merit,
}
