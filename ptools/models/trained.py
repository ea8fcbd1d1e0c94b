"""The file that a training left, and its weights in a network that was built again.

best(run)          the file of a run folder, or the file itself
no_code(file, ...) an error where building the network that a file names would run code
fill(net, ...)     all weights of a checkpoint into a network, or an error that says which do not fit
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptools.errors import FileError, UsageError, cause, one_line

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from ptools.checkpoints import Weights

__all__ = ["best", "fill", "no_code"]


def best(run: Path) -> Path:
    """Return the best.pth of a run folder; a file is returned as it is.

    Raises FileError for a folder without one.
    """
    if not run.is_dir():
        return run
    if not (run / "best.pth").exists():
        raise FileError(f"{run} has no best.pth; give a run folder of 'ptools train', or a file.")
    return run / "best.pth"


def no_code(file: Path, model: str) -> None:
    """Raise UsageError where building `model`, which is what `file` says, would run code of a file."""
    from ptools import models

    if models.place(model):
        spec = one_line(model)
        raise UsageError(
            f"{file} is of '{spec}', and building that runs its code: add --model '{spec}' "
            "if it is yours."
        )


def fill(net: nn.Module, weights: Weights, file: Path, model: str, *, way: str = "") -> None:
    """Load all `weights`, which come from `file`, into `net`, which was built as `model`.

    Raises FileError that names what is missing, unknown or of another shape; `way` is added to its advice.
    """
    tensors = weights.tensors
    try:
        net.load_state_dict({name: tensors[name] for name in tensors})
    except RuntimeError as error:
        own, shapes = net.state_dict(), weights.shapes
        differ = {
            "missing": [name for name in own if name not in shapes],
            "unknown": [name for name in shapes if name not in own],
            "of another shape": [
                name for name in own if name in shapes and tuple(own[name].shape) != shapes[name]
            ],
        }
        said = "; ".join(f"{what}: {_few(names)}" for what, names in differ.items() if names)
        raise FileError(
            f"{file} does not fit the model '{model}' ({said or cause(error)}); "
            f"give its own --model{way}."
        ) from error


def _few(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
