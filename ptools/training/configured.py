"""A config.toml -> the options of a new run that does the same: `ptools train --config FILE|RUN`.

read(path)   what it sets, by the names of the options; INTERNAL are settled ones that are no options
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from ptools.errors import FileError, UsageError, suggestion
from ptools.training import folder
from ptools.training.settings import DataOptions, Settings

__all__ = ["INTERNAL", "read"]

INTERNAL = ("nesterov", "normalise", "channels_last")  # true or false; they follow from the recipe
_MEASURED = (
    "blueprint",
    "classes",
    "images",
    "versions",
    "mean",
    "std",
    "find_lr",
)  # of that run, not of a new one
_FINETUNE = ("loaded", "frozen", "finetune")


def read(path: Path) -> dict[str, Any]:
    """Return the options that a config.toml sets; `path` may be the run folder it lies in.

    Raises FileError where it cannot be read, UsageError where it says what no option does.
    """
    if path.is_dir():
        path = path / folder.CONFIG
    found = folder.read(path.parent, path.name) if path.suffix == ".toml" else None
    if found is None:
        raise FileError(f"{path} is no config.toml; give the one of a run, or the run folder.")
    if any(name in found for name in _FINETUNE):
        raise UsageError(
            f"{path} is of a run of 'ptools finetune', which begins with somebody's weights; "
            "repeat that command, or 'ptools train --resume RUN'."
        )
    known = {"data", "model"}
    known |= {field.name for kind in (Settings, DataOptions) for field in fields(kind)}
    for name in found:
        if name not in known and name not in _MEASURED:
            close = suggestion(name, sorted(known))
            raise UsageError(f"{path}: '{name}' is no option of train.{close}")
    for name in INTERNAL:
        if not isinstance(found.get(name, True), bool):
            raise UsageError(f"{path}: {name} is true or false, not {found[name]!r}.")
    return {name: value for name, value in found.items() if name not in _MEASURED}
