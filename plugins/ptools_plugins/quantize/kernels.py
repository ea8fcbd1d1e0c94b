"""torchao's int8 kernels on the network of a file, timed against the floats.

require()              torchao is there, or the line that says how to install it
timed(weights, ...)    Timing of the floats, of int8 weights, of int8 weights and activations

The arithmetic of this command runs on floats: it says what is lost. What is gained needs kernels that
compute with the codes; torch.ao.quantization is deprecated in favour of torchao, whose kernels these
are. They are for Linear layers.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from importlib import import_module
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ptools.errors import FileError, PtoolsError, cause, one_line
from ptools.models import Blueprint, trained
from ptools.training import hardware

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ptools.checkpoints import Weights

__all__ = ["Timing", "require", "timed"]

_BATCH = 64
_SECONDS, _ROUNDS = 1.0, 5  # of measuring, for all of them together, and at least
_KINDS = {"int8 weights": "Int8WeightOnlyConfig",
          "int8 both": "Int8DynamicActivationInt8WeightConfig"}  # fmt: skip


@dataclass(frozen=True)
class Timing:
    """Milliseconds for a batch of 64, the best of many; `difference` relative to the largest output."""

    kernels: str
    layers: int
    milliseconds: float
    difference: float


def require() -> Any:
    """Return torchao.quantization. Raises PtoolsError where it is missing or does not fit torch."""
    hardware.share_cores()  # before torch is imported: its threads must not spin
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)  # speaks of torchao's own code
    try:
        found = import_module("torchao.quantization")
        if missing := [name for name in _KINDS.values() if not hasattr(found, name)]:
            raise ImportError(f"it has no {missing[0]}")
    except ImportError as error:
        raise PtoolsError(
            f"--torchao needs torchao ({cause(error)[:120]}): pip install 'ptools[quant]'"
        ) from error
    return found


def timed(weights: Weights, *, model: str | None = None, trust: bool = False) -> list[Timing]:
    """Run the network of a file of ptools on random images, as floats and with int8 kernels.

    Raises PtoolsError where torchao is missing or the network has no Linear layer, FileError where
    the file does not say how to build it, UsageError where that would run its code unasked.
    """
    import torch

    quantization = require()
    blueprint = _blueprint(weights, model, trust=trust)
    net = _filled(weights, blueprint)
    linear = sum(isinstance(module, torch.nn.Linear) for module in net.modules())
    if not linear:
        raise PtoolsError(
            f"'{blueprint.model}' has no Linear layer; torchao's int8 kernels are for those."
        )
    nets: dict[str, nn.Module] = {"float32": net}
    for name, config in _KINDS.items():
        nets[name] = copy.deepcopy(net)
        quantization.quantize_(nets[name], getattr(quantization, config)())
    images = torch.randn(_BATCH, *blueprint.shape, generator=torch.Generator().manual_seed(0))
    return _measured(nets, images, linear)


def _measured(nets: dict[str, nn.Module], images: Tensor, linear: int) -> list[Timing]:
    """Run them in turns for about a second: whatever else the machine does, the best is of each alone."""
    import torch

    spent: dict[str, list[float]] = {name: [] for name in nets}
    with torch.inference_mode():
        outputs = {name: net(images) for name, net in nets.items()}
        end = perf_counter() + _SECONDS
        while perf_counter() < end or len(spent["float32"]) < _ROUNDS:
            for name, net in nets.items():
                begun = perf_counter()
                net(images)
                spent[name].append(perf_counter() - begun)
    right = outputs["float32"]
    return [
        Timing(
            name,
            0 if name == "float32" else linear,
            1000 * min(spent[name]),
            float((outputs[name] - right).abs().max() / right.abs().max().clamp(min=1e-12)),
        )
        for name in nets
    ]


def _blueprint(weights: Weights, model: str | None, *, trust: bool) -> Blueprint:
    about = weights.tree if isinstance(weights.tree, dict) else weights.metadata
    document = about.get("blueprint")
    if not isinstance(document, dict):
        raise FileError(
            f"{weights.path} does not say how its network is built: it was not written by 'ptools "
            "train'; 'ptools finetune' makes one that does."
        )
    found = Blueprint.of(document | ({"model": model} if model else {}))
    if not model and not trust:
        trained.no_code(weights.path, found.model)
    return found


def _filled(weights: Weights, blueprint: Blueprint) -> nn.Module:
    net = blueprint.build().eval()
    trained.fill(net, weights, weights.path, one_line(blueprint.model))
    return net
