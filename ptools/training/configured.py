"""A config.toml -> the options of a new run that does the same: `ptools train --config FILE|RUN`.

typed(name, value)   a value as it is typed
check(found, path)   refuse values that no option takes
read(path)   what it sets, by the names of the options; INTERNAL are settled ones that are no options
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ptools.errors import FileError, UsageError, one_line, suggestion
from ptools.training import folder
from ptools.training.settings import DataOptions, Settings

__all__ = ["INTERNAL", "check", "read", "typed"]

INTERNAL = ("nesterov", "normalise", "channels_last")  # true or false; they follow from the recipe
_MEASURED = (
    "blueprint",
    "classes",
    "images",
    "fingerprints",
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
    _check_internal(found, path)
    return {name: value for name, value in found.items() if name not in _MEASURED}


def check(found: Mapping[str, Any], path: Path) -> None:
    """Raise UsageError where a value that `path` sets is none that its option takes."""
    import click

    from ptools.options import training_options

    def options() -> None: ...

    params: list[click.Parameter] = training_options(options).__click_params__  # type: ignore[attr-defined]
    ctx = click.Context(click.Command("train"))
    for param in params:
        value = found.get(param.name or "")
        if value is None:
            continue
        try:
            param.type_cast_value(ctx, typed(param.name, value))
        except click.UsageError as error:
            raise UsageError(f"{path}: {param.name}: {one_line(error.message)}") from error
    _check_internal(found, path)


def typed(name: str | None, value: Any) -> Any:
    """Return a value of a config.toml as it is typed on the command line."""
    if isinstance(value, (list, tuple)):
        return "x".join(map(str, value))
    if name == "time_budget" and isinstance(value, float):
        return f"{value:.6f}"  # seconds; nobody types 16 digits
    return value


def _check_internal(found: Mapping[str, Any], path: Path) -> None:
    for name in INTERNAL:
        if not isinstance(found.get(name, True), bool):
            raise UsageError(f"{path}: {name} is true or false, not {found[name]!r}.")
