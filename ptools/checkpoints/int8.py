"""Weights in 8 bits: safetensors with int8 codes, float scales, and all that is beside the weights.

write(path, weights, small, ...)   write them; `small` are the tensors that become codes
opened(weights)                    the floats of such a file, computed as each is asked for
is_int8(weights)                   whether a file is one
array(weights, name)               a tensor as a float32 array, without torch
beside(weights)                    the plain values beside a state_dict: classes, blueprint, ...

The file holds, for a tensor `conv1.weight` that was quantised,

    conv1.weight              int8 (or uint8) of the same shape
    conv1.weight_scale        float32, of a shape that broadcasts against it
    conv1.weight_zero_point   as the codes; absent where it is 0 everywhere

and every other tensor as it was. A value is (code - zero_point) * scale, in float32. The metadata has
one entry `ptools.int8`, JSON: {"version": 1, "bits", "scheme", "tensors": {name: dtype before},
"about": what `beside` returned}.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ptools.checkpoints.stored import SIZES, Region, Stored
from ptools.checkpoints.weights import Weights
from ptools.checkpoints.writing import write as write_tensors
from ptools.errors import FileError, one_line

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FLOATS", "KEY", "Small", "array", "beside", "is_int8", "opened", "write"]

KEY = "ptools.int8"
FLOATS = ("float64", "float32", "float16", "bfloat16")
_SCALE, _ZERO = "_scale", "_zero_point"
_CODES = ("int8", "uint8")
_LARGEST = 20_000_000  # characters of the JSON: far more than the names of any network
_PLAIN = 1_000_000  # characters of one value beside the weights


@dataclass(frozen=True, eq=False)
class Small:
    """A tensor as codes: int8 or uint8 of its shape when `codes()` is called.

    `scale` float32 and `zero_point` of the codes' dtype, or None, broadcast against it (numpy).
    """

    codes: Callable[[], Any]
    scale: Any
    zero_point: Any = None


# -- reading floats --------------------------------------------------------------------------------


def array(weights: Weights, name: str) -> Any:
    """Return a tensor of FLOATS as a float32 numpy array of its shape; a copy, or read-only.

    torch is not needed where the file can be read without it. A float64 beyond float32 is inf.
    """
    import numpy as np

    found = weights.stored(name)
    if not isinstance(found, Stored):
        return found.detach().float().cpu().numpy()
    lies = found.elements()
    raw = np.dtype({"float64": "f8", "float32": "f4", "float16": "f2"}.get(found.dtype, "u2"))
    if isinstance(lies, Region):
        flat = np.frombuffer(lies.source.map, raw, found.numel, lies.start)
    else:
        flat = np.frombuffer(lies, raw)
    if found.dtype == "bfloat16":  # the upper half of a float32
        flat = (flat.astype("u4") << 16).view("f4")
    with np.errstate(over="ignore"):
        values: Any = flat.astype(np.float32, copy=False).reshape(found.shape)
    return values


# -- writing ---------------------------------------------------------------------------------------


def write(
    path: Path,
    weights: Weights,
    small: Mapping[str, Small],
    *,
    bits: int = 8,
    scheme: str = "symmetric",
    force: bool = False,
) -> None:
    """Write `weights` with the tensors of `small` as codes, whole or not at all.

    One tensor's codes are in memory at a time. Raises FileError where `path` exists and `force` is
    False, where the disk says no, and where a name is taken that a scale would need.
    """
    import torch

    if path.suffix.lower() != ".safetensors":
        raise FileError(f"{path}: int8 weights are written as safetensors; end the name in that.")
    names = [name + end for name in small for end in (_SCALE, _ZERO)]
    if taken := [name for name in names if name in weights.tensors]:
        raise FileError(
            f"{weights.path} has a tensor {one_line(taken[0])!r} of its own; rename it."
        )
    made: dict[str, Any] = {n: weights.stored(n) for n in weights.tensors if n not in small}
    for name, one in small.items():
        made[name + _SCALE] = torch.from_numpy(one.scale)
    made = dict(sorted(made.items(), key=lambda pair: -_size(pair[1])))  # aligned, codes last
    for name, one in small.items():
        if one.zero_point is not None:
            made[name + _ZERO] = torch.from_numpy(one.zero_point)
        made[name] = _later(one)
    about: dict[str, Any] = {"version": 1, "bits": bits, "scheme": scheme}
    dtypes = weights.dtype_names
    about["tensors"] = {name: dtypes[name] for name in small}
    about["about"] = beside(weights)
    like = replace(
        weights, format="safetensors", metadata={KEY: json.dumps(about, allow_nan=False)}
    )
    write_tensors(made, path, like=like, force=force)


def _size(value: Any) -> int:
    return SIZES[value.dtype] if isinstance(value, Stored) else int(value.element_size())


def _later(one: Small) -> Callable[[], Tensor]:
    import torch

    return lambda: torch.from_numpy(one.codes())


def beside(weights: Weights) -> dict[str, Any]:
    """Return the plain values at the top of what was saved, beside the weights, fit for JSON."""
    values = weights.tree if isinstance(weights.tree, dict) else weights.metadata
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(name, str) and _plain(value, 6):
            text = json.dumps(value)
            if len(text) <= _PLAIN:
                found[name] = json.loads(text)
    return found


def _plain(value: Any, depth: int) -> bool:
    """Whether JSON gives a value back: no tensors, no nan, no strange classes, no keys but text."""
    if value is None or isinstance(value, (str, bool, int)):
        return True
    if isinstance(value, float):
        return math.isfinite(value)
    if depth and isinstance(value, (list, tuple)):
        return len(value) <= _PLAIN and all(_plain(item, depth - 1) for item in value)
    if depth and type(value) is dict:
        return all(isinstance(k, str) and _plain(v, depth - 1) for k, v in value.items())
    return False


# -- reading codes ---------------------------------------------------------------------------------


class _Entry(NamedTuple):
    """How a tensor is made of codes: the dtype it had, and the zero points' name, if it has them."""

    dtype: str
    zero_point: str | None


def is_int8(weights: Weights) -> bool:
    """Return whether `write` made the file."""
    return isinstance(weights.metadata.get(KEY), str)


def opened(weights: Weights) -> Weights:
    """Return the floats of an int8 file, with what was beside them; any other file as it is.

    The values are (code - zero_point) * scale in float32, in the dtype they had before, made when
    they are asked for. Raises FileError where the file contradicts itself.
    """
    if not is_int8(weights):
        return weights
    said = _said(weights)
    about = weights.shapes, weights.dtype_names
    entries = {n: _entry(weights, *about, n, dtype) for n, dtype in said["tensors"].items()}
    return replace(
        weights,
        format="int8 safetensors",
        tensors=_Floats(weights, entries),
        metadata=said["about"],
    )


def _said(weights: Weights) -> dict[str, Any]:
    """Return the metadata: `tensors` {name: dtype} and `about`."""
    text = weights.metadata[KEY]
    try:
        if len(text) > _LARGEST:
            raise ValueError
        said = json.loads(text)
        tensors, about = said["tensors"], said["about"]
        if said["version"] != 1 or not isinstance(tensors, dict) or not isinstance(about, dict):
            raise ValueError
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _damaged(weights, "its entry 'ptools.int8' cannot be read") from error
    return {"tensors": tensors, "about": about}


def _entry(
    weights: Weights,
    shapes: Mapping[str, tuple[int, ...]],
    kinds: Mapping[str, str],
    name: str,
    dtype: Any,
) -> _Entry:
    """Check what there is of one tensor. Raises FileError."""
    scale, zero = name + _SCALE, name + _ZERO
    if dtype not in FLOATS or kinds.get(name) not in _CODES or kinds.get(scale) != "float32":
        raise _damaged(weights, f"{one_line(name, 80)!r} has no codes, or no scales")
    if not _broadcasts(shapes[scale], shapes[name]):
        raise _damaged(weights, f"the scales of {one_line(name, 80)!r} have another shape")
    if zero not in kinds:
        return _Entry(dtype, None)
    if kinds[zero] != kinds[name] or shapes[zero] != shapes[scale]:
        raise _damaged(weights, f"the zero points of {one_line(name, 80)!r} do not fit")
    return _Entry(dtype, zero)


def _broadcasts(small: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether it has the same number of dimensions, each of the same size or 1."""
    return len(small) == len(shape) and all(
        one in (1, size) for one, size in zip(small, shape, strict=True)
    )


def _damaged(weights: Weights, what: str) -> FileError:
    return FileError(f"{weights.path} is no int8 file that can be used: {what}; write it again.")


class _Floats(Mapping[str, "Tensor"]):
    """Names -> tensors: those of codes are made on access, none is kept; scales are not named."""

    def __init__(self, weights: Weights, entries: dict[str, _Entry]) -> None:
        self.weights, self.entries = weights, entries
        parts = {name + end for name in entries for end in (_SCALE, _ZERO)}
        self.names = [name for name in weights.tensors if name not in parts]

    def __getitem__(self, name: str) -> Tensor:
        tensors, entry = self.weights.tensors, self.entries.get(name)
        if entry is None:
            if name not in self.names:
                raise KeyError(name)
            return tensors[name]
        import torch

        scale = tensors[name + _SCALE]
        if not bool((scale.isfinite() & (scale > 0)).all()):
            raise _damaged(self.weights, f"a scale of {one_line(name, 80)!r} is no positive number")
        codes = tensors[name].to(torch.float32)  # whole numbers up to 255: exact
        if entry.zero_point is not None:
            codes -= tensors[entry.zero_point].to(torch.float32)
        dtype: torch.dtype = getattr(torch, entry.dtype)
        return codes.mul_(scale).to(dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
