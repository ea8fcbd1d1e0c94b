"""What a study of a network found, as a value: for people, and for --json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptools.tracing.field import Field
    from ptools.tracing.inputs import Input
    from ptools.tracing.repair.values import Failure
    from ptools.tracing.trace import Layer, Trace


@dataclass
class Report:
    """What was asked and what came of it: `trace`, or `failure`."""

    model: str | None  # None: a chain of layers
    inputs: tuple[Input, ...]
    mode: str
    batch: int | None
    trace: Trace | None = None
    failure: Failure | None = None
    fields: dict[str, Field] | None = None
    not_followed: tuple[str, ...] = ()  # operations that --rf does not understand
    train_only: tuple[str, ...] = ()  # modules that run in train mode only
    texts: dict[str, str] = field(default_factory=dict)  # of a chain: name -> `Conv2d(3, 8, 5)`
    filled: tuple[str, ...] = ()  # the layers whose question mark was replaced
    graph: str | None = None
    traceback: str = ""

    @property
    def layers(self) -> list[Layer]:
        """Return what ran, in order, and what did not."""
        return self.trace.layers if self.trace is not None else []

    def document(self) -> dict[str, Any]:
        """Return it for --json."""
        found: dict[str, Any] = {
            "model": self.model,
            "in": [list(one.shape) for one in self.inputs],
            "mode": self.mode,
            "batch": self.batch,
        }
        if self.filled:
            found["filled"] = list(self.filled)
        if self.trace is not None:
            found |= self._figures(self.trace)
        else:  # it does not fit: there are no figures
            figures = ("params", "trainable", "buffers", "macs", "output", "activation_bytes")
            found |= dict.fromkeys(figures) | {"uncounted": [], "layers": []}
        if self.graph is not None:
            found["graph"] = self.graph
        return found | {"failure": self.failure.document() if self.failure else None}

    def _figures(self, trace: Trace) -> dict[str, Any]:
        return {
            "params": trace.params,
            "trainable": trace.trainable,
            "frozen": trace.params - trace.trainable,
            "buffers": trace.buffers,
            "macs": trace.macs,
            "output": trace.output,
            "activation_bytes": trace.activation_bytes,
            "weight_bytes": trace.weight_bytes,
            "training_bytes": training_bytes(trace),
            "uncounted": [{"op": op, "layers": names} for op, names in trace.uncounted.items()],
            "unused": [layer.name for layer in unused(self.layers)],
            "train_only": list(self.train_only),
            "data_dependent": trace.data_dependent,
            "notes": trace.notes,
            "layers": [self._row(layer) for layer in self.layers],
        }

    def _row(self, layer: Layer) -> dict[str, Any]:
        row: dict[str, Any] = {
            "name": layer.name,
            "type": layer.type,
            **({"text": self.texts[layer.name]} if layer.name in self.texts else {}),
            "output": layer.output,
            "params": layer.params,
            "macs": layer.macs,
            "calls": layer.calls,
            "used": layer.used,
            "activation_bytes": layer.activation_bytes,
        }
        if self.fields is not None:
            seen = self.fields.get(layer.name)
            row["rf"] = _field(seen) if seen else None
        return row


def _field(seen: Field) -> dict[str, Any]:
    """Return sizes, strides and centres in pixels; null is the whole image."""
    return {
        "size": list(seen.size),
        "stride": [None if s is None else float(s) for s in seen.stride],
        "centre": list(seen.centre),
    }


def training_bytes(trace: Trace) -> dict[str, int]:
    """Return the memory of a training step: weights, gradients, activations, optimizer state."""
    sgd = trace.weight_bytes + trace.gradient_bytes + trace.activation_bytes
    return {
        "sgd": sgd,
        "sgd_momentum": sgd + trace.gradient_bytes,
        "adam": sgd + 2 * trace.gradient_bytes,
    }


def unused(layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers that neither ran nor lent their weights."""
    return [layer for layer in layers if not layer.used]


def rows(layers: Sequence[Layer], depth: int | None) -> list[Layer]:
    """Return what gets a line: leaves, and modules that have weights or compute by themselves.

    Modules below `depth` are folded into the one above them, with their figures.
    """
    if depth is None:
        return [one for one in layers if one.leaf or one.params or one.macs]
    named = {layer.name: layer for layer in layers}
    kept: dict[str, Layer] = {}
    for layer in layers:
        parts = (layer.name.split(".") if layer.name else [])[:depth]
        name = ".".join(parts)  # a ModuleList stands where its first module ran
        if name not in kept and name in named:
            kept[name] = replace(named[name], leaf=named[name].leaf or len(parts) == depth)
    for layer in layers:
        parts = layer.name.split(".") if layer.name else []
        above = kept.get(".".join(parts[:depth]))
        if len(parts) > depth and above is not None:
            above.params += layer.params
            above.trainable += layer.trainable
            above.macs += layer.macs
            above.activation_bytes += layer.activation_bytes
            above.used = above.used or layer.used
    return [one for one in kept.values() if one.leaf or one.params or one.macs]
