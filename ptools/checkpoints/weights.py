"""What `read` returns: the tensors of a checkpoint, where they were, and what else was there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptools.checkpoints.stored import Stored, Tensors

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Weights:
    """The state_dict of a checkpoint.

    path      the file, or the index of a sharded one
    format    what kind of file it is, in words
    where     the dotted key of the state_dict in the file; "" where the file is one
    keys      the same as a tuple: a key may have dots of its own
    seen      the other state_dicts in the file: {dotted key: number of tensors}
    extras    what is no plain value and was not loaded: classes ("Namespace", "numpy scalar") and
              entries of the state_dict that are no tensors ("fc._extra_state (dict)")
    tensors   names -> tensors in the stored order; each access builds the tensor, on the CPU, where
              the format allows from the mapped file: nothing is kept and the file is never changed
    metadata  small plain values beside it: numbers, texts, short lists of them, by dotted key; for
              safetensors its own metadata
    tree      the object that was saved, for a write that keeps it; None where there is none. Its
              tensors are `Stored`, its strange objects `Made`
    """

    path: Path
    format: str
    tensors: Mapping[str, Tensor]
    where: str = ""
    keys: tuple[str, ...] = ()
    seen: dict[str, int] = field(default_factory=dict)
    extras: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    tree: Any = field(default=None, repr=False)

    def stored(self, name: str) -> Stored | Tensor:
        """Return a tensor as it lies in the file, for `write`: copied there without being loaded."""
        return (
            self.tensors.stored[name] if isinstance(self.tensors, Tensors) else self.tensors[name]
        )

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor; nothing is loaded for it."""
        if isinstance(self.tensors, Tensors):
            return {name: stored.shape for name, stored in self.tensors.stored.items()}
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}

    @property
    def dtypes(self) -> dict[str, torch.dtype]:
        """The dtype of each tensor; nothing is loaded for it."""
        import torch

        return {name: getattr(torch, dtype) for name, dtype in self.dtype_names.items()}

    @property
    def dtype_names(self) -> dict[str, str]:
        """The same as words, "float16", for which torch is not needed."""
        if isinstance(self.tensors, Tensors):
            return {name: stored.dtype for name, stored in self.tensors.stored.items()}
        return {name: dtype_name(tensor.dtype) for name, tensor in self.tensors.items()}


def dtype_name(dtype: torch.dtype) -> str:
    """Return `float16` for torch.float16."""
    return str(dtype).removeprefix("torch.")
