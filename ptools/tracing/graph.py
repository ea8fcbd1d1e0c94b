"""The graph of a model for TensorBoard: traced, written whole or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ptools.errors import FileError, PtoolsError, cause

if TYPE_CHECKING:
    import torch
    from torch import nn


def write_graph(
    model: nn.Module | Callable[[], nn.Module],
    inputs: Sequence[torch.Tensor],
    logdir: str | Path,
) -> Path:
    """Trace a model and write its graph as a TensorBoard event file in `logdir`; return the file.

    `model` is a module in memory (not on the meta device: tracing runs it), or what makes one;
    `inputs` are its positional arguments. The model is traced in eval mode and given back in its
    own. Event files that are in the folder already stay; where tracing fails nothing is written.
    Outputs that tracing refuses (dicts of dicts, None, dataclasses) are flattened to their tensors.

    Raises PtoolsError where the model cannot be traced or TensorBoard is missing, FileError where
    the folder cannot be written. Source: torch.utils.tensorboard.SummaryWriter.add_graph.
    """
    from torch import nn

    net = model if isinstance(model, nn.Module) else model()
    logdir = Path(logdir)
    above = next(folder for folder in (logdir, *logdir.absolute().parents) if folder.exists())
    try:
        # on the same disk, so that the file moves in one step
        draft = Path(tempfile.mkdtemp(prefix=".ptools-graph-", dir=above))
    except OSError as error:
        raise FileError(_unwritable(logdir, error)) from error
    try:
        _trace(net, tuple(inputs), draft)
        return _moved(draft, logdir)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _unwritable(logdir: Path, error: OSError) -> str:
    reason = error.strerror or cause(error)
    return f"{logdir}: no graph can be written there ({reason}); name another --graph folder."


def _moved(draft: Path, logdir: Path) -> Path:
    (event,) = draft.iterdir()
    try:
        logdir.mkdir(parents=True, exist_ok=True)
        return event.rename(logdir / event.name)
    except OSError as error:
        raise FileError(_unwritable(logdir, error)) from error


def _trace(model: nn.Module, inputs: tuple[torch.Tensor, ...], folder: Path) -> None:
    """Write the graph of the model, or else that of the model with its outputs flattened."""
    try:
        _write(model, inputs, folder)
    except ImportError as error:
        raise PtoolsError(
            f"--graph needs TensorBoard ({cause(error)}): pip install tensorboard."
        ) from error
    except Exception as first:  # a stranger's forward, or the tracer: anything may come
        for half in folder.iterdir():
            half.unlink()
        try:
            _write(_flat(model), inputs, folder)
        except Exception:
            raise PtoolsError(
                f"{type(model).__name__} cannot be traced for --graph: {cause(first)}; the forward "
                f"must run with these inputs and make its outputs from them by tensor operations."
            ) from first


def _write(model: nn.Module, inputs: tuple[torch.Tensor, ...], folder: Path) -> None:
    import torch
    from torch.utils.tensorboard import SummaryWriter

    # add_graph prints its errors, and the tracer warns of every `if` on a size
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        suffix = f".{os.urandom(4).hex()}"  # two runs in one second stay two files
        with torch.no_grad(), SummaryWriter(str(folder), filename_suffix=suffix) as writer:
            writer.add_graph(model, inputs, use_strict_trace=False)


def _flat(model: nn.Module) -> nn.Module:
    from torch import nn

    class Flat(nn.Module):
        """The model, with the tensors of its output in a tuple."""

        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.model = inner

        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            found = tuple(_tensors(self.model(*inputs)))
            if not found:
                raise TypeError("no tensor comes out")
            return found

    return Flat(model)


def _tensors(output: object) -> Iterator[torch.Tensor]:
    import torch

    if isinstance(output, torch.Tensor):
        yield output
        return
    if isinstance(output, Mapping):
        parts: Iterable[object] = output.values()
    elif isinstance(output, (list, tuple)):
        parts = output
    else:  # dataclasses and the like
        parts = getattr(output, "__dict__", {}).values()
    for part in parts:
        yield from _tensors(part)
