"""Other ways of loading one state_dict into another, each as a function: a pair -> {target key: source key}.

    zip              key by key in order, where the numbers of elements agree: what tutorials do
    timm             load_checkpoint(remap=True): the same, but one that does not fit refuses all
    suffix           detectron2: the longest checkpoint key that is a dotted suffix, and of its shape
    weightbridge     adapt, strict: every tensor of both sides finds its place, or it raises
    torch_liberator  load_partial_state, by the association it recommends ("isomorphism")

A function that raises has refused the pair. No weights are made: shapes are all that any of them looks
at, so arrays are of stride 0 and tensors on the meta device.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]  # in registration order
Other = Callable[[Shapes, Shapes], dict[str, str]]


def zipped(source: Shapes, target: Shapes) -> dict[str, str]:
    pairs = zip(target.items(), source.items(), strict=False)
    return {new: old for (new, to), (old, taken) in pairs if prod(to) == prod(taken)}


def timm(source: Shapes, target: Shapes) -> dict[str, str]:
    """As timm/models/_helpers.py, remap_state_dict."""
    found = zipped(source, target)
    if len(found) < min(len(source), len(target)):
        raise ValueError("Tensor size mismatch. Remap failed.")
    return found


def suffix(source: Shapes, target: Shapes) -> dict[str, str]:
    """As detectron2/checkpoint/c2_model_loading.py, align_and_update_state_dicts."""
    found: dict[str, str] = {}
    for key in sorted(target):
        parts = key.split(".")
        ends = (".".join(parts[at:]) for at in range(len(parts)))
        longest = next((end for end in ends if end in source), None)
        if longest is None or source[longest] != target[key]:
            continue
        if longest in found.values():
            raise ValueError("Cannot match one checkpoint key to multiple keys in the model.")
        found[key] = longest
    return found


def weightbridge(source: Shapes, target: Shapes) -> dict[str, str]:
    """Every array is filled with its index, which says where it went."""
    import numpy as np
    from weightbridge import adapt  # type: ignore[import-not-found, import-untyped, unused-ignore]

    arrays = {key: np.broadcast_to(np.int32(i), source[key]) for i, key in enumerate(source)}
    wanted = {key: np.broadcast_to(np.int32(-1), shape) for key, shape in target.items()}
    keys = list(source)
    found = adapt(arrays, wanted, in_separator=".", out_separator=".")
    return {key: keys[int(array.flat[0])] for key, array in found.items() if array.size}


def torch_liberator(source: Shapes, target: Shapes) -> dict[str, str]:
    """Without `mangle`, which would fill a part of what does not fit."""
    import torch
    from torch_liberator.initializer import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
        load_partial_state,
    )

    class Model:
        """All that it asks of a module."""

        found: Mapping[str, Any] = {}

        def state_dict(self) -> dict[str, torch.Tensor]:
            return {key: torch.empty(shape, device="meta") for key, shape in target.items()}

        def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
            self.found = state

    model = Model()
    tensors = {key: torch.empty(shape, device="meta") for key, shape in source.items()}
    keys = {id(tensor): key for key, tensor in tensors.items()}
    load_partial_state(model, tensors, association="isomorphism", mangle=False, verbose=0)
    return {key: keys[id(got)] for key, got in model.found.items() if id(got) in keys}


OTHERS: dict[str, Other] = {
    "zip": zipped,
    "timm": timm,
    "suffix": suffix,
    "weightbridge": weightbridge,
    "torch_liberator": torch_liberator,
}
FLOATS = ("weightbridge",)  # it refuses where only one side has counters, so it gets none
PACKAGES = {  # the others are written out here
    "weightbridge": ("weightbridge",),
    "torch_liberator": ("torch_liberator.initializer", "networkx_algo_common_subtree"),
}


def installed(name: str) -> bool:
    """Return whether a method of OTHERS can run here, with all that it needs."""
    try:
        for module in PACKAGES.get(name, ()):
            importlib.import_module(module)
    except ImportError:
        return False
    return True
