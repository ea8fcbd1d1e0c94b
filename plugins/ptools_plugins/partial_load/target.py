"""What is wanted: the tensors of a file saved from the new model, or of the model itself."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ptools import output
from ptools.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from ptools.checkpoints import Weights

STATISTICS = ("running_mean", "running_var")
_BUFFERS = (*STATISTICS, "num_batches_tracked")


@dataclass(frozen=True)
class Target:
    """The tensors to fill.

    parameters     the names that an optimizer would train; of a file: floating, and no statistics
    norms          modules with running statistics, BatchNorm and its like
    weights        the file, where it is one; model: the model, where that is what was given
    """

    name: str
    tensors: Mapping[str, Tensor]
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]  # "float16"
    parameters: frozenset[str]
    norms: tuple[str, ...]
    weights: Weights | None = None
    model: nn.Module | None = None
    tied: Mapping[str, str] = field(default_factory=dict)  # key -> the first key of the same tensor

    def elements(self, key: str) -> int:
        """Return how many numbers a tensor holds."""
        from math import prod

        return prod(self.shapes[key])


def from_file(path: Path, *, trust: bool = False) -> Target:
    """Read a state_dict saved from the new model."""
    from ptools import checkpoints

    weights = checkpoints.read(path, trust=trust)
    shapes, dtypes = weights.shapes, weights.dtype_names
    parameters = frozenset(
        key
        for key, dtype in dtypes.items()
        if dtype.startswith(("float", "bfloat")) and key.rpartition(".")[2] not in _BUFFERS
    )
    norms = [key.rpartition(".")[0] for key in shapes if key.endswith(STATISTICS[0])]
    return Target(
        path.name, weights.tensors, shapes, dtypes, parameters, tuple(norms),
        weights=weights,
        tied=_tied_in_file(weights.tensors),
    )  # fmt: skip


def from_model(spec: str, *, seed: int) -> Target:
    """Build the model; its own initialisation comes from `seed`."""
    import torch

    from ptools import models
    from ptools.checkpoints.weights import dtype_name

    with output.aside():  # the model may be anybody's code
        make = models.prepare(spec)
        torch.manual_seed(seed)
        model = make()
    state = {key: value for key, value in model.state_dict().items() if torch.is_tensor(value)}
    lazy = [key for key, value in state.items() if torch.nn.parameter.is_lazy(value)]
    if lazy:
        raise UsageError(
            f"model '{spec}': the shape of {lazy[0]} is not known before it runs; "
            "give in_features or in_channels, or run it once and save its state_dict."
        )
    if not state:
        raise UsageError(f"model '{spec}' has no tensors; there is nothing to load.")
    norms = [
        name
        for name, module in model.named_modules()
        if getattr(module, STATISTICS[0], None) is not None
    ]
    return Target(
        spec, state,
        {key: tuple(value.shape) for key, value in state.items()},
        {key: dtype_name(value.dtype) for key, value in state.items()},
        frozenset(name for name, _ in model.named_parameters(remove_duplicate=False)),
        tuple(norms),
        model=model,
        tied=_tied(state),
    )  # fmt: skip


def _tied_in_file(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return {key: first key} of tensors that lie in one place of the file."""
    from ptools.checkpoints.stored import Tensors

    if not isinstance(tensors, Tensors):
        return {}
    places = {
        key: (id(one.storage.source), one.storage.start, one.offset, one.shape, one.stride)
        for key, one in tensors.stored.items()
        if 0 not in one.shape
    }
    return _repeated(places)


def _tied(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Return {key: first key} of tensors that are one and the same."""
    return _repeated(
        {
            key: (value.data_ptr(), tuple(value.shape), value.stride())
            for key, value in state.items()
            if value.numel() and not value.is_meta
        }
    )


def _repeated(places: Mapping[str, Hashable]) -> dict[str, str]:
    first: dict[Hashable, str] = {}
    owners = {key: first.setdefault(place, key) for key, place in places.items()}
    return {key: owner for key, owner in owners.items() if owner != key}
